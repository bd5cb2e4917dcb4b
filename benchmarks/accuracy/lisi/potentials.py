"""Potentials trained on most relaxation paths, and the paths that none of them has seen."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np
from common.cache import describe
from common.data import ENDS
from data import Part
from schemes import SEED

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    ScatteringCalculator,
)


@dataclass(frozen=True)
class Recipe:
    """How a potential is trained: ``make`` returns the unfitted model.

    So many frames of every path, drawn at random, train with their forces, beside all energies. The
    first of them trains with its stress, too. ``ends``: so do the labels of where the potential
    `FORCES` ends when it relaxes the training paths (`own_ends`).
    """

    make: Callable[[], EnergyForceRegressor]
    frames: int = 0
    ends: bool = False


def _points(n_directions=None):
    # Without smoothing, forces have jumps.
    return EnergyForceRegressor(
        PointScattering(smoothing=0.01),
        BaggedOLSEnsemble(10, random_state=SEED),
        n_directions=n_directions,
        random_state=SEED,
    )


def _invariants(n_directions):
    # What `EnergyForceRegressor()` is, but for the number of directions.
    return EnergyForceRegressor(n_directions=n_directions, random_state=SEED)


FORCES = "invariants: and forces"
RECIPES = {
    # The dissertation's models, at the atoms.
    "points, bags: energies": Recipe(_points),
    "points, bags: and forces": Recipe(lambda: _points(16), frames=1),
    FORCES: Recipe(lambda: _invariants(64), frames=1),
    # As many rows of forces, from twice as many structures.
    "invariants: forces, own ends": Recipe(lambda: _invariants(32), frames=1, ends=True),
}
# What else was tried, on training paths: as many rows of forces, from all frames.
MORE_FRAMES = "invariants: forces of 12 frames"
TRIED = {FORCES: RECIPES[FORCES], MORE_FRAMES: Recipe(lambda: _invariants(5), frames=12)}


def held_out(parts):
    """Return the names of the paths that no potential sees: two of every composition.

    One is the path of lowest energy, from which the strained cells and the diffusion paths come,
    the other one is drawn at random.
    """
    rng = np.random.default_rng(SEED)
    lowest = np.unique([*parts["bulk"].parents, *parts["barriers"].parents])
    names = set(lowest.tolist())
    for paths in by_composition(np.unique(parts["paths"].parents)).values():
        left = [path for path in paths if path not in names]
        names.add(left[rng.integers(len(left))])
    return names


def by_composition(names):
    """Return the names of paths by composition."""
    found = {}
    for name in names.tolist():
        found.setdefault(name.partition("/")[0], []).append(name)
    return found


class Potentials:
    """The fitted potentials, each made when it is first asked for, and kept.

    ``names`` are those of the paths that are unseen; default: `held_out`.
    """

    def __init__(self, parts, cache, names=None):
        self.parts, self.cache = parts, cache
        self.names = held_out(parts) if names is None else names
        self.unseen = np.isin(parts["paths"].parents, sorted(self.names))
        self._models = {}

    @cached_property
    def stamp(self):
        """What results depend on, beside the model: all structures and labels, and the split."""
        described = [
            (describe(part.structures, set()), part.energies, part.forces, part.stress)
            for part in self.parts.values()
        ]
        return joblib.hash([described, sorted(self.names)])

    def of_training_paths(self):
        """Return potentials that know the training paths alone, of which some are unseen.

        They are one path of each composition, drawn at random: what is chosen by them is chosen
        without the unseen paths.
        """
        paths = self.parts["paths"].take(np.flatnonzero(~self.unseen))
        rng = np.random.default_rng(SEED)
        names = {
            str(rng.choice(of_one)) for of_one in by_composition(np.unique(paths.parents)).values()
        }
        return Potentials(self.parts | {"paths": paths}, self.cache, names)

    def model(self, name):
        """Return a fitted potential."""
        if name not in self._models:
            recipe = (RECIPES | TRIED)[name]
            self._models[name] = self.result("potential", lambda: self._fit(recipe), name)
        return self._models[name]

    def calculator(self, name):
        """Return an ASE calculator of a potential."""
        return ScatteringCalculator(self.model(name))

    def result(self, what, compute, name, *settings, code=()):
        """Return the stored result of ``compute()`` with the potential of a name."""
        recipe = (RECIPES | TRIED)[name]
        ends = joblib.hash(ENDS.read_bytes()) if recipe.ends else ""
        given = (recipe.make(), recipe.frames, ends, self.stamp, *settings)
        return self.cache.get(what, compute, *given, code=["potentials", *code])

    def _fit(self, recipe):
        paths = self.parts["paths"].take(np.flatnonzero(~self.unseen))
        forces, stress = [None] * len(paths), [None] * len(paths)
        for frames in labelled_frames(paths.parents, recipe.frames):
            for k in frames:
                forces[k] = paths.forces[k]
            for k in frames[:1]:
                stress[k] = paths.stress[k]
        structures, energies, groups = paths.structures, paths.energies, paths.parents
        if recipe.ends:
            ends = own_ends(paths)
            structures, groups = structures + ends.structures, np.append(groups, ends.parents)
            energies = np.append(energies, ends.energies)
            forces, stress = forces + ends.forces, stress + list(ends.stress)
        return recipe.make().fit(structures, energies, forces, stress, groups=groups)


def labelled_frames(parents, n_frames):
    """Return some frames of every path, drawn at random."""
    rng = np.random.default_rng(SEED)
    return [
        rng.permutation(np.flatnonzero(parents == path))[:n_frames] for path in np.unique(parents)
    ]


def own_ends(paths):
    """Return where the potential `FORCES` ends when it relaxes training paths, with labels.

    ``paths``: the training paths. The labels come with the repository
    (``benchmarks/data/label_lisi.py``).
    """
    last = {path: np.flatnonzero(paths.parents == path)[-1] for path in np.unique(paths.parents)}
    with np.load(ENDS) as labels:
        names = labels["path"].tolist()
        starts = np.cumsum(labels["n_atoms"])[:-1]
        positions, forces = (np.split(labels[key], starts) for key in ("positions", "forces"))
        structures, known = [], [k for k, path in enumerate(names) if path in last]
        for k in known:
            structures.append(paths.structures[last[names[k]]].copy())
            structures[-1].positions = positions[k]
        return Part(
            structures,
            labels["energy"][known],
            [forces[k].astype(float) for k in known],
            labels["stress"][known].astype(float),
            np.array(names)[known],
        )


def label_calculator():
    """Return CHGNet v0.3.0, whose labels the data have, or None where it is not installed.

    ``pip install chgnet``. It is a tenth to a hundredth as fast as the potentials here.
    """
    try:
        from chgnet.model import CHGNet
        from chgnet.model.dynamics import CHGNetCalculator
    except ModuleNotFoundError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
        return CHGNetCalculator(model, use_device="cpu")
