r"""What each part of the angular network brings, with few structures and epochs.

    python benchmarks/accuracy/rmd17_ablation.py --data DATA --cache DIR  # ethanol
    python benchmarks/accuracy/rmd17_ablation.py --data DIR --cache DIR --molecules uracil --seeds 1

Revised MD17, published split 01: the first 200 of the training structures (190 train, 10 choose the
weights), a fixed number of epochs for all, width 64 (the point networks 16), mean over seeds,
errors on the first 500 test structures. The CPU time of the training stands beside them: what an
epoch brings is one question, what it costs another. Finished runs are read from the cache.

Cost: 20 min for ethanol, 20 min more for each other molecule with one seed; needs torch.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from skwavelet.neural import AngularNetwork, PointScatteringNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17_parts
from common.networks import measurement
from common.table import Table
from common.timing import machine

VARIANTS = {
    "default (Legendre, three layers)": {},
    "one layer, which has no moments to pass on": {"n_layers": 1},
    "no angles, products of sums over neighbours (`n_angular=1`)": {"n_angular": 1},
    "no angles, sums over neighbours (`n_angular=0`)": {"n_angular": 0},
    "Gaussian filters, both neighbours' features": {"basis": "gaussian"},
    "Gaussian filters, features of k alone": {"basis": "gaussian", "messages": "neighbor"},
    "Gaussian filters, features of the centre": {"basis": "gaussian", "messages": "center"},
    "the dissertation's layers, (6.6) to (6.16)": {"basis": "literal"},
    "default and pooling": {"pooling": 1},
    "default, energies alone": {"forces": False},
    "point-scattering network": {"point": True},
    "point-scattering network, energies alone": {"point": True, "forces": False},
}


def variant(options, epochs, seed):
    """Return an unfitted network, and whether it is trained on forces."""
    options = dict(options)
    with_forces = options.pop("forces", True)
    kind = PointScatteringNetwork if options.pop("point", False) else AngularNetwork
    options |= {"max_epochs": epochs, "validation_fraction": 0.05, "device": "cpu"}
    network = kind(**options, random_state=seed)
    return network, with_forces


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"epochs": 1, "seeds": 1, "train": 40, "test": 40},
        molecules=("ethanol",),
        epochs=60,
        seeds=2,
        train=200,
        test=500,
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    table = Table(["molecule", "network", "energy meV", "force meV/Å", "CPU s"], digits=1)
    for molecule in args.molecules:
        parts = rmd17_parts(args.data, molecule)
        train, test = (
            [values[:most] for values in part]
            for part, most in zip(parts, (args.train, args.test), strict=True)
        )
        for title, options in VARIANTS.items():
            results = []
            for seed in range(args.seeds):
                network, with_forces = variant(options, args.epochs, seed)
                X, y, forces = train
                labels = X, y, forces if with_forces else [None] * len(X)
                settings = network, labels, test
                name = f"ablation-{molecule}"
                results.append(args.cache.get(name, measurement(*settings), *settings))
            energy, force, seconds = np.mean(results, axis=0)
            table.add(molecule, title, energy, force, f"{seconds:.0f}")


if __name__ == "__main__":
    main()
