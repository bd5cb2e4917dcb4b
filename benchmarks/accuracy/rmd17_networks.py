r"""Table 6.1 on revised MD17: energies and forces of small molecules from 1000 structures.

    python benchmarks/accuracy/rmd17_networks.py --data DATA --cache DIR  # all molecules
    python benchmarks/accuracy/rmd17_networks.py --data DIR --cache DIR --molecules ethanol

Revised MD17 (PBE/def2-SVP), published split 01: of the 1000 training structures 950 train and 50
choose the weights, as in the published comparisons; errors are those of the 1000 test structures.
Consecutive frames of a trajectory fall on both sides: the convention of the field, not a leak-free
split. ``--minutes`` is the CPU time that each molecule is given, on one core; the number of
epochs follows from the measured time of one. An interrupted run carries on where it was, and a
finished one is read from the cache. A GPU is used where there is one.

Mean absolute errors of total energies and of force components. Published: linear ACE, FCHL19 and
NequIP (Batatia et al. 2022, their table 1, the same data); the dissertation's networks (its table
6.1, on the original MD17, whose labels are noisier): "Angular", its three-body network, and "Base",
its point-scattering network trained on energies alone.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from skwavelet.neural import AngularNetwork, PointScatteringNetwork

MEV_PER_KCAL = 43.364
MOLECULES = ("ethanol", "uracil", "toluene", "benzene", "naphthalene", "aspirin")
# Energy meV / force meV/Å; the dissertation's in kcal/mol and kcal/mol/Å.
LINEAR_ACE = {
    "aspirin": (6.1, 17.9),
    "benzene": (0.04, 0.5),
    "ethanol": (1.2, 7.3),
    "naphthalene": (0.9, 5.1),
    "toluene": (1.1, 6.5),
    "uracil": (1.1, 6.6),
}
FCHL19 = {
    "aspirin": (6.2, 20.9),
    "benzene": (0.35, 2.6),
    "ethanol": (0.9, 6.2),
    "naphthalene": (1.2, 6.5),
    "toluene": (1.7, 8.8),
    "uracil": (0.6, 4.2),
}
NEQUIP = {
    "aspirin": (2.3, 8.2),
    "benzene": (0.04, 0.3),
    "ethanol": (0.4, 2.8),
    "naphthalene": (0.9, 1.3),
    "toluene": (0.3, 1.6),
    "uracil": (0.4, 3.1),
}
ANGULAR = {
    "aspirin": (0.24, 0.59),
    "benzene": (0.11, 0.10),
    "ethanol": (0.05, 0.14),
    "naphthalene": (0.13, 0.14),
    "toluene": (0.10, 0.13),
    "uracil": (0.11, 0.14),
}
BASE = {
    "aspirin": 1.20,
    "benzene": 0.02,
    "ethanol": 0.40,
    "naphthalene": 0.20,
    "toluene": 1.40,
    "uracil": 1.43,
}


def load(directory, name):
    """Return (structures, energies in eV/atom, forces) to train on, and those to test on."""
    with np.load(Path(directory, "rmd17", f"{name}.npz")) as archive:
        data = dict(archive)
    structures = [Atoms(data["numbers"], positions) for positions in data["positions"]]
    parts = []
    energies = data["energy"] / len(data["numbers"])
    for rows in (np.flatnonzero(data["train"]), np.flatnonzero(~data["train"])):
        parts.append(([structures[i] for i in rows], energies[rows], data["forces"][rows]))
    return parts


def epochs_for(network, X, y, forces, minutes):
    """Return the number of epochs that take so many minutes of CPU time."""
    times = []
    for epochs in (1, 3):
        start = time.process_time()
        trial = network.set_params(max_epochs=epochs, checkpoint_path=None)
        trial.fit(X, y, forces=forces)
        times.append(time.process_time() - start)
    return max(1, round(60 * minutes / ((times[1] - times[0]) / 2)))


def run(label, network, train, test, minutes, cache):
    """Train a network and return its errors, or what the cache has of them."""
    result = Path(cache, f"{label}.json")
    plan = Path(cache, f"{label}_epochs.json")
    if result.exists():
        return json.loads(result.read_text())
    X, y, forces = train
    if not plan.exists():
        plan.write_text(json.dumps(epochs_for(network, X, y, forces, minutes)))
    epochs = json.loads(plan.read_text())
    print(f"{label}: {epochs} epochs", flush=True)
    network.set_params(max_epochs=epochs, checkpoint_path=Path(cache, f"{label}.checkpoint"))
    network.fit(X, y, forces=forces)
    predicted = len(test[0][0]) * (network.predict(test[0]) - test[1])
    pulls = np.array(network.predict_forces(test[0])) - test[2]
    errors = {
        "energy": 1e3 * float(np.abs(predicted).mean()),
        "force": 1e3 * float(np.abs(pulls).mean()),
        "epochs": network.n_iter_,
        "best_epoch": network.best_epoch_,
        "weights": sum(p.numel() for p in network.module_.parameters()),
        "minutes": minutes,
    }
    result.write_text(json.dumps(errors))
    return errors


def row(name, errors):
    angular = ANGULAR[name]
    published = " | ".join(f"{e} / {f}" for e, f in (t[name] for t in (LINEAR_ACE, FCHL19, NEQUIP)))
    energy, force = errors["energy"], errors["force"]
    return (
        f"| {name} | {errors['minutes']:g} | {errors['epochs']} "
        f"| {energy:.2f} / {force:.1f} | {energy / MEV_PER_KCAL:.3f} / {force / MEV_PER_KCAL:.3f} "
        f"| {angular[0]:.2f} / {angular[1]:.2f} | {published} |"
    )


HEADER = (
    "| molecule | CPU min | epochs | meV / meV/Å | kcal/mol / kcal/mol/Å "
    "| dissertation 'Angular', kcal/mol / kcal/mol/Å "
    "| linear ACE, meV / meV/Å | FCHL19 | NequIP |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--cache", required=True)
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, choices=MOLECULES)
    parser.add_argument("--minutes", type=float, default=60, help="CPU time per molecule")
    parser.add_argument("--base", type=float, default=0, help="minutes for the energy-only network")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few epochs on 60 structures")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    Path(args.cache).mkdir(parents=True, exist_ok=True)
    if args.quick:
        args.minutes = 0.02
    rows, base = [], []
    for name in args.molecules:
        train, test = load(args.data, name)
        if args.quick:
            train, test = [part[:60] for part in train], [part[:60] for part in test]
        settings = {"validation_fraction": 0.05, "random_state": 0, "verbose": args.verbose}
        network = AngularNetwork(width=args.width, **settings)
        label = f"{name}_{args.width}_{args.minutes:g}" + "_quick" * args.quick
        rows.append(row(name, run(label, network, train, test, args.minutes, args.cache)))
        print(HEADER, *rows, sep="\n", flush=True)
        if args.base:
            network = PointScatteringNetwork(**settings)
            X, y, _ = train
            errors = run(f"{label}_base", network, (X, y, None), test, args.base, args.cache)
            energy = errors["energy"]
            base.append(
                f"| {name} | {args.base:g} | {energy:.1f} | {energy / MEV_PER_KCAL:.2f} "
                f"| {BASE[name]:.2f} |"
            )
    if base:
        print("\n| molecule | CPU min | energy alone, meV | kcal/mol | dissertation 'Base' |")
        print("|---|---|---|---|---|", *base, sep="\n")


if __name__ == "__main__":
    main()
