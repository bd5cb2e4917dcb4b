"""Physical properties that any potential predicts: plain numbers, with their units.

Every function takes a structure and an ASE calculator, or a fitted model of this library, which
`skwavelet.ScatteringCalculator` makes one of. The structure that is passed stays as it is:
functions work on copies without constraints (only `barrier` keeps them). What a potential does not
have, such as a crystal where it has no minimum, is a `PropertyError` of one line, never NaN.
"""

from skwavelet.properties._shared import PropertyError
from skwavelet.properties.defects import surface_energy, vacancy_formation_energy
from skwavelet.properties.dynamics import (
    Stability,
    energy_drift,
    radial_distribution,
    stability,
)
from skwavelet.properties.elasticity import (
    CubicConstants,
    EquationOfState,
    bulk_modulus,
    cubic_constants,
    elastic_tensor,
    equation_of_state,
)
from skwavelet.properties.paths import Barrier, barrier
from skwavelet.properties.relaxation import lattice_constant, relaxed
from skwavelet.properties.vibrations import normal_mode_frequencies, phonon_frequencies

__all__ = [
    "Barrier",
    "CubicConstants",
    "EquationOfState",
    "PropertyError",
    "Stability",
    "barrier",
    "bulk_modulus",
    "cubic_constants",
    "elastic_tensor",
    "energy_drift",
    "equation_of_state",
    "lattice_constant",
    "normal_mode_frequencies",
    "phonon_frequencies",
    "radial_distribution",
    "relaxed",
    "stability",
    "surface_energy",
    "vacancy_formation_energy",
]
