r"""Training and predictions of AngularNetwork on a GPU beside one thread of a processor.

    python benchmarks/speed/network_gpu.py --device cuda         # about five minutes
    python benchmarks/speed/network_gpu.py --device cpu --quick  # seconds, without a GPU

- training: structures per second of a step as in ``network_throughput.py`` (energies, forces, the
  gradient of the loss, the update), with neighbour lists at hand, of molecules of ethanol (9 atoms)
  and of silicon (64 atoms) in batches of growing size;
- predictions: energies and forces of a crystal of silicon, neighbour lists and transfers included;
- agreement: how far energies (of their spread) and forces (of the largest) of the same network are
  apart on the two, in single and double precision.

Wall times, the least of several. The processor runs compiled sums over neighbours, the GPU
operations of torch.

Cost: 5 min; needs torch and a GPU.
"""

import copy
import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase.build import bulk, molecule
from network_throughput import angular_step

from skwavelet.neural import AngularNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import alternate, machine


def rattled(atoms, count):
    """Return so many copies, displaced at random."""
    copies = [atoms.copy() for _ in range(count)]
    for seed, one in enumerate(copies):
        one.rattle(0.05, seed=seed)
    return copies


def steps(structures, device):
    """Return a training step on a device, which waits for what it started there."""
    n_atoms = sum(map(len, structures))
    labels = torch.zeros(len(structures)), torch.ones(n_atoms, 3)
    step = angular_step(structures, *labels, 64, device=device)

    def call():
        step()
        if device != "cpu":
            torch.cuda.synchronize()

    return call


def untrained(structures, **options):
    """Return a network after one epoch, whose labels mean nothing."""
    rng = np.random.default_rng(0)
    forces = [rng.normal(size=(len(atoms), 3)) for atoms in structures]
    network = AngularNetwork(max_epochs=1, random_state=0, device="cpu", **options)
    return network.fit(structures, rng.normal(size=len(structures)), forces)


def main():
    args = arguments(
        __doc__,
        quick={"batches": (2,), "cells": (2,), "rounds": 1},
        device="cuda",
        batches=(10, 100, 1000),
        cells=(3, 6, 12),
        rounds=10,
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    if args.device != "cpu":
        print(torch.cuda.get_device_name(args.device))
    kinds = {
        "ethanol": (molecule("CH3CH2OH"), args.batches),
        "silicon": (bulk("Si", cubic=True).repeat(2), [max(2, n // 10) for n in args.batches]),
    }
    header = ["structures", "in a step", "structures/s, one thread", args.device, "ratio"]
    table = Table(header, digits=1)
    for name, (atoms, sizes) in kinds.items():
        for size in sizes:
            structures = rattled(atoms, size)
            calls = {place: steps(structures, device) for place, device in places(args)}
            speeds = [size / timing.best for timing in alternate(calls, args.rounds).values()]
            table.add(name, size, *map(round, speeds), speeds[1] / speeds[0])
    print()
    table = Table(["atoms of a crystal", "µs/atom, one thread", args.device, "ratio"], digits=1)
    cell = bulk("Si", cubic=True)
    network = untrained(rattled(cell, 4))
    for repeats in args.cells:
        crystal = rattled(cell.repeat(repeats), 1)
        calls = {
            place: partial(predicted, on(network, device), crystal)
            for place, device in places(args)
        }
        times = [timing.best / len(crystal[0]) for timing in alternate(calls, args.rounds).values()]
        table.add(len(crystal[0]), *(1e6 * value for value in times), times[0] / times[1])
    print()
    table = Table(["precision", "energies differ by", "forces differ by"])
    structures = rattled(kinds["ethanol"][0], 10) + rattled(kinds["silicon"][0], 4)
    for dtype in ("float32", "float64"):
        network = untrained(structures, dtype=dtype)
        (energies, forces), found = (
            predicted(on(network, device), structures) for _, device in places(args)
        )
        off = np.abs(found[0] - energies).max() / np.ptp(energies)
        pulled = np.abs(found[1] - forces).max() / np.abs(forces).max()
        table.add(dtype, f"{off:.1e}", f"{pulled:.1e}")


def places(args):
    """Return names and devices: one thread of the processor, and what it is set beside."""
    return ("one thread", "cpu"), ("device", args.device)


def on(network, device):
    """Return a copy of a network on a device."""
    return copy.deepcopy(network).set_params(device=device)


def predicted(network, structures):
    """Return energies and forces."""
    return network.predict(structures), np.concatenate(network.predict_forces(structures))


if __name__ == "__main__":
    main()
