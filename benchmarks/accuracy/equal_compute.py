r"""Our network, MACE and PaiNN on revised MD17 with the same CPU time, core and structures.

    python benchmarks/accuracy/equal_compute.py --data DIR --cache DIR --molecules ethanol

Revised MD17 (PBE/def2-SVP), published split 01: 950 structures train, 50 choose the weights, and
errors are mean absolute ones of the 1000 test structures, of total energies and of components of
forces. Every network gets ``--minutes`` of CPU time on one thread, in float32; neighbours within
5 Å are found beforehand. Ours is trained as `rmd17_networks.py` does it.

"MACE" is of the package mace-torch: two layers, 64 invariant channels, harmonics to degree 3,
products of four bodies, Adam with AMSGrad and a learning rate of 0.01, batches of five, and a loss
of energies per atom and 100 times the forces, as its command line has them. "PaiNN" is
SchNetPack's: three layers of width 64, 20 radial functions, Adam at 0.001, batches of ten, a loss
of 5 % total energies and 95 % forces, as its example has them. The learning rates of all fall by
a cosine to 0 at the end of the time, weights are averaged, and the averages with the least error
on the 50 structures count. Nothing of MACE or PaiNN was tuned for this comparison.

What is not installed is left out. Every result is kept in ``--cache`` as soon as it is there.

Cost: ``--minutes`` of CPU time for each network and molecule; needs torch, and mace-torch and
schnetpack.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from rmd17_networks import QUICK, SETTINGS, train_and_test

from skwavelet.neural import AngularNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17_parts
from common.rival_networks import Mace, Painn, train_rival
from common.table import Table
from common.timing import machine

RIVALS = {"MACE": ("mace", Mace), "PaiNN": ("schnetpack", Painn)}


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"minutes": 0.02},
        molecules=("ethanol", "uracil"),
        networks=("AngularNetwork", *RIVALS),
        minutes=20.0,
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    table = Table(["molecule", "network", "weights", "CPU min", "epochs", "meV", "meV/Å"])
    missing = [name for name in args.networks if name in RIVALS and not find_spec(RIVALS[name][0])]
    for molecule in args.molecules:
        train, test = rmd17_parts(args.data, molecule, QUICK if args.quick else None)
        held = np.random.default_rng(0).permutation(len(train[0])) < len(train[0]) // 20
        parts = [
            ([x for x, chosen in zip(train[0], own, strict=True) if chosen], train[1][own],
             train[2][own])
            for own in (~held, held)
        ]  # fmt: skip
        for name in args.networks:
            if name in missing:
                continue
            if name in RIVALS:
                kind = RIVALS[name][1]

                def measure(kind=kind, parts=parts, test=test):
                    return train_rival(kind, *parts, test, args.minutes)

                found = args.cache.get(
                    f"{molecule}-{name}", measure, name, *parts, test, args.minutes,
                    code=["common.rival_networks"],
                )  # fmt: skip
            else:
                network = AngularNetwork(**SETTINGS)
                found = train_and_test(molecule, network, train, test, args.minutes, args.cache)
            table.add(
                molecule, name, f"{found['weights']:,}", f"{args.minutes:g}", str(found["epochs"]),
                found["energy"], found["force"],
            )  # fmt: skip
    if missing:
        print(f"\nNot installed, and left out: {', '.join(missing)}.")


if __name__ == "__main__":
    main()
