"""``AngularFeatures``: parameters and fitted state of two- and three-body terms (chapter 6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from skwavelet._utils.validation import Interval, StrOptions, check_powers
from skwavelet.representations.angular.evaluator import AngularEvaluator, AngularPaths
from skwavelet.representations.angular.radial import RadialBasis
from skwavelet.representations.atom_features import AtomFeaturesMixin
from skwavelet.representations.base import StructureTransformer
from skwavelet.representations.channels import ChannelSpec
from skwavelet.structures.checks import Structure


class AngularFeatures(AtomFeaturesMixin, StructureTransformer):
    r"""Explicit two- and three-body terms on fixed radial and angular functions.

    For every central atom i, with neighbours j and k within the reach (periodic images are
    neighbours of their own)

    .. math::

        b^{(1)}_{cg}(i) &= \sum_{k} c(Z_k)\, G_g(r_{ik})\, f(r_{ik}), \\
        b^{(2)}_{cgc'a}(i) &= \sum_{k}\sum_{j \ne k} c(Z_k)\, c'(Z_j)\, G_g(r_{ik})\,
            G_a(\cos\theta_{jik})\, f(r_{ij})\, f(r_{ik}),

    with density channels c and c', radial Gaussians :math:`G_g`, Gaussians of the cosine
    :math:`G_a`, both of the width at which neighbours on their grid meet at one standard
    deviation, and the cutoff :math:`f(r) = (1 + \cos(\pi r/\mathrm{reach}))/2` (6.6-6.7 of the
    dissertation). The features are the sums of the powers :math:`b(i)^q` over the atoms i of
    every element, with :math:`\sum_k |c(Z_k)|^q` as zero order. Legendre polynomials may take
    the place of :math:`G_a`; the addition theorem then makes the sum over pairs of neighbours
    one over neighbours (6.4).

    With E elements, C channels, R radial and A angular functions and Q powers there are
    Q (C + E C R + E C² R A) features: 3,368 for Li-Si with the default parameters.

    Parameters
    ----------
    n_radial : int, default=10
        Number of radial Gaussians, evenly spaced from the smallest distance in X (0 where X has
        no two atoms) to one spacing before the reach.
    n_angular : int, default=10
        Number of angular functions: Gaussians evenly spaced over cosines from -1 to 1, or
        Legendre polynomials of degrees 0 ... n_angular - 1.
    angles : {"gaussian", "legendre"}, default="gaussian"
        Functions of the angle.
    channels : "auto", sequence of str or mapping, default="elements"
        What each density channel weighs a neighbour by, see ``channel_weights``.
    elements : sequence of str, default=None
        Chemical symbols of all elements that may occur, such as ``["Li", "Si"]``. None takes those
        of X: a fold without one of them then cannot transform it.
    order : {0, 1, 2}, default=2
        0 for the composition, 1 for pairs, 2 for triplets too.
    powers : sequence of float, default=(1, 4/3, 5/3, 2)
        Powers q of the sums. Where a sum is negative (Legendre polynomials, negative weights)
        its power keeps the sign: ``b |b|^(q-1)``.
    reach : float, default=5.0
        Where neighbours end (Å).
    normalize : {"atoms"} or None, default="atoms"
        Divide by the number of atoms, or not.
    smoothing : float, default=1e-4
        Powers are b (b^2 + e^2)^((q-1)/2), with e this part of the largest contribution of one
        pair or triplet, so that they have derivatives where sums vanish.
    dtype : {"float32", "float64"}, default="float32"
        Of sums and features.
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
        Weights, element by channel.
    feature_table_ : DataFrame
        One row per feature: channel (c, of k), order, center (element of i), r (centre of the
        radial Gaussian, Å), partner (c', of j), cos (centre of the angular Gaussian) or l
        (degree), q.
    n_features_out_ : int
        Number of features.

    See Also
    --------
    PointScattering : Wavelets at the atoms.

    Notes
    -----
    Values and first derivatives are continuous as atoms cross the reach. Cost is proportional to
    the number of atoms times the squared number of neighbours, or times the neighbours alone for
    Legendre polynomials.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import AngularFeatures
    >>> structures = [bulk("Si", a=a, cubic=True) for a in (5.3, 5.4, 5.5)]
    >>> angular = AngularFeatures(powers=(1,)).fit(structures)
    >>> angular.transform(structures).shape
    (3, 111)
    >>> angular.get_feature_names_out()[[0, 1, 11]]
    array(['Si_q1', 'Si_atSi_r2.295_q1', 'Si_atSi_r2.295_Si_cos-1_q1'],
          dtype=object)
    """

    _evaluator: AngularEvaluator
    _parameter_constraints = {
        "n_radial": [Interval(Integral, 1, None, closed="left")],
        "n_angular": [Interval(Integral, 1, None, closed="left")],
        "angles": [StrOptions({"gaussian", "legendre"})],
        "channels": [str, "array-like", dict],
        "elements": [None, "array-like"],
        "order": [Interval(Integral, 0, 2, closed="both")],
        "powers": ["array-like"],
        "reach": [Interval(Real, 0, None, closed="neither")],
        "normalize": [None, StrOptions({"atoms"})],
        "smoothing": [Interval(Real, 0, 1, closed="neither")],
        "dtype": [StrOptions({"float32", "float64"})],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_radial: int = 10,
        n_angular: int = 10,
        *,
        angles: str = "gaussian",
        channels: ChannelSpec = "elements",
        elements: Sequence[str] | None = None,
        order: int = 2,
        powers: Sequence[float] = (1, 4 / 3, 5 / 3, 2),
        reach: float = 5.0,
        normalize: str | None = "atoms",
        smoothing: float = 1e-4,
        dtype: str = "float32",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.n_radial = n_radial
        self.n_angular = n_angular
        self.angles = angles
        self.channels = channels
        self.elements = elements
        self.order = order
        self.powers = powers
        self.reach = reach
        self.normalize = normalize
        self.smoothing = smoothing
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _feature_names(self) -> list[str]:
        # Such as Li_atSi_r2.31_Si_cos-0.333_q4/3: neighbours k of channel Li at Si, near 2.31 Å,
        # seen from Si under a cosine of -1/3 to neighbours j of channel Si.
        table = self.feature_table_
        angle = "cos" if "cos" in table else "l"
        columns = ["channel", "order", "center", "r", "partner", angle, "q"]
        names = []
        for channel, order, center, r, partner, value, q in table[columns].itertuples(index=False):
            name = str(channel)
            if order >= 1:
                name += f"_at{center}_r{r:.4g}"
            if order == 2:
                name += f"_{partner}_{angle}{value:.3g}"
            names.append(f"{name}_q{Fraction(q).limit_denominator(24)}")
        return names

    def _learn(self, structures: list[Structure]) -> None:
        powers = check_powers(self.powers)
        start = self.min_distance_ if np.isfinite(self.min_distance_) and self.order else 0.0
        if start >= self.reach:
            raise ValueError(
                f"reach={self.reach} Å is not beyond the smallest distance in X, {start:.3g} Å: no "
                "atom would have a neighbour; increase it."
            )
        spacing = (self.reach - start) / self.n_radial
        radial = RadialBasis(
            tuple((start + spacing * np.arange(self.n_radial)).tolist()), spacing / 2, self.reach
        )
        cosines = np.linspace(-1, 1, self.n_angular) if self.n_angular > 1 else np.zeros(1)
        paths = _paths(
            len(self.elements_),
            self.channels_.shape[1],
            self.n_radial,
            self.n_angular,
            order=self.order,
        )
        gaussian = self.angles == "gaussian"
        angular = {"cos": cosines} if gaussian else {"l": np.arange(self.n_angular)}
        self.feature_table_ = _path_table(
            paths, self.channels_.columns, self.elements_, radial.centers, angular, powers
        )
        self._evaluator = AngularEvaluator(
            **self._shared_state(paths, powers),
            radial=radial,
            angles=tuple(cosines.tolist()) if gaussian else (),
            n_angular=self.n_angular,
            angle_width=1 / max(1, self.n_angular - 1),
            smoothing=self.smoothing,
        )


def _paths(
    n_elements: int, n_channels: int, n_radial: int, n_angular: int, *, order: int
) -> AngularPaths:
    """Return all paths, by order."""
    centers, channels, radial = range(n_elements), range(n_channels), range(n_radial)
    paths = [(0, c, -1, -1, -1, -1) for c in channels]
    if order >= 1:
        paths += [(1, c, i, r, -1, -1) for i, c, r in product(centers, channels, radial)]
    if order == 2:
        paths += [
            (2, c, i, r, p, a)
            for i, c, r, p, a in product(centers, channels, radial, channels, range(n_angular))
        ]
    return AngularPaths(*np.array(paths).T)


def _path_table(
    paths: AngularPaths,
    channels: Sequence[str],
    elements: Sequence[str],
    radial_centers: Sequence[float],
    angular: Mapping[str, Any],
    powers: Sequence[float],
) -> pd.DataFrame:
    """Return the readable form of paths times powers, one row per feature."""
    rows = paths.take(np.repeat(np.arange(len(paths)), len(powers)))
    ((angle_name, angle_values),) = angular.items()

    def pick(values: Any, places: np.ndarray, kind: str) -> Any:
        column = pd.array(np.asarray(values)[places], dtype=kind)
        column[places < 0] = pd.NA
        return column

    return pd.DataFrame({
        "channel": np.asarray(channels, dtype=object)[rows.channel],
        "order": rows.order,
        "center": pick(elements, rows.center, "string"),
        "r": pick(radial_centers, rows.radial, "Float64"),
        "partner": pick(list(channels), rows.partner, "string"),
        angle_name: pick(angle_values, rows.angle, "Float64" if angle_name == "cos" else "Int64"),
        "q": np.tile(powers, len(paths)),
    })  # fmt: skip
