"""How far structures, and atoms, leave those of the training set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import HasMethods, check_groups, check_parameters
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.representations.point import PointScattering
from skwavelet.structures.checks import as_atoms

# Variance, relative to that of a feature, of directions without extent in the training set.
_REGULARIZATION = 0.01
# About so many atoms have their features in memory at a time.
_ATOMS = 4096


@dataclass(frozen=True)
class Distance:
    """The regularized Mahalanobis distance of `ExtrapolationScore`.

    Features have mean and scale (n_features,), axes (n_axes, n_features) a variance each, and
    ``typical2`` is the mean squared distance of what the score is to be 1 for.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variance: np.ndarray
    typical2: float

    @classmethod
    def of(cls, rows: np.ndarray, groups: np.ndarray) -> Self:
        """Return the distance from rows (n, n_features) of groups, to which groups have one of 1.

        The typical distance is that of each group from the others. From a training set that it is
        part of, a row is never far if there are more features than rows.
        """
        mean = rows.mean(axis=0)
        scale = _scale(mean, rows.std(axis=0))
        Z = (rows - mean) / scale
        if len(Z) >= Z.shape[1]:
            found = cls._of_correlations(mean, scale, Z.T @ Z / len(Z))
        else:  # the smaller of the two matrices that share their nonzero eigenvalues
            variance, vectors = _principal(Z @ Z.T / len(Z))
            axes = (Z.T @ vectors / np.sqrt(variance * len(Z))).T
            found = cls._of_axes(mean, scale, variance, axes, np.square(Z).sum() / len(Z))
        if len(np.unique(groups)) < 2:
            return found
        typical2 = sum(found._left_out(Z[groups == one], len(Z)).sum() for one in np.unique(groups))
        return replace(found, typical2=float(typical2 / len(Z)) or 1.0)

    @classmethod
    def of_moments(cls, mean: np.ndarray, covariance: np.ndarray) -> Self:
        """Return the distance from means (n_features,) and covariances of features."""
        scale = _scale(mean, np.sqrt(np.diag(covariance)))
        return cls._of_correlations(mean, scale, covariance / np.outer(scale, scale))

    @classmethod
    def _of_correlations(cls, mean: np.ndarray, scale: np.ndarray, matrix: np.ndarray) -> Self:
        variance, vectors = _principal(matrix)
        return cls._of_axes(mean, scale, variance, vectors.T, np.trace(matrix))

    @classmethod
    def _of_axes(
        cls,
        mean: np.ndarray,
        scale: np.ndarray,
        variance: np.ndarray,
        axes: np.ndarray,
        total: float,
    ) -> Self:
        along = (variance / (variance + _REGULARIZATION)).sum()
        typical2 = float(along + max(total - variance.sum(), 0) / _REGULARIZATION)
        return cls(mean, scale, np.ascontiguousarray(axes), variance, typical2 or 1.0)

    def _left_out(self, Z: np.ndarray, n_rows: int) -> np.ndarray:
        """Return the squared distances of a group's standardized rows from the other rows.

        With H = Z (n C + n a)^-1 Z^T, leaving the group out of n C makes it (1 - H M)^-1 H by the
        formula of Sherman, Morrison and Woodbury, where M accounts for the mean of the others.
        """
        along = Z @ self.axes.T
        H = (along / (self.variance + _REGULARIZATION)) @ along.T
        H += (Z @ Z.T - along @ along.T) / _REGULARIZATION
        H /= n_rows
        n_others = n_rows - len(Z)
        M = np.eye(len(Z)) + 1 / n_others
        return n_others * np.diag(M @ np.linalg.solve(np.eye(len(Z)) - H @ M, H) @ M)

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Return the score (n,) of rows (n, n_features)."""
        Z = (rows - self.mean) / self.scale
        along = np.square(Z @ self.axes.T)
        across = np.maximum(np.square(Z).sum(axis=1) - along.sum(axis=1), 0)
        distance2 = along @ (1 / (self.variance + _REGULARIZATION)) + across / _REGULARIZATION
        return np.asarray(np.sqrt(distance2 / self.typical2))


def _scale(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return standard deviations of at least the rounding errors of float32."""
    size = np.hypot(mean, std)
    return np.maximum(std, 10 * np.finfo(np.float32).eps * np.where(size > 0, size, 1.0))


