"""``AtomKernel``: a kernel between atoms and landmark atoms, before the sum over the atoms."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from ase import Atoms
from sklearn.utils import check_random_state

from skwavelet._utils.validation import Interval, StrOptions
from skwavelet.representations.atomwise.base import AtomwiseTransformer
from skwavelet.representations.atomwise.kernel_evaluator import (
    KernelEvaluator,
    LandmarkPaths,
    Landmarks,
)
from skwavelet.representations.atomwise.kernels import GaussianKernel, Kernel, PolynomialKernel
from skwavelet.representations.atomwise.landmarks import Candidates, choose, shares, whitening
from skwavelet.representations.point import PointScattering


class AtomKernel(AtomwiseTransformer):
    r"""A kernel between atoms and landmark atoms of the same element.

    A representation at the atoms gives every atom i features x(i). With k a kernel and
    :math:`z_m` the features of M landmarks, atoms of the training set, the sums

    .. math::

        \kappa_m = \sum_{i:\ Z_i = Z_m} k(x(i), z_m)

    are features in which linear models have the accuracy of kernel regression: ridge regression
    with them is the projected-process approximation of a Gaussian process, on energies, forces and
    stresses alike. They are nearly collinear. What is returned is
    :math:`\phi = \kappa L^{-T}`, with :math:`K = L L^T` the kernels among the landmarks, for which
    the penalty of ridge is the norm of the kernel.

    Parameters
    ----------
    representation : estimator, default=None
        A transformer with features of every atom: `PointScattering`, `AngularFeatures`, or another
        one of this kind. Squared moduli serve a kernel better than moduli, and elements are told
        apart here: None stands for ``PointScattering(powers=(2,), centers="all")``.
    n_landmarks : int, default=2000
        Number of landmarks, shared out among the elements in proportion to their atoms. The more
        the better; cost and memory of training grow as their square.
    kernel : {"gaussian", "polynomial"}, default="gaussian"
        exp(-d^2 / (2 w^2)) of the distance d of features, or (1 + p / w^2)^degree of their inner
        product p. Features of every element have mean 0 and standard deviation 1.
    width : float, default=10.0
        The width w, in units of the root mean square length of the features, which is the square
        root of their number.
    degree : int, default=3
        Of the polynomial kernel.
    landmarks : {"random", "farthest", "leverage"}, default="random"
        Which atoms become landmarks: random ones; each the farthest from those before; or random
        ones that are the likelier the less others stand for them.
    displacement : float, default=0.1
        If X has fewer different atoms than ``n_landmarks``, the others come from copies of its
        structures, whose atoms are displaced at random by this standard deviation (Å) along every
        axis. 0 for none.
    normalize : {"atoms"} or None, default="atoms"
        Divide by the number of atoms, or not. That of the representation has no effect.
    random_state : int, RandomState instance or None, default=None
        Draws landmarks and displacements.
    dtype : {"float32", "float64"}, default="float64"
        Of the features. Kernels are computed in double precision anyway; the features of atoms
        may be in single precision.
    n_jobs : int, default=None
        Number of processes over structures; None means one.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    representation_ : estimator
        The fitted representation.
    n_landmarks_ : int
        Number of landmarks. Those that are sums of others but for rounding are left out.
    min_distance_ : float
        Smallest interatomic distance in X (Å).
    elements_ : list of str
        Chemical symbols, declared or seen in ``fit``.
    channels_ : DataFrame
        Weights, element by channel.
    feature_table_ : DataFrame
        One row per feature: channel and center (the element), order (1), q (1), landmark (its
        number). A feature is what a landmark adds to those before it.
    n_features_out_ : int
        Number of features.

    See Also
    --------
    AtomPolynomial : Products of features instead: less accurate, sparse, and readable.

    Notes
    -----
    An element that is declared but has no atom in X has no landmarks, and adds nothing.

    Rows of forces cost 6 F M operations for each pair of an atom and a neighbour, with F features
    of the representation. A few hundred features are enough.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import AtomKernel
    >>> structures = [bulk("Si", a=a, cubic=True) for a in (5.3, 5.4, 5.5)]
    >>> kernel = AtomKernel(n_landmarks=10, random_state=0).fit(structures)
    >>> features = kernel.transform(structures)
    >>> features.shape == (3, kernel.n_landmarks_)
    True
    """

    _parameter_constraints = {
        **AtomwiseTransformer._parameter_constraints,
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "kernel": [StrOptions({"gaussian", "polynomial"})],
        "width": [Interval(Real, 0, None, closed="neither")],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "landmarks": [StrOptions({"random", "farthest", "leverage"})],
        "displacement": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        representation: Any = None,
        n_landmarks: int = 2000,
        *,
        kernel: str = "gaussian",
        width: float = 10.0,
        degree: int = 3,
        landmarks: str = "random",
        displacement: float = 0.1,
        normalize: str | None = "atoms",
        random_state: int | np.random.RandomState | None = None,
        dtype: str = "float64",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.representation = representation
        self.n_landmarks = n_landmarks
        self.kernel = kernel
        self.width = width
        self.degree = degree
        self.landmarks = landmarks
        self.displacement = displacement
        self.normalize = normalize
        self.random_state = random_state
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    _evaluator: KernelEvaluator

    def _default(self) -> Any:
        return PointScattering(powers=(2,), centers="all")

    def _learn_functions(self, X: list[Atoms]) -> None:
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31, size=4))
        atoms = self._atoms_by_element(X)
        candidates = [Candidates.of(x) for x in atoms]
        missing = self.n_landmarks - sum(len(c.vectors) for c in candidates)
        if missing > 0 and self.displacement > 0:
            more = self._displaced(X, missing, rng)
            candidates = [
                Candidates.of(np.concatenate(parts)) for parts in zip(atoms, more, strict=True)
            ]
        sizes = shares(np.array([len(c.vectors) for c in candidates]), self.n_landmarks)
        learned = tuple(
            self._learn_landmarks(c, size, rng) for c, size in zip(candidates, sizes, strict=True)
        )
        counts = [marks.mixing.shape[1] for marks in learned]
        self.n_landmarks_ = sum(counts)
        element = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([np.arange(count) for count in counts])
        self.feature_table_ = self._table(element, place)
        self._evaluator = KernelEvaluator(
            **self._state_of_evaluator(LandmarkPaths.of(element, place)), landmarks=learned
        )

    def _learn_landmarks(
        self, candidates: Candidates, size: int, rng: np.random.Generator
    ) -> Landmarks:
        """Return the landmarks of an element."""
        standard = candidates.columns, candidates.mean, candidates.scale
        kernel = self._kernel(max(1, len(candidates.columns)))
        y = candidates.vectors
        vectors = y[choose(y, size, self.landmarks, kernel, rng)]
        if not len(vectors):
            return Landmarks(*standard, vectors, np.zeros((0, 0)), kernel)
        kept, mixing = whitening(kernel.between(vectors, vectors))
        return Landmarks(*standard, vectors[kept], mixing, kernel)

    def _kernel(self, n_features: int) -> Kernel:
        gaussian = self.kernel == "gaussian"
        width = self.width * np.sqrt(n_features)
        return GaussianKernel(width) if gaussian else PolynomialKernel(width, self.degree)

    def _atoms_by_element(self, X: list[Atoms]) -> list[np.ndarray]:
        """Return the features (n_atoms, F) of all atoms of every element."""
        numbers = np.concatenate([atoms.numbers for atoms in X])
        values = np.concatenate(self.representation_.transform_atoms(X)).astype(np.float64)
        return [values[numbers == number] for number in self._atomic_numbers]

    def _displaced(self, X: list[Atoms], n_atoms: int, rng: np.random.Generator) -> list:
        """Return atoms of displaced copies, ``n_atoms`` of them or a few more."""
        # Whatever the order of the structures, the copies are the same.
        X = sorted(X, key=lambda atoms: (atoms.numbers.tobytes(), atoms.positions.tobytes()))
        copies: list[Atoms] = []
        while sum(map(len, copies)) < n_atoms:
            copy = X[rng.integers(len(X))].copy()
            copy.positions += rng.normal(scale=self.displacement, size=(len(copy), 3))
            copies.append(copy)
        return self._atoms_by_element(copies)

    def combined(self, matrix: Any) -> tuple[Self, Any]:
        """Return a fitted copy with features of which few are left, and what multiplies those.

        Parameters
        ----------
        matrix : array or sparse array of shape (n_features, n_outputs)

        Returns
        -------
        transformer : AtomKernel
            Its features are those of every element times ``matrix``, the matrices multiplied
            beforehand.
        matrix : ndarray of shape (n_features of the copy, n_outputs)
            The copy's features times it are the features times ``matrix``.
        """
        n_outputs = matrix.shape[1]
        if n_outputs * len(self.elements_) >= self.n_features_out_:
            return self, matrix
        combined = copy.copy(self)
        combined._evaluator = self._evaluator.combined(np.asarray(matrix))
        paths = combined._evaluator.paths
        combined.feature_table_ = self._table(paths.element, paths.place)
        combined.n_features_out_ = len(paths)
        return combined, np.tile(np.eye(n_outputs), (len(self.elements_), 1))

    def _table(self, element: np.ndarray, place: np.ndarray) -> pd.DataFrame:
        symbols = np.array(self.elements_, dtype=object)[element]
        return pd.DataFrame(
            {"channel": symbols, "center": symbols, "order": 1, "q": 1.0, "landmark": place}
        )

    def _feature_names(self) -> list[str]:
        table = self.feature_table_
        return [f"{s}_landmark{k}" for s, k in zip(table["center"], table["landmark"], strict=True)]
