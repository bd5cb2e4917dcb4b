"""Potentials whose crystals have elastic constants and frequencies in closed form."""

from itertools import combinations

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes

from skwavelet.structures.checks import check_structures

# Diamond's four bonds, in quarters of the lattice constant.
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


class BondPotential(Calculator):
    """An energy of the vectors from atoms to their neighbours within a cutoff (Å).

    Subclasses return the energy and its derivative with respect to each of the vectors.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    cutoff = 1.0

    def of_bonds(self, i, vectors):
        raise NotImplementedError

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        (structure,) = check_structures([self.atoms])
        i, j, vectors = structure.neighbors(self.cutoff, "ijD")
        energy, gradient = self.of_bonds(i, vectors)
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, gradient)
        np.add.at(forces, j, -gradient)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.pbc.all():
            stress = vectors.T @ gradient / self.atoms.get_volume()
            self.results["stress"] = stress.flat[[0, 4, 8, 5, 2, 1]]


class Pairs(BondPotential):
    """A pair potential, given with its derivative; it may end at the cutoff (Å) with a step."""

    def __init__(self, phi, slope, cutoff):
        super().__init__()
        self.phi, self.slope, self.cutoff = phi, slope, cutoff

    def of_bonds(self, i, vectors):
        r = np.linalg.norm(vectors, axis=1)
        energy = self.phi(r).sum() / 2
        return energy, (self.slope(r) / (2 * r))[:, None] * vectors


def springs(k, length, depth=0.0):
    """Springs (eV/Å²) between nearest neighbours, bound by ``depth`` (eV)."""
    return Pairs(
        lambda r: k / 2 * (r - length) ** 2 - depth, lambda r: k * (r - length), 1.3 * length
    )


class Keating(BondPotential):
    """Keating's valence-force model of diamond, Phys. Rev. 145, 637 (1966).

    With d a quarter of the lattice constant, a bond has α/(8 d²) (r² - 3d²)², and an angle
    between bonds β/(8 d²) (r·r' + d²)².
    """

    def __init__(self, alpha, beta, lattice_constant):
        super().__init__()
        self.alpha, self.beta, self.d = alpha, beta, lattice_constant / 4
        self.cutoff = 1.3 * np.sqrt(3) * self.d

    def of_bonds(self, i, vectors):
        d, scale = self.d, 8 * self.d**2
        stretch = (vectors**2).sum(axis=1) - 3 * d**2
        # Every bond is there from both ends.
        energy = self.alpha * (stretch**2).sum() / (2 * scale)
        gradient = (2 * self.alpha / scale * stretch)[:, None] * vectors
        for atom in np.unique(i):
            for a, b in combinations(np.flatnonzero(i == atom), 2):
                bend = vectors[a] @ vectors[b] + d**2
                energy += self.beta * bend**2 / scale
                gradient[a] += 2 * self.beta / scale * bend * vectors[b]
                gradient[b] += 2 * self.beta / scale * bend * vectors[a]
        return energy, gradient

    def constants(self):
        """C11, C12, relaxed and clamped C44 in GPa; those of Keating's paper."""
        alpha, beta, d = self.alpha, self.beta, self.d * units.GPa
        return (
            (alpha + 3 * beta) / (4 * d),
            (alpha - beta) / (4 * d),
            alpha * beta / (alpha + beta) / d,
            (alpha + beta) / (4 * d),
        )


class DoubleWell(Calculator):
    """A (x² - 1)² + B x + k (y² + z²)/2 for every atom: a barrier in closed form."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, height=0.5, tilt=0.0, k=5.0):
        super().__init__()
        self.height, self.tilt, self.k = height, tilt, k

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, rest = self.atoms.positions[:, 0], self.atoms.positions[:, 1:]
        forces = np.empty_like(self.atoms.positions)
        forces[:, 0] = -4 * self.height * x * (x**2 - 1) - self.tilt
        forces[:, 1:] = -self.k * rest
        energy = self.of_x(x).sum() + self.k / 2 * (rest**2).sum()
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def of_x(self, x):
        return self.height * (x**2 - 1) ** 2 + self.tilt * x

    def extremes(self):
        """Energies of the left minimum, the saddle, and the right minimum."""
        return self.of_x(np.sort(np.roots([4 * self.height, 0, -4 * self.height, self.tilt]).real))


class Changed(Calculator):
    """A calculator of which something is taken away, or spoiled from some call on."""

    def __init__(self, calculator, without=(), spoil=None, after=0):
        super().__init__()
        self.inner, self.spoil, self.after = calculator, spoil, after
        self.calls = 0
        self.implemented_properties = [
            name for name in calculator.implemented_properties if name not in without
        ]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.inner.calculate(self.atoms, properties, all_changes)
        self.results = {
            name: np.copy(value) if np.ndim(value) else value
            for name, value in self.inner.results.items()
            if name in self.implemented_properties
        }
        if self.spoil and self.calls > self.after:
            self.spoil(self)


def lattice_sum(phi, lattice_constant, cutoff):
    """Energy per atom (eV) of a pair potential on the fcc lattice."""
    return phi(np.linalg.norm(fcc_vectors(lattice_constant, cutoff), axis=1)).sum() / 2


def fcc_vectors(lattice_constant, cutoff):
    """Vectors (Å) from an atom of the fcc lattice to all others within a cutoff."""
    n = int(np.ceil(cutoff / lattice_constant * 2)) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3), axis=-1).reshape(-1, 3)
    vectors = grid[(grid.sum(axis=1) % 2 == 0) & grid.any(axis=1)] * lattice_constant / 2
    return vectors[np.linalg.norm(vectors, axis=1) < cutoff]


def pair_elastic_tensor(slope, curvature, lattice_constant, cutoff):
    """Elastic constants (6, 6) in GPa of a pair potential on fcc, where the stress is zero.

    Born and Huang: C_ijkl = 1/(2V) Σ (φ'' - φ'/r) x_i x_j x_k x_l / r².
    """
    x = fcc_vectors(lattice_constant, cutoff)
    r = np.linalg.norm(x, axis=1)
    weights = (curvature(r) - slope(r) / r) / r**2 / (2 * lattice_constant**3 / 4)
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    products = np.stack([x[:, a] * x[:, b] for a, b in pairs], axis=1)
    return np.einsum("n,na,nb->ab", weights, products, products) / units.GPa


def pair_frequencies(slope, curvature, lattice_constant, cutoff, q, mass):
    """Frequencies (THz) of a pair potential on fcc at q (in 2π/a, Cartesian)."""
    x = fcc_vectors(lattice_constant, cutoff)
    r = np.linalg.norm(x, axis=1)
    along = x / r[:, None]
    share = 1 - np.cos(2 * np.pi / lattice_constant * x @ np.asarray(q, float))
    across = slope(r) / r
    matrix = np.einsum("n,na,nb->ab", share * (curvature(r) - across), along, along)
    matrix += (share * across).sum() * np.eye(3)
    # eV/Å²/u to s^-2.
    squares = np.linalg.eigvalsh(matrix / mass) * units._e / units._amu * 1e20
    return np.sign(squares) * np.sqrt(np.abs(squares)) / (2 * np.pi) * 1e-12
