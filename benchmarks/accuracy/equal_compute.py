r"""Our network, MACE, NequIP and PaiNN with the same CPU time, core and structures.

    python benchmarks/accuracy/equal_compute.py --data DIR --cache DIR --sets ethanol
    python benchmarks/accuracy/equal_compute.py --data DIR --cache DIR --sets silicon

Molecules are those of revised MD17 (PBE/def2-SVP), published split 01: 950 structures train, 50
choose the weights, and errors of the 1000 test structures are those of total energies (meV).
"silicon" is that of mlearn (PBE, Zuo et al. 2020), 214 training structures of the published split,
a tenth of which chooses the weights, and errors of the 25 test structures are those of energies
per atom (meV/atom); its cells are periodic and of 12 to 96 atoms. Labels are energies and forces;
errors of these are those of components. Every network gets ``--minutes`` of CPU time on one
thread, in float32; neighbours within 5 Å are found beforehand. Ours has its defaults, and is
trained as `rmd17_networks.py` does it.

"MACE" is of the package mace-torch: two layers, 64 invariant channels, harmonics to degree 3,
products of four bodies, Adam with AMSGrad and a learning rate of 0.01, batches of five, and a loss
of energies per atom and 100 times the forces, as its command line has them. "NequIP" is of the
package nequip: four layers of 32 features of degrees 0 and 1 and both parities, its defaults,
batches of five, and Adam at 0.01 with energies per atom and forces of equal weights, as its example
of aspirin has them. Its e3nn is another version than mace-torch takes: install it elsewhere, and
share ``--cache``. "PaiNN" is SchNetPack's: three layers of width 64, 20 radial functions, Adam at
0.001, batches of ten, a loss of 5 % total energies and 95 % forces, as its example has them; in
sets of several sizes the energies are those per atom. The learning rates of all fall by a cosine to
0 at the end of the time, weights are averaged, and the averages with the least error of forces on
the structures that choose count. Nothing of MACE, NequIP or PaiNN was tuned for this comparison.

What is not installed is left out. Every result is kept in ``--cache`` as soon as it is there.

Cost: ``--minutes`` of CPU time for each network and set; needs torch, and mace-torch, nequip
and schnetpack.
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
from common.data import mlearn, rmd17_parts
from common.rival_networks import Mace, Nequip, Painn, train_rival
from common.table import Table
from common.timing import machine

RIVALS = {
    "MACE": ("mace", Mace),
    "NequIP": ("nequip", Nequip),
    "PaiNN": ("schnetpack", Painn),
}
SILICON = "silicon"


def parts_of(name, data, most):
    """Return the training and test parts of a set, and the share that chooses the weights."""
    if name == SILICON:
        return [tuple(values[:most] for values in part) for part in mlearn(data, "Si")], 0.1
    return rmd17_parts(data, name, most), SETTINGS["validation_fraction"]


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"minutes": 0.02},
        sets=("ethanol", "uracil", SILICON),
        networks=("AngularNetwork", *RIVALS),
        minutes=20.0,
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    table = Table(
        [
            "set", "network", "weights", "CPU min", "epochs", "energy, meV or meV/atom: MAE",
            "RMSE", "force, meV/Å: MAE", "RMSE",
        ]
    )  # fmt: skip
    missing = [name for name in args.networks if name in RIVALS and not find_spec(RIVALS[name][0])]
    for title in args.sets:
        (train, test), share = parts_of(title, args.data, QUICK if args.quick else None)
        total = title != SILICON
        held = np.random.default_rng(0).permutation(len(train[0])) < share * len(train[0])
        parts = [
            tuple([values[row] for row in np.flatnonzero(own)] for values in train)
            for own in (~held, held)
        ]
        for name in args.networks:
            if name in missing:
                continue
            if name in RIVALS:
                kind = RIVALS[name][1]

                def measure(kind=kind, parts=parts, test=test, total=total):
                    return train_rival(kind, *parts, test, args.minutes, total)

                found = args.cache.get(
                    f"{title}-{name}", measure, name, *parts, test, args.minutes, total,
                    code=["common.rival_networks"],
                )  # fmt: skip
            else:
                network = AngularNetwork(**SETTINGS | {"validation_fraction": share})
                found = train_and_test(
                    title, network, train, test, args.minutes, args.cache, total
                )  # fmt: skip
            table.add(
                title, name, f"{found['weights']:,}", f"{args.minutes:g}", str(found["epochs"]),
                found["energy"], found["energy_rmse"], found["force"], found["force_rmse"],
            )  # fmt: skip
    if missing:
        print(f"\nNot installed, and left out: {', '.join(missing)}.")


if __name__ == "__main__":
    main()
