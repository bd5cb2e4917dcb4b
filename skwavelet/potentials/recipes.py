"""Models by name, for those who do not want to put one together: ``skwavelet fit --model``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skwavelet.linear import BaggedOLSEnsemble, RidgePath
from skwavelet.potentials.regressor import EnergyForceRegressor
from skwavelet.representations.angular import AngularFeatures
from skwavelet.representations.atomwise import AtomKernel, AtomPolynomial
from skwavelet.representations.base import StructureTransformer
from skwavelet.representations.point import PointScattering
from skwavelet.representations.voxel import VoxelScattering

# Edges of the modulus, at the sites of a perfect crystal, would heat dynamics up.
SMOOTHING = 0.01


def _ridge(representation: Any = None) -> EnergyForceRegressor:
    """Return a potential that chooses its penalty and the weights of forces and stresses."""
    return EnergyForceRegressor(representation, RidgePath())


# A new model is one line here: what it is, as the help shows it, and an unfitted estimator.
RECIPES: dict[str, tuple[str, Callable[[], EnergyForceRegressor]]] = {
    "point": (
        "scattering at the atoms, ridge regression: quick to fit and to run",
        lambda: _ridge(PointScattering(smoothing=SMOOTHING)),
    ),
    "invariants": (
        "products of invariants, ridge regression: what EnergyForceRegressor() is",
        _ridge,
    ),
    "point-bags": (
        "scattering at the atoms, an ensemble: sparse, with error bars",
        lambda: EnergyForceRegressor(PointScattering(smoothing=SMOOTHING), BaggedOLSEnsemble(20)),
    ),
    "point-polynomial": (
        "products of two features of every atom, ridge regression",
        lambda: _ridge(
            AtomPolynomial(
                PointScattering(
                    (1, 2, 3), 2, channels="elements", powers=(1,), n_scales=3, smoothing=SMOOTHING
                )
            )
        ),
    ),
    "point-kernel": (
        "a kernel between atoms and 1,000 landmark atoms, ridge regression",
        lambda: _ridge(AtomKernel(n_landmarks=1000)),
    ),
    "angular": (
        "distances and angles, ridge regression",
        lambda: _ridge(AngularFeatures()),
    ),
    "voxel": (
        "scattering on a grid, ridge regression: slow",
        lambda: _ridge(VoxelScattering(order=1)),
    ),
}


def recipe(name: str, *, random_state: int = 0) -> EnergyForceRegressor:
    """Return the unfitted potential of a name in ``RECIPES``; raise ValueError if there is none.

    ``random_state`` seeds everything random in it, so that fits are repeatable.
    """
    if name not in RECIPES:
        raise ValueError(f"There is no model {name!r}; take one of {', '.join(RECIPES)}.")
    model = RECIPES[name][1]()
    seeds = [key for key in model.get_params() if key.rpartition("__")[2] == "random_state"]
    return model.set_params(**dict.fromkeys(seeds, random_state))


def show_progress(estimator: Any, verbose: bool) -> None:
    """Have the representations in an estimator show their progress, or not."""
    parts = [estimator, *estimator.get_params().values()]
    for part in parts:
        if isinstance(part, StructureTransformer):
            part.set_params(verbose=verbose)
