"""Potentials trained on most relaxation paths, and the paths that none of them has seen."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np
from common.cache import describe
from schemes import SEED

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    ScatteringCalculator,
)


@dataclass(frozen=True)
class Recipe:
    """How a potential is trained.

    Attributes
    ----------
    make : callable
        The unfitted model.
    derivatives : bool
        Whether forces and stresses of one frame of every path train it, beside all energies.
    """

    make: Callable[[], EnergyForceRegressor]
    derivatives: bool = False


def _points(n_directions=None):
    # Without smoothing, forces have jumps.
    return EnergyForceRegressor(
        PointScattering(smoothing=0.01),
        BaggedOLSEnsemble(10, random_state=SEED),
        n_directions=n_directions,
        random_state=SEED,
    )


RECIPES = {
    # The dissertation's models, at the atoms.
    "points, bags: energies": Recipe(_points),
    "points, bags: and forces": Recipe(lambda: _points(16), derivatives=True),
    # What `EnergyForceRegressor()` is.
    "invariants: and forces": Recipe(
        lambda: EnergyForceRegressor(n_directions=64, random_state=SEED), derivatives=True
    ),
}
FORCES = "invariants: and forces"


def held_out(parts):
    """Return the names of the paths that no potential sees: two of every composition.

    One is the path of lowest energy, from which the strained cells and the diffusion paths come,
    the other one is drawn at random.
    """
    rng = np.random.default_rng(SEED)
    lowest = np.unique([*parts["bulk"].parents, *parts["barriers"].parents])
    names = set(lowest.tolist())
    of_composition = {}
    for path in np.unique(parts["paths"].parents).tolist():
        of_composition.setdefault(path.partition("/")[0], []).append(path)
    for paths in of_composition.values():
        left = [path for path in paths if path not in names]
        names.add(left[rng.integers(len(left))])
    return names


class Potentials:
    """The fitted potentials, each made when it is first asked for, and kept.

    Parameters
    ----------
    parts : dict of str to Part
    cache : Cache
    """

    def __init__(self, parts, cache):
        self.parts, self.cache = parts, cache
        paths = parts["paths"]
        self.unseen = np.isin(paths.parents, sorted(held_out(parts)))
        self._models = {}

    @cached_property
    def stamp(self):
        """What results depend on, beside the model: all structures and labels."""
        return joblib.hash(
            [
                (describe(part.structures, set()), part.energies, part.forces, part.stress)
                for part in self.parts.values()
            ]
        )

    def model(self, name):
        """Return a fitted potential."""
        if name not in self._models:
            recipe = RECIPES[name]
            self._models[name] = self.cache.get(
                "potential",
                lambda: self._fit(recipe),
                recipe.make(),
                recipe.derivatives,
                self.stamp,
                code=["potentials"],
            )
        return self._models[name]

    def calculator(self, name):
        """Return an ASE calculator of a potential."""
        return ScatteringCalculator(self.model(name))

    def result(self, what, compute, name, *settings, code):
        """Return the stored result of ``compute()`` with the potential of a name."""
        recipe = RECIPES[name]
        given = (recipe.make(), recipe.derivatives, self.stamp, *settings)
        return self.cache.get(what, compute, *given, code=["potentials", *code])

    def _fit(self, recipe):
        paths, train = self.parts["paths"], np.flatnonzero(~self.unseen)
        structures = [paths.structures[i] for i in train]
        forces, stress = [None] * len(train), [None] * len(train)
        if recipe.derivatives:
            for k in labelled_frames(paths.parents[train]):
                forces[k], stress[k] = paths.forces[train[k]], paths.stress[train[k]]
        return recipe.make().fit(
            structures, paths.energies[train], forces, stress, groups=paths.parents[train]
        )


def labelled_frames(parents):
    """Return one frame of every path, drawn at random."""
    rng = np.random.default_rng(SEED)
    return [rng.choice(np.flatnonzero(parents == path)) for path in np.unique(parents)]


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
