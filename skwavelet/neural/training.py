"""The training loop: loss, learning rate, averaged weights, validation, checkpoints.

skorch was tried first (1.4). Both of its steps had to be replaced for losses that hold derivatives,
its batches had to be dressed up as arrays, and a resumed fit did not end where an uninterrupted one
did: checkpoints keep weights, optimizer and history, but the schedule of the learning rate starts
anew, and the order of the batches is lost. What was left of it was a loop over epochs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from tqdm.auto import tqdm

from skwavelet._utils.files import atomic_file
from skwavelet.neural.graph import Batch, Graph, collate
from skwavelet.neural.networks import energy_gradients
from skwavelet.neural.optimizer import Muon

# Steps over which the learning rate rises to its value, against bad first steps.
_WARMUP = 100
# Largest norm of the gradient of a loss whose terms are of order 1.
_LARGEST_GRADIENT = 10.0


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a batch as tensors, in units of the training set's spread.

    Attributes
    ----------
    energies : Tensor of shape (B,)
        Of whole structures, in float64.
    forces : Tensor of shape (N, 3) or None
        NaN where there are none; None where no structure has any.
    stress : Tensor of shape (B, 6) or None
        Likewise.
    weights : Tensor of shape (B,)
        Weight of each structure.
    """

    energies: Tensor
    forces: Tensor | None
    stress: Tensor | None
    weights: Tensor


class LossWeights(NamedTuple):
    """What squared errors are multiplied by: of energies per atom, of components of the others."""

    energy: float = 1.0
    forces: float = 0.0
    stress: float = 0.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """Structures with labels, in units of the training set's spread.

    Attributes
    ----------
    graphs : list of Graph
    energies : ndarray of shape (n_structures,)
        Of whole structures.
    forces : list of ndarray of shape (N, 3)
        NaN throughout where a structure has none.
    stress : ndarray of shape (n_structures, 6)
        NaN throughout where a structure has none.
    weights : ndarray of shape (n_structures,)
        How often each structure counts.
    """

    graphs: list[Graph]
    energies: np.ndarray
    forces: list[np.ndarray]
    stress: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return some of the structures."""
        return Labelled(
            [self.graphs[row] for row in rows],
            self.energies[rows],
            [self.forces[row] for row in rows],
            self.stress[rows],
            self.weights[rows],
        )

    def loss_weights(self, force_weight: float, stress_weight: float) -> LossWeights:
        """Return the weights with which the loss of all structures is one of means.

        With them, the mean over structures of what `loss_and_errors` adds up is

            mean (energy error)^2 + force_weight mean (force error)^2 + stress_weight mean
            (stress error)^2,

        means over structures and over the labelled components, each counted with the weight of
        its structure. They stay the same in every batch, which may hold few labels of a kind.
        """
        n_forces = sum(
            w * np.isfinite(f).sum() for w, f in zip(self.weights, self.forces, strict=True)
        )
        n_stress = self.weights @ np.isfinite(self.stress).sum(axis=1)
        return LossWeights(
            len(self) / self.weights.sum(),
            force_weight * len(self) / n_forces if n_forces else 0.0,
            stress_weight * len(self) / n_stress if n_stress else 0.0,
        )

    def batch(self, rows: np.ndarray, like: Tensor, kinds: LossWeights) -> tuple[Batch, Labels]:
        """Return structures and labels as tensors of the dtype and on the device of ``like``.

        Labels whose weight is 0 in ``kinds`` are left out.
        """
        part = self.take(rows)

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(like)

        labels = Labels(
            torch.from_numpy(part.energies).to(like.device),
            tensor(np.concatenate(part.forces)) if kinds.forces else None,
            tensor(part.stress) if kinds.stress else None,
            tensor(part.weights),
        )
        return collate(part.graphs, like.dtype).to(like.device), labels


@dataclass(frozen=True)
class Settings:
    """How to train; see `skwavelet.neural.AngularNetwork` for what the names mean."""

    force_weight: float
    stress_weight: float
    learning_rate: float
    schedule: str
    batch_size: int
    max_epochs: int
    patience: int | None
    averaging: float
    pooling_weight: float
    seed: int
    checkpoint: Path | None
    fingerprint: str
    verbose: bool


def loss_and_errors(
    module: nn.Module, batch: Batch, labels: Labels, kinds: LossWeights, *, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the loss, auxiliary losses, and the errors of energies per atom, forces and stresses.

    The loss is the mean over structures of their weight times

        kinds.energy (energy error per atom)^2 + kinds.forces |force errors|^2
        + kinds.stress |stress errors|^2,

    sums over components that are labelled. Errors of labels that there are none of are empty.
    """
    if labels.forces is None and labels.stress is None:
        with torch.set_grad_enabled(training):
            predicted, losses = module(batch)
        forces = strains = None
    else:
        predicted, forces, strains, losses = energy_gradients(
            module, batch, create_graph=training, strained=labels.stress is not None
        )
    error = (predicted - labels.energies) / batch.sizes
    squares = kinds.energy * error.square()
    errors = [error, error.new_zeros(0), error.new_zeros(0)]
    if labels.forces is not None and forces is not None:
        known = torch.isfinite(labels.forces)
        # Where there is no label the error is 0 and has no gradient, which NaN would have.
        off = torch.where(known, forces - labels.forces.nan_to_num(), 0.0)
        squares = squares + kinds.forces * batch.sums(off.square().sum(dim=1))
        errors[1] = off[known]
    if labels.stress is not None and strains is not None:
        known = torch.isfinite(labels.stress)
        off = torch.where(known, voigt(strains, batch.volumes) - labels.stress.nan_to_num(), 0.0)
        squares = squares + kinds.stress * off.square().sum(dim=1)
        errors[2] = off[known]
    return (labels.weights * squares).mean(), losses, errors


