"""``AngularNetwork``: learned three-body filters and messages between atoms (chapter 6)."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skwavelet._utils.validation import Interval, StrOptions
from skwavelet.neural.graph import Graph, check_reach
from skwavelet.neural.networks import AngularModule
from skwavelet.neural.regressor import NetworkRegressor
from skwavelet.structures.checks import Structure, smallest_distance
from skwavelet.structures.outliers import check_outliers

_N_ANGULAR = {"legendre": 4, "gaussian": 10, "literal": 10}


class AngularNetwork(NetworkRegressor):
    r"""Network of learned three-body filters, trained on energies, forces and stresses.

    Every atom starts from a learned vector of its element. Each layer adds a message from the
    neighbours, weighed by learned filters of distances and angles; two dense layers read an
    energy off every atom, and their sum is the energy (6.6-6.16 of the reference). It is
    invariant under translations, rotations, reflections and permutations, and changes smoothly
    when an atom crosses the cutoff.

    Parameters
    ----------
    n_layers : int, default=3
        Number of message layers (at every level of pooling).
    width : int, default=64
        Number of features of an atom.
    basis : {"legendre", "gaussian", "literal"}, default="legendre"
        Form of the filters. "legendre": spherical harmonics, whose products of two and of three
        sums over neighbours take a time proportional to the neighbours, and which every layer hands
        on to the next. "gaussian": after the reference, Gaussians of the cosine and the distance
        through two dense layers; the cost is proportional to the pairs of neighbours. "literal":
        (6.6) to (6.16) of the reference to the letter, with Gaussians of the distance itself,
        messages of the centre's features without a bound, and a linear readout;
        ``AngularNetwork(3, 128, basis="literal")`` is the network of its chapter 6.
    n_radial : int, default=10
        Number of radial Gaussians, of the logarithm of the distance, from the smallest distance
        in X to the cutoff ("literal": of the distance, from 0).
    n_angular : int, default=None
        Number of degrees of harmonics (None: 4) or Gaussians (None: 10) of the angle. 0 leaves
        the angles out: Gaussian filters of the distance, also for "legendre"; "literal" needs
        angles.
    cutoff : float, default=5.0
        Largest distance between neighbours (Å).
    messages : {"both", "neighbor", "center"}, default="both"
        Whose features the Gaussian filters of atom i with neighbours j and k multiply: those of
        j and k; those of k alone; those of i itself, the literal (6.13), which never learns the
        element of a neighbour. For comparisons, of Gaussian filters only.
    pooling : int, default=None
        How often atoms are merged into fewer nodes (after 6.17-6.19): every atom gives learned
        shares of itself to its neighbours, and layers of twice the reach follow at the atoms that
        keep a share. The readouts of all levels are added up. The cost stays proportional to the
        number of atoms, in cells as well. None: never.
    pooling_weight : float, default=0.01
        Weight of the entropy loss of pooling, which lets atoms go to one node only.
    force_weight, stress_weight : float, default=0.01 and 10
        In the loss, mean (energy error)² + force_weight mean (force error)² + stress_weight mean
        (stress error)², in (eV/atom)², (eV/Å)² and (eV/Å³)², as in
        `skwavelet.EnergyForceRegressor`. Energies start with a hundredth of their weight and reach
        the whole as the learning rate falls: forces teach more, energies need small steps.
        Equation (5.16) of the reference, with total energies and forces as vectors, is this with
        p = 3 / (3 + N² force_weight) for structures of N atoms.
    learning_rate : float, default=0.006
        At its highest, of SOAP (dense layers), Muon (matrices that mix channels of moments) and
        Adam (everything else).
    schedule : {"cosine", "plateau"}, default="cosine"
        Lower the learning rate by a cosine over ``max_epochs``, or halve it whenever the
        validation errors have not fallen for a third of ``patience``.
    batch_size : int, default=None
        Structures per step. None takes as many as have 100 atoms together on average, but two at
        least.
    max_epochs : int, default=200
        Largest number of passes over the training structures.
    patience : int, default=None
        Stop when the validation errors have not fallen for so many epochs; None never does.
    validation_fraction : float, default=0.1
        Part of the structures that is held out to choose the best weights, as nearly as a fold of
        whole groups, of all compositions, can be (`skwavelet.RelaxationPathGroupKFold`). Groups
        with an element that no other group has train the network. The best are the last whose
        product of mean absolute errors of energies, forces and stresses is at most
        1 + 0.76 / n^(1/2) times the least, which is the uncertainty of a mean absolute error of n
        structures: all kinds count alike, and neither outliers nor chance decide. None trains on
        everything and keeps the last weights.
    averaging : float, default=0.999
        Decay per step of the running average of the weights, which is what validation and
        predictions use; 0 uses the weights themselves.
    n_members : int, default=None
        Fit so many other last layers, whose spread tells standard deviations of energies, forces
        and stresses (``return_std=True``, and in the calculator), calibrated by the errors on the
        groups that are held out. 16 take about as long as three more epochs. None fits none.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the fit before, with its elements and shifts,
        instead of starting anew: after more structures have been labelled, for one. Parameters
        that shape the network must be as they were. What the fit before was trained on is not
        held out.
    dtype : {"float32", "float64"}, default="float32"
        Of the network.
    device : str or torch.device, default="auto"
        "auto" takes a CUDA device if there is one. It may be changed on a fitted network, and has
        to be where a network that was fitted with "cuda" is loaded on a machine without.
    checkpoint_path : str or Path, default=None
        File that keeps the state of the training after every epoch. If it exists and belongs to
        the same fit, ``fit`` carries on from it: on a CPU to the same weights as without the
        interruption. ``random_state`` must be an int then.
    random_state : int, RandomState instance or None, default=None
        Draws first weights, validation groups and the order of batches.
    verbose : bool, default=False
        Show progress.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network with its best weights.
    elements_ : list of str
        Chemical symbols seen in ``fit``.
    shifts_ : ndarray of shape (n_elements,)
        Energy per atom of each element (eV), by least squares.
    scale_ : float
        Root mean square of the training forces (eV/Å), the unit inside of the network; of
        energies (eV) where there are no forces or all of them vanish.
    history_ : DataFrame
        One row per epoch: train_loss (with the weights that energies had), learning_rate, and of
        the validation set loss, energy MAE (eV/atom), force MAE (eV/Å) and stress MAE (eV/Å³),
        where there are such labels. Losses are in units of ``scale_`` squared.
    n_iter_, best_epoch_ : int
        Epochs in all, and the epoch of the weights that are kept.

    See Also
    --------
    PointScatteringNetwork : Fixed wavelets, learned mixing of channels.
    skwavelet.ScatteringCalculator : Use the network in ASE.
    skwavelet.AngularFeatures : Three-body features with fixed filters.

    Notes
    -----
    ``y`` and ``predict`` are eV/atom, as for every model of the library.

    The reference's filter depends on the distance to k and the angle, so that a lone neighbour
    acts not at all; here a two-body filter of the distance to k is added to it.

    References
    ----------
    X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
    dissertation, Michigan State University, chapter 6.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet import labels_of
    >>> from skwavelet.neural import AngularNetwork
    >>> structures = []
    >>> for seed in range(6):
    ...     atoms = molecule("H2O")
    ...     atoms.rattle(0.05, seed=seed)
    ...     atoms.calc = EMT()
    ...     structures.append(atoms)
    >>> labels = labels_of(structures)
    >>> network = AngularNetwork(1, width=8, max_epochs=2, random_state=0)
    >>> network = network.fit(structures, labels.energies, forces=labels.forces)
    >>> network.predict_forces(structures[:1])[0].shape
    (3, 3)
    """

    _architecture = (
        "n_layers", "width", "basis", "n_radial", "n_angular", "cutoff", "messages", "pooling",
    )  # fmt: skip
    _parameter_constraints: ClassVar[dict] = {
        **NetworkRegressor._parameter_constraints,
        "basis": [StrOptions({"legendre", "gaussian", "literal"})],
        "n_radial": [Interval(Integral, 2, None, closed="left")],
        "n_angular": [None, Interval(Integral, 0, None, closed="left")],
        "cutoff": [Interval(Real, 0, None, closed="neither")],
        "messages": [StrOptions({"both", "neighbor", "center"})],
        "pooling": [None, Interval(Integral, 1, None, closed="left")],
        "pooling_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_layers: int = 3,
        width: int = 64,
        *,
        basis: str = "legendre",
        n_radial: int = 10,
        n_angular: int | None = None,
        cutoff: float = 5.0,
        messages: str = "both",
        pooling: int | None = None,
        pooling_weight: float = 0.01,
        force_weight: float = 0.01,
        stress_weight: float = 10.0,
        learning_rate: float = 0.006,
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
        self.basis = basis
        self.n_radial = n_radial
        self.n_angular = n_angular
        self.cutoff = cutoff
        self.messages = messages
        self.pooling = pooling
        self.pooling_weight = pooling_weight
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

    def filters(self, distances: np.ndarray, cosines: np.ndarray, layer: int = 0) -> np.ndarray:
        """Evaluate the learned three-body filters of a layer at the atoms (Figure 6.1).

        Parameters
        ----------
        distances : array of shape (n_distances,)
            Distances to the neighbour k (Å).
        cosines : array of shape (n_cosines,)
            Cosines of the angle j i k.
        layer : int, default=0

        Returns
        -------
        ndarray of shape (n_distances, n_cosines, width)
            Theta ssp(Theta~ (G(r) x G(cos))) without the cutoff functions.

        Raises
        ------
        ValueError
            If the network has no such filters (``basis="legendre"`` or ``n_angular=0``), or no such
            layer.
        """
        check_is_fitted(self)
        geometry = self.module_.geometries[0]
        if getattr(geometry, "angular", None) is None:
            raise ValueError(
                "Only the Gaussian bases have filters of a distance and an angle: fit with "
                'basis="gaussian" or "literal" and n_angular not 0.'
            )
        layers = self.module_.levels[0]
        if not 0 <= layer < len(layers):
            raise ValueError(f"layer={layer} must be one of 0 to {len(layers) - 1}.")
        place = self._place()
        r = torch.as_tensor(np.asarray(distances), dtype=self._dtype, device=place)
        cos = torch.as_tensor(np.asarray(cosines), dtype=self._dtype, device=place)
        with torch.no_grad():
            values = layers[layer].triplet_filters(geometry.radial(r), geometry.angular(cos))
        return values.cpu().numpy().astype(np.float64)

    def _learn(self, structures: list[Structure]) -> None:
        n_angular = _N_ANGULAR[self.basis] if self.n_angular is None else self.n_angular
        if self.basis == "literal" and not n_angular:
            raise ValueError('basis="literal" has no filters without angles: set n_angular > 0.')
        gaussian = self.basis == "gaussian" or not n_angular
        if self.messages != "both" and not gaussian:
            raise ValueError(
                f'messages="{self.messages}" is a choice of basis="gaussian": set that, or '
                'messages="both".'
            )
        self._n_angular = n_angular
        self.cutoff_ = float(self.cutoff)
        smallest = smallest_distance(structures)
        check_reach("cutoff", self.cutoff_, smallest)
        check_outliers(structures, "add more that have it if it is meant")
        # Every radial Gaussian lies between the closest atoms and the cutoff.
        self._start = smallest if smallest < self.cutoff_ else 0.1 * self.cutoff_

    def _build(self) -> nn.Module:
        names = "width", "n_layers", "n_radial", "basis", "messages"
        return AngularModule(
            len(self.elements_),
            **{name: self._built_with[name] for name in names},
            n_angular=self._n_angular,
            cutoff=self.cutoff_,
            start=self._start,
            n_pools=self._built_with["pooling"] or 0,
        )

    def _calibrate(self, module: nn.Module, graphs: list[Graph]) -> None:
        distances = np.concatenate([graph.pairs[0].distances for graph in graphs])
        switch = 0.5 * (1 + np.cos(np.pi * distances / self.cutoff_))
        crowding = float(np.square(switch).sum() / sum(len(graph.species) for graph in graphs))
        module.set_crowding(max(crowding, 1.0))

    def _reaches(self) -> tuple[float, ...]:
        """Return the cutoff, and for each pooling how far apart atoms of close nodes may be."""
        # Nodes reach twice as far at every level, and leave their atoms by up to half of that.
        n_pools = self._built_with["pooling"] or 0
        reaches = [self.cutoff_ * 2**level for level in range(n_pools + 1)]
        return tuple(reach + sum(reaches[:level]) for level, reach in enumerate(reaches))

    def _interaction_range(self) -> float:
        n_layers = self._built_with["n_layers"]
        total = n_layers * self.cutoff_
        for level, reach in enumerate(self._reaches()[1:]):
            # An atom is given away within half of a reach, which depends on those around it.
            total += 2 * self._reaches()[level] + n_layers * reach
        return total
