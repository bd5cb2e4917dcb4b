"""MACE and SchNetPack's PaiNN on molecules of one formula, trained for a given CPU time."""

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from common.rivals import schnetpack_model

from skwavelet.structures.checks import check_structures

CUTOFF = 5.0


@dataclass(frozen=True)
class Molecules:
    """What networks take of a batch: float32, pairs sorted by structure.

    Attributes
    ----------
    numbers : Tensor of shape (N,)
    positions : Tensor of shape (N, 3)
    pairs : Tensor of shape (2, P)
        From an atom to its neighbour.
    structure : Tensor of shape (N,)
    n_structures : int
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    pairs: torch.Tensor
    structure: torch.Tensor
    n_structures: int


class Mace:
    """MACE with 64 invariant channels and its other settings as its command line has them."""

    batch_size, learning_rate, averaging = 5, 0.01, 0.99
    amsgrad = True
    # Of squared errors of energies per atom, and of components of forces.
    energy_weight, force_weight = 1.0, 100.0

    def __init__(self, numbers, n_neighbors):
        import mace.modules as modules  # first, as it lets e3nn read its tables
        from e3nn import o3

        self.elements = torch.tensor(sorted(set(numbers.tolist())))
        block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
        self.module = modules.ScaleShiftMACE(
            r_max=CUTOFF,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=3,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=len(self.elements),
            hidden_irreps=o3.Irreps("64x0e"),
            MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.zeros(len(self.elements)),
            avg_num_neighbors=n_neighbors,
            atomic_numbers=self.elements.tolist(),
            correlation=3,
            gate=torch.nn.functional.silu,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        ).float()

    def energies_forces(self, module, batch, training):
        """Return energies (B,) and forces (N, 3)."""
        counts = torch.bincount(batch.structure, minlength=batch.n_structures)
        kinds = torch.searchsorted(self.elements, batch.numbers)
        zero = torch.zeros(3 * batch.n_structures, 3)
        found = module(
            {
                "positions": batch.positions.clone(),
                "node_attrs": torch.nn.functional.one_hot(kinds, len(self.elements)).float(),
                "edge_index": batch.pairs,
                "shifts": torch.zeros(batch.pairs.shape[1], 3),
                "unit_shifts": torch.zeros(batch.pairs.shape[1], 3),
                "cell": zero,
                "batch": batch.structure,
                "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            },
            training=training,
        )
        return found["energy"], found["forces"]


class Painn:
    """SchNetPack's PaiNN of three layers of width 64, trained as its example of MD17 has it."""

    batch_size, learning_rate, averaging = 10, 1e-3, 0.99
    amsgrad = False

    def __init__(self, numbers, n_neighbors):
        self.module = schnetpack_model("PaiNN", 64, CUTOFF)
        # Of 5 % for squared errors of total energies and 95 % for those of forces.
        self.energy_weight, self.force_weight = 0.05 * len(numbers) ** 2, 0.95

    def energies_forces(self, module, batch, training):
        """Return energies (B,) and forces (N, 3)."""
        from schnetpack import properties

        module.train(training)
        found = module(
            {
                properties.Z: batch.numbers,
                properties.R: batch.positions.clone(),
                properties.idx_i: batch.pairs[0],
                properties.idx_j: batch.pairs[1],
                properties.idx_m: batch.structure,
                properties.n_atoms: torch.bincount(batch.structure),
                properties.offsets: torch.zeros(batch.pairs.shape[1], 3),
            }
        )
        return found["energy"], found["forces"]


def molecules(structures):
    """Return functions of rows that make a batch of them."""
    pairs = [s.neighbors(CUTOFF, "ij") for s in check_structures(structures)]
    numbers = torch.tensor(structures[0].numbers)
    positions = torch.tensor(np.array([a.positions for a in structures])).float()
    n_atoms = len(numbers)

    def batch(rows):
        joined = [
            np.concatenate([pairs[row][side] + n_atoms * k for k, row in enumerate(rows)])
            for side in (0, 1)
        ]
        return Molecules(
            numbers.repeat(len(rows)),
            positions[rows].reshape(-1, 3),
            torch.from_numpy(np.array(joined, dtype=np.int64)),
            torch.arange(len(rows)).repeat_interleave(n_atoms),
            len(rows),
        )

    return batch


