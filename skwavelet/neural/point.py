"""``PointScatteringNetwork``: wavelet scattering at the atoms with learned channels (chapter 5)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from skwavelet._utils.validation import Interval, StrOptions
from skwavelet.neural.graph import Graph, check_reach, collate
from skwavelet.neural.networks import ScatteringModule
from skwavelet.neural.regressor import NetworkRegressor
from skwavelet.representations.point.filters import natural_reach, scales_to_reach, wavelet_maximum
from skwavelet.representations.scattering import learn_beta, wavelet_orders
from skwavelet.structures.checks import Structure, smallest_distance
from skwavelet.structures.outliers import check_outliers

# Where a wavelet has fallen to this part of its maximum it needs no wider scale to reach on.
_TOLERANCE = 1e-3
# Structures that set the units of features.
_CALIBRATION = 100


class PointScatteringNetwork(NetworkRegressor):
    r"""Wavelet scattering network at the atoms, trained on energies, forces and stresses.

    Every layer mixes the channels :math:`X_b` of the atoms by learned weights, takes the modulus
    of their scattering at the atoms by fixed wavelets, and hands all outputs on as new channels
    (5.7-5.15 of the reference):

    .. math::

        X_{b+1}(i; nlj, c) = \Big[\sum_m \Big(\sum_{k \ne i} \psi_{nlm,j}(R_k - R_i)\,
            (X_b W_b)_{kc}\Big)^2\Big]^{1/2}.

    :math:`X_0 W_0` is a learned vector for each element. Means over atoms of powers of all
    channels, of all layers, enter a linear or two-layer head, whose result times the number of
    atoms is the energy. Moduli m are rounded where they vanish, as they do at the sites of a
    crystal: (1 + 3 (m / s)^2)^(1/2) - 1, with the root mean square s on the training structures. A
    power q of one is (1 + m)^q - 1.

    Parameters
    ----------
    n_layers : int, default=2
        Number of scattering layers.
    width : int, default=16
        Number of channels that enter a layer.
    n : int or sequence of int, default=(1, 2, 3)
        Radial orders.
    max_l : int, default=2
        Largest degree; every (n, l) has l < n.
    beta : float, default=None
        Width of the narrowest wavelets (Å); None learns it as `skwavelet.PointScattering` does.
    n_scales : int, default=None
        Number of scales; None takes all up to the first whose wavelets reach ``reach``.
    scale_step : float, default=1.0
        Step of the scales j = 0, scale_step, ...
    overlap : float, default=0.1
        See ``beta`` of `skwavelet.PointScattering`.
    reach : float, default=5.0
        Largest distance (Å) at which atoms act on each other; a cosine cutoff ends the wavelets.
    powers : sequence of float, default=(1, 2)
        Powers of the channels that are pooled, 1 at least.
    head : {"mlp", "linear"}, default="mlp"
        What makes an energy of the means.
    force_weight, stress_weight, learning_rate, schedule, batch_size : see AngularNetwork
        How to train; here the learning rate is 0.0005 by default.
    max_epochs, patience, validation_fraction, averaging, n_members : see AngularNetwork
        Likewise.
    warm_start, dtype, device, checkpoint_path : see AngularNetwork
        Likewise.
    random_state, verbose : see AngularNetwork
        Likewise.

    Attributes
    ----------
    beta_ : float
        Width of the narrowest wavelets (Å).
    n_scales_ : int
        Number of scales.
    module_, elements_, shifts_, scale_, history_, n_iter_, best_epoch_
        As of `AngularNetwork`.

    See Also
    --------
    AngularNetwork : Learned filters instead of wavelets; the more accurate one.
    skwavelet.PointScattering : The representation without learned weights.

    Notes
    -----
    ``y`` and ``predict`` are eV/atom. Means of powers rather than norms give a supercell the energy
    per atom of its cell.

    References
    ----------
    X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
    dissertation, Michigan State University, chapter 5.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet.neural import PointScatteringNetwork
    >>> structures = [bulk("Si", a=a, cubic=True) for a in (5.3, 5.4, 5.5, 5.6)]
    >>> network = PointScatteringNetwork(1, 4, max_epochs=2, random_state=0)
    >>> network.fit(structures, [-5.36, -5.39, -5.40, -5.38]).predict(structures[:2]).shape
    (2,)
    """

    _architecture = (
        "n_layers", "width", "n", "max_l", "beta", "n_scales", "scale_step", "overlap", "reach",
        "powers", "head",
    )  # fmt: skip
    _parameter_constraints: ClassVar[dict] = {
        **NetworkRegressor._parameter_constraints,
        "n": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "max_l": [Interval(Integral, 0, None, closed="left")],
        "beta": [None, Interval(Real, 0, None, closed="neither")],
        "n_scales": [None, Interval(Integral, 1, None, closed="left")],
        "scale_step": [Interval(Real, 0, None, closed="neither")],
        "overlap": [Interval(Real, 0, 1, closed="neither")],
        "reach": [Interval(Real, 0, None, closed="neither")],
        "powers": ["array-like"],
        "head": [StrOptions({"linear", "mlp"})],
    }

    def __init__(
        self,
        n_layers: int = 2,
        width: int = 16,
        *,
        n: int | Sequence[int] = (1, 2, 3),
        max_l: int = 2,
        beta: float | None = None,
        n_scales: int | None = None,
        scale_step: float = 1.0,
        overlap: float = 0.1,
        reach: float = 5.0,
        powers: Sequence[float] = (1, 2),
        head: str = "mlp",
        force_weight: float = 0.01,
        stress_weight: float = 10.0,
        learning_rate: float = 0.0005,
        schedule: str = "cosine",
        batch_size: int | None = None,
        max_epochs: int = 200,
        patience: int | None = None,
        validation_fraction: float | None = 0.1,
        averaging: float = 0.999,
        n_members: int | None = None,
        warm_start: bool = False,
        dtype: str = "float32",
        device: str | torch.device = "auto",
        checkpoint_path: str | Path | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.n_layers = n_layers
        self.width = width
        self.n = n
        self.max_l = max_l
        self.beta = beta
        self.n_scales = n_scales
        self.scale_step = scale_step
        self.overlap = overlap
        self.reach = reach
        self.powers = powers
        self.head = head
        self.force_weight = force_weight
        self.stress_weight = stress_weight
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.averaging = averaging
        self.n_members = n_members
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.checkpoint_path = checkpoint_path
        self.random_state = random_state
        self.verbose = verbose

    def _learn(self, structures: list[Structure]) -> None:
        self.cutoff_ = float(self.reach)
        self._orders = wavelet_orders(self.n, self.max_l)
        try:
            powers = np.asarray(self.powers, dtype=float)
        except (TypeError, ValueError):
            powers = np.zeros(0)
        if powers.ndim != 1 or not len(powers) or not (np.isfinite(powers) & (powers >= 1)).all():
            raise ValueError(f"powers must be numbers of at least 1, not {self.powers!r}.")
        smallest = smallest_distance(structures)
        check_reach("reach", self.cutoff_, smallest)
        if self.beta is None:
            self.beta_ = learn_beta(2 * smallest, self.overlap)
            check_outliers(structures, "set beta by hand if it is meant")
        else:
            self.beta_ = float(self.beta)
        natural = natural_reach(self._orders, self.beta_, _TOLERANCE)
        self.n_scales_ = self.n_scales or scales_to_reach(self.cutoff_, natural, self.scale_step)

    def _why_not_local(self) -> str:
        return "" if self._built_with["head"] == "linear" else 'atoms: fit with head="linear".'

    def _build(self) -> nn.Module:
        built_with = self._built_with
        scales = [built_with["scale_step"] * j for j in range(self.n_scales_)]
        # Wavelets of height 1, as `calibrate` sets the units of the features anyway.
        peaks = [wavelet_maximum(n, l, self.beta_) for n, l in self._orders]
        return ScatteringModule(
            len(self.elements_),
            wavelets=self._orders,
            beta=self.beta_,
            scales=scales,
            gains=1 / np.array(peaks),
            reach=self.cutoff_,
            **{name: built_with[name] for name in ("width", "n_layers", "powers", "head")},
        )

    def _calibrate(self, module: nn.Module, graphs: list[Graph]) -> None:
        # Sets are often sorted by their compositions: some of all of them.
        some = np.random.default_rng(0).permutation(len(graphs))[:_CALIBRATION]
        dtype = next(module.parameters()).dtype
        module.calibrate(collate([graphs[row] for row in some], dtype))
