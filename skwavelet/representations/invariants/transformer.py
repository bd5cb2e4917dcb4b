"""``PointInvariants``: products of wavelet moments, and roots of densities, at the atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd

from skwavelet._utils.validation import Interval, StrOptions
from skwavelet.representations.atom_features import AtomFeaturesMixin
from skwavelet.representations.invariants.densities import density_table
from skwavelet.representations.invariants.evaluator import InvariantEvaluator, InvariantPaths
from skwavelet.representations.invariants.products import Products, invariant_products
from skwavelet.representations.invariants.radials import WaveletFamily, contract
from skwavelet.representations.point.tabulated import TabulatedMoments
from skwavelet.representations.tables import penalty_factors
from skwavelet.structures.cell_list import PairFinder
from skwavelet.structures.checks import Structure

# Radial functions of one or two elements, by degree.
COMPONENTS = (8, 7, 6, 6, 5, 5, 4)
# Radial functions are learned from about this many atoms.
LEARNING_ATOMS = 4000
# Invariants that vary by less than this part of themselves are constant but for rounding.
CONSTANT = 1e-7
# Moments have unit variance: invariants below this are zero in all of the training set.
VANISHING = 1e-6


class PointInvariants(AtomFeaturesMixin):
    r"""Invariants of wavelet moments and roots of densities at the atoms.

    The moments of atom i are the maps of its neighbours' density with wavelets,

    .. math::

        A_{k l m}(i) = \sum_{j \ne i} R^{Z_i Z_j}_{kl}(r_{ij})\, Y_{lm}(\hat r_{ij}),

    with radial functions :math:`R_{kl}` that are combinations of the wavelets of all n up to ``n``
    and ``n_scales`` octaves, times :math:`(1 - r^2/r_c^2)^p`. The combinations, over wavelets and
    elements of the neighbour at once, are the principal components of the moments of atoms of one
    element in the training set, with unit variance: each element has its own. Products of one, two
    and three moments that are coupled to invariants
    see two, three and four atoms,

    .. math::

        A_{k00}, \qquad \sum_m A_{k l m} A_{k' l m}, \qquad
        \sum_{m m' m''} C^{l l' l''}_{m m' m''} A_{k l m} A_{k' l' m'} A_{k'' l'' m''},

    with C the integral of three real spherical harmonics. Wavelets become flat where atoms are
    closer than in any training structure, and products of few moments do not saturate with the
    number of neighbours. Densities and their square roots, as the embedded atom potentials of
    metals have them [2]_, do,

    .. math::

        \rho_k(i) = c_k \sum_{j \ne i} w^{Z_j}\, e^{-k r_{ij}} f(r_{ij}), \qquad
        \sqrt{\rho_k(i) + \epsilon} - \sqrt{\epsilon},

    where f falls from 1 to 0 in the last third of the reach, c makes the mean of the density 1 over
    the training atoms of an element, and epsilon is 0.001. The weights are 1 for all neighbours;
    with several elements, there is another density for each, in which those of the others are 0.3.

    The invariants of an atom are divided by their standard deviation over the training atoms of its
    element, and summed over the atoms of each element.

    Where `PointScattering` has a modulus of each wavelet by itself, these are all products: the
    basis of the atomic cluster expansion [1]_, in wavelets. Products of invariants
    (`AtomPolynomial`) see further atoms.

    Parameters
    ----------
    n_components : sequence of int, default=None
        Number of radial functions of every degree l = 0, 1, ... None is (8, 7, 6, 6, 5, 5, 4) for
        one or two elements, and one more of every degree for each further element, since the
        functions have to tell all elements apart.
    max_order : {1, 2, 3}, default=3
        Largest number of moments in a product.
    max_degree : float, default=9.0
        Products of three moments have a sum of k + l / 2 of at most this, k = 0, 1, ...
    densities : sequence of float, default=(1.0, 2.0, 3.0, 4.0)
        Exponents k (1/Å) of the densities; () for none.
    n : int, default=7
        Largest radial order of the wavelets.
    n_scales : int, default=4
        Number of scales, an octave apart.
    beta : float, default=0.45
        Width of the narrowest wavelet (Å).
    reach : float, default=6.0
        Largest distance (Å) at which atoms act on each other.
    decay : int, default=3
        Exponent p with which the radial functions fall off towards the reach, 2 at least. The
        larger it is, the more the principal components tell of near neighbours and the less of
        the many far ones, which move more.
    elements : sequence of str, default=None
        Chemical symbols of all elements that may occur. None takes those of X.
    normalize : {"atoms"} or None, default="atoms"
        Divide by the number of atoms, or not.
    dtype : {"float32", "float64"}, default="float32"
        Of moments and features.
    n_jobs : int, default=None
        Processes over structures; None is one, unless in a `joblib.parallel_config` context. A
        single structure stays in this process, where it gets as many threads, if it is large, and
        no more than ``OMP_NUM_THREADS``. Results do not depend on it.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    min_distance_ : float
        Smallest interatomic distance in X (Å).
    elements_ : list of str
        Chemical symbols, declared or seen in ``fit``.
    channels_ : DataFrame
        Weights, element by channel: one channel for each element.
    kept_variance_ : ndarray of shape (n_elements, n_degrees)
        Part of the variance of the moments of each degree that the radial functions keep, for the
        atoms of every element.
    feature_table_ : DataFrame
        One row per feature: channel (the element, for order zero), center (element whose atoms
        are summed over), order (number of moments), k1, l1, k2, l2, k3, l3 of the moments,
        density (number of the density, which is a moment of its own), radial and angular (the
        sums of k and of l), q (1, and 1/2 for roots).
    n_features_out_ : int
        Number of features.

    See Also
    --------
    PointScattering : Moduli of single wavelets.
    AtomPolynomial : Products of these invariants.

    References
    ----------
    .. [1] R. Drautz, *Atomic cluster expansion for accurate and transferable interatomic
       potentials*, Phys. Rev. B 99, 014104 (2019).
    .. [2] M. W. Finnis and J. E. Sinclair, *A simple empirical N-body potential for transition
       metals*, Philos. Mag. A 50, 45 (1984).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import PointInvariants
    >>> structures = [bulk("Si", cubic=True) for _ in range(3)]
    >>> for seed, atoms in enumerate(structures):
    ...     atoms.rattle(0.1, seed=seed)
    >>> invariants = PointInvariants((2, 2, 1), max_order=2, densities=(2.0,)).fit(structures)
    >>> invariants.transform(structures).shape
    (3, 9)
    >>> invariants.get_feature_names_out()[[0, 1, 3, 4, 8]].tolist()
    ['Si_q1', 'Si_k0l0', 'Si_density0_q1', 'Si_k0l1_k0l1', 'Si_density0_q1/2']
    """

    _parameter_constraints = {
        "n_components": [None, "array-like"],
        "max_order": [Interval(Integral, 1, 3, closed="both")],
        "max_degree": [Interval(Real, 0, None, closed="left")],
        "densities": ["array-like"],
        "n": [Interval(Integral, 1, None, closed="left")],
        "n_scales": [Interval(Integral, 1, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "reach": [Interval(Real, 0, None, closed="neither")],
        "decay": [Interval(Integral, 2, None, closed="left")],
        "elements": [None, "array-like"],
        "normalize": [None, StrOptions({"atoms"})],
        "dtype": [StrOptions({"float32", "float64"})],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }
    channels = "elements"

    def __init__(
        self,
        n_components: Sequence[int] | None = None,
        max_order: int = 3,
        max_degree: float = 9.0,
        *,
        densities: Sequence[float] = (1.0, 2.0, 3.0, 4.0),
        n: int = 7,
        n_scales: int = 4,
        beta: float = 0.45,
        reach: float = 6.0,
        decay: int = 3,
        elements: Sequence[str] | None = None,
        normalize: str | None = "atoms",
        dtype: str = "float32",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.max_order = max_order
        self.max_degree = max_degree
        self.densities = densities
        self.n = n
        self.n_scales = n_scales
        self.beta = beta
        self.reach = reach
        self.decay = decay
        self.elements = elements
        self.normalize = normalize
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def penalty_factors_(self) -> np.ndarray:
        """Factors (n_features,) of the penalty of a linear model, which `RidgePath` takes."""
        return penalty_factors(self.feature_table_)

    def _learn(self, structures: list[Structure]) -> None:
        elements = self._atomic_numbers
        counts = np.asarray(self.n_components)
        if self.n_components is None:
            counts = np.add(COMPONENTS, max(0, len(elements) - 2))[: self.n]
        if not np.issubdtype(counts.dtype, np.integer) or counts.ndim != 1 or (counts < 1).any():
            raise ValueError(
                "n_components must hold positive integers, one for every degree l = 0, 1, ..., "
                f"not {self.n_components!r}."
            )
        if len(counts) > self.n:
            raise ValueError(
                f"n_components has degrees up to l={len(counts) - 1}, but wavelets have l < n: "
                f"set n={len(counts)} or more, or name fewer degrees."
            )
        exponents = np.asarray(self.densities, dtype=float)
        if exponents.ndim != 1 or not (exponents > 0).all() or not np.isfinite(exponents).all():
            raise ValueError(
                f"densities must hold positive exponents (1/Å), not {self.densities!r}; () is none."
            )
        family = WaveletFamily(self.beta, self.n, self.n_scales, self.reach, self.decay)
        some = _some(structures)
        degrees, table, self.kept_variance_ = contract(family, counts.tolist(), some, elements)
        densities = density_table(exponents, self.reach, some, elements)
        n_densities, behind = densities.shape[-1], np.count_nonzero(degrees == 0)
        parts = table[..., :behind], densities, table[..., behind:]
        degrees = np.concatenate([np.zeros(n_densities, dtype=int), degrees])
        moments = TabulatedMoments(
            degrees, self.dtype, np.concatenate(parts, axis=-1), self.reach, True
        )
        products = invariant_products(moments.layout, n_densities, self.max_order, self.max_degree)
        scales = _scales(moments, products, structures, elements)
        paths = _paths(products, len(elements))
        self.feature_table_ = _table(paths, products, self.elements_)
        self._evaluator = InvariantEvaluator(
            **self._shared_state(paths, (1.0,)),
            moments=moments,
            products=products,
            scales=scales,
        )

    def _feature_names(self) -> list[str]:
        table = self.feature_table_
        names = table["channel"].astype(object).where(table["order"] == 0, table["center"])
        names = names.astype(str) + np.where(table["order"] == 0, "_q1", "")
        density = "_density" + table["density"].astype(str) + "_q"
        density += np.where(table["q"] == 1, "1", "1/2")
        names += density.where(table["density"].notna(), "")
        for factor in "123":
            k, l = table[f"k{factor}"], table[f"l{factor}"]
            part = "_k" + k.astype(str) + "l" + l.astype(str)
            names += part.where(k.notna(), "")
        return names.tolist()


def _some(structures: list[Structure]) -> list[Structure]:
    """Return every so many structures, with about ``LEARNING_ATOMS`` atoms and all elements."""
    n_atoms = sum(map(len, structures))
    step = max(1, n_atoms // LEARNING_ATOMS)
    some = structures[::step]
    seen = set().union(*(structure.elements for structure in some))
    for structure in structures:
        if not seen.issuperset(structure.elements):
            some.append(structure)
            seen.update(structure.elements)
    return some


def _scales(
    moments: TabulatedMoments,
    products: Products,
    structures: list[Structure],
    elements: Sequence[int],
) -> np.ndarray:
    """Return inverse deviations (n_elements, n_products) over the atoms of elements.

    The inverse root mean square where an invariant does not vary.
    """
    shape = (len(elements), len(products))
    sums, squares, counts = np.zeros(shape), np.zeros(shape), np.zeros((len(elements), 1))
    double = replace(moments, dtype="float64")
    for structure in structures:
        for pairs in PairFinder(structure, elements, moments.reach, "float64").blocks():
            values = products.values(double.values(pairs)[0])
            members = pairs.kinds == np.arange(len(elements))[:, None]
            sums += members @ values.T
            squares += members @ np.square(values).T
            counts += members.sum(axis=1, keepdims=True)
    means = sums / np.maximum(counts, 1)
    squares /= np.maximum(counts, 1)
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    sizes = np.where(deviations > CONSTANT * np.sqrt(squares), deviations, np.sqrt(squares))
    return 1 / np.where(sizes > VANISHING, sizes, 1)


def _paths(products: Products, n_elements: int) -> InvariantPaths:
    orders = np.array([len(factors) for factors in products.factors])
    n_products, kinds = len(products), np.arange(n_elements)
    none = np.full(n_elements, -1)
    return InvariantPaths(
        order=np.concatenate([np.zeros(n_elements, dtype=int), np.tile(orders, n_elements)]),
        channel=np.concatenate([kinds, np.full(n_products * n_elements, -1)]),
        center=np.concatenate([none, np.repeat(kinds, n_products)]),
        product=np.concatenate([none, np.tile(np.arange(n_products), n_elements)]),
    )


def _table(paths: InvariantPaths, products: Products, elements: Sequence[str]) -> pd.DataFrame:
    symbols = np.array([*elements, None], dtype=object)
    table = pd.DataFrame({"channel": np.array([*elements, ""], dtype=object)[paths.channel]})
    table["center"] = pd.array(symbols[paths.center], dtype="string")
    table["order"] = paths.order
    columns = np.full((len(products) + 1, 7), -1)
    densities = [products.factors[row] for row in products.roots]
    for row, factors in enumerate(products.factors):
        if factors in densities:
            columns[row, -1] = densities.index(factors)
        else:
            columns[row, : 2 * len(factors)] = [x for l, k in factors for x in (k, l)]
    for place, name in enumerate(("k1", "l1", "k2", "l2", "k3", "l3", "density")):
        values = columns[paths.product, place]
        table[name] = pd.array(np.where(values < 0, 0, values), dtype="Int64")
        table.loc[values < 0, name] = pd.NA
    for name, first in (("radial", 0), ("angular", 1)):
        table[name] = np.maximum(columns[:, first:6:2], 0).sum(axis=1)[paths.product]
    table["q"] = np.where(np.isin(paths.product, products.roots), 0.5, 1.0)
    return table
