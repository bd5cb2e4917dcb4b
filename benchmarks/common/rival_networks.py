"""MACE, NequIP and SchNetPack's PaiNN on molecules and cells, trained for a given CPU time."""

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from common.networks import errors
from common.rivals import schnetpack_model

from skwavelet.structures.checks import check_structures

CUTOFF = 5.0
AT_ONCE = 450  # atoms of a prediction


@dataclass(frozen=True)
class Batch:
    """What networks take of several structures: float32, pairs sorted by structure.

    Attributes
    ----------
    numbers : Tensor of shape (N,)
    positions : Tensor of shape (N, 3)
    pairs : Tensor of shape (2, P)
        From an atom to its neighbour.
    offsets : Tensor of shape (P, 3)
        Lattice vectors (Å) that move the neighbour to the image that is meant.
    structure : Tensor of shape (N,)
    n_structures : int
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    pairs: torch.Tensor
    offsets: torch.Tensor
    structure: torch.Tensor
    n_structures: int


def elements_of(structures):
    """Return the atomic numbers of structures as a sorted tensor, each once."""
    return torch.tensor(sorted({z for s in structures for z in s.numbers.tolist()}))


class Mace:
    """MACE with 64 invariant channels and its other settings as its command line has them."""

    batch_size, learning_rate, averaging = 5, 0.01, 0.99
    amsgrad = True
    # Of squared errors of energies per atom, and of components of forces.
    energy_weight, force_weight = 1.0, 100.0

    def __init__(self, structures, n_neighbors):
        import mace.modules as modules  # first, as it lets e3nn read its tables
        from e3nn import o3

        self.elements = elements_of(structures)
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
        found = module(
            {
                "positions": batch.positions.clone(),
                "node_attrs": torch.nn.functional.one_hot(kinds, len(self.elements)).float(),
                "edge_index": batch.pairs,
                "shifts": batch.offsets,
                # Only virials are made of the following two.
                "unit_shifts": torch.zeros_like(batch.offsets),
                "cell": torch.zeros(3 * batch.n_structures, 3),
                "batch": batch.structure,
                "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            },
            training=training,
        )
        return found["energy"], found["forces"]


class Nequip:
    """NequIP of four layers with 32 features to degree 1, the defaults of its package.

    Optimizer and loss are those of the example of aspirin in the package.
    """

    batch_size, learning_rate, averaging = 5, 0.01, 0.99
    amsgrad = False
    # Of squared errors of energies per atom, and of components of forces.
    energy_weight, force_weight = 1.0, 1.0

    def __init__(self, structures, n_neighbors):
        from ase.data import chemical_symbols
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        set_global_state()  # without which there is no model; double precision becomes the default
        torch.set_default_dtype(torch.float32)
        self.elements = elements_of(structures)
        self.module = NequIPGNNModel(
            seed=0,
            model_dtype="float32",
            type_names=[chemical_symbols[z] for z in self.elements.tolist()],
            r_max=CUTOFF,
            avg_num_neighbors=n_neighbors,
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
        )

    def energies_forces(self, module, batch, training):
        """Return energies (B,) and forces (N, 3)."""
        from nequip.data import AtomicDataDict as Keys

        module.train(training)
        found = module(
            {
                Keys.POSITIONS_KEY: batch.positions.clone(),
                Keys.ATOM_TYPE_KEY: torch.searchsorted(self.elements, batch.numbers),
                Keys.EDGE_INDEX_KEY: batch.pairs,
                # Offsets in Å are multiples of unit vectors.
                Keys.CELL_KEY: torch.eye(3).expand(batch.n_structures, 3, 3).clone(),
                Keys.EDGE_CELL_SHIFT_KEY: batch.offsets,
                Keys.BATCH_KEY: batch.structure,
                Keys.NUM_NODES_KEY: torch.bincount(batch.structure, minlength=batch.n_structures),
            }
        )
        return found[Keys.TOTAL_ENERGY_KEY].flatten(), found[Keys.FORCE_KEY]


class Painn:
    """SchNetPack's PaiNN of three layers of width 64, trained as its example of MD17 has it."""

    batch_size, learning_rate, averaging = 10, 1e-3, 0.99
    amsgrad = False

    def __init__(self, structures, n_neighbors):
        self.module = schnetpack_model("PaiNN", 64, CUTOFF)
        # 5 % for squared errors of energies, of total ones where all structures are of one size,
        # as in that example, and 95 % for those of forces.
        sizes = {len(s) for s in structures}
        self.energy_weight = 0.05 * (sizes.pop() ** 2 if len(sizes) == 1 else 1)
        self.force_weight = 0.95

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
                properties.n_atoms: torch.bincount(batch.structure, minlength=batch.n_structures),
                properties.offsets: batch.offsets,
            }
        )
        return found["energy"], found["forces"]


