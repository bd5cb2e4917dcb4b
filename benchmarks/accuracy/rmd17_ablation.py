r"""What each part of the angular network brings, on ethanol, with few structures and epochs.

    python benchmarks/accuracy/rmd17_ablation.py --data DATA --cache DIR

Revised MD17, published split 01: the first 200 of the training structures (190 train, 10 choose the
weights), a fixed number of epochs for all, mean over seeds, errors on the first 500 test
structures. The CPU time of the training stands beside them: what an epoch brings is one question,
what it costs another. Finished runs are read from the cache.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from skwavelet.neural import AngularNetwork, PointScatteringNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accuracy.rmd17_networks import load

VARIANTS = {
    "default (Legendre, three layers)": {},
    "one layer, which has no moments to pass on": {"n_layers": 1},
    "no angles, products of sums over neighbours (`n_angular=1`)": {"n_angular": 1},
    "no angles, sums over neighbours (`n_angular=0`)": {"n_angular": 0},
    "Gaussian filters, both neighbours' features": {"basis": "gaussian"},
    "Gaussian filters, features of k alone": {"basis": "gaussian", "messages": "neighbor"},
    "Gaussian filters, literal (6.13)": {"basis": "gaussian", "messages": "center"},
    "default and pooling to 5 nodes": {"pooling": 1},
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
    network = kind(**options, max_epochs=epochs, validation_fraction=0.05, random_state=seed)
    start = time.process_time()
    network.fit(X, y, forces=forces)
    seconds = time.process_time() - start
    energy = len(test[0][0]) * np.abs(network.predict(test[0]) - test[1]).mean()
    force = np.abs(np.array(network.predict_forces(test[0])) - test[2]).mean()
    return 1e3 * energy, 1e3 * force, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--cache", required=True)
    parser.add_argument("--molecule", default="ethanol")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    Path(args.cache).mkdir(parents=True, exist_ok=True)
    train, test = load(args.data, args.molecule)
    train, test = [part[:200] for part in train], [part[:500] for part in test]
    if args.quick:
        args.epochs, args.seeds = 1, 1
        train, test = [part[:40] for part in train], [part[:40] for part in test]
    print("| network | energy meV | force meV/Å | CPU s |\n|---|---|---|---|")
    for number, (title, options) in enumerate(VARIANTS.items()):
        results = []
        for seed in range(args.seeds):
            name = f"ablation_{args.molecule}_{len(train[0])}_{args.epochs}_{number}_{seed}.json"
            path = Path(args.cache, name)
            if not path.exists():
                values = measure(options, train, test, args.epochs, seed)
                path.write_text(json.dumps(values))
            results.append(json.loads(path.read_text()))
        energy, force, seconds = np.mean(results, axis=0)
        print(f"| {title} | {energy:.1f} | {force:.1f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
