r"""Table 6.1 on revised MD17: energies and forces of small molecules from 1000 structures.

    python benchmarks/accuracy/rmd17_networks.py --data DATA --cache DIR  # all molecules
    python benchmarks/accuracy/rmd17_networks.py --data DIR --cache DIR --molecules ethanol

Revised MD17 (PBE/def2-SVP), published split 01: of the 1000 training structures 950 train and 50
choose the weights, as in the published comparisons; errors are those of the 1000 test structures.
Consecutive frames of a trajectory fall on both sides: the convention of the field, not a leak-free
split. ``--minutes`` is the CPU time that each molecule is given, on one core; the number of epochs
follows from the measured time of one. With ``--seeds`` several networks, whose first weights and
order of structures differ, share that time, and the mean of what they predict counts. ``--base`` is
the time of point-scattering networks trained on energies alone. 0 minutes leave either out. An
interrupted run carries on where it was, and a finished one is read from the cache.

Mean absolute errors of total energies and of force components. Published: linear ACE, FCHL19 and
NequIP (Batatia et al. 2022, their table 1, the same data); the dissertation's networks (its table
6.1, on the original MD17, whose labels are noisier): "Angular", its three-body network, and "Base",
its point-scattering network trained on energies alone.

Cost: ``--minutes`` of CPU time for each molecule (20 to 60), and ``--base``; needs torch.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone

from skwavelet.neural import AngularNetwork, PointScatteringNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17_parts
from common.networks import errors, train_for
from common.published import DISSERTATION_ANGULAR, DISSERTATION_BASE, MEV_PER_KCAL, RMD17
from common.table import Table

# Structures of either part with --quick.
QUICK = 60
MOLECULES = ("ethanol", "uracil", "toluene", "benzene", "naphthalene", "aspirin")
# Of all networks here.
SETTINGS = {"validation_fraction": 0.05, "device": "cpu", "random_state": 0}


def train_and_test(name, network, train, test, minutes, cache, total=True, seeds=1):
    """Train a network and return its errors (`errors`), or what the cache has of them.

    Several seeds share the minutes: the mean of what their networks predict counts, and the sums of
    their epochs and weights.
    """
    X, y, forces = train
    networks = [clone(network).set_params(random_state=seed) for seed in range(seeds)]

    def measure():
        labels = {} if forces is None else {"forces": forces}
        fitted = [train_for(one, X, y, minutes / seeds, cache, **labels) for one in networks]
        energies = np.mean([one.predict(test[0]) for one in fitted], axis=0)
        pulls = np.mean([np.concatenate(one.predict_forces(test[0])) for one in fitted], axis=0)
        return errors(test, energies, pulls, total) | {
            "epochs": sum(one.n_iter_ for one in fitted),
            "weights": sum(p.numel() for one in fitted for p in one.module_.parameters()),
        }

    return cache.get(name, measure, networks, X, y, forces, test[0], minutes, total)


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"minutes": 0.02},
        molecules=MOLECULES,
        minutes=60.0,
        base=0.0,
        width=64,
        seeds=1,
        threads=1,
        verbose=False,
    )
    torch.set_num_threads(args.threads)
    header = ["molecule", "CPU min", "epochs", "meV / meV/Å", "kcal/mol / kcal/mol/Å"]
    header.append("dissertation 'Angular', kcal/mol / kcal/mol/Å")
    header += [f"{method}, meV / meV/Å" for method in RMD17]
    table = Table(header, quiet=not args.minutes)
    base = Table(
        ["molecule", "CPU min", "epochs", "energy alone, meV", "kcal/mol", "dissertation 'Base'"],
        quiet=True,
    )
    for name in args.molecules:
        train, test = rmd17_parts(args.data, name, QUICK if args.quick else None)
        settings = SETTINGS | {"verbose": args.verbose}
        if args.minutes:
            network = AngularNetwork(width=args.width, **settings)
            found = train_and_test(
                name, network, train, test, args.minutes, args.cache, seeds=args.seeds
            )
            energy, force = found["energy"], found["force"]
            table.add(
                name, f"{args.minutes:g}", str(found["epochs"]), f"{energy:.2f} / {force:.1f}",
                f"{energy / MEV_PER_KCAL:.3f} / {force / MEV_PER_KCAL:.3f}",
                DISSERTATION_ANGULAR[name], *(method[name] for method in RMD17.values()),
            )  # fmt: skip
        if args.base:
            network, (X, y, _) = PointScatteringNetwork(**settings), train
            found = train_and_test(
                name, network, (X, y, None), test, args.base, args.cache, seeds=args.seeds
            )
            energy = found["energy"]
            base.add(
                name, f"{args.base:g}", str(found["epochs"]), f"{energy:.1f}",
                f"{energy / MEV_PER_KCAL:.2f}", DISSERTATION_BASE[name],
            )  # fmt: skip
    if base.rows:
        print("\n" + base.markdown())


if __name__ == "__main__":
    main()
