"""``ActiveLearner``: a potential that asks for labels while it is in use."""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, Self

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.calculator import all_changes
from sklearn.base import clone

from skwavelet._utils.files import write_atomically
from skwavelet.potentials.calculator import ScatteringCalculator
from skwavelet.potentials.regressor import EnergyForceRegressor
from skwavelet.structures.checks import as_atoms, check_structures
from skwavelet.structures.labels import labels_of

# Growth of a standard deviation, since the last label, that another label is asked for.
_MARGIN = 1.25
_ARRAYS = ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress")


class ActiveLearner:
    """Learns on the fly: dynamics, relaxations and paths ask for labels where they need them.

    The calculators of a learner are used like any other of ASE. When the standard deviation of a
    force exceeds a threshold, the calculation stops, the structure is labelled, the model learns
    from it, and the calculation goes on with the better model. Most updates keep the features
    that the models have selected, and cost as much as the rows of one structure
    (`EnergyForceRegressor.update`); when the training set has grown by a given share, the model is
    fitted from scratch.

    Parameters
    ----------
    model : EnergyForceRegressor
        A model with `BaggedOLSEnsemble` as linear model. A clone of it is fitted. With an int as
        ``random_state`` of both, an interrupted learner goes on as if nothing had happened.
    labeller : ase.calculators.calculator.Calculator
        What computes labels: density functional theory, or anything else with energy and forces,
        and maybe stress.
    threshold : float
        Largest standard deviation of a component of a force that is put up with, eV/Å. Where it is
        still larger once a structure has been learned, the next label is asked for when it
        has grown by a quarter.
    every : int, default=1
        Look at the standard deviations in every so many calculations. They are up to 16 times as
        expensive as forces.
    growth : float, default=0.25
        Fit from scratch when the training set has grown by this share since the last such fit.
    directory : path or None, default=None
        Where to keep each labelled structure as soon as it is labelled. After an interruption,
        a learner of the same model and directory reads the labels that are there.

    Attributes
    ----------
    model_ : EnergyForceRegressor
        The fitted model.
    structures_ : list of ase.Atoms
        Labelled structures, those to start with first.
    history_ : DataFrame
        One row for each labelled structure: ``calculations`` (how many there were since the last
        label), ``std`` (largest standard deviation of a force, eV/Å), ``energy_error`` (predicted
        minus label, eV/atom) and ``force_error`` (root mean square over components, eV/Å) before it
        was learned, NaN for the structures to start with, and ``fit`` (whether the model was
        fitted from scratch).

    See Also
    --------
    rank_structures : Choose from a pool instead.

    Notes
    -----
    The energy makes a step where the model has learned: total energies of dynamics are conserved in
    between only. Threads may use several calculators of one learner at a time, such as the images
    of a path.

    Examples
    --------
    >>> from ase import units
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.md.langevin import Langevin
    >>> from skwavelet import ActiveLearner, BaggedOLSEnsemble, EnergyForceRegressor
    >>> from skwavelet import PointScattering
    >>> start = [bulk("Cu", cubic=True) for _ in range(6)]
    >>> for seed, atoms in enumerate(start):
    ...     atoms.rattle(0.05, seed=seed)
    >>> point = PointScattering((1, 2), 1, powers=(2,), n_scales=1, dtype="float64")
    >>> ensemble = BaggedOLSEnsemble(5, max_features=20, random_state=0)
    >>> model = EnergyForceRegressor(point, ensemble, n_directions=8, random_state=0)
    >>> learner = ActiveLearner(model, EMT(), threshold=0.02).fit(start)
    >>> atoms = start[0].copy()
    >>> atoms.calc = learner.calculator()
    >>> settings = {"temperature_K": 900, "friction": 0.02, "fixcm": False}
    >>> dynamics = Langevin(atoms, 5 * units.fs, **settings)
    >>> finished = dynamics.run(10)
    >>> len(learner.structures_) > 6
    True
    """

    def __init__(
        self,
        model: Any,
        labeller: Any,
        *,
        threshold: float,
        every: int = 1,
        growth: float = 0.25,
        directory: str | os.PathLike[str] | None = None,
    ):
        for name, value, at_least in (("threshold", threshold, 0), ("growth", growth, 0)):
            if not value > at_least:
                raise ValueError(f"{name} must be greater than 0; got {value!r}.")
        if not (isinstance(every, int) and every >= 1):
            raise ValueError(f"every must be a whole number of at least 1; got {every!r}.")
        self.model = model
        self.labeller = labeller
        self.threshold = threshold
        self.every = every
        self.growth = growth
        self.directory = directory
        self._lock = RLock()

    def fit(self, X: Iterable[Atoms]) -> Self:
        """Label the structures to start with, and fit the model to them.

        Parameters
        ----------
        X : sequence of ase.Atoms
            At least two. Where ``directory`` has labels, these must be the structures that it
            began with; whatever else was labelled is learned in the same order as before.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If ``model`` is no `EnergyForceRegressor`, or if its linear model is no ensemble that
            can be updated.
        ValueError
            If ``directory`` holds labels of other structures.
        """
        if not isinstance(self.model, EnergyForceRegressor):  # before labels cost anything
            raise TypeError(
                f"{type(self.model).__name__} cannot be updated: use EnergyForceRegressor()."
            )
        X = as_atoms(X)
        check_structures(X)
        with self._lock:
            self._labels: list[dict[str, Any]] = []
            known = self._read()
            for number, atoms in enumerate(X):
                if number < len(known):
                    _check_same(atoms, known[number], self.directory, number)
                    self._labels.append(known[number])
                else:
                    self._store({**_label(atoms, self.labeller), "record": {}})
            self._n_calculations = 0
            self._fit()
            for label in known[len(X) :]:
                self._labels.append(label)
                self._learn()
        return self

    @property
    def structures_(self) -> list[Atoms]:
        """Labelled structures."""
        return [_atoms(label) for label in self._labels]

    @property
    def history_(self) -> pd.DataFrame:
        """What happened, one row for each labelled structure."""
        columns = ["calculations", "std", "energy_error", "force_error", "fit"]
        return pd.DataFrame([label["record"] for label in self._labels], columns=columns)

    def calculator(self) -> LearningCalculator:
        """Return a calculator that asks for labels.

        Returns
        -------
        ase.calculators.calculator.Calculator
            A `ScatteringCalculator` of the model, which changes as the model learns.
        """
        return LearningCalculator(self)

    def _fit(self) -> None:
        model = clone(self.model)
        model.fit(self.structures_, *_columns(self._labels))
        if not hasattr(model.regressor_, "update"):
            raise TypeError(
                f"{type(model.regressor_).__name__} cannot be updated: use BaggedOLSEnsemble()."
            )
        self.model_, self._n_fitted = model, len(self._labels)

    def _learn(self) -> None:
        """Learn from the last label."""
        if len(self._labels) >= (1 + self.growth) * self._n_fitted:
            self._fit()
            return
        # Whoever is computing keeps the model as it was.
        model = updatable(self.model_)
        self.model_ = model.update(self.structures_[-1:], *_columns(self._labels[-1:]))

    def _ask(self, atoms: Atoms, predicted: dict[str, Any], std: float) -> None:
        """Label a structure and learn from it."""
        label = _label(atoms, self.labeller)
        record = {
            "calculations": self._n_calculations,
            "std": std,
            "energy_error": predicted["energy"] / len(atoms) - float(label["energy"]),
            "force_error": float(np.sqrt(np.mean((predicted["forces"] - label["forces"]) ** 2))),
            "fit": len(self._labels) + 1 >= (1 + self.growth) * self._n_fitted,
        }
        self._store({**label, "record": record})
        self._n_calculations = 0
        self._learn()

    def _store(self, label: dict[str, Any]) -> None:
        """Keep a label, on disk first."""
        if self.directory is not None:
            directory = Path(self.directory)
            directory.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            arrays = {key: label[key] for key in _ARRAYS if label[key] is not None}
            np.savez(file, record=np.array(json.dumps(label["record"])), **arrays)
            write_atomically(directory / _name(len(self._labels)), file.getvalue())
        self._labels.append(label)

    def _read(self) -> list[dict[str, Any]]:
        labels: list[dict[str, Any]] = []
        if self.directory is None:
            return labels
        while (path := Path(self.directory) / _name(len(labels))).exists():
            with np.load(path, allow_pickle=False) as stored:
                label: dict[str, Any] = {key: stored.get(key) for key in _ARRAYS}
                labels.append(label | {"record": json.loads(str(stored["record"]))})
        return labels


