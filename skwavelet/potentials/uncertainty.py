"""How far to trust a prediction: calibrated standard deviations, and what to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from skwavelet.linear.calibration import (
    SpreadCalibration,
    fit_calibration,
    overall_ratio,
    unbiased_std,
)
from skwavelet.linear.intervals import OutOfBagIntervals
from skwavelet.potentials.contract import (
    Calibrations,
    Derivatives,
    EnergyModel,
    calibrations_of,
    over_directions,
)
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.linear_models import linear_members
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS, Rows
from skwavelet.potentials.surroundings import Surroundings
from skwavelet.structures.checks import as_atoms

# Most deviations of an ensemble that are kept, fewer if they carry this share of the variance.
_KEPT_DEVIATIONS, _KEPT_SHARE = 16, 0.99
# Errors out of bag that are remembered when a model is updated again and again.
_MOST_ERRORS = 2**19


def main_deviations(regressor: Any, rows: np.ndarray) -> np.ndarray | None:
    """Return the few mixtures of members that carry the spread of their predictions.

    Parameters
    ----------
    regressor : estimator
        A fitted linear model, an ensemble or not.
    rows : ndarray of shape (n_rows, n_features)
        Typical rows (derivatives of the features), maybe none.

    Returns
    -------
    ndarray of shape (r, n_members) or None
        The sum over rows of (mixture @ members' deviations)² is the variance over members, on
        average over ``rows``. None where there are no rows, no ensemble or no spread.
    """
    members = linear_members(regressor)
    if not members:
        return None
    return main_mixtures(
        np.column_stack([member.coef_ - regressor.coef_ for member in members]), rows
    )


def main_mixtures(weights: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Return what `main_deviations` does, of weights (n_features, n_members) less their mean."""
    n_members = weights.shape[1]
    gram = np.zeros((n_members, n_members))
    for start in range(0, len(rows), 4096):
        predicted = rows[start : start + 4096] @ weights
        gram += predicted.T @ predicted
    variance, axes = eigh(gram)
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    if not variance.any():
        return None
    share = np.cumsum(variance) / variance.sum()
    kept = min(int(np.searchsorted(share, _KEPT_SHARE)) + 1, _KEPT_DEVIATIONS, n_members)
    # What is left out is made up for on average, so that the spread is not too small.
    return axes[:, :kept].T / np.sqrt(n_members * share[kept - 1])


@dataclass(frozen=True)
class ErrorRecord:
    """Errors out of bag, from which the calibrations and intervals of a potential are made.

    Attributes
    ----------
    errors, spread : ndarray of shape (n,)
        Of energies (eV/atom), components of forces (eV/Å) and stresses (eV/Å³), by models that
        have not seen them.
    weight : ndarray of shape (n,)
        Those of the structures.
    kind : ndarray of shape (n,)
        ``ENERGY``, ``FORCE`` or ``STRESS``.
    groups : ndarray of shape (n,)
        Numbers of groups.
    remoteness : ndarray of shape (n,)
        Of the structures.
    pattern : ndarray of shape (n,)
        Rows of ``left_out``.
    left_out : ndarray of bool of shape (n_patterns, n_members)
        Which members have not seen a group.
    """

    errors: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    kind: np.ndarray
    groups: np.ndarray
    remoteness: np.ndarray
    pattern: np.ndarray
    left_out: np.ndarray

    @classmethod
    def of(
        cls,
        regressor: Any,
        rows: Rows,
        X: Sequence[Atoms],
        groups: np.ndarray,
        surroundings: Surroundings | None,
    ) -> Self:
        """Return the errors on rows that a linear model was fitted to, or updated with.

        Parameters
        ----------
        regressor : estimator
        rows : Rows
        X : sequence of ase.Atoms
        groups : ndarray of shape (n_structures,)
        surroundings : Surroundings or None
            Of the training set; None where the model has no errors out of bag.
        """
        if surroundings is None:
            nothing, none = np.zeros(0), np.zeros(0, dtype=int)
            return cls(
                nothing, nothing, nothing, none, none, nothing, none, np.zeros((0, 0), dtype=bool)
            )
        told = np.flatnonzero((rows.kind <= STRESS) & np.isfinite(regressor.oob_spread_))
        kind, structure = rows.kind[told], rows.structure[told]
        # Directions are orthonormal but for a factor that makes up for those not drawn.
        sizes = np.array([len(atoms) for atoms in X])
        components = np.column_stack([np.ones_like(sizes), 3 * sizes, np.full_like(sizes, 6)])
        drawn = np.zeros(components.shape, dtype=int)
        np.add.at(drawn, (structure, kind), 1)
        n_components, n_drawn = components[structure, kind], drawn[structure, kind]
        length = np.sqrt(n_components / n_drawn)
        spread = regressor.oob_spread_[told] / length
        whole = (kind == FORCE) & (n_drawn == n_components)  # one component after the other
        spread[whole] = over_directions(spread[whole].reshape(-1, 3)).ravel()
        return cls(
            (regressor.oob_prediction_[told] - rows.targets[told]) / length,
            spread,
            rows.structure_weight[structure],
            kind,
            groups[structure],
            surroundings.remoteness(X)[structure],
            regressor._left_out[1][told],
            regressor._left_out[0],
        )

    def __add__(self, other: ErrorRecord) -> ErrorRecord:
        """Return the errors of both, whose groups are not the same; a part where they are many."""
        theirs = replace(
            other,
            groups=other.groups + self.groups.max(initial=-1) + 1,
            pattern=other.pattern + len(self.left_out),
        )
        both = {
            field.name: np.concatenate([getattr(record, field.name) for record in (self, theirs)])
            for field in fields(self)
        }
        left_out, kinds = both.pop("left_out"), both["kind"]
        if len(kinds) > _MOST_ERRORS:
            # As many of each kind, or energies would drown in components of forces.
            rank = np.random.default_rng(len(kinds)).permutation(len(kinds))
            for kind in np.unique(kinds):
                own = np.flatnonzero(kinds == kind)
                rank[own[np.argsort(rank[own])]] = np.arange(len(own))
            kept = np.sort(np.argsort(rank, kind="stable")[: _MOST_ERRORS // 2])
            both = {name: values[kept] for name, values in both.items()}
        return ErrorRecord(**both, left_out=left_out)

    def calibrations(self, regressor: Any) -> Calibrations:
        """Return the calibrations of the spread of energies, forces and stresses.

        Where there are no errors of a kind, they are those of `calibrations_of`.
        """
        found: dict[str, SpreadCalibration] = {}
        for name, kind in (("energy", ENERGY), ("forces", FORCE), ("stress", STRESS)):
            own = self.kind == kind
            if own.any():
                found[name] = fit_calibration(
                    self.errors[own],
                    self.spread[own],
                    self.weight[own],
                    self.groups[own],
                    self.remoteness[own] if kind == ENERGY else None,
                )
        return calibrations_of(regressor)._replace(**found)

    def intervals(self, calibration: SpreadCalibration) -> OutOfBagIntervals | None:
        """Return what intervals of energies need to know; None where there are no errors."""
        own = (self.kind == ENERGY) & (self.weight > 0)
        if not own.any():
            return None
        return OutOfBagIntervals.fit(
            self.left_out[self.pattern[own]],
            self.errors[own],
            self.spread[own],
            self.groups[own],
            calibration,
            self.remoteness[own],
        )


def calibrated_on(
    model: EnergyModel,
    X: Sequence[Atoms],
    energies: np.ndarray,
    forces: Sequence[np.ndarray | None],
    stress: Sequence[np.ndarray | None],
    weight: np.ndarray,
    groups: np.ndarray,
) -> tuple[Calibrations, OutOfBagIntervals]:
    """Return calibrations, by which errors on structures held out are as predicted, and intervals.

    Parameters
    ----------
    model : EnergyModel
        With members, and not calibrated.
    X : sequence of ase.Atoms
        Structures that it was not trained on.
    energies : ndarray of shape (n_structures,)
        Labels, eV/atom.
    forces, stress : sequence of (N, 3) or None, and of (6,) or None
        Labels, eV/Å and eV/Å³, or None where there are none.
    weight : ndarray of shape (n_structures,)
    groups : ndarray of shape (n_structures,)
    """
    values = model.values(X)
    errors, spread = values[:, 0] - energies, unbiased_std(values[:, 1:])
    ratio = SpreadCalibration(factor=overall_ratio(errors, spread, weight))
    found: dict[str, SpreadCalibration] = {}
    labelled = [i for i, _ in enumerate(X) if forces[i] is not None or stress[i] is not None]
    results: list[Derivatives] = []
    if labelled:
        results = model.forces_and_stress([X[i] for i in labelled], with_spread=True)
    for name, labels in (("forces", forces), ("stress", stress)):
        told = [(i, r) for i, r in zip(labelled, results, strict=True) if labels[i] is not None]
        if told:
            wrong = [np.ravel(getattr(r, name) - labels[i]) for i, r in told]
            std = [np.ravel(getattr(r, f"{name}_std")) for _, r in told]
            of = np.repeat([i for i, _ in told], [len(w) for w in wrong])
            columns = np.concatenate(wrong), np.concatenate(std), weight[of], groups[of]
            found[name] = fit_calibration(*columns)
    energy = fit_calibration(errors, spread, weight, groups)
    unseen = np.ones((len(X), model.n_members), dtype=bool)
    intervals = OutOfBagIntervals.fit(unseen, errors, spread, groups, energy)
    return Calibrations(energy, ratio, ratio)._replace(**found), intervals


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
        raise TypeError("Ranking needs an ensemble such as BaggedOLSEnsemble() as linear model.")
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