def _principal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues that stand out from the regularization, falling, and eigenvectors."""
    variance, vectors = eigh(matrix, subset_by_value=(0.01 * _REGULARIZATION, np.inf))
    return variance[::-1], vectors[:, ::-1]


class ExtrapolationScore(DocumentedMixin, VersionedMixin, BaseEstimator):
    r"""How far rows of features leave those of the training set.

    The Mahalanobis distance of a row z of standardized features, regularized so that directions
    in which the training set does not extend count as if it extended a tenth of a standard
    deviation, relative to its root mean square over groups of the training set, each seen from
    the others:

    .. math:: s(z)^2 = \frac{z^T (C + a)^{-1} z}{\langle z_g^T (C_{-g} + a)^{-1} z_g \rangle},
        \quad a = 0.01

    with C the correlations of the features, and C_{-g} those without group g. It is about 1 for
    structures like those of the training set, whatever the features, several for strained cells,
    and thousands where a feature depends on the box, say a wavelet too wide for it, rather than on
    the structure.

    `EnergyForceRegressor` keeps one for its own features. Behind a representation in a Pipeline,
    it serves any other model: ``make_pipeline(VoxelScattering(), ExtrapolationScore())`` has
    ``fit`` and ``score_samples`` for structures.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,)
        Mean of each feature, and its standard deviation (at least the rounding error of float32).
    axes_ : ndarray of shape (n_axes, n_features)
        Principal axes of the standardized features that stand out from the regularization.
    variance_ : ndarray of shape (n_axes,)
        Variances along the axes.
    n_features_in_ : int
        Number of features seen in fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet import ExtrapolationScore
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> ExtrapolationScore().fit(X).score_samples([[0, 1, 0], [10, 0, 0]]).round(1)
    array([0.6, 5.9])
    """

    def fit(self, X: ArrayLike, y: Any = None, groups: ArrayLike | None = None) -> Self:
        """Learn where the training set lies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        groups : array-like of shape (n_samples,), default=None
            Groups of samples that are alike, such as the frames of a path; new ones are as far
            from the training set as these are from each other. None: each sample is its own.

        Returns
        -------
        self
        """
        rows: np.ndarray = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        distance = Distance.of(rows, check_groups(groups, len(rows)))
        self.mean_, self.scale_ = distance.mean, distance.scale
        self.axes_, self.variance_ = distance.axes, distance.variance
        self._typical2 = distance.typical2
        return self

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the score of each row, about 1 inside the training set and more outside.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        rows: np.ndarray = validate_data(self, X, dtype=np.float64, reset=False)
        distance = Distance(self.mean_, self.scale_, self.axes_, self.variance_, self._typical2)
        return distance.score(rows)


class AtomExtrapolationScore(DocumentedMixin, VersionedMixin, BaseEstimator):
    """How far the surroundings of atoms leave those of the atoms of the training set.

    The score of `ExtrapolationScore`, of the features of every atom, among the atoms of its
    element. A single strange atom among ten thousand hardly changes the features of its structure,
    which are averages over the atoms; here its own score is large.

    Parameters
    ----------
    representation : estimator, default=None
        A representation at the atoms, `PointScattering` or `AngularFeatures`, or a FrozenEstimator
        of one that is fitted, such as the ``features_`` of a potential. None is
        ``PointScattering()``.

    Attributes
    ----------
    representation_ : estimator
        The fitted representation.
    elements_ : list of str
        Chemical symbols in the training set.

    See Also
    --------
    ExtrapolationScore : The same for structures as a whole.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from skwavelet import AtomExtrapolationScore, PointScattering
    >>> structures = [bulk("Cu", cubic=True) * 2 for _ in range(4)]
    >>> for seed, atoms in enumerate(structures):
    ...     atoms.rattle(0.05, seed=seed)
    >>> score = AtomExtrapolationScore(PointScattering((1, 2), 1)).fit(structures)
    >>> strange = bulk("Cu", cubic=True) * 6
    >>> strange.rattle(0.05, seed=9)
    >>> strange.positions[500] += [0.5, 0.3, 0.1]
    >>> (scores,) = score.score_atoms([strange])
    >>> len(scores), int(np.argmax(scores))
    (864, 500)
    """

    _parameter_constraints: ClassVar[dict] = {
        "representation": [None, HasMethods(["fit", "transform_atoms"])],
    }

    def __init__(self, representation: Any = None):
        self.representation = representation

    def fit(self, X: Iterable[Atoms], y: Any = None) -> Self:
        """Learn where the atoms of the training set lie.

        Parameters
        ----------
        X : sequence of ase.Atoms
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the representation has no features of every atom.
        ValueError
            If a structure is unusable; the message names its index.
        """
        check_parameters(self)
        X = as_atoms(X)
        representation = PointScattering() if self.representation is None else self.representation
        self.representation_ = clone(representation).fit(X, None)
        moments: dict[str, _Moments] = {}
        for symbols, values in self._batches(X):
            for symbol in np.unique(symbols).tolist():
                rows = self._own_features(values[symbols == symbol], symbol)
                moments.setdefault(symbol, _Moments(rows)).add(rows)
        self.elements_ = sorted(moments)
        self._distances = {symbol: moments[symbol].distance() for symbol in self.elements_}
        return self

    def score_atoms(self, X: Iterable[Atoms]) -> list[np.ndarray]:
        """Return the score of every atom, about 1 inside the training set and more outside.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        list of ndarray of shape (N,)
            One array per structure, in the order of its atoms.
        """
        check_is_fitted(self)
        X = as_atoms(X)
        scores = []
        for symbols, values in self._batches(X):
            found = np.empty(len(symbols))
            for symbol in np.unique(symbols).tolist():
                own = symbols == symbol
                if symbol not in self._distances:  # declared to the representation, but not seen
                    found[own] = np.inf
                    continue
                found[own] = self._distances[symbol].score(self._own_features(values[own], symbol))
            scores.append(found)
        ends = np.cumsum([len(atoms) for atoms in X])
        return np.split(np.concatenate(scores), ends[:-1])

    def score_samples(self, X: Iterable[Atoms]) -> np.ndarray:
        """Return the score of the strangest atom of each structure.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        ndarray of shape (n_structures,)
        """
        return np.array([scores.max() for scores in self.score_atoms(X)])

    def _own_features(self, values: np.ndarray, symbol: str) -> np.ndarray:
        """Return the features of atoms of one element that are not those of other elements."""
        table = self.representation_.feature_table_
        if "center" in table:
            own = (table["center"] == symbol).to_numpy(dtype=bool, na_value=True)
            values = values[:, own]
        return values.astype(np.float64)

    def _batches(self, X: Sequence[Atoms]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield elements (n,) and features (n, n_features) of the atoms of a few structures."""
        batch_of = np.cumsum([len(atoms) for atoms in X]) // _ATOMS
        for number in np.unique(batch_of):
            batch = [X[index] for index in np.flatnonzero(batch_of == number).tolist()]
            symbols = np.concatenate([np.array(atoms.symbols) for atoms in batch])
            yield symbols, np.concatenate(self.representation_.transform_atoms(batch))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


class _Moments:
    """Mean and covariance of rows that come a few at a time."""

    def __init__(self, first: np.ndarray):
        # Sums of deviations from about the mean do not lose the digits of constant features.
        self.about = first.mean(axis=0)
        self.count = 0
        self.total = np.zeros(len(self.about))
        self.products = np.zeros((len(self.about), len(self.about)))

    def add(self, rows: np.ndarray) -> None:
        rows = rows - self.about
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows

    def distance(self) -> Distance:
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        return Distance.of_moments(self.about + mean, covariance)
