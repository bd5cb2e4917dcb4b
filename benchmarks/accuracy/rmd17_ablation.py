r"""What each part of the angular network brings, on ethanol, with few structures and epochs.

    python benchmarks/accuracy/rmd17_ablation.py --data DATA --cache DIR

Revised MD17, published split 01: the first 200 of the training structures (190 train, 10 choose the
weights), a fixed number of epochs for all, mean over seeds, errors on the first 500 test
structures. The CPU time of the training stands beside them: what an epoch brings is one question,
what it costs another. Finished runs are read from the cache.

Cost: 30 min; needs torch.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from skwavelet.neural import AngularNetwork, PointScatteringNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17_parts
from common.table import Table

NETWORKS = ["skwavelet.neural.angular", "skwavelet.neural.point"]
VARIANTS = {
    "default (Legendre, three layers)": {},
    "one layer, which has no moments to pass on": {"n_layers": 1},
    "no angles, products of sums over neighbours (`n_angular=1`)": {"n_angular": 1},
    "no angles, sums over neighbours (`n_angular=0`)": {"n_angular": 0},
    "Gaussian filters, both neighbours' features": {"basis": "gaussian"},
    "Gaussian filters, features of k alone": {"basis": "gaussian", "messages": "neighbor"},
    "Gaussian filters, features of the centre": {"basis": "gaussian", "messages": "center"},
    "the dissertation's network, (6.6) to (6.16)": {"basis": "literal"},
    "default and pooling": {"pooling": 1},
    "default, energies alone": {"forces": False},
    "point-scattering network": {"point": True},
    "point-scattering network, energies alone": {"point": True, "forces": False},
}


def measure(options, train, test, epochs, seed):
    """Return energy MAE (meV), force MAE (meV/Å) and CPU seconds of the training."""
    options = dict(options)
    X, y, forces = train
    if not options.pop("forces", True):
        forces = None
    kind = PointScatteringNetwork if options.pop("point", False) else AngularNetwork
    # Equation (5.16) with p = 0.01, which weighs total energies.
    weight = 99 / len(X[0]) ** 2
    network = kind(
        **options, max_epochs=epochs, force_weight=weight, validation_fraction=0.05,
        random_state=seed,
    )  # fmt: skip
    start = time.process_time()
    network.fit(X, y, forces=forces)
    seconds = time.process_time() - start
    energy = len(test[0][0]) * np.abs(network.predict(test[0]) - test[1]).mean()
    force = np.abs(np.array(network.predict_forces(test[0])) - test[2]).mean()
    return 1e3 * energy, 1e3 * force, seconds


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"epochs": 1, "seeds": 1, "train": 40, "test": 40},
        molecule="ethanol",
        epochs=60,
        seeds=2,
        train=200,
        test=500,
    )
    torch.set_num_threads(1)
    train, test = rmd17_parts(args.data, args.molecule)
    train, test = [part[: args.train] for part in train], [part[: args.test] for part in test]
    table = Table(["network", "energy meV", "force meV/Å", "CPU s"], digits=1)
    for title, options in VARIANTS.items():
        results = []
        for seed in range(args.seeds):

            def compute(options=options, seed=seed):
                return measure(options, train, test, args.epochs, seed)

            settings = (options, train, test, args.epochs, seed)
            results.append(args.cache.get("ablation", compute, *settings, code=NETWORKS))
        energy, force, seconds = np.mean(results, axis=0)
        table.add(title, energy, force, f"{seconds:.0f}")


if __name__ == "__main__":
    main()