class Batches:
    """Structures with their neighbours within `CUTOFF`, of which batches are made.

    Parameters
    ----------
    X : list of Atoms
    """

    def __init__(self, X):
        self.structures = check_structures(X)
        self.pairs = [s.neighbors(CUTOFF, "ijS") for s in self.structures]

    @property
    def n_neighbors(self):
        """The mean number of neighbours of an atom."""
        return sum(len(i) for i, _, _ in self.pairs) / sum(map(len, self.structures))

    def take(self, rows):
        """Return a batch of some of them."""
        structures, pairs = ([values[r] for r in rows] for values in (self.structures, self.pairs))
        sizes = [len(s) for s in structures]
        first = np.cumsum([0, *sizes[:-1]])
        both = [
            np.concatenate([pair[side] + start for pair, start in zip(pairs, first, strict=True)])
            for side in (0, 1)
        ]
        offsets = [pair[2] @ s.cell for pair, s in zip(pairs, structures, strict=True)]
        return Batch(
            torch.from_numpy(np.concatenate([s.numbers for s in structures])).long(),
            torch.from_numpy(np.concatenate([s.positions for s in structures])).float(),
            torch.from_numpy(np.array(both, dtype=np.int64)),
            torch.from_numpy(np.concatenate(offsets)).float(),
            torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
            len(sizes),
        )


class Labels:
    """Energies and forces in the units of a network.

    An atom of the training structures has the energy 0 on average, and the unit of energies (eV)
    and forces (eV/Å) is the root mean square of their forces.

    Parameters
    ----------
    train : (structures, energies in eV/atom, forces in eV/Å)
    """

    def __init__(self, train):
        X, energies, forces = train
        y = np.asarray(energies)
        self.sizes = np.array([len(atoms) for atoms in X])
        self.mean, self.unit = y.mean(), np.sqrt(np.mean(np.concatenate(forces) ** 2))
        self.energies = torch.tensor(self.sizes * (y - self.mean) / self.unit).float()
        self.forces = [torch.tensor(f / self.unit).float() for f in forces]

    def loss(self, network, rows, batch):
        """Return the loss of a network on a batch, made of some of the structures."""
        energies, forces = network.energies_forces(network.module, batch, True)
        off = (energies - self.energies[rows]) / torch.from_numpy(self.sizes[rows]).float()
        pulls = forces - torch.cat([self.forces[row] for row in rows])
        loss = network.energy_weight * off.square().mean()
        return loss + network.force_weight * pulls.square().mean()

    def predictions(self, network, module, batches):
        """Return energies (eV/atom) and all forces (eV/Å) of structures."""
        energies, forces = [], []
        sizes = np.array([len(s) for s in batches.structures])
        for rows in np.array_split(np.arange(len(sizes)), -(-sizes.sum() // AT_ONCE)):
            energy, force = network.energies_forces(module, batches.take(rows), False)
            energies.append(energy.detach().numpy() / sizes[rows])
            forces.append(force.detach().numpy())
        return self.mean + self.unit * np.concatenate(energies), self.unit * np.concatenate(forces)


def train_rival(kind, train, held, test, minutes, total):
    """Train a network and return its errors on the test structures.

    The learning rate falls to 0 by a cosine of the CPU time, weights are averaged, and those of
    least error of forces on the held structures count. What is compiled at first does not count.

    Parameters
    ----------
    kind : type
        `Mace`, `Nequip` or `Painn`.
    train, held, test : (structures, energies in eV/atom, forces in eV/Å)
    minutes : float
        CPU time.
    total : bool
        Whether errors are those of total energies.

    Returns
    -------
    dict
        `common.networks.errors`; ``epochs``, ``weights``.
    """
    torch.manual_seed(0)
    labels = Labels(train)
    batches, of_held, of_test = (Batches(part[0]) for part in (train, held, test))
    network = kind(batches.structures, batches.n_neighbors)
    average = copy.deepcopy(network.module)
    optimizer = torch.optim.Adam(
        network.module.parameters(), network.learning_rate, amsgrad=network.amsgrad
    )

    def step(rows):
        loss = labels.loss(network, rows, batches.take(rows))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.module.parameters(), 10.0)

    def measure(part, of_part):
        return errors(part, *labels.predictions(network, average, of_part), total)

    rng, n_train = np.random.default_rng(0), len(train[0])
    for _ in range(3):  # compiles, and leaves the weights as they are
        step(rng.permutation(n_train)[: network.batch_size])
        measure(held, of_held)
    start, epochs, n_steps = time.process_time(), 0, 0
    best, best_weights = math.inf, None
    passed = 0.0
    while passed < 1:
        n_batches = -(-n_train // network.batch_size)
        for rows in np.array_split(rng.permutation(n_train), n_batches):
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
        force = measure(held, of_held)["force"]
        if force < best:
            best, best_weights = force, copy.deepcopy(average.state_dict())
    average.load_state_dict(best_weights)
    return measure(test, of_test) | {
        "epochs": epochs,
        "weights": sum(p.numel() for p in network.module.parameters()),
    }
