r"""Training steps per second beside SchNetPack's SchNet and PaiNN, and costs per atom.

    python benchmarks/speed/network_throughput.py --data DATA

One step is energies, forces, the gradient of the loss (5.16) and the optimizer's update, float32,
one thread, batches of structures whose neighbour lists are at hand; networks take turns, and the
least CPU time of each counts. Three layers each; SchNetPack's networks with 20 radial functions,
as in its examples. Without SchNetPack its rows are left out. Then the cost of a training step
against the number of atoms, and for silicon, with the default network, that of a training step of
two cells of 64 atoms, and that of energy, forces and stress of a step of dynamics of crystals, by
`ScatteringCalculator`, neighbour lists included.

Cost: 4 min; needs torch and schnetpack.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from skwavelet import ScatteringCalculator
from skwavelet.neural import AngularNetwork
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.loss import Labels, LossWeights, loss_and_errors
from skwavelet.neural.networks import AngularModule
from skwavelet.neural.optimizer import NetworkOptimizer
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17_parts
from common.rivals import schnetpack_model
from common.table import Table
from common.timing import alternate, machine

CUTOFF = 5.0


def random_atoms(n_atoms, side, rng, apart=1.5):
    """Return silicon atoms at random in a periodic box, none nearer to another than ``apart``."""
    positions = np.empty((0, 3))
    while len(positions) < n_atoms:
        one = rng.uniform(0, side, 3)
        shift = positions - one
        shift -= side * np.round(shift / side)
        if (np.linalg.norm(shift, axis=1) > apart).all():
            positions = np.vstack([positions, one])
    return Atoms("Si" * n_atoms, positions, cell=[side] * 3, pbc=True)


def angular_step(structures, energies, forces, width, device="cpu", **options):
    """Return a training step of our network."""
    elements = sorted(set(structures[0].numbers.tolist()))
    torch.manual_seed(0)
    module = AngularModule(
        len(elements), width=width, n_layers=3, n_radial=10, cutoff=CUTOFF, start=0.9,
        messages="both", **{"basis": "legendre", "n_angular": 4} | options,
    ).float().to(device)  # fmt: skip
    graphs = [build_graph(s, [CUTOFF], elements) for s in check_structures(structures)]
    batch = collate(graphs, torch.float32).to(torch.device(device))
    optimizer = NetworkOptimizer(module, 1e-4)
    labels = Labels(energies.to(device), forces.to(device), None, torch.ones(len(batch)).to(device))
    weights = LossWeights(1.0, 0.01 / forces[0].numel())

    def step():
        loss, *_ = loss_and_errors(module, batch, labels, weights, training=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def schnetpack_step(structures, energies, forces, width, name):
    """Return a training step of one of SchNetPack's networks."""
    model = schnetpack_model(name, width, CUTOFF)
    from schnetpack import properties

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


def silicon_step():
    """Return a training step of two cells of 64 silicon atoms."""
    cells = [bulk("Si", a=5.43, cubic=True).repeat(2) for _ in range(2)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(0.1, seed=seed)
    return angular_step(cells, torch.zeros(2), torch.ones(2 * len(cells[0]), 3), 64)


def dynamics_step(n_cells):
    """Return a step that moves the atoms of a crystal and computes forces, and their number."""
    cell = bulk("Si", a=5.43, cubic=True)
    some = [cell.copy() for _ in range(2)]
    for seed, atoms in enumerate(some):
        atoms.rattle(0.1, seed=seed)
    nothing = [np.zeros((len(cell), 3))] * 2
    network = AngularNetwork(max_epochs=1, device="cpu", random_state=0)
    network.fit(some, [0.0, 0.1], forces=nothing)
    crystal = cell.repeat(n_cells)
    crystal.calc = ScatteringCalculator(network)
    rng = np.random.default_rng(0)

    def step():
        crystal.rattle(0.01, rng=rng)
        crystal.get_forces()

    return step, len(crystal)


def main():
    args = arguments(
        __doc__,
        data="needed",
        quick={"rounds": 2},
        molecules=("ethanol", "aspirin"),
        batch=10,
        rounds=20,
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    table = Table(["molecule", "network", "width", "ms/step", "structures/s"], digits=1)
    for molecule in args.molecules:
        X, y, F = [part[: args.batch] for part in rmd17_parts(args.data, molecule)[0]]
        inputs = X, torch.tensor(y - y.mean()).float(), torch.tensor(F.reshape(-1, 3)).float()
        steps = {}
        for width in (64, 128):
            gaussian = {"basis": "gaussian", "n_angular": 10}
            steps["AngularNetwork, Legendre", width] = angular_step(*inputs, width)
            steps["AngularNetwork, Gaussian", width] = angular_step(*inputs, width, **gaussian)
            if find_spec("schnetpack"):
                for name in ("SchNet", "PaiNN"):
                    steps[f"SchNetPack {name}", width] = schnetpack_step(*inputs, width, name)
        for (name, width), timing in alternate(steps, args.rounds).items():
            seconds = timing.best_cpu
            table.add(molecule, name, width, 1e3 * seconds, round(len(X) / seconds))
    print()
    header = ["atoms in a box of 0.05 atoms/Å³", "neighbours", "Legendre ms/atom"]
    table = Table([*header, "Gaussian ms/atom"])
    rng = np.random.default_rng(0)
    for n_atoms in (32, 128, 512):
        side = (n_atoms / 0.05) ** (1 / 3)
        atoms = random_atoms(n_atoms, side, rng)
        count = len(check_structures([atoms])[0].neighbors(CUTOFF, "i")[0]) / n_atoms
        inputs = [atoms], torch.zeros(1), torch.zeros(n_atoms, 3)
        steps = {
            "legendre": angular_step(*inputs, 32),
            "gaussian": angular_step(*inputs, 32, basis="gaussian", n_angular=10),
        }
        times = alternate(steps, max(2, args.rounds // 5))
        cells = [1e3 * times[name].best_cpu / n_atoms for name in steps]
        table.add(n_atoms, round(count), *cells)
    seconds = alternate({"step": silicon_step()}, args.rounds)["step"].best_cpu
    print(f"\ntwo silicon cells of 64 atoms: {2 / seconds:.0f} structures/s")
    print()
    table = Table(["atoms of a silicon crystal", "energy, forces, stress: µs/atom"], digits=0)
    for n_cells in (2, 5):
        step, n_atoms = dynamics_step(n_cells)
        seconds = alternate({"step": step}, max(5, args.rounds))["step"].best_cpu
        table.add(n_atoms, 1e6 * seconds / n_atoms)


if __name__ == "__main__":
    main()
