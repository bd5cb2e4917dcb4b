r"""Training steps per second beside SchNetPack's SchNet and PaiNN, and cost against neighbours.

    pip install schnetpack && python benchmarks/speed/network_throughput.py --data DATA

One step is energies, forces, the gradient of the loss (5.16) and the optimizer's update, float32,
one thread, batches of structures whose neighbour lists are at hand; networks take turns, and the
least CPU time of each counts. Three layers each; SchNetPack's networks with 20 radial functions,
as in its examples. Without SchNetPack its rows are left out.
"""

import argparse
import os
import sys
import typing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.networks import AngularModule
from skwavelet.neural.optimizer import Muon
from skwavelet.neural.training import loss_and_errors
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accuracy.rmd17_networks import load
from common.timing import alternate, machine

CUTOFF = 5.0


def angular_step(structures, energies, forces, width, **options):
    """Return a training step of our network."""
    elements = sorted(set(structures[0].numbers.tolist()))
    torch.manual_seed(0)
    module = AngularModule(
        len(elements), width=width, n_layers=3, n_radial=10, cutoff=CUTOFF, start=0.9,
        messages="both", **{"basis": "legendre", "n_angular": 4} | options,
    ).float()  # fmt: skip
    graphs = [build_graph(s, CUTOFF, elements) for s in check_structures(structures)]
    batch, optimizer = collate(graphs, torch.float32), Muon(module, 1e-4)

    def step():
        loss, *_ = loss_and_errors(module, batch, energies, forces, 0.01, training=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def schnetpack_step(structures, energies, forces, width, name):
    """Return a training step of one of SchNetPack's networks."""
    import torch.utils.data.dataloader as dataloader

    # SchNetPack 2.1.1 imports a name that torch no longer has.
    dataloader.T_co = getattr(dataloader, "T_co", typing.TypeVar("T_co"))
    import schnetpack
    from schnetpack import properties

    radial = schnetpack.nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF)
    representation = getattr(schnetpack.representation, name)(
        n_atom_basis=width, n_interactions=3, radial_basis=radial,
        cutoff_fn=schnetpack.nn.CosineCutoff(CUTOFF),
    )  # fmt: skip
    model = schnetpack.model.NeuralNetworkPotential(
        representation,
        input_modules=[schnetpack.atomistic.PairwiseDistances()],
        output_modules=[
            schnetpack.atomistic.Atomwise(n_in=width, output_key="energy"),
            schnetpack.atomistic.Forces(energy_key="energy", force_key="forces"),
        ],
    )
    pairs = [s.neighbors(CUTOFF, "ij") for s in check_structures(structures)]
    starts = np.cumsum([0, *map(len, structures)])
    centers, neighbors = (
        np.concatenate([pair[k] + start for pair, start in zip(pairs, starts, strict=False)])
        for k in (0, 1)
    )
    fixed = {
        properties.Z: torch.tensor(np.concatenate([s.numbers for s in structures])),
        properties.idx_i: torch.tensor(centers.astype(np.int64)),
        properties.idx_j: torch.tensor(neighbors.astype(np.int64)),
        properties.idx_m: torch.arange(len(structures)).repeat_interleave(len(structures[0])),
        properties.n_atoms: torch.tensor([len(s) for s in structures]),
        properties.offsets: torch.zeros(len(centers), 3),
    }
    positions = torch.tensor(np.concatenate([s.positions for s in structures])).float()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step():
        result = model({**fixed, properties.R: positions.clone()})
        loss = 0.01 * (result["energy"] - energies).square().mean()
        loss = loss + 0.99 * (result["forces"] - forces).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "aspirin"])
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 2 if args.quick else args.rounds
    print(machine("torch"))
    print("| molecule | network | width | ms/step | structures/s |\n|---|---|---|---|---|")
    for molecule in args.molecules:
        X, y, F = [part[: args.batch] for part in load(args.data, molecule)[0]]
        inputs = X, torch.tensor(y - y.mean()).float(), torch.tensor(F.reshape(-1, 3)).float()
        steps = {}
        for width in (64, 128):
            gaussian = {"basis": "gaussian", "n_angular": 10}
            steps["AngularNetwork, Legendre", width] = angular_step(*inputs, width)
            steps["AngularNetwork, Gaussian", width] = angular_step(*inputs, width, **gaussian)
            if find_spec("schnetpack"):
                for name in ("SchNet", "PaiNN"):
                    steps[f"SchNetPack {name}", width] = schnetpack_step(*inputs, width, name)
        for (name, width), timing in alternate(steps, rounds).items():
            seconds = timing.best_cpu
            print(
                f"| {molecule} | {name} | {width} | {1e3 * seconds:.1f} | {len(X) / seconds:.0f} |",
                flush=True,
            )
    print(
        "\n| atoms in a box of 0.05 atoms/Å³ | neighbours | Legendre ms/atom | Gaussian ms/atom |"
    )
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    for n_atoms in (32, 128, 512):
        side = (n_atoms / 0.05) ** (1 / 3)
        atoms = Atoms("Si" * n_atoms, rng.uniform(0, side, (n_atoms, 3)), cell=[side] * 3, pbc=True)
        count = len(check_structures([atoms])[0].neighbors(CUTOFF, "i")[0]) / n_atoms
        inputs = [atoms], torch.zeros(1), torch.zeros(n_atoms, 3)
        steps = {
            "legendre": angular_step(*inputs, 32),
            "gaussian": angular_step(*inputs, 32, basis="gaussian", n_angular=10),
        }
        times = alternate(steps, max(2, rounds // 5))
        cells = " | ".join(f"{1e3 * times[name].best_cpu / n_atoms:.2f}" for name in steps)
        print(f"| {n_atoms} | {count:.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
