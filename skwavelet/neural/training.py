"""The training loop: learning rate, averaged weights, validation, checkpoints.

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
from pickle import UnpicklingError

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from tqdm.auto import tqdm

from skwavelet._utils.files import atomic_file
from skwavelet.neural.graph import array_of, portions
from skwavelet.neural.loss import Labelled, LossWeights, loss_and_errors
from skwavelet.neural.optimizer import NetworkOptimizer

# Steps over which the learning rate rises to its value, against bad first steps.
_WARMUP = 100
# Share of their weight that energies have at the highest learning rate. Errors of forces teach a
# network far more at first; in the end theirs drown the much smaller ones of energies per atom.
_FIRST_SHARE = 0.01
# The mean of n absolute errors of a normal distribution is uncertain by this / n^(1/2) of itself.
# Among epochs that n structures do not tell apart the last is the best: its learning rate is the
# lowest. Two structures have next to no error of energies now and then in early epochs, by chance.
_UNCERTAINTY = math.sqrt(math.pi / 2 - 1)
# Largest norm of the gradient of a loss whose terms are of order 1.
_LARGEST_GRADIENT = 10.0
# Forces, in units of the network, that symmetry lets vanish: their errors are rounding, which must
# not choose an epoch.
_VANISHING = 1e-4
# What torch raises for files that are no checkpoints, or whose optimizer had other states.
_NO_CHECKPOINT = (EOFError, LookupError, RuntimeError, TypeError, ValueError, UnpicklingError)


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


class Trainer:
    """Train a module, in steps that a checkpoint can carry on from.

    It is trained in place, and in the end holds the best averaged weights, or the last ones where
    nothing is held out.
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
        self.judged = [f"validation_{kind}_mae" for kind in ("energy", "force", "stress")]
        if validation is not None and not validation.has_forces_above(_VANISHING):
            self.judged.remove("validation_force_mae")
        # The largest term is mostly that of the forces: with it of order 1, the pooling loss, the
        # bound on gradients and what optimizers add to divisors mean the same for all weights.
        self.scale = 1 / settings.force_weight if self.kinds.forces else 1.0
        # Validation wants no gradients of weights.
        self.average = copy.deepcopy(module).requires_grad_(False)
        self.optimizer = NetworkOptimizer(module, settings.learning_rate)
        self.batches = -(-len(train) // settings.batch_size)
        self.warmup = min(_WARMUP, self.batches * settings.max_epochs // 10)
        self.scheduler = self._scheduler()
        self.epoch, self.step = 0, 0
        self.least, self.least_epoch, self.best_epoch = np.inf, 0, 0
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
        self._check_finite()

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.epoch - self.least_epoch >= patience

    def _run_epoch(self) -> None:
        self.epoch += 1
        total = 0.0
        for number, rows in enumerate(self._shuffled()):
            total += self._step(number, rows) * len(rows) / len(self.train)
        entry = {"train_loss": total, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        score, chance = 1 / self.epoch, 0.0  # without validation the last is the best
        if self.validation is not None:
            errors = self._validate()
            entry.update(errors)
            # All kinds count alike, and a single outlier does not decide, as it does in the loss.
            score = math.prod(errors[name] for name in self.judged if name in errors)
            chance = _UNCERTAINTY / math.sqrt(len(self.validation))
        if score < self.least:
            self.least, self.least_epoch = score, self.epoch
        if score <= (1 + chance) * self.least:
            self.best_epoch = self.epoch
            self.best_weights = copy.deepcopy(self.average.state_dict())
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(score if self.validation is not None else total)
        self.history.append({"epoch": self.epoch, **entry})

    def _check_finite(self) -> None:
        """Raise ``FloatingPointError`` if the weights that are kept give no numbers."""
        rows = np.arange(min(self.settings.batch_size, len(self.train)))
        batch, labels = self.train.batch(rows, next(self.module.parameters()), self.kinds)
        loss, *_ = loss_and_errors(self.module, batch, labels, self.kinds, training=False)
        if not (self.best_epoch and torch.isfinite(loss)):
            raise FloatingPointError(
                f"The network gives no numbers after epoch {self.epoch}: lower learning_rate, or "
                "check positions and labels."
            )

    def _shuffled(self) -> Iterator[np.ndarray]:
        # The order follows from seed and epoch, so that a checkpoint needs no random state.
        rng = np.random.default_rng((self.settings.seed, self.epoch))
        order = rng.permutation(len(self.train))
        yield from np.array_split(order, self.batches)

    def _step(self, number: int, rows: np.ndarray) -> float:
        settings = self.settings
        like = next(self.module.parameters())
        kinds = self._kinds_now()
        batch, labels = self.train.batch(rows, like, kinds)
        loss, losses, _ = loss_and_errors(self.module, batch, labels, kinds, training=True)
        whole = self.scale * loss + settings.pooling_weight * losses
        if not torch.isfinite(whole):
            names = ", ".join(str(self.train.graphs[row].index) for row in rows)
            raise FloatingPointError(
                f"The loss is {whole.item()} in epoch {self.epoch}, batch {number} (structures "
                f"{names}): lower learning_rate, or check their positions and labels."
            )
        self.optimizer.zero_grad()
        whole.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        if isinstance(self.scheduler, LambdaLR):
            self.scheduler.step()
        self._update_average()
        return loss.item()

    def _kinds_now(self) -> LossWeights:
        """Return the weights of this step: energies get theirs as the learning rate falls."""
        if not (self.kinds.forces or self.kinds.stress):
            return self.kinds
        rate = self.optimizer.param_groups[0]["lr"] / self.settings.learning_rate
        share = _FIRST_SHARE if self.step < self.warmup else min(1.0, _FIRST_SHARE / rate)
        return self.kinds._replace(energy=share * self.kinds.energy)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Young averages forget faster, or they would remember the first weights.
        decay = min(self.settings.averaging, self.step / (self.step + 10))
        pairs = [list(module.parameters()) for module in (self.average, self.module)]
        torch._foreach_lerp_(*pairs, 1 - decay)

    def _validate(self) -> dict[str, float]:
        data, kinds = self.validation, self.validation_kinds
        assert data is not None  # checked where this is called
        assert kinds is not None
        like = next(self.average.parameters())
        total = 0.0
        sums = np.zeros((2, 3))  # of weighted absolute errors of every kind, and of their weights
        sizes = [len(graph.species) for graph in data.graphs]
        for part in portions(sizes, 4 * self.settings.batch_size):
            rows = np.arange(len(data))[part]
            batch, labels = data.batch(rows, like, kinds)
            loss, _, found = loss_and_errors(self.average, batch, labels, kinds, training=False)
            total += loss.item() * len(rows) / len(data)
            for kind, (errors, weights) in enumerate(
                zip(found, labels.weights_of_errors(batch), strict=True)
            ):
                absolute, weights = np.abs(array_of(errors)), array_of(weights)
                sums[:, kind] += weights @ absolute, weights.sum()
        result = {"validation_loss": total}
        for name, error, weight in zip(("energy", "force", "stress"), *sums, strict=True):
            if weight:
                result[f"validation_{name}_mae"] = float(error / weight)
        return result

    def _scheduler(self) -> LambdaLR | ReduceLROnPlateau:
        settings = self.settings
        if settings.schedule == "plateau":
            patience = max(1, (settings.patience or 30) // 3)
            return ReduceLROnPlateau(self.optimizer, factor=0.5, patience=patience)
        n_steps = self.batches * settings.max_epochs

        def factor(step: int) -> float:
            rise = (step + 1) / (self.warmup + 1)
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
            "counters": [self.epoch, self.step, self.least, self.least_epoch, self.best_epoch],
            "history": self.history,
        }
        path = self.settings.checkpoint
        assert path is not None  # checked where this is called
        with atomic_file(path) as file:
            torch.save(state, file)

    def _load(self) -> None:
        path = self.settings.checkpoint
        device = next(self.module.parameters()).device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            same = state["fingerprint"] == self.settings.fingerprint
            if same:
                self._restore(state)
        except torch.cuda.OutOfMemoryError:  # no fault of the file
            raise
        except _NO_CHECKPOINT as error:
            raise ValueError(
                f"The checkpoint {path} is no file of this version of skwavelet: remove it or "
                "choose another checkpoint_path."
            ) from error
        if not same:
            raise ValueError(
                f"The checkpoint {path} is of another fit (other parameters, structures or "
                "labels): remove it or choose another checkpoint_path."
            )

    def _restore(self, state: dict) -> None:
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.best_weights = state["best_weights"]
        self.epoch, self.step, self.least, self.least_epoch, self.best_epoch = state["counters"]
        self.history = state["history"]


def _plain(state: dict) -> dict:
    """Return what of a scheduler's state is plain data: a safe loader takes nothing else."""
    return {
        name: value for name, value in state.items() if isinstance(value, int | float | str | list)
    }
