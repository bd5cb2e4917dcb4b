"""``AtomPolynomial``: products of the features of every atom, before they are summed."""

from __future__ import annotations

from itertools import chain, combinations_with_replacement
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from skwavelet._utils.validation import Interval
from skwavelet.representations.atomwise.base import AtomwiseTransformer
from skwavelet.representations.atomwise.polynomial_evaluator import (
    PolynomialEvaluator,
    ProductPaths,
)
from skwavelet.representations.tables import penalty_factors

# A variance below this part of the mean square is rounding.
CONSTANT = 1e-10


class AtomPolynomial(AtomwiseTransformer):
    r"""Products of the features of every atom, before they are summed over the atoms.

    A representation at the atoms gives every atom i features :math:`x_a(i)`, whose sums over the
    atoms are what it returns. A linear model of these sums knows no products of an atom's features.
    Here they are features of their own,

    .. math::

        \phi_{a} = \sum_i x_a(i), \qquad
        \phi_{ab} = \frac{1}{\sqrt{s_a s_b}} \sum_i x_a(i)\, x_b(i), \qquad
        \phi_{abc} = \frac{1}{(s_a s_b s_c)^{2/3}} \sum_i x_a(i)\, x_b(i)\, x_c(i),

    with :math:`s_a` the root mean square of :math:`x_a` in the training set (its standard deviation
    with ``center=True``), so that all features are of the size of the representation's own. Linear
    models of them are the atomic cluster expansion's in another basis: with three-body features
    :math:`x_a`, products of two see five atoms at a time.

    With F features of order 1 or 2 per element there are F (F + 1) / 2 products of two and
    F (F + 1) (F + 2) / 6 of three, for each of the elements. Choose few: one power, few channels.

    Parameters
    ----------
    representation : estimator, default=None
        A transformer with features of every atom: `PointScattering`, `AngularFeatures`, or another
        one of this kind. None stands for ``PointScattering(powers=(1,))``.
    degree : int, default=2
        Largest number of factors, at most 3. With 1 the features are those of the representation.
    center : bool, default=False
        Whether factors are taken from their mean over the training atoms of their element: a
        product x y becomes (x - <x>) (y - <y>) - <x> <y>, which is zero for an atom without
        neighbours. Products then correlate less with their factors.
    max_order : int, default=None
        Largest sum of the orders of the factors of a product; None is any. With `PointInvariants`,
        whose order is the number of moments, 4 leaves at most five atoms in a product.
    max_products : int, default=None
        Largest number of products of two and three factors for each element; None is all. The
        smoothest are taken: those with the least sum of the factors' ``radial`` and ``angular``
        columns, or n, l and j, in their feature table.
    normalize : {"atoms"} or None, default="atoms"
        Divide by the number of atoms, or not. That of the representation has no effect.
    dtype : {"float32", "float64"}, default="float32"
        Of the features.
    n_jobs : int, default=None
        Number of processes over structures; None means one.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    representation_ : estimator
        The fitted representation.
    min_distance_ : float
        Smallest interatomic distance in X (Å).
    elements_ : list of str
        Chemical symbols, declared or seen in ``fit``.
    channels_ : DataFrame
        Weights, element by channel.
    feature_table_ : DataFrame
        One row per feature: channel (those of the factors), center (element whose atoms are
        summed over, where they are told apart), order (the largest of the factors), q (the sum of
        those of the factors), degree, and the names factor1, factor2, factor3 of the factors.
    n_features_out_ : int
        Number of features.

    See Also
    --------
    AtomKernel : A kernel instead of products: more accurate, and not to be read.
    prune : Compute only the products that a model needs, and only their factors.

    Notes
    -----
    Features of different centres are not multiplied, as no atom has both, and features of order
    zero are no factors, as they are constant. Neither are densities of `PointInvariants` and their
    roots, which see all neighbours as they are.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import AtomPolynomial, PointScattering
    >>> structures = [bulk("Si", a=a, cubic=True) for a in (5.3, 5.4, 5.5)]
    >>> scattering = PointScattering((1, 2), 1, channels=["number"], powers=(2,), n_scales=1)
    >>> polynomial = AtomPolynomial(scattering).fit(structures)
    >>> polynomial.transform(structures).shape
    (3, 10)
    >>> polynomial.get_feature_names_out()[[1, -1]]
    array(['number_atSi_n1l0j0_q2',
           'number_atSi_n2l1j0_q2*number_atSi_n2l1j0_q2'], dtype=object)
    """

    _parameter_constraints = {
        **AtomwiseTransformer._parameter_constraints,
        "degree": [Interval(Integral, 1, 3, closed="both")],
        "center": ["boolean"],
        "max_order": [None, Interval(Integral, 1, None, closed="left")],
        "max_products": [None, Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        representation: Any = None,
        degree: int = 2,
        *,
        center: bool = False,
        max_order: int | None = None,
        max_products: int | None = None,
        normalize: str | None = "atoms",
        dtype: str = "float32",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.representation = representation
        self.degree = degree
        self.center = center
        self.max_order = max_order
        self.max_products = max_products
        self.normalize = normalize
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def penalty_factors_(self) -> np.ndarray | None:
        """Factors (n_features,) of the penalty of a linear model; None if nothing tells them."""
        table = self.feature_table_
        if "radial" not in table:
            return None
        return penalty_factors(table)

    def _learn_functions(self, X: list[Atoms]) -> None:
        inner = self.representation_.feature_table_
        factors = _products(inner, self.degree, self.max_order, self.max_products)
        self.feature_table_ = _table(inner, self.representation_.get_feature_names_out(), factors)
        sums, squares, counts = np.zeros((3, len(inner)))
        for values in self.representation_.transform_atoms(X):
            sums += values.sum(axis=0, dtype=np.float64)
            squares += np.square(values, dtype=np.float64).sum(axis=0)
            counts += np.count_nonzero(values, axis=0)
        means = self.center * sums / np.maximum(counts, 1)
        variances = squares / np.maximum(counts, 1) - means**2
        # What does not vary is divided by its size.
        constant = variances <= CONSTANT * squares / np.maximum(counts, 1)
        sizes = np.sqrt(np.where(constant, squares / np.maximum(counts, 1), variances))
        self._evaluator = PolynomialEvaluator(
            **self._state_of_evaluator(ProductPaths.of(factors)),
            sizes=np.where(sizes > 0, sizes, 1.0),
            means=means,
        )

    def _feature_names(self) -> list[str]:
        columns = (self.feature_table_[f"factor{k}"].fillna("") for k in (1, 2, 3))
        return ["*".join(filter(None, names)) for names in zip(*columns, strict=True)]


def _products(
    table: pd.DataFrame, degree: int, max_order: int | None, max_products: int | None
) -> np.ndarray:
    """Return the places of the factors (n_products, 3) of all products, -1 for none."""
    parts = [np.pad(np.arange(len(table))[:, None], [(0, 0), (0, 2)], constant_values=-1)]
    order, roughness = np.append(table["order"].to_numpy(), 0), np.append(_roughness(table), 0)
    for places in _centers(table):
        beyond = places[order[places] > 0]
        if "density" in table:
            beyond = beyond[table["density"].isna().to_numpy()[beyond]]
        if max_order is not None:  # what is too high by itself makes no product
            beyond = beyond[order[beyond] < max_order]
        products = np.concatenate(
            [np.empty((0, 3), dtype=int), *(_multisets(beyond, k) for k in range(2, degree + 1))]
        )
        if max_order is not None:
            products = products[order[products].sum(axis=1) <= max_order]
        if max_products is not None:
            ranks = np.argsort(roughness[products].sum(axis=1), kind="stable")
            products = products[np.sort(ranks[:max_products])]
        parts.append(products)
    return np.concatenate(parts)


def _multisets(places: np.ndarray, size: int) -> np.ndarray:
    """Return all choices of ``size`` places, in order and with repeats, -1 behind them."""
    chosen = np.fromiter(
        chain.from_iterable(combinations_with_replacement(places.tolist(), size)), dtype=int
    ).reshape(-1, size)
    return np.pad(chosen, [(0, 0), (0, 3 - size)], constant_values=-1)


def _roughness(table: pd.DataFrame) -> np.ndarray:
    """Return how fast features vary: the sum of their radial orders, degrees and scales."""
    columns = [name for name in ("radial", "angular") if name in table]
    columns = columns or [c for c in table if c[:-1] in ("n", "l", "j") and c[-1] in "12"]
    return table[columns].astype(float).fillna(0).sum(axis=1).to_numpy()


def _centers(table: pd.DataFrame) -> list[np.ndarray]:
    """Return the places of the features of every centre."""
    if "center" not in table:
        return [np.arange(len(table))]
    codes = pd.factorize(table["center"])[0]
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _table(inner: pd.DataFrame, names: np.ndarray, factors: np.ndarray) -> pd.DataFrame:
    """Return one row per product."""
    has = factors >= 0
    padded = np.array([*names, None], dtype=object)
    table = pd.DataFrame({f"factor{k + 1}": padded[factors[:, k]] for k in range(3)})
    channels = np.array([*inner["channel"], None], dtype=object)[factors]
    table.insert(0, "channel", ["*".join(dict.fromkeys(filter(None, row))) for row in channels])
    if "center" in inner:
        table.insert(1, "center", inner["center"].array[factors[:, 0]])
    orders = np.append(inner["order"].to_numpy(), 0)
    table["order"] = orders[factors].max(axis=1)
    table["q"] = np.append(inner["q"].to_numpy(dtype=float), 0)[factors].sum(axis=1)
    table["degree"] = has.sum(axis=1)
    if "density" in inner:
        table["density"] = pd.array([*inner["density"], pd.NA], dtype="Int64")[factors[:, 0]]
        table.loc[table["degree"] > 1, "density"] = pd.NA
    for name in ("radial", "angular"):
        if name in inner:
            table[name] = np.append(inner[name].to_numpy(), 0)[factors].sum(axis=1)
    table["factor_order"] = orders[factors].sum(axis=1)
    return table
