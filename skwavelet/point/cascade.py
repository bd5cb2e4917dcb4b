"""The cascade of one structure at its atoms, with its forward (JVP) and reverse (VJP) sweeps.

Both layers are the same map: inputs s_k at the atoms go to

    f_m(i) = sum_{k in N(i)} psi_m(R_k - R_i) s_k,    u(i) = sum_m f_m(i)^2,

a small matrix product for every atom; the first layer's inputs are the channels' weights, the
second's the moduli sigma = sqrt(u + floor^2) - floor. (5.1) has psi(R_i - R_k): another sign for
odd l, the same modulus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skwavelet.neighborhoods import Block, Neighborhoods
from skwavelet.point.filters import Filters
from skwavelet.point.plan import Plan, Step
from skwavelet.point.powers import AtomPowers

# Tangents of all second-layer inputs together stay below this.
TANGENT_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class Bank:
    """The wavelets and their scales; reaches (Å), one per scale, are where they end."""

    wavelets: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    beta: float
    reaches: tuple[float, ...]

    def filters(self, step: Step) -> Filters:
        """Return the filters of a step."""
        wavelets = [self.wavelets[w] for w in step.wavelets]
        return Filters(wavelets, self.beta, self.scales[step.scale], self.reaches[step.scale])


class Maps:
    """The maps f_m and the squared moduli of one step on one block of atoms."""

    def __init__(self, step: Step, filters: Filters, block: Block, psi, gathered, floor):
        self.step, self.filters, self.block = step, filters, block
        # (n_atoms, n_rows, width): one small matrix product per atom.
        self.psi = np.moveaxis(psi, 0, 1)
        self.gathered = gathered
        self.f = self.psi @ gathered
        self.floor = floor
        self.u = self._needed(self._over_m(np.square(self.f))) + floor

    def push(self, psi_tangent: np.ndarray | None, gathered_tangent: np.ndarray | None):
        """Return du (n_atoms, M) for tangents of the wavelets and of the inputs."""
        df = 0.0
        if psi_tangent is not None:
            df = np.moveaxis(psi_tangent, 0, 1) @ self.gathered
        if gathered_tangent is not None:
            df = df + self.psi @ gathered_tangent
        return 2 * self._needed(self._over_m(self.f * df))

    def pull(self, slope: np.ndarray, inputs: bool):
        """Return the cotangents of the wavelets and of the gathered inputs for that of u.

        Shapes (n_rows, n_atoms, width) and (n_atoms, width, n_inputs); the second is None
        unless asked for. Overwrites the maps.
        """
        step, f = self.step, self.f
        if not step.complete:
            spread = np.zeros((len(f), len(step.wavelets) * step.n_inputs), dtype=f.dtype)
            spread[:, step.entries] = slope
            slope = spread
        slope = 2 * slope.reshape(len(f), len(step.wavelets), step.n_inputs)
        for wavelet, rows in enumerate(self.filters.rows):
            f[:, rows] *= slope[:, wavelet, None]
        psi_cotangent = f @ np.swapaxes(self.gathered, 1, 2)
        gathered_cotangent = np.swapaxes(self.psi, 1, 2) @ f if inputs else None
        return np.moveaxis(psi_cotangent, 1, 0), gathered_cotangent

    def _over_m(self, products: np.ndarray) -> np.ndarray:
        """Sum (n_atoms, n_rows, n_inputs) over m to (n_atoms, wavelets * inputs)."""
        sums = np.empty((len(products), len(self.filters.rows), products.shape[2]), products.dtype)
        for wavelet, rows in enumerate(self.filters.rows):
            np.sum(products[:, rows], axis=1, out=sums[:, wavelet])
        return sums.reshape(len(products), -1)

    def _needed(self, values: np.ndarray) -> np.ndarray:
        return values if self.step.complete else values[:, self.step.entries]


class Cascade:
    """The cascade of one structure.

    Parameters
    ----------
    plan : Plan
    bank : Bank
    hoods : Neighborhoods
        Within the largest reach.
    weights : ndarray of shape (n_atoms, n_channels)
        Channel weights of the atoms.
    floors : tuple of ndarray
        Floors of the modulus: (n_channels, n_wavelets, n_scales) in the first layer, and the
        factors (n_wavelets, n_scales) by which the second changes them.
    powers : AtomPowers
    n_paths : int
        Rows of the results.
    dtype : dtype
        Of the maps.
    """

    def __init__(self, plan: Plan, bank: Bank, hoods: Neighborhoods, weights, floors, powers,
                 n_paths: int, dtype):  # fmt: skip
        self.plan, self.bank, self.hoods = plan, bank, hoods
        self.weights = weights.astype(dtype)
        self.floors, self.gains = floors
        self.powers: AtomPowers = powers
        self.n_paths, self.dtype = n_paths, np.dtype(dtype)

    # -- what all sweeps share ---------------------------------------------------------------

    def _maps(self, step: Step, inputs: np.ndarray, floor: np.ndarray) -> Iterator[Maps]:
        filters = self.bank.filters(step)
        inputs = np.ascontiguousarray(inputs[:, : step.n_inputs])
        floats = 3 * step.n_inputs + 2 * filters.n_rows
        for block in self.hoods.blocks(self.bank.reaches[step.scale], floats):
            psi = block.pad(filters.values(self._vectors(block)))
            yield Maps(step, filters, block, psi, inputs[block.neighbors], floor)

    def _first(self) -> Iterator[Maps]:
        for step in self.plan.first:
            wavelet, channel = np.divmod(step.entries, step.n_inputs)
            floor = self.floors[channel, np.array(step.wavelets)[wavelet], step.scale]
            yield from self._maps(step, self.weights, self._squared(floor))

    def _second(self, sigma: np.ndarray) -> Iterator[Maps]:
        below = self.floors[tuple(self.plan.inputs.T)]
        for step in self.plan.second:
            wavelet, column = np.divmod(step.entries, step.n_inputs)
            gain = self.gains[np.array(step.wavelets)[wavelet], step.scale]
            yield from self._maps(step, sigma, self._squared(below[column] * gain))

    def _squared(self, floor: np.ndarray) -> np.ndarray:
        return np.maximum(floor**2, np.finfo(self.dtype).tiny).astype(self.dtype)

    def _vectors(self, block: Block) -> np.ndarray:
        return np.ascontiguousarray(self.hoods.vectors[block.pairs].T, dtype=self.dtype)

    def _add_sums(self, maps: Maps, sums: np.ndarray) -> None:
        output = maps.step.paths >= 0
        sums[maps.step.paths[output]] += self.powers.sums(maps.u, maps.floor)[output]

    def _empty_sigma(self, *directions: int) -> np.ndarray:
        return np.empty((*directions, self.hoods.n_atoms, len(self.plan.inputs)), self.dtype)

    def _store_sigma(self, maps: Maps, sigma: np.ndarray) -> None:
        kept = maps.step.columns >= 0
        if kept.any():
            modulus = np.sqrt(maps.u) - np.sqrt(maps.floor)
            sigma[maps.block.atoms, maps.step.columns[kept]] = modulus[:, kept]

    # -- sweeps ------------------------------------------------------------------------------

    def sums(self) -> np.ndarray:
        """Return the sums (n_paths, n_powers) over atoms of sigma^q."""
        sums, sigma = np.zeros((self.n_paths, len(self.powers.powers))), self._empty_sigma()
        for maps in self._first():
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
        for maps in self._second(sigma):
            self._add_sums(maps, sums)
        return sums

    def atoms(self) -> np.ndarray:
        """Return sigma^q of every atom, of shape (n_atoms, n_paths, n_powers)."""
        table = np.zeros((self.hoods.n_atoms, self.n_paths, len(self.powers.powers)), self.dtype)
        sigma = self._empty_sigma()
        for layer in (self._first(), self._second(sigma)):
            for maps in layer:
                output = maps.step.paths >= 0
                for column, rise in enumerate(self.powers.rises(maps.u, maps.floor)):
                    table[maps.block.atoms, maps.step.paths[output], column] = rise[:, output]
                self._store_sigma(maps, sigma)
        return table

    def tangents(
        self, displacements: np.ndarray, strains: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives (D, n_paths, n_powers) along directions."""
        parts = []
        per_direction = self.hoods.n_atoms * max(1, len(self.plan.inputs)) * self.dtype.itemsize
        size = max(1, TANGENT_BYTES // per_direction)
        sums = np.zeros((self.n_paths, len(self.powers.powers)))
        for start in range(0, len(strains), size):
            part = slice(start, start + size)
            sums, derivatives = self._tangents(displacements[part], strains[part])
            parts.append(derivatives)
        return sums, np.concatenate(parts) if parts else np.zeros((0, *sums.shape))

    def _tangents(self, displacements, strains):
        sums = np.zeros((self.n_paths, len(self.powers.powers)))
        derivatives = np.zeros((len(strains), *sums.shape))
        sigma, sigma_tangents = self._empty_sigma(), self._empty_sigma(len(strains))
        moves = np.stack([self.hoods.moves(*pair).T for pair in zip(displacements, strains, strict=True)])
        moves = moves.astype(self.dtype)
        for layer, maps in self._both(sigma):
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
            block, step = maps.block, maps.step
            output, kept = step.paths >= 0, step.columns >= 0
            vectors = self._vectors(block)
            slopes = self._slopes(maps)
            for direction, move in enumerate(moves):
                psi_tangent = block.pad(maps.filters.push(vectors, move[:, block.pairs]))
                gathered = None
                if layer == 2:
                    gathered = sigma_tangents[direction][:, : step.n_inputs][block.neighbors]
                du = maps.push(psi_tangent, gathered)
                pushed = np.einsum("qam,am->mq", slopes, du)
                derivatives[direction, step.paths[output]] += pushed[output]
                if kept.any():
                    modulus = du / (2 * np.sqrt(maps.u))
                    sigma_tangents[direction][block.atoms, step.columns[kept]] = modulus[:, kept]
        return sums, derivatives

    def _both(self, sigma: np.ndarray) -> Iterator[tuple[int, Maps]]:
        yield from ((1, maps) for maps in self._first())
        yield from ((2, maps) for maps in self._second(sigma))

    def _slopes(self, maps: Maps) -> np.ndarray:
        """Return d u^(q/2) / du, of shape (n_powers, n_atoms, M)."""
        unit = np.eye(len(self.powers.powers))
        ones = np.ones((maps.u.shape[1], 1))
        return np.stack([self.powers.slope(maps.u, ones * row) for row in unit])

    def gradients(self, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and the gradient (n_pairs, 3) of ``(cotangent * sums).sum()``.

        The gradient is in the vectors between atoms.
        """
        sums, sigma = np.zeros((self.n_paths, len(self.powers.powers))), self._empty_sigma()
        gradient = np.zeros((len(self.hoods.vectors), 3))
        for maps in self._first():
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
        sigma_gradient = np.zeros_like(sigma)
        for maps in self._second(sigma):
            self._add_sums(maps, sums)
            slope = self.powers.slope(maps.u, cotangent[maps.step.paths])
            psi, gathered = maps.pull(slope, inputs=True)
            self._pull_vectors(maps, psi, gradient)
            neighbors = maps.block.neighbors.ravel()
            scatter = sparse.csc_array(
                (np.ones(len(neighbors), self.dtype), neighbors, np.arange(len(neighbors) + 1)),
                shape=(len(sigma), len(neighbors)),
            )
            n_inputs = maps.step.n_inputs
            sigma_gradient[:, :n_inputs] += scatter @ gathered.reshape(-1, n_inputs)
        for maps in self._first():
            step, block = maps.step, maps.block
            weights = cotangent[step.paths] * (step.paths >= 0)[:, None]
            slope = self.powers.slope(maps.u, weights)
            kept = step.columns >= 0
            if kept.any():
                above = sigma_gradient[block.atoms, step.columns[kept]]
                slope[:, kept] += above / (2 * np.sqrt(maps.u[:, kept]))
            self._pull_vectors(maps, maps.pull(slope, inputs=False)[0], gradient)
        return sums, gradient

    def _pull_vectors(self, maps: Maps, psi_cotangent: np.ndarray, gradient: np.ndarray) -> None:
        block = maps.block
        pulled = maps.filters.pull(self._vectors(block), block.unpad(psi_cotangent))
        gradient[block.pairs] += pulled.T
