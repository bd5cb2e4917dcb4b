"""``EnergyForceRegressor``: a linear potential trained on energies, forces and stresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_groups,
    check_parameters,
    check_row_vector,
    check_sample_weight,
)
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.linear import RidgePath
from skwavelet.potentials.contract import EnergyModel
from skwavelet.potentials.default_features import chosen_decay, default_features
from skwavelet.potentials.energy_model import LinearEnergyModel, energy_model, split_model
from skwavelet.potentials.errors_out_of_bag import ErrorRecord
from skwavelet.potentials.extrapolation import ExtrapolationScore
from skwavelet.potentials.label_checks import check_forces, check_stress
from skwavelet.potentials.linear_chain import check_representations, feature_chain
from skwavelet.potentials.linear_models import used_features
from skwavelet.potentials.predictions import PredictionMixin
from skwavelet.potentials.row_fits import copies_of_rows, fit_rows
from skwavelet.potentials.rows import FORCE, STRESS, build_rows
from skwavelet.potentials.surroundings import Surroundings
from skwavelet.potentials.uncertainty import main_deviations
from skwavelet.potentials.updating import UpdateMixin
from skwavelet.structures.checks import as_atoms, check_structures

# Weights of mean squared errors, where nothing chooses them.
WEIGHTS = {FORCE: 0.001, STRESS: 1.0}


class EnergyForceRegressor(
    PredictionMixin, UpdateMixin, DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator
):
    """A linear model of structures trained on energies, forces and stresses.

    The energy per atom is linear in the features of a structure, so that forces and stresses are
    linear in their derivatives, with the same weights. Each structure gives one row of energy,
    ``n_directions`` rows of forces (the forces projected on random directions of all its atoms)
    and, where stresses are given, at most six rows of stress. The weights minimize, over the
    structures of the training set,

    mean (energy error)² + force_weight · mean (force error)² + stress_weight · mean (stress error)²

    in (eV/atom)², (eV/Å)² and (eV/Å³)², means over force and stress components, to which the
    random directions are an unbiased approximation. (Equation 5.16 of the reference, with total
    energies and forces as vectors, is this with p = 3 / (3 + N² force_weight) for structures of N
    atoms.) Rows of derivatives have no intercept.

    Parameters
    ----------
    features : estimator, default=None
        None takes `PointInvariants` of up to three moments and the smoothest products of two of
        them that have at most four moments (`AtomPolynomial`): 1,500 for all elements together,
        and up to 1,500 for each where there are four times as many labels, but 6,000 at most.
        Three or four elements with four labels for each of 2,000 products of every element have
        these, and (14, 12, 11, 10, 9, 8, 7) radial functions. For more than two elements small
        models tell, by forces of groups held out, whether radial functions fall off with
        ``decay=3`` or 6. Otherwise a representation such
        as `VoxelScattering`, a Pipeline of one and of linear steps (scalers, selectors, PCA), or a
        FeatureUnion of such.
    regressor : estimator, default=None
        None takes `RidgePath`. Otherwise a linear model that takes ``sample_weight``:
        `BaggedOLSEnsemble`, `GreedyOLSRegressor`, or any of scikit-learn with ``coef_`` (Ridge,
        Lasso, ...). Our own models are handed the intercept as a column that is zero in derivative
        rows. For those of scikit-learn the energy rows are centred and the fit is made without
        intercept, which for squared errors is the same; they compute in float64. A penalty counts
        against the sum over structures, each with weight 1 for its energy, and not against the
        mean. Those that hold out rows by themselves (RidgeCV, LassoCV) know no groups: rows of
        one structure fall on both sides.
    force_weight : float, default=None
        Weight of the mean squared force error, Å²/atom². None: `RidgePath` chooses it by the
        errors of groups that are held out, for other linear models it is 0.001, which makes a
        force error of 100 meV/Å count as much as an energy error of 3.2 meV/atom.
    stress_weight : float, default=None
        Weight of the mean squared stress error, Å⁶/atom². None: `RidgePath` chooses it, for
        other linear models it is 1, which makes a stress error of 1 meV/Å³ count as much as an
        energy error of 1 meV/atom.
    n_directions : int or "all", default=None
        None takes all for representations at the atoms, whose derivatives cost little, and 8 for
        others. Directions per structure along which forces are used: orthonormal random ones of all
        atoms at once, or all 3 N. At most 6 of them, likewise, serve the stress. Memory: every
        direction is a row of n_features numbers (float32 where the features are), of which a
        linear model makes two or three copies in float64. `RidgePath` makes none, but holds at most
        eight matrices of 4 n_features² bytes. `sklearn.linear_model.Ridge` sees only sums of
        squares, so that for it many rows (256 MiB) are added up as they come, and take the memory
        of n_features² numbers.
    random_state : int, RandomState instance or None, default=None
        Draws the directions.
    verbose : bool, default=False
        Print what is chosen.

    Attributes
    ----------
    features_ : estimator
        The fitted features.
    regressor_ : estimator
        The fitted linear model, which predicts eV/atom from the features.
    force_weight_, stress_weight_ : float
        The weights that were chosen, or given.
    n_rows_ : int
        Number of rows it was fitted on.

    See Also
    --------
    ScatteringCalculator : Use the model in ASE.
    prune : Compute only what the model needs.

    Notes
    -----
    The modulus of a map has edges where the map is zero, which no grid resolves: forces are exact
    derivatives of the energy on the grid, but do not sum to zero over the atoms. Training on
    forces suppresses this noise (``benchmarks/accuracy/forces.py`` measures it). In models of
    energies alone it can be as large as the forces, unless the ``smoothing`` of the features is
    well above its default, 0.03 to 0.1.

    References
    ----------
    X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
    dissertation, Michigan State University, equation (5.16).

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from sklearn.linear_model import Ridge
    >>> from skwavelet import EnergyForceRegressor, VoxelScattering, labels_of
    >>> structures = []
    >>> for seed in range(6):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(0.1, seed=seed)
    ...     atoms.calc = EMT()
    ...     structures.append(atoms)
    >>> labels = labels_of(structures)
    >>> features = VoxelScattering(n=[1], max_l=0, spacing=0.4, dtype="float64")
    >>> model = EnergyForceRegressor(features, Ridge(1e-8), random_state=0)
    >>> model = model.fit(structures, labels.energies, forces=labels.forces)
    >>> model.predict_forces(structures[:1])[0].shape
    (4, 3)
    """

    _parameter_constraints: ClassVar[dict] = {
        "features": [None, HasMethods(["fit", "transform"])],
        "regressor": [None, HasMethods(["fit", "predict"])],
        "force_weight": [None, Interval(Real, 0, None, closed="neither")],
        "stress_weight": [None, Interval(Real, 0, None, closed="neither")],
        "n_directions": [None, Interval(Integral, 1, None, closed="left"), StrOptions({"all"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        features: Any = None,
        regressor: Any = None,
        *,
        force_weight: float | None = None,
        stress_weight: float | None = None,
        n_directions: int | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.features = features
        self.regressor = regressor
        self.force_weight = force_weight
        self.stress_weight = stress_weight
        self.n_directions = n_directions
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Sequence[Atoms],
        y: ArrayLike,
        forces: Sequence[np.ndarray | None] | None = None,
        stress: Sequence[np.ndarray | None] | None = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the features and the linear model.

        Parameters
        ----------
        X : sequence of ase.Atoms
        y : array-like of shape (n_structures,)
            Energies, eV/atom.
        forces : sequence of array of shape (N, 3), default=None
            Forces of each structure, eV/Å; None or an array of NaN where there are none, which may
            be everywhere.
        stress : sequence of array of shape (6,), default=None
            Stress of each structure, eV/Å³, in ASE's sign and order (xx, yy, zz, yz, xz, xy);
            None or NaN where there is none.
        groups : array-like of shape (n_structures,), default=None
            Group of each structure (relaxation path). All rows of a structure, and all
            structures of a group, are drawn, held out or left out together by linear models
            that know groups. None: each structure is its own group.
        sample_weight : array-like of shape (n_structures,), default=None
            Weight of each structure, of its energy, forces and stress alike: 2 counts as two
            such structures, and 0 as if the structure were not there. None: 1.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If ``features`` contains a step that is not linear, or ``regressor`` is no linear
            model or takes no weights.
        ValueError
            If labels are missing, of the wrong shape or not finite; the message names the
            structure.
        """
        check_parameters(self)
        if self.features is not None:
            check_representations(self.features)
        X = as_atoms(X)
        check_structures(X)
        y = check_row_vector(y, len(X), "y")
        groups = check_groups(groups, len(X))
        forces, stress = check_forces(forces, X), check_stress(stress, X)
        weight = check_sample_weight(sample_weight, len(X))
        if not weight.all():  # as if they were not there, for the features too
            kept = np.flatnonzero(weight)
            X = [X[i] for i in kept]
            forces, stress = [forces[i] for i in kept], [stress[i] for i in kept]
            y, groups, weight = y[kept], groups[kept], weight[kept]
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31, size=4))
        if self.features is None:
            n_labels = len(X) + sum(label.size for label in forces if label is not None)
            n_elements = len({number for atoms in X for number in atoms.numbers})
            decay = chosen_decay(X, y, forces, groups, rng)
            self.features_ = default_features(n_elements, n_labels, decay)
        else:
            self.features_ = clone(self.features)
        if hasattr(self.features_, "fit_transform"):
            features = np.asarray(self.features_.fit_transform(X, y))
        else:  # a FrozenEstimator
            features = np.asarray(self.features_.transform(X))
        chain = feature_chain(self.features_)
        regressor = RidgePath() if self.regressor is None else self.regressor
        # Ridge sees nothing of its rows but sums of squares.
        rows = build_rows(
            chain, X, y, features, forces, stress, self.n_directions, rng, weight,
            condense=type(regressor) is Ridge, n_copies=copies_of_rows(regressor),
        )  # fmt: skip
        self.n_rows_ = len(rows)
        self._update_seed = int(rng.integers(2**31))
        given = {FORCE: self.force_weight, STRESS: self.stress_weight}
        start = np.array([WEIGHTS[k] if weight is None else weight for k, weight in given.items()])
        self.regressor_ = fit_rows(
            regressor,
            rows,
            groups,
            float(start[0]),
            float(start[1]),
            penalty_factors=getattr(self.features_, "penalty_factors_", None),
            free=[kind for kind, weight in given.items() if weight is None],
        )
        factors = np.ones(STRESS + 1)
        chosen = getattr(self.regressor_, "kind_weights_", factors)
        factors[: len(chosen)] = chosen
        self.force_weight_, self.stress_weight_ = (start * factors[[FORCE, STRESS]]).tolist()
        self._row_factors = rows.factors(self.force_weight_, self.stress_weight_)
        if self.verbose:
            print(f"{type(self).__name__}: {choice_text(choice_of(self))}")
        used = features[:, used_features(self.regressor_)]
        self._extrapolation = ExtrapolationScore().fit(used, groups=groups)
        self._deviations = main_deviations(self.regressor_, rows.parts_of(FORCE))
        # Only errors out of bag tell how standard deviations grow with remoteness.
        told = hasattr(self.regressor_, "oob_spread_")
        self._surroundings = Surroundings.of(X) if told else None
        self._errors = ErrorRecord.of(self.regressor_, rows, X, groups, self._surroundings)
        self._calibrate()
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def choice_of(model: EnergyForceRegressor) -> dict[str, float]:
    """Return what a fitted potential chose, or was given, by name, and how large it is."""
    chosen: dict[str, float] = {
        "rows": model.n_rows_,
        "features": int(feature_chain(model.features_).n_outputs),
    }
    if hasattr(model.regressor_, "alpha_"):
        chosen["alpha"] = model.regressor_.alpha_
    for name, kind in (("force_weight", FORCE), ("stress_weight", STRESS)):
        if model._row_factors[kind] > 0:
            chosen[name] = getattr(model, f"{name}_")
    return chosen


def choice_text(chosen: Mapping[str, float]) -> str:
    """Return a line of what `choice_of` returns."""
    choices = [f"{name}={chosen[name]:.2g}" for name in chosen if name not in ("rows", "features")]
    return ", ".join([f"{chosen['rows']} rows of {chosen['features']} features", *choices])


@split_model.register
def _(model: EnergyForceRegressor) -> tuple[Any, Any]:
    check_is_fitted(model)
    return model.features_, model.regressor_


@energy_model.register
def _(model: EnergyForceRegressor) -> EnergyModel:
    features, regressor = split_model(model)
    return LinearEnergyModel.of(
        features, regressor, model._deviations, model._calibrations, model._surroundings
    )
