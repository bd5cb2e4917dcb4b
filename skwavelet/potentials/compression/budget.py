"""Models within a budget of time or of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skwavelet._utils.validation import check_row_vector
from skwavelet.linear.design import build_design
from skwavelet.linear.greedy import GreedySteps
from skwavelet.potentials.compression.costs import FeatureCosts
from skwavelet.potentials.compression.pruning import prune
from skwavelet.potentials.energy_model import split_model
from skwavelet.potentials.estimators import unwrapped
from skwavelet.representations.voxel import VoxelScattering

# Norm, relative to the centred column, of what is left of a column that is never chosen.
_TOO_DEPENDENT = np.sqrt(1e-7)
# Cost of any feature in the choice within a time, as a part of the budget.
_BASE_COST = 0.1


def fit_to_budget(
    model: Any,
    X: Sequence[Atoms],
    y: ArrayLike,
    *,
    milliseconds: float | None = None,
    n_features: int | None = None,
    costs: FeatureCosts | None = None,
    features: np.ndarray | None = None,
    **fit_params: Any,
) -> Any:
    """Refit a model within a budget of features or of time.

    Features are chosen on the energies, one after the other, those first that tell most for what
    they cost. The model is then fitted again with these features only: within a time, with all
    powers of the maps that the time pays for.

    Parameters
    ----------
    model : estimator
        A fitted Pipeline of a `VoxelScattering`, linear steps and a linear model, a fitted
        `EnergyForceRegressor` of a `VoxelScattering`, or a search over the parameters of either.
    X : sequence of ase.Atoms
        Training structures.
    y : array-like of shape (n_structures,)
        Their energies, eV/atom.
    milliseconds : float, default=None
        Time for the features of one structure, by ``costs``.
    n_features : int, default=None
        Number of features, which cost alike. Pass this or ``milliseconds``.
    costs : FeatureCosts, default=None
        Needed for ``milliseconds``. Its structure and machine are what the time refers to.
    features : ndarray of shape (n_structures, n_all_features), default=None
        What the `VoxelScattering` makes of X, to spare the time of computing it.
    **fit_params
        Passed to ``fit`` (``forces``, ``groups``, ``baggedolsensemble__groups``, ...).

    Returns
    -------
    estimator
        Of the same kind, fitted and pruned. Its representation is a ``FrozenEstimator``: fitted
        again, it keeps its features.

    Raises
    ------
    TypeError
        If ``model`` is no such model.
    ValueError
        If not exactly one budget is given, ``costs`` is missing or that of other features, or the
        budget buys no feature.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skwavelet import VoxelScattering, fit_to_budget
    >>> structures = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.4, 3.8, 9)]
    >>> energies = [(atoms.get_volume() - 47) ** 2 for atoms in structures]
    >>> features = VoxelScattering(order=1, spacing=0.4, dtype="float64")
    >>> model = make_pipeline(features, Ridge()).fit(structures, energies)
    >>> small = fit_to_budget(model, structures, energies, n_features=2)
    >>> small[0].estimator.n_features_out_
    2
    """
    if (milliseconds is None) == (n_features is None):
        raise ValueError("Pass one budget: milliseconds or n_features.")
    if milliseconds is not None and costs is None:
        raise ValueError("milliseconds needs costs=FeatureCosts(transformer, atoms).")
    model = unwrapped(model)
    is_pipeline = isinstance(model, Pipeline)
    transformer, _ = split_model(model)
    if is_pipeline:
        transformer = transformer[0]
    if not isinstance(transformer, VoxelScattering):
        raise TypeError(
            f"The costs of {type(transformer).__name__} are not known: the features must be those "
            "of a VoxelScattering."
        )
    if costs is not None and costs.n_features != transformer.n_features_out_:
        raise ValueError(
            f"costs are those of {costs.n_features} features, the model has "
            f"{transformer.n_features_out_}: pass FeatureCosts of its own transformer."
        )
    if features is None:
        features = np.asarray(transformer.transform(X))
    y = check_row_vector(y, len(features), "y")
    if n_features is not None:
        chosen = features_in_budget(features, y, None, n_features)
    elif milliseconds is not None:
        chosen = features_in_budget(features, y, costs, milliseconds)
    if not len(chosen):
        raise ValueError("No feature fits into the budget; raise it.")
    frozen = FrozenEstimator(transformer.restrict(np.sort(chosen)))
    if is_pipeline:
        steps = [(name, clone(step)) for name, step in model.steps[1:]]
        small = Pipeline([(model.steps[0][0], frozen), *steps])
    else:
        small = clone(model).set_params(features=frozen)
    return prune(small.fit(X, y, **fit_params))


def features_in_budget(
    X: np.ndarray, y: np.ndarray, costs: FeatureCosts | None, budget: float
) -> np.ndarray:
    """Choose features by orthogonal least squares, with an eye on what they cost.

    At each step the feature is taken that lowers the squared error most relative to the time that
    it adds plus a tenth of the budget. (Without the latter, a crowd of features that cost and tell
    next to nothing would be taken first.) The budget is in milliseconds, or a number of features
    where there are no costs.

    Features are returned in the order in which they were chosen. Within a time, all others follow
    whose maps are computed anyway.
    """
    n_features, ones = X.shape[1], np.ones(len(y))
    steps = GreedySteps(
        build_design(X, ones, ones), y, ones, max_features=n_features, tol=_TOO_DEPENDENT
    )
    chosen: list[int] = []
    if costs is None:
        spent, extra, free = 0.0, np.ones(n_features), 0.0
    else:
        spent, extra = costs.predict([]), costs.marginal([])
        free = _BASE_COST * budget
    while len(chosen) < steps.n_most:
        affordable = spent + extra <= budget
        if not (steps.alive & affordable & (extra > 0)).any():
            break
        best = steps.step(np.where(affordable, extra + free, np.inf))
        assert best is not None  # one of those that are alive and affordable
        chosen.append(best)
        spent += extra[best]
        if costs is not None and extra[best] > 0:
            extra = costs.marginal(chosen)
    if costs is None:
        return np.array(chosen, dtype=int)
    others = np.setdiff1d(np.flatnonzero(costs.marginal(chosen) == 0), chosen)
    return np.concatenate([np.array(chosen, dtype=int), others])