class LearningCalculator(ScatteringCalculator):
    """The calculator of a fitted `ActiveLearner`, which labels what its model does not know."""

    def __init__(self, learner: ActiveLearner):
        super().__init__(learner.model_)
        self.learner = learner
        self._n_since = 0
        self._least = learner.threshold

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties of a structure into ``results``; learn first where that is needed."""
        self._follow_model()
        look = False
        if system_changes:
            self.learner._n_calculations += 1
            self._n_since += 1
            look = self._n_since >= self.learner.every
        if not look:
            super().calculate(atoms, properties, system_changes)
            return
        self._n_since = 0
        wanted = [*properties, "forces_std"]
        super().calculate(atoms, wanted, system_changes)
        if self._spread["forces_std"].max() <= self._least:
            return
        with self.learner._lock:
            if self._follow_model():  # another thread has learned in the meantime
                super().calculate(atoms, wanted, all_changes)
            std = float(self._spread["forces_std"].max())
            if std > self._least and self.atoms is not None:
                self.learner._ask(self.atoms, self.results, std)
        if self._follow_model():
            super().calculate(atoms, wanted, all_changes)
            # Where a label does not bring it below the threshold, the next one will not either.
            std = float(self._spread["forces_std"].max())
            self._least = max(self.learner.threshold, _MARGIN * std)

    def _follow_model(self) -> bool:
        """Take up the present model of the learner; return whether it is another one."""
        if self.model is self.learner.model_:
            return False
        grid = self._first
        super().__init__(self.learner.model_)
        if grid is not None:
            self._first, self._kept = grid, self._model.keep_grid(grid)
        return True


def updatable(model: Any) -> Any:
    """Return a copy of a fitted model whose update leaves the original as it is."""
    twin = copy.copy(model)
    twin.regressor_ = copy.copy(model.regressor_)
    twin.regressor_.estimators_ = [copy.copy(member) for member in model.regressor_.estimators_]
    return twin


def _label(atoms: Atoms, labeller: Any) -> dict[str, Any]:
    """Return a structure with its labels: eV/atom, eV/Å, eV/Å³."""
    bare = atoms.copy()
    bare.calc, bare.constraints = labeller, []
    has_stress = bare.pbc.all() and "stress" in labeller.implemented_properties
    for calculate in (bare.get_potential_energy, bare.get_forces, *[bare.get_stress] * has_stress):
        calculate()
    labels = labels_of([bare])
    return {
        "numbers": bare.numbers,
        "positions": bare.positions,
        "cell": bare.cell.array,
        "pbc": bare.pbc,
        "energy": labels.energies[0],
        "forces": None if labels.forces is None else labels.forces[0],
        "stress": None if labels.stress is None else labels.stress[0],
    }


def _atoms(label: dict[str, Any]) -> Atoms:
    return Atoms(label["numbers"], label["positions"], cell=label["cell"], pbc=label["pbc"])


def _columns(labels: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Yield energies, forces and stresses."""
    for key in ("energy", "forces", "stress"):
        yield [label[key] for label in labels]


def _name(number: int) -> str:
    return f"label-{number:05d}.npz"


def _check_same(atoms: Atoms, label: dict[str, Any], directory: Any, number: int) -> None:
    given = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    stored = (label["numbers"], label["positions"], label["cell"], label["pbc"])
    if not all(np.array_equal(a, b) for a, b in zip(given, stored, strict=True)):
        raise ValueError(
            f"Structure {number} is not the one that {directory} began with: pass the same "
            "structures, or another directory."
        )
