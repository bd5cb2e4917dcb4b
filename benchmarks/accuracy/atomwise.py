"""Kernels and products of the features of every atom, beside the features themselves.

    python benchmarks/accuracy/atomwise.py --data DIR                # ethanol, uracil and silicon
    python benchmarks/accuracy/atomwise.py ethanol --data DIR --landmarks 4000 --only landmarks
    python benchmarks/accuracy/atomwise.py --data DIR --quick        # few structures and landmarks

Ridge regression of energies and of forces along all coordinates, as EnergyForceRegressor does it.
rMD17 (PBE, published split): the first training structures, and test structures; mlearn (PBE,
published split): all of both. A tenth of the training structures, drawn at random, chooses penalty
and force weight: those of least product of both root mean square errors. Then all are used. Test
errors are mean absolute errors of energies (meV/atom) and force components (meV/Å). Elastic
constants of silicon in GPa, atoms relaxed.

"rows" and "solve" are CPU seconds: features and their derivatives, and all that the linear model
does, choosing included; "ms" is the CPU time of energy and forces of one structure, computed as a
calculator does.

Cost: 10 min for each molecule, 5 min for silicon.
"""

import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
from ase.build import bulk
from sklearn.base import clone

from skwavelet import AtomKernel, AtomPolynomial, PointScattering, ScatteringCalculator
from skwavelet.potentials.energy_model import LinearEnergyModel
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.rows import build_rows
from skwavelet.properties import PropertyError, cubic_constants, elastic_tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import mlearn, rmd17_parts
from common.published import RMD17
from common.rows import RowsRidge
from common.table import Table
from common.timing import machine

ELEMENTS = ("Si", "Li")
PENALTIES = 10.0 ** np.arange(-8, -2)
FORCE_WEIGHTS = (1e-3, 1e-2, 1e-1)


def representations(name, symbols, landmarks):
    """Return the transformers by name, and whether their features are to be scaled."""
    if name in ELEMENTS:
        point = PointScattering(
            (1, 2, 3, 4, 5, 6), 5, n_scales=4, channels=["number"], powers=(2,), centers="all"
        )
        few = clone(point).set_params(n=(1, 2, 3, 4), max_l=3, n_scales=3, powers=(1,))
    else:
        point = PointScattering(powers=(2,), centers="all")
        # Elements apart, and a channel that mixes them: cross terms of elements matter.
        few = PointScattering((1, 2, 3), 2, channels=[*symbols, "kinetic"], powers=(1,), n_scales=2)
    linear = clone(point).set_params(powers=(1, 4 / 3, 5 / 3, 2), centers="elements")
    found = {"features": (linear, True), "products of two": (AtomPolynomial(few), True)}
    for size in landmarks:
        found[f"{size:,} landmarks"] = (AtomKernel(point, size, random_state=0), False)
    return found


def parts(options, name):
    """Return (structures, eV/atom, forces) to train on, and those to test on."""
    if name in ELEMENTS:
        train, test = mlearn(options.data, name)
        step = max(1, len(train[0]) // options.structures)
        return tuple(part[::step] for part in train), test
    train, test = rmd17_parts(options.data, name)
    sizes = options.structures, options.tests
    return [tuple(x[:n] for x in part) for part, n in zip((train, test), sizes, strict=True)]


def fit(transformer, scaled, train):
    """Return the linear model, the chosen force weight and penalty, and the CPU seconds."""
    X, energies, forces = train
    start = time.process_time()
    transformer.fit(X)
    rows = build_rows(
        feature_chain(transformer), X, np.array(energies), transformer.transform(X), list(forces),
        [None] * len(X), "all", np.random.default_rng(0), np.ones(len(X)),
    )  # fmt: skip
    ready = time.process_time()
    held = np.random.default_rng(0).permutation(len(X))[: len(X) // 10]
    problem = RowsRidge(rows, held, scaled)
    tried = []
    for force_weight, alpha in product(FORCE_WEIGHTS, PENALTIES):
        model = problem.fit(force_weight, 0.0, alpha, everything=False)
        energy, force, _ = problem.held_errors(model)
        tried.append((energy * force, force_weight, alpha))
    _, force_weight, alpha = min(tried)
    model = problem.fit(force_weight, 0.0, alpha)
    return model, force_weight, alpha, ready - start, time.process_time() - ready


def errors(model, test):
    """Return mean absolute errors (meV/atom, meV/Å) and the CPU ms of a structure."""
    X, energies, forces = test
    model.value_and_vjp(X[:1], np.ones((1, 1)))  # what is prepared once
    start = time.process_time()
    triples = model.value_and_vjp(X, np.array([[float(len(atoms))] for atoms in X]))
    seconds = time.process_time() - start
    energy = np.ravel([value for value, _, _ in triples])
    residuals = [
        (gradient + force).ravel() for (_, gradient, _), force in zip(triples, forces, strict=True)
    ]
    return (
        1e3 * np.abs(energy - energies).mean(),
        1e3 * np.abs(np.concatenate(residuals)).mean(),
        1e3 * seconds / len(X),
    )


def elastic_constants(model):
    """Return C11, C12 and C44 of diamond (GPa), atoms relaxed, as text."""
    try:
        tensor = elastic_tensor(bulk("Si", cubic=True), ScatteringCalculator(model))
    except PropertyError:
        return "unstable"
    return " / ".join(f"{constant:.0f}" for constant in cubic_constants(tensor))


def main():
    options = arguments(
        __doc__,
        data="needed",
        quick={"structures": 20, "tests": 20, "landmarks": [100]},
        parts=["ethanol", "uracil", "Si"],
        structures=1000,
        tests=1000,
        landmarks=[1000, 2000, 4000],
        only=(),
    )
    print(machine("numpy"))
    for name in options.parts:
        train, test = parts(options, name)
        print(f"\n{name}: {len(train[0])} training, {len(test[0])} test structures")
        if name not in ELEMENTS:
            n_atoms = len(train[0][0])
            print(f"linear ACE, published, meV (of {n_atoms} atoms) / meV/Å: "
                  f"{RMD17['linear ACE'][name]}")  # fmt: skip
        print()
        header = ["features", "force weight", "penalty", "meV/atom", "meV/Å", "rows", "solve", "ms"]
        table = Table([name, *header, *["C11 / C12 / C44"] * (name == "Si")])
        symbols = sorted(set(train[0][0].symbols))
        found = representations(name, symbols, options.landmarks)
        for title, (transformer, scaled) in found.items():
            if options.only and not any(word in title for word in options.only):
                continue
            linear, *chosen, rows, solve = fit(transformer, scaled, train)
            chain = feature_chain(transformer)
            model = LinearEnergyModel(
                chain.then(linear.coef_[:, None], np.array([linear.intercept_]))
            )
            energy, force, ms = errors(model, test)
            row = [len(linear.coef_), *(f"{value:g}" for value in chosen)]
            row += [energy, force, rows, solve, ms]
            if name == "Si":
                row.append(elastic_constants(model))
            table.add(title, *row)


if __name__ == "__main__":
    main()
