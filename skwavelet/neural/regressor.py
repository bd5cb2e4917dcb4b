"""What the two networks share as scikit-learn regressors over structures."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import pandas as pd
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from torch import nn

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import (
    Interval,
    StrOptions,
    check_groups,
    check_parameters,
    check_row_vector,
    check_sample_weight,
)
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.neural.graph import Graph, build_graph
from skwavelet.neural.held_out import fingerprints, split
from skwavelet.neural.last_layers import fit_last_layers
from skwavelet.neural.loss import Labelled
from skwavelet.neural.predictions import NetworkPredictionMixin
from skwavelet.neural.training import Settings, Trainer
from skwavelet.neural.units import learn_units
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.errors_out_of_bag import calibrated_on
from skwavelet.potentials.label_checks import check_forces, check_stress
from skwavelet.representations.tables import PlainTablesMixin
from skwavelet.structures.checks import Structure, as_atoms, check_elements, check_structures

# Atoms of a step where ``batch_size`` is None, of two structures at least. In the same time,
# silicon cells of 64 atoms learned far more in steps of two of them than of ten, and less in steps
# of one; ethanol as much in steps of five as of ten.
_ATOMS_PER_STEP = 100
# Parameters that do not change how the weights are trained.
_WITHOUT_EFFECT = ("checkpoint_path", "device", "n_members", "verbose", "warm_start")
# torch has one state of random numbers for all threads.
_RANDOM_NUMBERS = Lock()


class NetworkRegressor(
    NetworkPredictionMixin,
    PlainTablesMixin,
    DocumentedMixin,
    VersionedMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Base of `AngularNetwork` and `PointScatteringNetwork`.

    Subclasses implement ``_learn``, which sets ``cutoff_`` from structures, ``_build``, which
    returns a module, and ``_calibrate``, which sets what the module takes from structures.
    """

    # Parameters that the module is built with; those of the fitted one are in ``_built_with``.
    _architecture: ClassVar[tuple[str, ...]]
    _built_with: dict
    # What the weights have seen: later fits that go on from them are not judged by it.
    _trained_on: np.ndarray

    _parameter_constraints: ClassVar[dict] = {
        "width": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "force_weight": [Interval(Real, 0, None, closed="neither")],
        "stress_weight": [Interval(Real, 0, None, closed="neither")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"cosine", "plateau"})],
        "batch_size": [None, Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "patience": [None, Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [None, Interval(Real, 0, 1, closed="neither")],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "n_members": [None, Interval(Integral, 2, None, closed="left")],
        "warm_start": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"})],
        "device": [str, torch.device],
        "checkpoint_path": [None, str, Path],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def fit(
        self,
        X: Sequence[Atoms],
        y: ArrayLike,
        forces: Sequence[np.ndarray | None] | None = None,
        stress: Sequence[np.ndarray | None] | None = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : sequence of ase.Atoms
        y : array-like of shape (n_structures,)
            Energies, eV/atom.
        forces : sequence of array of shape (N, 3), default=None
            Forces of each structure, eV/Å; None or an array of NaN where there are none, which may
            be everywhere.
        stress : sequence of array of shape (6,), default=None
            Stress of each structure, eV/Å³, in ASE's sign and order (xx, yy, zz, yz, xz, xy);
            None or NaN where there is none.
        groups : array-like of shape (n_structures,), default=None
            Group of each structure (relaxation path). Whole groups are held out for validation.
            None: each structure is its own group.
        sample_weight : array-like of shape (n_structures,), default=None
            Weight of each structure, of its energy, forces and stress alike: 2 counts as two
            such structures, and 0 as if the structure were not there. None: 1.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, a structure or a label is unusable; the message names the structure.
            With ``warm_start``, also if a structure has an element that the fitted network does not
            know, or if a parameter that shapes the network is another than it was.
        FloatingPointError
            If the loss, or what the network gives after the training, is no number; the message
            names the epoch.
        """
        check_parameters(self)
        device, checkpoint = self._device(), self._checkpoint()
        X = as_atoms(X)
        structures = check_structures(X)
        y = check_row_vector(y, len(X), "y")
        groups = check_groups(groups, len(X))
        weights = check_sample_weight(sample_weight, len(X))
        pulls, stresses = check_forces(forces, X), check_stress(stress, X)
        if not weights.all():  # as if they were not there
            kept = np.flatnonzero(weights)
            X, structures = [X[i] for i in kept], [structures[i] for i in kept]
            pulls, stresses = [pulls[i] for i in kept], [stresses[i] for i in kept]
            y, groups, weights = y[kept], groups[kept], weights[kept]
        seed = int(check_random_state(self.random_state).randint(2**31))
        continued = self.warm_start and hasattr(self, "module_")
        trained_on = self._trained_on if continued else np.zeros(0, np.uint64)
        prints = fingerprints(structures)
        train, held_out = self._split(X, structures, groups, seed, np.isin(prints, trained_on))
        totals = y * [len(structure) for structure in structures]  # what the network learns
        if continued:
            self._check_architecture()
            check_elements(structures, self._atomic_numbers, declared=None)
            self._check_support(structures)
            self._set_unit(self._learn_units(structures, totals, pulls, weights, train)[1])
        else:
            self.__dict__.pop("module_", None)  # what is learned now does not belong to it
            self._learn_from(structures)
            units = self._learn_units(structures, totals, pulls, weights, train)
            self.shifts_, self.scale_ = units
        data = self._labelled(structures, totals, pulls, stresses, weights)
        module = self._start_module(data.take(train).graphs, seed, continued)
        trainer = Trainer(
            module.to(device),
            data.take(train),
            data.take(held_out) if len(held_out) else None,
            self._settings(
                seed, structures, (y, pulls, stresses, groups, weights), continued, checkpoint
            ),
        )
        trainer.run()
        self.module_ = trainer.module.eval().requires_grad_(False)
        self.history_ = self._readable(trainer.history)
        self.n_iter_, self.best_epoch_ = trainer.epoch, trainer.best_epoch
        self._trained_on = np.union1d(trained_on, prints[train])
        self._last_layers = self._intervals = None
        if self.n_members is not None:
            rng = np.random.default_rng((seed, 1))
            self._last_layers = fit_last_layers(
                trainer, groups[train], groups[held_out], self.n_members, rng
            )
            calibrations, self._intervals = calibrated_on(
                energy_model(self),
                [X[i] for i in held_out],
                y[held_out],
                [pulls[i] for i in held_out],
                [stresses[i] for i in held_out],
                weights[held_out],
                groups[held_out],
            )
            self._last_layers = replace(self._last_layers, calibrations=calibrations)
        return self

    # -- for subclasses ------------------------------------------------------------------------

    def _learn(self, structures: list[Structure]) -> None:
        raise NotImplementedError

    def _build(self) -> nn.Module:
        raise NotImplementedError

    def _calibrate(self, module: nn.Module, graphs: list[Graph]) -> None:
        raise NotImplementedError

    def _reaches(self) -> tuple[float, ...]:
        """Return the distances (Å) within which the module needs pairs."""
        return (self.cutoff_,)

    def _interaction_range(self) -> float:
        """Return the distance (Å) beyond which atoms do not change the energy of an atom."""
        return self._built_with["n_layers"] * self.cutoff_

    # -- training ------------------------------------------------------------------------------

    def _checkpoint(self) -> Path | None:
        """Return the file of the training's state, or raise ``ValueError`` if it cannot be."""
        if self.checkpoint_path is None:
            return None
        if not isinstance(self.random_state, Integral):
            raise ValueError(
                "checkpoint_path needs random_state to be an int: a fit with other random numbers "
                "could not be gone on with."
            )
        path = Path(self.checkpoint_path)
        if path.is_dir() or not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise ValueError(
                f"checkpoint_path={str(path)!r} is no file that can be written: name one in a "
                "directory that exists."
            )
        return path

    def _check_architecture(self) -> None:
        """Raise ``ValueError`` if the module was built with other parameters."""
        changed = [
            f"{name}={value!r}"
            for name, value in self._built_with.items()
            if not np.array_equal(value, getattr(self, name))
        ]
        if changed:
            raise ValueError(
                f"warm_start=True goes on from a network with {', '.join(changed)}: set that back, "
                "or fit with warm_start=False."
            )

    def _split(
        self,
        X: Sequence[Atoms],
        structures: list[Structure],
        groups: np.ndarray,
        seed: int,
        seen: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows to train on and those of the groups that are held out."""
        if self.validation_fraction is not None:
            return split(X, structures, groups, self.validation_fraction, seed, seen)
        if self.n_members is not None:
            raise ValueError(
                "n_members needs groups that the network has not seen, which tell how large "
                "errors are: set validation_fraction, or n_members=None."
            )
        return np.arange(len(groups)), np.arange(0)

    def _learn_from(self, structures: list[Structure]) -> None:
        """Learn what the module is built with."""
        elements = sorted(set(chain.from_iterable(s.elements for s in structures)))
        self.elements_ = [chemical_symbols[z] for z in elements]
        self._atomic_numbers = tuple(elements)
        self._built_with = {name: copy.copy(getattr(self, name)) for name in self._architecture}
        self._learn(structures)

    def _learn_units(
        self,
        structures: list[Structure],
        totals: np.ndarray,
        forces: list[np.ndarray | None],
        weights: np.ndarray,
        train: np.ndarray,
    ) -> tuple[np.ndarray, float]:
        """Return an energy of every element, and the unit of energies and forces."""
        n_elements = len(self._atomic_numbers)
        counts = np.array(
            [np.bincount(self._species(structures[row]), minlength=n_elements) for row in train]
        )
        return learn_units(counts, totals[train], [forces[row] for row in train], weights[train])

    def _set_unit(self, unit: float) -> None:
        """Let the fitted network have another unit; what it predicts stays as it is."""
        ratio = self.scale_ / unit
        self.module_.multiply(ratio)
        if self._last_layers is not None:
            self._last_layers = replace(
                self._last_layers, weights=ratio * self._last_layers.weights
            )
        self.scale_ = unit

    def _labelled(
        self,
        structures: list[Structure],
        totals: np.ndarray,
        forces: list[np.ndarray | None],
        stress: list[np.ndarray | None],
        weights: np.ndarray,
    ) -> Labelled:
        """Return structures with labels in the units of the network."""
        shifts = np.array([self.shifts_[self._species(s)].sum() for s in structures])
        return Labelled(
            [build_graph(s, self._reaches(), self._atomic_numbers) for s in structures],
            (totals - shifts) / self.scale_,
            [
                np.full((len(s), 3), np.nan) if label is None else label / self.scale_
                for s, label in zip(structures, forces, strict=True)
            ],
            np.array([np.full(6, np.nan) if s is None else s / self.scale_ for s in stress]),
            weights,
        )

    def _start_module(self, graphs: list[Graph], seed: int, continued: bool) -> nn.Module:
        """Return a module with first weights, or with those of the fit before."""
        module = self._module(seed, getattr(torch, self.dtype))
        if continued:
            module.load_state_dict(self.module_.state_dict())
        else:
            self._calibrate(module, graphs)
        return module

    def _module(self, seed: int, dtype: torch.dtype) -> nn.Module:
        """Return a module with random weights, which leaves torch's random numbers alone."""
        with _RANDOM_NUMBERS, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._build().to(dtype)

    def _settings(
        self,
        seed: int,
        structures: list[Structure],
        labels: tuple,
        continued: bool = False,
        checkpoint: Path | None = None,
    ) -> Settings:
        parameters = self.get_params(deep=False)
        for name in (*_WITHOUT_EFFECT, "random_state"):
            parameters.pop(name)
        arrays = [(s.numbers, s.positions, s.cell, s.pbc) for s in structures]
        first = [w.cpu().numpy() for w in self.module_.state_dict().values()] if continued else None
        return Settings(
            force_weight=self.force_weight,
            stress_weight=self.stress_weight,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            batch_size=self._structures_per_step(structures),
            max_epochs=self.max_epochs,
            patience=self.patience,
            averaging=self.averaging,
            pooling_weight=getattr(self, "pooling_weight", 0.0),
            seed=seed,
            checkpoint=checkpoint,
            fingerprint=joblib.hash((type(self).__name__, parameters, seed, arrays, labels, first)),
            verbose=self.verbose,
        )

    def _structures_per_step(self, structures: list[Structure]) -> int:
        if self.batch_size is not None:
            return self.batch_size
        mean = sum(len(structure) for structure in structures) / len(structures)
        return max(2, round(_ATOMS_PER_STEP / mean))

    def _readable(self, history: list[dict]) -> pd.DataFrame:
        table = pd.DataFrame(history).set_index("epoch")
        errors = [name for name in table if name.endswith("mae")]
        table[errors] *= self.scale_
        return table

    def __getstate__(self) -> dict[str, Any]:
        # Arrays and strings load where there is no such device, and skops can store them.
        state = super().__getstate__()
        state["device"] = str(state["device"])
        if state["checkpoint_path"] is not None:
            state["checkpoint_path"] = str(state["checkpoint_path"])
        if "module_" in state:
            weights = state.pop("module_").state_dict()
            state["_weights"] = {name: value.cpu().numpy() for name, value in weights.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            tensors = {name: torch.tensor(value) for name, value in weights.items()}
            module = self._module(0, next(iter(tensors.values())).dtype)
            module.load_state_dict(tensors)
            self.module_ = module.eval().requires_grad_(False)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.non_deterministic = self.random_state is None
        return tags