def train_rival(kind, train, held, test, minutes):
    """Train a network and return its errors on the test structures.

    The learning rate falls to 0 by a cosine of the CPU time, weights are averaged, and those of
    least error of forces on the held structures count. What is compiled at first does not count.

    Parameters
    ----------
    kind : type
        `Mace` or `Painn`.
    train, held, test : (structures, energies in eV/atom, forces in eV/Å)
    minutes : float
        CPU time.

    Returns
    -------
    dict
        ``energy`` (meV) and ``force`` (meV/Å), mean absolute errors; ``epochs``, ``weights``.
    """
    torch.manual_seed(0)
    X, y, forces = train
    n_atoms, mean, unit = len(X[0]), y.mean(), np.sqrt(np.mean(forces**2))
    energies = torch.tensor(n_atoms * (y - mean) / unit).float()
    pulls = torch.tensor(forces / unit).float()
    take, take_held, take_test = (molecules(part[0]) for part in (train, held, test))
    first = take([0])
    network = kind(first.numbers, first.pairs.shape[1] / n_atoms)
    average = copy.deepcopy(network.module)
    optimizer = torch.optim.Adam(
        network.module.parameters(), network.learning_rate, amsgrad=network.amsgrad
    )

    def step(rows):
        found, forces_found = network.energies_forces(network.module, take(rows), True)
        error = (found - energies[rows]) / n_atoms
        off = forces_found - pulls[rows].reshape(-1, 3)
        loss = network.energy_weight * error.square().mean()
        loss = loss + network.force_weight * off.square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.module.parameters(), 10.0)

    def errors(take_part, part):
        numbers, found = [], []
        for rows in np.array_split(np.arange(len(part[0])), -(-len(part[0]) // 50)):
            energy, force = network.energies_forces(average, take_part(rows), False)
            numbers.append(energy.detach().numpy())
            found.append(force.detach().numpy().reshape(-1, n_atoms, 3))
        off = n_atoms * (part[1] - mean) - unit * np.concatenate(numbers)
        return 1e3 * np.abs(off).mean(), 1e3 * np.abs(part[2] - unit * np.concatenate(found)).mean()

    rng = np.random.default_rng(0)
    for _ in range(3):  # compiles, and leaves the weights as they are
        step(rng.permutation(len(X))[: network.batch_size])
        errors(take_held, held)
    start, epochs, n_steps = time.process_time(), 0, 0
    best, best_weights = math.inf, None
    passed = 0.0
    while passed < 1:
        batches = -(-len(X) // network.batch_size)
        for rows in np.array_split(rng.permutation(len(X)), batches):
            passed = min(1.0, (time.process_time() - start) / (60 * minutes))
            rate = network.learning_rate * min(1.0, (n_steps + 1) / 100)
            optimizer.param_groups[0]["lr"] = 0.5 * rate * (1 + math.cos(math.pi * passed))
            step(rows)
            optimizer.step()
            n_steps += 1
            decay = min(network.averaging, n_steps / (n_steps + 10))
            with torch.no_grad():
                pairs = zip(average.parameters(), network.module.parameters(), strict=True)
                for mean_weight, weight in pairs:
                    mean_weight.lerp_(weight, 1 - decay)
            if passed >= 1:
                break
        epochs += 1
        force = errors(take_held, held)[1]
        if force < best:
            best, best_weights = force, copy.deepcopy(average.state_dict())
    average.load_state_dict(best_weights)
    energy, force = errors(take_test, test)
    return {
        "energy": float(energy),
        "force": float(force),
        "epochs": epochs,
        "weights": sum(p.numel() for p in network.module.parameters()),
    }
