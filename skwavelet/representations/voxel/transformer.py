"""``VoxelScattering``: parameters and fitted state of the voxel representation (chapter 2)."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
from ase import Atoms
from tqdm.auto import tqdm

from skwavelet._utils.validation import Interval, check_powers
from skwavelet.representations.channels import ChannelSpec
from skwavelet.representations.scattering import ScatteringTransformer, path_table
from skwavelet.representations.voxel.evaluator import VoxelEvaluator
from skwavelet.representations.voxel.filters import Bank
from skwavelet.representations.voxel.grid import learn_spacing
from skwavelet.representations.voxel.planes import StreamingArrays
from skwavelet.structures.checks import Structure

# Vacuum between periodic images of a molecule, in widths of the wavelets of a scale, by order: the
# second layer spreads the maps again.
PADDING_WIDTHS = (8.0, 8.0, 12.0)
# Error of the coefficients of many atoms, by non-uniform FFT, relative to ``aliasing``: far below
# what the end of the band cuts off, at a cost that hardly depends on it.
DENSITY_TOLERANCE = 1e-5


class VoxelScattering(ScatteringTransformer):
    r"""Voxel scattering: wavelet moduli of an atomic density, integrated over the unit cell.

    Every channel c turns a structure into a density rho_c(u) = sum_k c(Z_k) delta(u - R_k). Its
    features are the integrals, over the unit cell, of powers q of

    .. math::

        \sigma(f) = \Bigl[\sum_m |f_m|^2\Bigr]^{1/2}, \qquad
        \sigma(\rho_c * \psi_{n_1 l_1 j_1}), \qquad
        \sigma\bigl(\sigma(\rho_c * \psi_{n_1 l_1 j_1}) * \psi_{n_2 l_2 j_2}\bigr),

    with the dilated solid harmonic wavelets of `skwavelet.representations.wavelets`, and
    sum_k c(Z_k)^q at order zero (chapter 2 of [1]_). They do not change under translation,
    rotation, reflection and permutation, are per-atom quantities of an infinite crystal, and are
    computed on the exact Fourier coefficients of the density, in any cell.

    Parameters
    ----------
    n : int or sequence of int, default=3
        Radial orders of the wavelets.
    max_l : int, default=2
        Largest degree; each n has l = 0 ... min(n - 1, max_l).
    channels : "auto", sequence of str, or mapping, default="auto"
        Density channels, see `skwavelet.representations.channels.channel_weights`.
    elements : sequence of str, default=None
        Chemical symbols of all elements that may occur, such as ``["Li", "Si"]``. None takes those
        of X: a fold without one of them then cannot transform it.
    order : {0, 1, 2}, default=2
        Highest scattering order.
    powers : sequence of float, default=(1, 4/3, 5/3, 2)
        Exponents q.
    beta : float, default=None
        Width of the wavelets (Å). Learned: Gaussians half the smallest interatomic distance away
        have fallen to ``overlap``.
    n_scales : int, default=None
        Number of scales j = 0, ``scale_step``, ... Learned: those whose wavelets fit the smallest
        cell, 2 beta 2^j <= B_e with B_e half its smallest perpendicular height (half the largest
        extent of the atoms where nothing is periodic).
    scale_step : float, default=1.0
        Octaves between scales.
    min_scale_step : float, default=-1
        Second-order paths have j2 >= j1 + min_scale_step.
    spacing : float, default=None
        Voxel size (Å). Learned: where the wavelets' spectra have fallen to ``aliasing`` of their
        peak.
    overlap : float, default=0.1
        See ``beta``.
    aliasing : float, default=1e-4
        See ``spacing``.
    pairs : {"all", "increasing"}, default="all"
        Second-order paths of all wavelet pairs, or those with (n2, l2) > (n1, l1) only.
    oversampling : float, default=1.25
        A map of scale j lives on voxels of ``spacing * 2**j / oversampling``, never smaller than
        ``spacing``: 1 is the map's own band limit, ``2**j`` and beyond is full resolution.
    normalize : {"atoms", "lower_order"} or None, default="atoms"
        Divide by the number of atoms; or by the corresponding feature one order lower (by the
        number of atoms at order zero; 0 where that feature is 0); or not at all.
    smoothing : float, default=1e-6
        Rounding eps of the modulus at zero, sqrt(u + eps^2) - eps, relative to the map of a single
        atom. It makes the features differentiable.
    dtype : {"float32", "float64"}, default="float32"
        Precision of maps and features; sums over voxels are in float64.
    device : str, default=None
        None: NumPy and FFTW. Otherwise a device of torch, such as "cpu" or "cuda", on which
        structures of one box are computed together, in one process; "auto" is "cuda" where there
        is a GPU and None elsewhere. It may be changed after ``fit``.
    n_jobs : int, default=None
        Processes; None is one, unless in a `joblib.parallel_config` context. A single structure
        stays in this process, where its grid, if large, gets as many threads, and no more than
        ``OMP_NUM_THREADS``.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    beta_ : float
        Width of the wavelets (Å).
    n_scales_ : int
        Number of scales.
    spacing_ : float
        Voxel size (Å).
    min_distance_ : float
        Smallest interatomic distance seen in ``fit`` (Å).
    elements_ : list of str
        Elements seen in ``fit``.
    channels_ : DataFrame of shape (n_elements, n_channels)
        Weights of the elements in every channel.
    feature_table_ : DataFrame of shape (n_features, 9)
        Columns channel, order, n1, l1, j1, n2, l2, j2, q of every feature.
    n_features_out_ : int
        Number of features.

    See Also
    --------
    BaggedOLSEnsemble : The sparse linear model for these features.

    Notes
    -----
    The modulus has a kink where a map vanishes, which makes gradients of the features depend on
    where the voxels lie. A larger ``smoothing``, 0.01 to 0.1, gives smooth forces, and features
    that differ from the dissertation's but describe structures as well. For the same reason the
    powers of first-order maps with l = 0, which vanish on whole surfaces, are summed at half the
    spacing.

    A structure that is not periodic in some direction is surrounded by vacuum there. Every scale
    has a box of its own, as wide as its wavelets ask for.

    References
    ----------
    .. [1] X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
       dissertation, Michigan State University.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import VoxelScattering
    >>> crystals = [bulk("Si", cubic=True), bulk("Ge", cubic=True)]
    >>> scattering = VoxelScattering(n_scales=1).fit(crystals)
    >>> scattering.transform(crystals).shape
    (2, 260)
    >>> scattering.feature_table_.query("order == 2")["channel"].unique().tolist()
    ['Si', 'Ge', 'valence', 'ionic', 'kinetic']
    """

    _evaluator: VoxelEvaluator
    _parameter_constraints = {
        **ScatteringTransformer._parameter_constraints,
        "spacing": [None, Interval(Real, 0, None, closed="neither")],
        "aliasing": [Interval(Real, 0, 1, closed="neither")],
        "device": [None, str],
        "oversampling": [Interval(Real, 1, None, closed="left")],
    }

    def __init__(
        self,
        n: int | Sequence[int] = 3,
        max_l: int = 2,
        *,
        channels: ChannelSpec = "auto",
        elements: Sequence[str] | None = None,
        order: int = 2,
        powers: Sequence[float] = (1, 4 / 3, 5 / 3, 2),
        beta: float | None = None,
        n_scales: int | None = None,
        scale_step: float = 1.0,
        min_scale_step: float = -1,
        spacing: float | None = None,
        overlap: float = 0.1,
        aliasing: float = 1e-4,
        pairs: str = "all",
        oversampling: float = 1.25,
        normalize: str | None = "atoms",
        smoothing: float = 1e-6,
        dtype: str = "float32",
        device: str | None = None,
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
        self.spacing = spacing
        self.overlap = overlap
        self.aliasing = aliasing
        self.pairs = pairs
        self.oversampling = oversampling
        self.normalize = normalize
        self.smoothing = smoothing
        self.dtype = dtype
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def maps(
        self,
        atoms: Atoms,
        *,
        channel: str,
        first: tuple[int, int, float],
        second: tuple[int, int, float] | None = None,
    ) -> np.ndarray:
        """Return the equivariant maps of one path, for plots such as figures 2.2 and 2.3.

        Parameters
        ----------
        atoms : ase.Atoms
        channel : str
            Name of a channel, a column of ``channels_``.
        first : (n, l, j)
            Wavelet and scale of the first layer: the maps rho_c * psi.
        second : (n, l, j), optional
            Wavelet and scale of a second layer: the maps sigma(rho_c * psi_1) * psi_2.

        Returns
        -------
        ndarray of shape (2l + 1, L0, L1, L2)
            Values on the grid of the path's largest scale, whose points are
            (i0/L0, i1/L1, i2/L2) in fractions of the box; one map per real spherical harmonic.

        Raises
        ------
        TypeError, ValueError
            If the structure is unusable or beyond memory, or there is no such channel or wavelet.
        """
        (structure,) = self._check([atoms])
        self._evaluator.check([structure])
        names = list(self.channels_.columns)
        if channel not in names:
            raise ValueError(f"Unknown channel {channel!r}; use one of {', '.join(names)}.")
        w1, j1 = self._place(first)
        return self._evaluator.maps(
            structure, (names.index(channel), w1, j1), second and self._place(second)
        )

    def keep_grid(self, atoms: Atoms) -> Self:
        """Return a fitted copy that computes every structure on the grid of one.

        Parameters
        ----------
        atoms : ase.Atoms
            Whose numbers of grid points to keep, for structures with cells within a few per cent
            of its own: their features are then smooth functions of the cell.

        Returns
        -------
        VoxelScattering
        """
        (structure,) = self._check([atoms])
        kept = copy.copy(self)
        layout = replace(self._evaluator, layout=None).grid(structure).layout
        kept._evaluator = replace(self._evaluator, layout=layout)
        return kept

    def _map(
        self, method: str, structures: list[Structure], arguments: list[tuple] | None = None
    ) -> Iterator[tuple[int, Any]]:
        evaluator = self._evaluator_here()
        if evaluator is not self._evaluator:
            evaluator.check(structures, method)
            yield from self._map_together(evaluator, method, structures, arguments)
            return
        yield from super()._map(method, structures, arguments)

    def _map_together(
        self,
        evaluator: VoxelEvaluator,
        method: str,
        structures: list[Structure],
        arguments: list[tuple] | None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield what ``_map`` does, computing structures of one box together."""
        together: dict[tuple, list[int]] = {}
        for i, structure in enumerate(structures):
            # As many directions, too.
            shapes = tuple(map(len, arguments[i])) if arguments else ()
            together.setdefault((evaluator.together(structure), shapes), []).append(i)
        with tqdm(
            total=len(structures),
            desc="VoxelScattering",
            unit="structure",
            disable=not self.verbose,
        ) as progress:
            for members in together.values():
                first = structures[members[0]]
                needed = evaluator.memory(first, method)
                size = max(1, int(evaluator.bank.arrays.batch_bytes / needed))
                for start in range(0, len(members), size):
                    batch = members[start : start + size]
                    lists = zip(*(arguments[i] for i in batch), strict=True) if arguments else ()
                    compute = evaluator.of_several(method)
                    results = compute([structures[i] for i in batch], *map(list, lists))
                    yield from zip(batch, results, strict=True)
                    progress.update(len(batch))

    def _evaluator_here(self) -> VoxelEvaluator:
        """Return the evaluator on the arrays of ``device``: fitted state has none."""
        device = self.device
        if device == "auto":
            device = "cuda" if _cuda_is_available() else None
        if device is None:
            return self._evaluator
        from skwavelet.representations.voxel.torch_arrays import TorchArrays

        return self._evaluator.to(TorchArrays.on(device, self._evaluator.bank.arrays.dtype))

    def _place(self, path: tuple[int, int, float]) -> tuple[int, int]:
        """Return the places of (n, l) and j in their lists."""
        wavelets, scales = self._evaluator.bank.wavelets, self._evaluator.bank.scales
        n, l, j = path if len(path) == 3 else (None,) * 3
        if (n, l) not in wavelets or not np.isclose(scales, j).any():
            raise ValueError(
                f"No wavelet (n, l, j) = {path}; (n, l) is one of {wavelets} and j one of {scales}."
            )
        return wavelets.index((n, l)), int(np.isclose(scales, j).argmax())

    def _learn(self, structures: list[Structure]) -> None:
        wavelets, powers = self._wavelets(), check_powers(self.powers)
        scales = self._learn_scales(structures, self.min_distance_)
        self.spacing_ = float(self.spacing or learn_spacing(wavelets, self.beta_, self.aliasing))
        paths = self._paths(wavelets, scales)
        self.feature_table_ = path_table(paths, self.channels_.columns, wavelets, scales, powers)
        spacings = [self.spacing_ * max(1.0, 2.0**j / self.oversampling) for j in scales]
        self._evaluator = VoxelEvaluator(
            **self._shared_state(paths, powers),
            bank=Bank(wavelets, scales, self.beta_, StreamingArrays(np.dtype(self.dtype))),
            spacings=tuple(spacings),
            padding=tuple(PADDING_WIDTHS[self.order] * self.beta_ * 2.0**j for j in scales),
            smoothing=self.smoothing,
            tolerance=DENSITY_TOLERANCE * self.aliasing,
        )


def _cuda_is_available() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
