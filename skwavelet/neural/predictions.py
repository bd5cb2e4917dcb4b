"""What networks predict: energies, forces, stresses, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skwavelet._utils.torch_device import usable_device
from skwavelet.neural.graph import Batch, array_of, build_graph, collate, portions
from skwavelet.neural.last_layers import LastLayers, last_gradients
from skwavelet.neural.networks import energy_gradients
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.shared_predictions import SharedPredictionMixin
from skwavelet.structures.checks import Structure, as_atoms, check_elements, check_structures

# Structures that are predicted at once where ``batch_size`` is None.
_BATCH_SIZE = 10


class NetworkPredictionMixin(SharedPredictionMixin):
    """What networks predict with their fitted module and its last layers."""

    module_: nn.Module
    shifts_: np.ndarray
    scale_: float
    batch_size: int | None
    device: str | torch.device
    _atomic_numbers: tuple[int, ...]
    _last_layers: LastLayers | None

    def predict(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict energies per atom.

        Parameters
        ----------
        X : sequence of ase.Atoms
        return_std : bool, default=False
            Whether to return the standard deviation too, of networks with ``n_members``.

        Returns
        -------
        energies : ndarray of shape (n_structures,)
            eV/atom.
        std : ndarray of shape (n_structures,)
            eV/atom; only with ``return_std=True``.

        Raises
        ------
        TypeError
            If standard deviations are asked for and ``n_members`` was None.
        """
        if return_std:
            X, model = as_atoms(X), self._energy_model(True)
            values = model.values(X)
            return values[:, 0], model.energy_std(X, values)
        energies = []
        for batch, structures in self._batches(X):
            with torch.no_grad():
                values = self.module_(batch)[0]
            energies.append(self._per_atom(array_of(values), structures))
        return np.concatenate(energies)

    def _check_ensemble(self) -> None:
        if not energy_model(self).n_members:
            raise TypeError(
                f"{type(self).__name__} has no standard deviations: fit with n_members=16."
            )

    def _reaches(self) -> tuple[float, ...]:
        raise NotImplementedError

    def _check_support(self, structures: list[Structure]) -> None:
        """Raise ``ValueError`` for structures that the network is not made for."""

    def _why_not_local(self) -> str:
        """Return what the energy is no sum over, and the remedy; nothing where it is one."""
        return ""

    def _batches(self, X: Sequence[Atoms]) -> Iterator[tuple[Batch, list[Structure]]]:
        """Yield structures as batches, on the device and with the digits of the module."""
        check_is_fitted(self)
        place = self._place()
        structures = check_structures(X)
        check_elements(structures, self._atomic_numbers, declared=None)
        self._check_support(structures)
        sizes = [len(structure) for structure in structures]
        for rows in portions(sizes, self.batch_size or _BATCH_SIZE):
            part = structures[rows]
            graphs = [build_graph(s, self._reaches(), self._atomic_numbers) for s in part]
            yield collate(graphs, self._dtype).to(place), part

    def _derivatives(self, X: Sequence[Atoms]) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Return (energy per atom, gradients (N, 3) and (3, 3) of the total one) of structures."""
        results: list[Any] = []
        for batch, structures in self._batches(X):
            values, forces, strains, _ = energy_gradients(self.module_, batch, strained=True)
            energies = self._per_atom(array_of(values), structures)
            ends = np.cumsum([len(structure) for structure in structures])[:-1]
            gradients = np.split(-self.scale_ * array_of(forces), ends)
            results += zip(energies, gradients, self.scale_ * array_of(strains), strict=True)
        return results

    def _last(self, X: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (n,) and what the last layer sees (n, n_last), eV/atom per weight."""
        parts = []
        for batch, structures in self._batches(X):
            with torch.no_grad():
                values = array_of(self.module_.last_of_structures(batch))
            parts.append(self._last_per_atom(values, structures))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _last_derivatives(
        self, X: Sequence[Atoms], mixtures: np.ndarray
    ) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield energy, what the last layer sees (n_last,), and the gradients of mixtures of both.

        Mixtures (n_structures, S, n_last + 1) are of total energies by the weights of the last
        layer, then of the energy; gradients are (S, N, 3) and (S, 3, 3).
        """
        begin = 0
        for batch, structures in self._batches(X):
            own = mixtures[begin : begin + len(batch)]
            begin += len(batch)
            values, sweeps = last_gradients(
                self.module_, batch, torch.from_numpy(own.swapaxes(0, 1).copy())
            )
            energies, seen = self._last_per_atom(array_of(values), structures)
            ends = np.cumsum([len(structure) for structure in structures])[:-1]
            gradients = self.scale_ * np.array([array_of(sweep[0]) for sweep in sweeps])
            strains = self.scale_ * np.array([array_of(sweep[1]) for sweep in sweeps])
            yield from zip(
                energies, seen, np.split(gradients, ends, axis=1), strains.swapaxes(0, 1),
                strict=True,
            )  # fmt: skip

    def _last_per_atom(
        self, values: np.ndarray, structures: list[Structure]
    ) -> tuple[np.ndarray, np.ndarray]:
        sizes = np.array([len(structure) for structure in structures])
        seen = self.scale_ * values[:, :-1] / sizes[:, None]
        return self._per_atom(values[:, -1], structures), seen

    def _batch_of(self, atoms: Atoms) -> tuple[Batch, np.ndarray]:
        """Return one structure as a batch, and the energies (N,) of its elements (eV)."""
        ((batch, (structure,)),) = self._batches([atoms])
        return batch, self.shifts_[self._species(structure)]

    def _per_atom(self, values: np.ndarray, structures: list[Structure]) -> np.ndarray:
        shifts = [self.shifts_[self._species(structure)].mean() for structure in structures]
        return np.array(shifts) + self.scale_ * values / [len(s) for s in structures]

    def _species(self, structure: Structure) -> np.ndarray:
        return np.searchsorted(self._atomic_numbers, structure.numbers)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.module_.parameters()).dtype

    def _device(self) -> torch.device:
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return usable_device(found if self.device == "auto" else self.device)

    def _place(self) -> torch.device:
        """Move the module to where the parameter ``device`` wants it, and return that."""
        device = self._device()
        if next(self.module_.parameters()).device != device:
            self.module_.to(device)
        return device
