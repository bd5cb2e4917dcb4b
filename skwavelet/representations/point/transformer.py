"""``PointScattering``: parameters and fitted state of the representation at atoms (chapter 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
import pandas as pd

from skwavelet._utils.validation import Interval, StrOptions, check_powers
from skwavelet.representations.atom_features import AtomFeaturesMixin
from skwavelet.representations.channels import ChannelSpec
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.point.bank import Bank
from skwavelet.representations.point.evaluator import PointEvaluator
from skwavelet.representations.point.filters import natural_reach, scales_to_reach
from skwavelet.representations.point.plan import resolve_centers
from skwavelet.representations.scattering import ScatteringTransformer, path_table
from skwavelet.representations.tables import feature_names
from skwavelet.structures.checks import Structure


class PointScattering(AtomFeaturesMixin, ScatteringTransformer):
    r"""Wavelet scattering at the atoms: linear cost, exact derivatives.

    The wavelets :math:`\psi_{nlm,j}(u) = 2^{-3j}\psi_{nlm}(2^{-j}u)` of ``VoxelScattering``,
    evaluated at the atoms only (5.1-5.6 of the dissertation). For every density channel c

    .. math::

        \sigma_1(i) &= \Big[\sum_m \Big(\sum_{k \ne i} c(Z_k)\,
            \psi_{n_1l_1m,j_1}(R_i - R_k)\Big)^2\Big]^{1/2}, \\
        \sigma_2(i) &= \Big[\sum_m \Big(\sum_{k \ne i} \sigma_1(k)\,
            \psi_{n_2l_2m,j_2}(R_i - R_k)\Big)^2\Big]^{1/2},

    and the features are :math:`\sum_i \sigma(i)^q`, with :math:`\sum_k |c(Z_k)|^q` as zero
    order. The sums over k run over all periodic images within the wavelet's reach; only atom i
    itself is left out, its own images are not. The first order is a three-body term:
    :math:`\sigma_1^2 = \frac{2l+1}{4\pi}\sum_{jk} q_j q_k P_l(\cos\theta_{jik})` with
    :math:`q_k = c(Z_k) Q_{nl}(|R_i - R_k|)`.

    With E elements (1 for ``centers="all"``), C channels, W wavelets (n, l), J scales and Q powers
    there are Q C (1 + E W J) features of orders 0 and 1: 1,220 for Li-Si with the default
    parameters, W = 10 and J = 3. The second order adds Q C E W² P, with P pairs of scales whose
    j2 - j1 is at least ``min_scale_step`` (W (W - 1) / 2 instead of W² for
    ``pairs="increasing"``).

    Parameters
    ----------
    n : int or sequence of int, default=(1, 2, 3, 4)
        Radial orders.
    max_l : int, default=3
        Largest degree; every (n, l) has l < n.
    channels : "auto", sequence of str or mapping, default="auto"
        What each density channel weighs an atom by, see ``channel_weights``.
    elements : sequence of str, default=None
        Chemical symbols of all elements that may occur, such as ``["Li", "Si"]``. None takes those
        of X: a fold without one of them then cannot transform it.
    order : {0, 1, 2}, default=1
        Highest scattering order. See Notes for what the second one is worth.
    powers : sequence of float, default=(1, 4/3, 5/3, 2)
        Powers q of the modulus.
    beta : float, default=None
        Width of the narrowest wavelet (Å). None learns it: Gaussians of this width around the
        atoms have fallen to ``overlap`` at the smallest distance Delta between two atoms of X,
        beta = Delta / sqrt(2 ln(1/overlap)). This is twice the width of ``VoxelScattering``,
        which resolves the midpoints between atoms; here nothing closer than Delta is looked at.
    n_scales : int, default=None
        Number of scales. None takes all up to the first whose wavelets reach ``reach`` by
        themselves; without a ``reach``, all that fit the smallest structure of X, as
        ``VoxelScattering`` does.
    scale_step : float, default=0.5
        Step of the scales j = 0, scale_step, ...; 0.5 means half octaves.
    min_scale_step : float, default=-1
        Second-order paths have j2 - j1 of at least this.
    overlap : float, default=0.1
        See ``beta``.
    tolerance : float, default=1e-3
        A scale's reach is where its wavelets have fallen to this part of their maximum.
    reach : float, default=6.0
        Largest distance (Å) at which atoms act on each other; wavelets that reach further are
        cut. None leaves the reaches to ``tolerance``. Wavelets fall to zero smoothly, with two
        continuous derivatives, between 0.71 and 1 times their reach.
    pairs : {"all", "increasing"}, default="all"
        Whether second-order paths have any (n2, l2) or only (n2, l2) > (n1, l1).
    centers : {"elements", "all"}, default="elements"
        Sum over the atoms i of every element apart, or over all atoms as in (5.6). The modulus
        does not know which element it is of.
    normalize : {"atoms", "lower_order"} or None, default="atoms"
        Divide by the number of atoms, by the corresponding sum of one order lower, or not.
    smoothing : float, default=1e-4
        The modulus is sqrt(sum_m f_m^2 + e^2) - e (likewise its powers), with e this part of the
        map of a single atom, so that features have derivatives where maps vanish.
    dtype : {"float32", "float64"}, default="float32"
        Of maps and features.
    n_jobs : int, default=None
        Processes over structures; None is one, unless in a `joblib.parallel_config` context. A
        single structure stays in this process, where it gets as many threads, if it is large, and
        no more than ``OMP_NUM_THREADS``. Results do not depend on it.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    beta_ : float
        Width of the narrowest wavelet (Å).
    n_scales_ : int
        Number of scales.
    reaches_ : ndarray of shape (n_scales,)
        Where the wavelets of every scale end (Å).
    min_distance_ : float
        Smallest interatomic distance in X (Å).
    elements_ : list of str
        Chemical symbols, declared or seen in ``fit``.
    channels_ : DataFrame
        Weights, element by channel.
    feature_table_ : DataFrame
        One row per feature: channel, center (element whose atoms are summed over, where they
        are told apart), order, n1, l1, j1, n2, l2, j2, q.
    n_features_out_ : int
        Number of features.

    See Also
    --------
    VoxelScattering : The same wavelets everywhere in space.
    AngularFeatures : Explicit two- and three-body terms.
    PointInvariants : Products of different maps: the power spectrum, and products of three.

    Notes
    -----
    Cost and memory are proportional to the number of atoms times their neighbours within the
    reach. ``jvp`` and ``vjp`` differentiate the very numbers that ``transform`` returns.

    The second order multiplies the number of features by about twenty. With many channels and few
    structures it costs accuracy (Li-Si, ``benchmarks/accuracy/lisi``). With one element, where
    features are few, it helps, and so does a finer first order for a fifth of the features: n to
    6, ``max_l=5``, ``n_scales=4``; both together are best (silicon,
    ``benchmarks/accuracy/mlearn.py``). What no function of the distances and angles around single
    atoms tells apart, only the second order does.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import PointScattering
    >>> structures = [bulk("Si", a=a, cubic=True) for a in (5.3, 5.4, 5.5)]
    >>> scattering = PointScattering(channels=["number"]).fit(structures)
    >>> scattering.transform(structures).shape
    (3, 84)
    >>> scattering.get_feature_names_out()[[0, 20]]
    array(['number_q1', 'number_atSi_n2l1j0_q1'], dtype=object)
    """

    _parameter_constraints = {
        **ScatteringTransformer._parameter_constraints,
        "tolerance": [Interval(Real, 0, 1, closed="neither")],
        "reach": [None, Interval(Real, 0, None, closed="neither")],
        "centers": [StrOptions({"all", "elements"})],
    }

    def __init__(
        self,
        n: int | Sequence[int] = (1, 2, 3, 4),
        max_l: int = 3,
        *,
        channels: ChannelSpec = "auto",
        elements: Sequence[str] | None = None,
        order: int = 1,
        powers: Sequence[float] = (1, 4 / 3, 5 / 3, 2),
        beta: float | None = None,
        n_scales: int | None = None,
        scale_step: float = 0.5,
        min_scale_step: float = -1,
        overlap: float = 0.1,
        tolerance: float = 1e-3,
        reach: float | None = 6.0,
        pairs: str = "all",
        centers: str = "elements",
        normalize: str | None = "atoms",
        smoothing: float = 1e-4,
        dtype: str = "float32",
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.n = n
        self.max_l = max_l
        self.channels = channels
        self.elements = elements
        self.order = order
        self.powers = powers
        self.beta = beta
        self.n_scales = n_scales
        self.scale_step = scale_step
        self.min_scale_step = min_scale_step
        self.overlap = overlap
        self.tolerance = tolerance
        self.reach = reach
        self.pairs = pairs
        self.centers = centers
        self.normalize = normalize
        self.smoothing = smoothing
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _feature_names(self) -> list[str]:
        # Such as Li_atSi_n1l0j0_n2l1j1_q4/3: channel Li seen from the silicon atoms.
        table = self.feature_table_
        if "center" in table:
            seen_from = ("_at" + table["center"]).fillna("")
            table = table.assign(channel=table["channel"] + seen_from)
        return feature_names(table)

    def _learn(self, structures: list[Structure]) -> None:
        wavelets, powers = self._wavelets(), check_powers(self.powers)
        scales = self._learn_scales(structures, 2 * self.min_distance_)
        natural = natural_reach(wavelets, self.beta_, self.tolerance) * 2.0 ** np.array(scales)
        self.reaches_ = np.minimum(natural, self.reach or np.inf)
        paths = self._paths(wavelets, scales)
        paths = resolve_centers(paths, len(self.elements_) if self.centers == "elements" else 1)
        self.feature_table_ = self._table(paths, wavelets, scales, powers)
        self._evaluator = PointEvaluator(
            **self._shared_state(paths, powers),
            bank=Bank(wavelets, scales, self.beta_, tuple(self.reaches_.tolist())),
            smoothing=self.smoothing,
        )

    def _learn_n_scales(self, structures: list[Structure]) -> int:
        if self.reach is None:
            return super()._learn_n_scales(structures)
        # Images within the reach are neighbours like others: small cells are no limit.
        natural = natural_reach(self._wavelets(), self.beta_, self.tolerance)
        return self.n_scales or scales_to_reach(self.reach, natural, self.scale_step)

    def _table(
        self,
        paths: ScatteringPaths,
        wavelets: tuple[tuple[int, int], ...],
        scales: tuple[float, ...],
        powers: tuple[float, ...],
    ) -> pd.DataFrame:
        table = path_table(paths, self.channels_.columns, wavelets, scales, powers)
        if self.centers == "elements":
            centers = pd.array(self.elements_, dtype="string")[paths.center]
            centers[paths.order == 0] = pd.NA
            table.insert(1, "center", centers.repeat(len(powers)))
        return table
