"""Learning on the fly beside random labels, where training and use differ.

    python benchmarks/accuracy/on_the_fly.py
    python benchmarks/accuracy/on_the_fly.py --quick   # one repeat, half of the frames

Alloys of copper and gold, labels of effective medium theory (ASE's EMT): nothing but the package is
needed. Models of energies, forces and stresses know a few frames of dynamics at one condition. A
stream of frames of dynamics then leaves it:

- temperature: from 300 K, which is known, to 1500 K;
- strain: at 600 K, the volume swept from -5 %, which is known, to +20 %;
- composition: at 600 K, from one tenth of gold, which is known, to nine tenths.

Conditions change slowly at first (with the fourth power of time), so that most frames are near what
is known. On the fly, an `ActiveLearner` sees the frames of the stream in turn and asks for labels
where the standard deviation of a force exceeds ``--threshold``. At random, as many labels, or other
numbers of them, are drawn from the whole stream. All models are fitted from scratch in the end.
Errors are those of frames of another stream: all of it, and its last fifth, farthest from what is
known.

Cost: 15 min.
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from skwavelet import (
    ActiveLearner,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    labels_of,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import machine

LATTICE = {"Cu": 3.61, "Au": 4.06}
SHARES = (0.5, 1, 2, 4)


def conditions(task, share):
    """Return temperature (K), volume (relative) and the fraction of gold along a stream."""
    return {
        "temperature": (300 + 1200 * share, 1.0, 0.5),
        "strain": (600, 0.95 + 0.25 * share, 0.5),
        "composition": (600, 1.0, 0.1 + 0.8 * share),
    }[task]


def stream(task, n_frames, rng, end=1.0):
    """Return frames of dynamics by EMT, whose conditions change, a new crystal every tenth."""
    frames = []
    for number in range(n_frames):
        temperature, volume, gold = conditions(task, end * (number / (n_frames - 1)) ** 4)
        lattice = (1 - gold) * LATTICE["Cu"] + gold * LATTICE["Au"]
        if number % 10 == 0:
            atoms = bulk("Cu", a=lattice, cubic=True) * 2
            atoms.symbols[rng.permutation(len(atoms))[: round(gold * len(atoms))]] = "Au"
            atoms.rattle(0.05, rng=rng)
        atoms.set_cell(2 * lattice * volume ** (1 / 3) * np.eye(3), scale_atoms=True)
        atoms.calc = EMT()
        dynamics = Langevin(
            atoms, 4 * units.fs, temperature_K=temperature, friction=0.02, fixcm=False, rng=rng
        )
        dynamics.run(50 if number % 10 == 0 else 15)
        frames.append(atoms.copy())
    return frames


def labelled(structures):
    """Return energies per atom, forces and stresses by EMT."""
    for atoms in structures:
        atoms.calc = EMT()
    labels = labels_of(structures)
    return labels.energies, labels.forces, labels.stress


def errors(model, structures, labels):
    """Return RMSEs of energies (meV/atom) and forces (meV/Å), of all and of the last fifth."""
    energy = np.square(model.predict(structures) - labels[0])
    force = np.square(np.array(model.predict_forces(structures)) - np.array(labels[1]))
    last = -(len(structures) // 5)
    return [
        1e3 * np.sqrt(values[start:].mean()) for start in (0, last) for values in (energy, force)
    ]


def compare(task, seed, args):
    """Return the number of labels on the fly and, by strategy and share of it, the errors."""
    rng = np.random.default_rng(seed)
    start = stream(task, args.start, rng, end=0.0)
    frames, unseen = (stream(task, args.frames, rng) for _ in range(2))
    labels = labelled(unseen)
    model = EnergyForceRegressor(
        PointScattering(),
        BaggedOLSEnsemble(args.bags, max_features=150, random_state=seed),
        force_weight=0.01,
        n_directions=8,
        random_state=seed,
    )
    learner = ActiveLearner(model, EMT(), threshold=args.threshold, growth=0.5).fit(start)
    found = {"before": errors(learner.model_, unseen, labels)}
    calculator = learner.calculator()
    for atoms in frames:
        calculator.get_forces(atoms)
    chosen = learner.structures_[args.start :]
    found["on the fly"] = errors(fitted(model, start + chosen), unseen, labels)
    for share in SHARES:
        count = round(share * len(chosen))
        if count <= len(frames):
            drawn = [frames[i] for i in rng.permutation(len(frames))[:count]]
            found[share] = errors(fitted(model, start + drawn), unseen, labels)
    return len(chosen), found


def fitted(model, structures):
    """Return the model, fitted to structures from scratch."""
    structures = [atoms.copy() for atoms in structures]
    return model.fit(structures, *labelled(structures))


def main():
    args = arguments(
        __doc__,
        quick={"repeats": 1, "frames": 60},
        parts=("temperature", "strain", "composition"),
        repeats=3,
        start=10,
        frames=120,
        bags=10,
        threshold=0.1,
    )
    print(machine("numpy", "ase"), flush=True)
    print(f"\n{args.frames} frames, threshold {args.threshold} eV/Å, {args.repeats} repeats\n")
    columns = ["energy, meV/atom", "forces, meV/Å", "last fifth: energy", "forces"]
    table = Table(["task", "labels", "chosen", *columns], digits=1)
    for task in args.parts:
        runs = [compare(task, seed, args) for seed in range(args.repeats)]
        n_labels = np.mean([count for count, _ in runs])
        for key in runs[0][1]:
            values = [found[key] for _, found in runs if key in found]
            count = {"before": 0, "on the fly": n_labels}.get(key, key)
            if key not in ("before", "on the fly"):
                count = key * n_labels
            how = "at random" if key in SHARES else key
            table.add(task, round(count), how, *np.median(values, axis=0))


if __name__ == "__main__":
    main()
