"""``AtomPolynomial``: products of the features of every atom, before they are summed."""

from __future__ import annotations

from itertools import combinations_with_replacement
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


class AtomPolynomial(AtomwiseTransformer):
    r"""Products of the features of every atom, before they are summed over the atoms.

    A representation at the atoms gives every atom i features :math:`x_a(i)`, whose sums over the
    atoms are what it returns. A linear model of these sums knows no products of an atom's features.
    Here they are features of their own,

    .. math::

        \phi_{a} = \sum_i x_a(i), \qquad
        \phi_{ab} = \frac{1}{\sqrt{s_a s_b}} \sum_i x_a(i)\, x_b(i), \qquad
        \phi_{abc} = \frac{1}{(s_a s_b s_c)^{2/3}} \sum_i x_a(i)\, x_b(i)\, x_c(i),

    with :math:`s_a` the root mean square of :math:`x_a` in the training set, so that all features
    are of the size of the representation's own. Linear models of them are the atomic cluster
    expansion's in another basis: with three-body features :math:`x_a`, products of two see five
    atoms at a time.

    With F features of order 1 or 2 per element there are F (F + 1) / 2 products of two and
    F (F + 1) (F + 2) / 6 of three, for each of the elements. Choose few: one power, few channels.

    Parameters
    ----------
    representation : estimator, default=None
        A transformer with features of every atom: `PointScattering`, `AngularFeatures`, or another
        one of this kind. None stands for ``PointScattering(powers=(1,))``.
    degree : int, default=2
        Largest number of factors, at most 3. With 1 the features are those of the representation.
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
    zero are no factors, as they are constant.

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
    }

    def __init__(
        self,
        representation: Any = None,
        degree: int = 2,
        *,
        normalize: str | None = "atoms",
        dtype: str = "float32",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.representation = representation
        self.degree = degree
        self.normalize = normalize
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _learn_functions(self, X: list[Atoms]) -> None:
        inner = self.representation_.feature_table_
        factors = _products(inner, self.degree)
        self.feature_table_ = _table(inner, self.representation_.get_feature_names_out(), factors)
        squares, counts = np.zeros(len(inner)), np.zeros(len(inner))
        for values in self.representation_.transform_atoms(X):
            squares += np.square(values, dtype=np.float64).sum(axis=0)
            counts += np.count_nonzero(values, axis=0)
        sizes = np.sqrt(squares / np.maximum(counts, 1))
        self._evaluator = PolynomialEvaluator(
            **self._state_of_evaluator(ProductPaths.of(factors)),
            sizes=np.where(sizes > 0, sizes, 1.0),
        )

    def _feature_names(self) -> list[str]:
        columns = (self.feature_table_[f"factor{k}"].fillna("") for k in (1, 2, 3))
        return ["*".join(filter(None, names)) for names in zip(*columns, strict=True)]


def _products(table: pd.DataFrame, degree: int) -> np.ndarray:
    """Return the places of the factors (n_products, 3) of all products, -1 for none."""
    parts = [np.arange(len(table))[:, None]]
    beyond = table["order"].to_numpy() > 0
    for size in range(2, degree + 1):
        for places in _centers(table):
            chosen = combinations_with_replacement(places[beyond[places]].tolist(), size)
            parts.append(np.array(list(chosen), dtype=int).reshape(-1, size))
    widths = [3 - part.shape[1] for part in parts]
    return np.concatenate([
        np.pad(part, [(0, 0), (0, width)], constant_values=-1)
        for part, width in zip(parts, widths, strict=True)
    ])  # fmt: skip


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
    return table
