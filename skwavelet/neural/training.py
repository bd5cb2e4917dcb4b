"""The training loop: loss (5.16), learning rate, averaged weights, validation, checkpoints.

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
# Largest norm of the gradient of the loss, whose terms are of order 1.
_LARGEST_GRADIENT = 10.0


@dataclass(frozen=True)
class Labelled:
    """Structures with labels, in units of the training set's spread.

    Attributes
    ----------
    graphs : list of Graph
    energies : ndarray of shape (n_structures,)
    forces : list of ndarray of shape (N, 3), or None
        NaN throughout where a structure has none.
    """

    graphs: list[Graph]
    energies: np.ndarray
    forces: list[np.ndarray] | None

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return some of the structures."""
        forces = None if self.forces is None else [self.forces[row] for row in rows]
        return Labelled([self.graphs[row] for row in rows], self.energies[rows], forces)

    def batch(self, rows: np.ndarray, like: Tensor) -> tuple[Batch, Tensor, Tensor | None]:
        """Return structures and labels as tensors of the dtype and on the device of ``like``."""
        part = self.take(rows)
        energies = torch.from_numpy(part.energies).to(like)
        forces = None
        if part.forces is not None:
            forces = torch.from_numpy(np.concatenate(part.forces)).to(like)
        return collate(part.graphs, like.dtype).to(like.device), energies, forces


@dataclass(frozen=True)
class Settings:
    """How to train; see `skwavelet.neural.AngularNetwork` for what the names mean."""

    energy_weight: float
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
    module: nn.Module,
    batch: Batch,
    energies: Tensor,
    forces: Tensor | None,
    energy_weight: float,
    *,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss (5.16), auxiliary losses, and absolute errors of energies and forces.

    The loss is p mean (energy error)^2 + (1 - p) mean (force error)^2, means over structures and
    over the components of the forces that are labelled; without forces, the first mean alone.
    """
    if forces is None:
        with torch.set_grad_enabled(training):
            predicted, losses = module(batch)
        error = predicted - energies
        return error.square().mean(), losses, error.abs(), error.new_zeros(0)
    predicted, gradients, _, losses = energy_gradients(module, batch, create_graph=training)
    error = predicted - energies
    force_error = (gradients + forces)[torch.isfinite(forces)]
    # The sum over max(1, ...) leaves a batch without labelled forces its energies.
    squares = force_error.square().sum() / max(1, force_error.numel())
    loss = energy_weight * error.square().mean() + (1 - energy_weight) * squares
    return loss, losses, error.abs(), force_error.abs()


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
        self.average = copy.deepcopy(module)
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
            errors = self._validate(self.validation)
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
        batch, energies, forces = self.train.batch(rows, like)
        loss, losses, *_ = loss_and_errors(
            self.module, batch, energies, forces, settings.energy_weight, training=True
        )
        loss = loss + settings.pooling_weight * losses
        if not torch.isfinite(loss):
            names = ", ".join(str(self.train.graphs[row].index) for row in rows)
            raise FloatingPointError(
                f"The loss is {loss.item()} in epoch {self.epoch}, batch {number} (structures "
                f"{names}): lower learning_rate, or check their positions and labels."
            )
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), _LARGEST_GRADIENT)
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

    def _validate(self, data: Labelled) -> dict[str, float]:
        like = next(self.average.parameters())
        size = 4 * self.settings.batch_size
        sizes = np.array([len(graph.species) for graph in data.graphs])
        errors, force_errors = [], []
        for start in range(0, len(data), size):
            rows = np.arange(start, min(start + size, len(data)))
            *_, energy, force = loss_and_errors(
                self.average, *data.batch(rows, like), self.settings.energy_weight, training=False
            )
            errors.append(energy.detach().cpu().numpy().astype(np.float64))
            force_errors.append(force.detach().cpu().numpy().astype(np.float64))
        # Means over the whole set, so that the loss does not depend on the batches.
        energy, force = np.concatenate(errors), np.concatenate(force_errors)
        loss = np.mean(energy**2)
        if data.forces is not None:
            p = self.settings.energy_weight
            loss = p * loss + (1 - p) * np.square(force).sum() / max(1, force.size)
        result = {
            "validation_loss": float(loss),
            "validation_energy_mae": float(np.mean(energy / sizes)),
        }
        if force.size:
            result["validation_force_mae"] = float(force.mean())
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
