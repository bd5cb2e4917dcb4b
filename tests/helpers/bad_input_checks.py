"""Checks that every transformer of structures refuses bad input by one clear line."""

import numpy as np
from ase import Atoms
from helpers.check_helpers import changed, error_of, fitted
from helpers.small_structures import Convertible, cubic, three_elements, triclinic
from sklearn.base import clone


def with_position(atoms, value):
    atoms.positions[1] = value
    return atoms


BAD_STRUCTURES = {
    "single": (lambda: cubic(), TypeError, "single structure; pass a list"),
    "matrix": (lambda: np.zeros((3, 4)), TypeError, "must be a sequence of ase.Atoms"),
    "empty": (list, ValueError, "X holds no structures"),
    "no atoms": (lambda: [cubic(), Atoms()], ValueError, "Structure 1 has no atoms"),
    "item": (lambda: [cubic(), 3], TypeError, "Structure 1 is int"),
    "nan": (lambda: [with_position(cubic(), np.nan)], ValueError, r"Structure 0 has NaN.*atom 1"),
    "no cell": (lambda: [Atoms("Si", pbc=True)], ValueError, "Structure 0 .* has no volume"),
}


def check_bad_structures(transformer):
    instance = fitted(transformer)
    for make, kind, pattern in BAD_STRUCTURES.values():
        error_of(lambda make=make: clone(transformer).fit(make()), kind, pattern)
        error_of(lambda make=make: instance.transform(make()), kind, pattern)
        error_of(lambda make=make: instance.vjp(make(), np.zeros((1, 1))), kind, pattern)


def check_bad_fits(transformer):
    twice = with_position(cubic(), cubic().positions[0])
    error_of(
        lambda: fitted(transformer, [cubic(), twice]),
        ValueError,
        r"Structure 1 has atoms \d and \d at the same place",
    )
    if any(name.endswith("channels") for name in transformer.get_params()):
        error_of(
            lambda: fitted(changed(transformer, channels=["nonsense"])),
            ValueError,
            "Unknown channel 'nonsense'",
        )


def check_close_atoms(transformer):
    """Atoms that are closer than chemistry allows, in fit and in whatever follows."""
    instance = fitted(transformer)
    for distance in (0.0, 0.02, 0.2, 0.5, 0.9):
        place = r"at the same place" if distance < 0.01 else "only .* Å apart, while Li-Si bonds"
        close = with_position(cubic(), cubic().positions[0] + [0, distance, 0])
        X, pattern = [cubic(), close], f"Structure 1 has atoms [01] and [01] {place}"
        for call in (
            lambda X=X: fitted(transformer, X),
            lambda X=X: instance.transform(X),
            lambda X=X: instance.jvp(X, [np.ones((1, 2, 3))] * 2),
            lambda X=X: instance.vjp(X, np.zeros((2, instance.n_features_out_))),
        ):
            error_of(call, ValueError, pattern)


def check_conversions_that_fail(transformer):
    instance = fitted(transformer)
    for error in (
        ValueError("disordered"),
        KeyError("Si"),
        ImportError("no ase"),
        ZeroDivisionError(),
    ):
        X = [cubic(), Convertible(cubic(), error)]
        error_of(
            lambda X=X: instance.transform(X),
            ValueError,
            r"Structure 1 cannot be converted to ase.Atoms \(.*\); repair or remove it",
        )


def check_unseen_elements(transformer):
    instance = fitted(transformer, [cubic(), triclinic()])
    for call in (
        lambda: instance.transform([cubic(), three_elements()]),
        lambda: instance.jvp([cubic(), three_elements()], [np.zeros((1, 2, 3))] * 2),
        lambda: instance.vjp([cubic(), three_elements()], np.zeros((2, instance.n_features_out_))),
    ):
        error_of(call, ValueError, "Structure 1 contains O, not seen in fit")


def check_bad_directions(transformer):
    X = [triclinic(), cubic()]
    instance = fitted(transformer)
    good = [np.zeros((2, 3, 3)), np.zeros((2, 2, 3))]
    strains = [np.zeros((2, 3, 3))] * 2
    wrong = {
        "missing": (None, None, "Pass displacements, strains or both"),
        "count": (good[:1], None, "displacements has 1 entries for 2 structures"),
        "number": (0.1, None, "displacements has 0 entries for 2 structures"),
        "atoms": ([good[0], good[0]], None, "displacements of structure 1 must be finite and of"),
        "flat": ([good[0][0], good[1]], None, "displacements of structure 0 must be finite"),
        "nan": ([good[0], good[1] + np.nan], None, "displacements of structure 1 must be finite"),
        "strain": (None, [strains[0], np.zeros((2, 6))], "strains of structure 1 must be finite"),
        "none": ([good[0][:0], good[1]], None, "displacements of structure 0 hold no direction"),
        "pair": (good, [strains[0][:1], strains[1]], "strains of structure 0 must be finite"),
    }
    for displacements, strain, pattern in wrong.values():
        error_of(
            lambda d=displacements, s=strain: instance.jvp(X, d, s),
            ValueError,
            pattern,
        )
    n = instance.n_features_out_
    for cotangents, pattern in (
        (np.zeros(n), rf"cotangents has shape \({n},\); pass shape \(2, {n}\)"),
        (np.zeros((2, n + 1)), r"cotangents has shape"),
        (np.zeros((1, n)), r"cotangents has shape"),
        (np.full((2, n), np.inf), "cotangents holds NaN or infinite"),
    ):
        error_of(lambda c=cotangents: instance.vjp(X, c), ValueError, pattern)
        error_of(lambda c=cotangents: instance.value_and_vjp(X, c), ValueError, pattern)


BAD_INPUT_CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]
