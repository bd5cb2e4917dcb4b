"""How far to trust a prediction: calibrated standard deviations, and what to label next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.linear_models import linear_members
from skwavelet.structures.checks import as_atoms

# Most deviations of an ensemble that are kept, fewer if they carry this share of the variance.
_KEPT_DEVIATIONS, _KEPT_SHARE = 16, 0.99


def main_deviations(regressor: Any, rows: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return the few mixtures (r, n_members) of members that carry the spread of their predictions.

    The sum over rows of (mixture @ members' deviations)² is the variance over members, on average
    over typical rows (derivatives of the features), some (n_rows, n_features) at a time. None where
    there are no rows, no ensemble or no spread.
    """
    members = linear_members(regressor)
    if not members:
        return None
    return main_mixtures(
        np.column_stack([member.coef_ - regressor.coef_ for member in members]), rows
    )


def main_mixtures(weights: np.ndarray, rows: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return what `main_deviations` does, of weights (n_features, n_members) less their mean."""
    n_members = weights.shape[1]
    gram = np.zeros((n_members, n_members))
    for some in rows:
        predicted = some @ weights
        gram += predicted.T @ predicted
    variance, axes = eigh(gram)
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    if not variance.any():
        return None
    share = np.cumsum(variance) / variance.sum()
    kept = min(int(np.searchsorted(share, _KEPT_SHARE)) + 1, _KEPT_DEVIATIONS, n_members)
    # What is left out is made up for on average, so that the spread is not too small.
    return axes[:, :kept].T / np.sqrt(n_members * share[kept - 1])


def calibrate_spread(
    errors: ArrayLike, std: ArrayLike, n_bins: int = 10
) -> tuple[float, pd.DataFrame]:
    """Check predicted standard deviations against errors.

    Those of `BaggedOLSEnsemble` and `EnergyForceRegressor` are calibrated by errors out of bag.
    Check them, or those of other models, on structures that no model was trained on.

    Parameters
    ----------
    errors : array-like of shape (n_samples,)
        Predictions minus truth, on structures of groups that no model was trained on.
    std : array-like of shape (n_samples,)
        Predicted standard deviations, in the same units.
    n_bins : int, default=10
        Bins of equal numbers of samples, by increasing standard deviation.

    Returns
    -------
    factor : float
        sqrt(mean((errors / std)²)). 1 is calibrated, more is overconfident. Standard deviations of
        other models are to be multiplied by it (by maximum likelihood, for Gaussian errors).
    table : DataFrame
        The reliability figure, one row per bin: ``count``, ``std`` (root mean square of the
        predicted ones) and ``rmse``. Calibrated predictions lie on rmse = std.

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, or a standard deviation is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet.potentials.uncertainty import calibrate_spread
    >>> rng = np.random.default_rng(0)
    >>> std = rng.uniform(1, 2, size=10000)
    >>> factor, table = calibrate_spread(2 * std * rng.normal(size=10000), std, n_bins=4)
    >>> round(factor, 1), len(table)
    (2.0, 4)
    """
    errors, std = (np.asarray(values, dtype=np.float64) for values in (errors, std))
    if errors.ndim != 1 or errors.shape != std.shape or not len(errors):
        raise ValueError(
            f"errors and std must be vectors of one length; got {errors.shape} and {std.shape}."
        )
    if not (np.isfinite(errors).all() and np.isfinite(std).all() and (std > 0).all()):
        raise ValueError("errors and std must be finite, and std positive.")
    if not 1 <= n_bins <= len(errors):
        raise ValueError(f"n_bins={n_bins} must be between 1 and the number of samples.")
    factor = float(np.sqrt(np.mean((errors / std) ** 2)))
    bins = np.array_split(np.argsort(std, kind="stable"), n_bins)
    table = pd.DataFrame(
        {
            "count": [len(rows) for rows in bins],
            "std": [np.sqrt(np.mean(std[rows] ** 2)) for rows in bins],
            "rmse": [np.sqrt(np.mean(errors[rows] ** 2)) for rows in bins],
        }
    )
    return factor, table


def rank_structures(model: Any, X: Sequence[Atoms]) -> np.ndarray:
    """Rank unlabelled structures by what their labels would teach an ensemble.

    The first is the structure about whose energy per atom the models of the ensemble disagree
    most, the second the one about which they would disagree most if they agreed on the first,
    and so on: a batch of structures from the top is not the same structure many times over.

    Parameters
    ----------
    model : estimator
        A fitted `EnergyForceRegressor`, Pipeline or search whose linear model is an ensemble.
    X : sequence of ase.Atoms
        The pool. Only its features are computed.

    Returns
    -------
    ndarray of shape (n_structures,)
        Indices into X, most informative first. What M models disagree about is exhausted after
        M - 1 structures; the ranking of the others then starts afresh.

    Raises
    ------
    TypeError
        If the model is no ensemble.

    Notes
    -----
    Let d_i be the deviations of the members' predictions of structure i from their mean. Their
    covariances are C_ij = d_i . d_j / M, and the ranking is the order of the pivots of the
    Cholesky decomposition of C.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from sklearn.pipeline import make_pipeline
    >>> from skwavelet import BaggedOLSEnsemble, VoxelScattering, rank_structures
    >>> structures = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.4, 3.8, 9)]
    >>> energies = [(atoms.get_volume() - 47) ** 2 for atoms in structures]
    >>> features = VoxelScattering(order=1, spacing=0.4)
    >>> model = make_pipeline(features, BaggedOLSEnsemble(5, random_state=0))
    >>> ranked = rank_structures(model.fit(structures, energies), structures[:3])
    >>> sorted(ranked.tolist())
    [0, 1, 2]
    """
    predictions = energy_model(model).values(as_atoms(X))[:, 1:]
    if predictions.shape[1] < 2:
        raise TypeError(
            "Ranking needs an ensemble such as BaggedOLSEnsemble() as linear model, or a network "
            "that was fitted with n_members=16."
        )
    return rank_by_disagreement(predictions)


def rank_by_disagreement(predictions: np.ndarray) -> np.ndarray:
    """Rank rows of members' predictions (n, n_members) as `rank_structures` does."""
    everyone = predictions - predictions.mean(axis=1, keepdims=True)
    ranked: list[int] = []
    unranked = np.ones(len(predictions), dtype=bool)
    while unranked.any():
        # Members minus one structures exhaust what the members disagree about; then once more.
        deviations = everyone.copy()
        start = np.square(deviations).sum(axis=1)
        for _ in range(max(predictions.shape[1] - 1, 1)):
            left = np.where(unranked, np.square(deviations).sum(axis=1), -1.0)
            best = int(np.argmax(left))
            if left[best] < 0:
                break
            ranked.append(best)
            unranked[best] = False
            if left[best] <= 1e-12 * start.max():
                break
            axis = deviations[best] / np.linalg.norm(deviations[best])
            deviations -= np.outer(deviations @ axis, axis)
    return np.array(ranked)