def voigt(strains: Tensor, volumes: Tensor) -> Tensor:
    """Return stresses (B, 6), in ASE's order, of derivatives by strain (B, 3, 3) and volumes."""
    flat = (0.5 * (strains + strains.mT)).flatten(1)
    return flat[:, [0, 4, 8, 5, 2, 1]] / volumes[:, None]


class Trainer:
    """Train a module, in steps that a checkpoint can carry on from.

    Parameters
    ----------
    module : nn.Module
        Trained in place; in the end it holds the best averaged weights.
    train : Labelled
    validation : Labelled or None
        None keeps the last averaged weights.
    settings : Settings
    """

    def __init__(
        self,
        module: nn.Module,
        train: Labelled,
        validation: Labelled | None,
        settings: Settings,
    ):
        self.module, self.train, self.validation = module, train, validation
        self.settings = settings
        weights = settings.force_weight, settings.stress_weight
        self.kinds = train.loss_weights(*weights)
        self.validation_kinds = None if validation is None else validation.loss_weights(*weights)
        # In units of the loss, whose largest term is mostly that of the forces.
        self.largest = _LARGEST_GRADIENT * (settings.force_weight if self.kinds.forces else 1.0)
        # Validation wants no gradients of weights.
        self.average = copy.deepcopy(module).requires_grad_(False)
        self.optimizer = Muon(module, settings.learning_rate)
        self.batches = -(-len(train) // settings.batch_size)
        self.scheduler = self._scheduler()
        self.epoch, self.step = 0, 0
        self.best, self.best_epoch = np.inf, 0
        self.best_weights = copy.deepcopy(module.state_dict())
        self.history: list[dict] = []

    def run(self) -> None:
        """Train to the end, from the checkpoint if there is one."""
        settings = self.settings
        if settings.checkpoint is not None and settings.checkpoint.exists():
            self._load()
        with tqdm(
            total=settings.max_epochs,
            initial=self.epoch,
            unit="epoch",
            disable=not settings.verbose,
        ) as progress:
            while self.epoch < settings.max_epochs and not self._patience_is_over():
                self._run_epoch()
                progress.set_postfix(self.history[-1], refresh=False)
                progress.update()
                if settings.checkpoint is not None:
                    self._save()
        self.module.load_state_dict(self.best_weights)

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def _run_epoch(self) -> None:
        self.epoch += 1
        total = 0.0
        for number, rows in enumerate(self._shuffled()):
            total += self._step(number, rows) * len(rows) / len(self.train)
        entry = {"train_loss": total, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        score = -float(self.epoch)  # without validation the last is the best
        if self.validation is not None:
            errors = self._validate()
            entry.update(errors)
            score = errors["validation_loss"]
        if score < self.best:
            self.best, self.best_epoch = score, self.epoch
            self.best_weights = copy.deepcopy(self.average.state_dict())
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(score if self.validation is not None else total)
        self.history.append({"epoch": self.epoch, **entry})

    def _shuffled(self) -> Iterator[np.ndarray]:
        # The order follows from seed and epoch, so that a checkpoint needs no random state.
        rng = np.random.default_rng((self.settings.seed, self.epoch))
        order = rng.permutation(len(self.train))
        yield from np.array_split(order, self.batches)

    def _step(self, number: int, rows: np.ndarray) -> float:
        settings = self.settings
        like = next(self.module.parameters())
        batch, labels = self.train.batch(rows, like, self.kinds)
        loss, losses, _ = loss_and_errors(self.module, batch, labels, self.kinds, training=True)
        loss = loss + settings.pooling_weight * losses
        if not torch.isfinite(loss):
            names = ", ".join(str(self.train.graphs[row].index) for row in rows)
            raise FloatingPointError(
                f"The loss is {loss.item()} in epoch {self.epoch}, batch {number} (structures "
                f"{names}): lower learning_rate, or check their positions and labels."
            )
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), self.largest)
        self.optimizer.step()
        self.step += 1
        if isinstance(self.scheduler, LambdaLR):
            self.scheduler.step()
        self._update_average()
        return loss.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        # Young averages forget faster, or they would remember the first weights.
        decay = min(self.settings.averaging, self.step / (self.step + 10))
        pairs = zip(self.average.parameters(), self.module.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current, 1 - decay)

    def _validate(self) -> dict[str, float]:
        data, kinds = self.validation, self.validation_kinds
        assert data is not None  # checked where this is called
        assert kinds is not None
        like = next(self.average.parameters())
        size, total = 4 * self.settings.batch_size, 0.0
        errors: list[list[np.ndarray]] = [[], [], []]
        for start in range(0, len(data), size):
            rows = np.arange(start, min(start + size, len(data)))
            batch, labels = data.batch(rows, like, kinds)
            loss, _, found = loss_and_errors(self.average, batch, labels, kinds, training=False)
            total += loss.item() * len(rows) / len(data)
            for known, values in zip(errors, found, strict=True):
                known.append(values.detach().abs().cpu().numpy().astype(np.float64))
        result = {"validation_loss": total}
        for name, values in zip(("energy", "force", "stress"), errors, strict=True):
            joined = np.concatenate(values)
            if joined.size:
                result[f"validation_{name}_mae"] = float(joined.mean())
        return result

    def _scheduler(self) -> LambdaLR | ReduceLROnPlateau:
        settings = self.settings
        if settings.schedule == "plateau":
            patience = max(1, (settings.patience or 30) // 3)
            return ReduceLROnPlateau(self.optimizer, factor=0.5, patience=patience)
        n_steps = self.batches * settings.max_epochs
        warmup = min(_WARMUP, n_steps // 10)

        def factor(step: int) -> float:
            rise = (step + 1) / (warmup + 1)
            fall = 0.5 * (1 + math.cos(math.pi * min(step / n_steps, 1)))
            return min(1.0, rise) * max(fall, 1e-3)

        return LambdaLR(self.optimizer, factor)

    def _save(self) -> None:
        state = {
            "fingerprint": self.settings.fingerprint,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": _plain(self.scheduler.state_dict()),
            "best_weights": self.best_weights,
            "counters": [self.epoch, self.step, float(self.best), self.best_epoch],
            "history": self.history,
        }
        path = self.settings.checkpoint
        assert path is not None  # checked where this is called
        with atomic_file(path) as file:
            torch.save(state, file)

    def _load(self) -> None:
        path = self.settings.checkpoint
        device = next(self.module.parameters()).device
        state = torch.load(path, map_location=device, weights_only=True)
        if state["fingerprint"] != self.settings.fingerprint:
            raise ValueError(
                f"The checkpoint {path} is of another fit (other parameters, structures or "
                "labels): remove it or choose another checkpoint_path."
            )
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.best_weights = state["best_weights"]
        self.epoch, self.step, self.best, self.best_epoch = state["counters"]
        self.history = state["history"]


def _plain(state: dict) -> dict:
    """Return what of a scheduler's state is plain data: a safe loader takes nothing else."""
    return {
        name: value for name, value in state.items() if isinstance(value, int | float | str | list)
    }
