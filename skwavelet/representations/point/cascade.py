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

from skwavelet.representations.point.filters import Filters, WaveletsAt
from skwavelet.representations.point.plan import Plan, Step
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.structures.neighborhoods import Block, Neighborhoods

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

    def __init__(self, step: Step, block: Block, wavelets: WaveletsAt, gathered, floor):
        self.step, self.block, self.wavelets = step, block, wavelets
        self.rows = wavelets.filters.rows
        # (n_atoms, n_rows, width): one small matrix product per atom.
        self.psi = self._padded(wavelets.values())
        self.gathered = gathered
        self.f = self.psi @ gathered
        self.floor = floor
        self.u = self._needed(self._over_m(np.square(self.f))) + floor

    def push(self, moves: np.ndarray, gathered_tangent: np.ndarray | None) -> np.ndarray:
        """Return du (n_atoms, M) along ``moves`` (3, E) and for tangents of the inputs."""
        df = self._padded(self.wavelets.push(moves)) @ self.gathered
        if gathered_tangent is not None:
            df += self.psi @ gathered_tangent
        return 2 * self._needed(self._over_m(self.f * df))

    def pull(self, slope: np.ndarray, inputs: bool):
        """Return the gradients in the vectors and in the gathered inputs for that in u.

        Shapes (3, E) and (n_atoms, width, n_inputs); the second is None unless asked for.
        Overwrites the maps.
        """
        step, f = self.step, self.f
        if not step.complete:
            spread = np.zeros((len(f), len(step.wavelets) * step.n_inputs), dtype=f.dtype)
            spread[:, step.entries] = slope
            slope = spread
        slope = 2 * slope.reshape(len(f), len(step.wavelets), step.n_inputs)
        for wavelet, rows in enumerate(self.rows):
            f[:, rows] *= slope[:, wavelet, None]
        psi_cotangent = f @ np.swapaxes(self.gathered, 1, 2)
        gathered_cotangent = np.swapaxes(self.psi, 1, 2) @ f if inputs else None
        psi_cotangent = self.block.unpad(np.moveaxis(psi_cotangent, 1, 0))
        return self.wavelets.pull(psi_cotangent), gathered_cotangent

    def _padded(self, values: np.ndarray) -> np.ndarray:
        return np.moveaxis(self.block.pad(values), 0, 1)

    def _over_m(self, products: np.ndarray) -> np.ndarray:
        """Sum (n_atoms, n_rows, n_inputs) over m to (n_atoms, wavelets * inputs)."""
        sums = np.empty((len(products), len(self.rows), products.shape[2]), products.dtype)
        for wavelet, rows in enumerate(self.rows):
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
    groups : ndarray of shape (n_groups, n_atoms)
        1 for the atoms of a group, else 0; sums are over the atoms of every group.
    dtype : dtype
        Of the maps.
    """

    def __init__(self, plan: Plan, bank: Bank, hoods: Neighborhoods, weights, floors, powers,
                 groups, dtype):  # fmt: skip
        self.plan, self.bank, self.hoods = plan, bank, hoods
        self.weights = weights.astype(dtype)
        self.floors, self.gains = floors
        self.powers: AtomPowers = powers
        self.groups = groups.astype(dtype)
        self.shape = (plan.n_maps, len(groups), len(powers.powers))
        self.dtype = np.dtype(dtype)

    # -- what all sweeps share ---------------------------------------------------------------

    def _maps(self, step: Step, inputs: np.ndarray, floor: np.ndarray) -> Iterator[Maps]:
        filters = self.bank.filters(step)
        inputs = np.ascontiguousarray(inputs[:, : step.n_inputs])
        floats = 3 * step.n_inputs + 2 * filters.n_rows
        for block in self.hoods.blocks(self.bank.reaches[step.scale], floats):
            vectors = np.ascontiguousarray(self.hoods.vectors[block.pairs].T, dtype=self.dtype)
            yield Maps(step, block, filters.at(vectors), inputs[block.neighbors], floor)

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
        # Not zero for channels without weight, such as the ionic one of hydrogen.
        return np.maximum(floor**2, np.finfo(self.dtype).tiny).astype(self.dtype)

    def _add_sums(self, maps: Maps, sums: np.ndarray) -> None:
        for power, rise in enumerate(self.powers.rises(maps.u, maps.floor)):
            self._add_by_group(maps, rise, sums[..., power])

    def _add_by_group(self, maps: Maps, values: np.ndarray, sums: np.ndarray) -> None:
        """Add the sums over every group of ``values`` (n_atoms, M) to ``sums``."""
        output = maps.step.paths >= 0
        summed = self.groups[:, maps.block.atoms] @ values
        sums[maps.step.paths[output]] += summed.T[output]

    def _slope(self, maps: Maps, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradient in u (n_atoms, M) for a cotangent of the sums."""
        weights = cotangent[maps.step.paths] * (maps.step.paths >= 0)[:, None, None]
        weights = weights.astype(self.dtype)
        members = self.groups[:, maps.block.atoms].T
        return sum(
            (members @ weights[..., power].T) * slope
            for power, slope in enumerate(self.powers.slopes(maps.u))
        )

    def _empty_sigma(self, *directions: int) -> np.ndarray:
        return np.empty((*directions, self.hoods.n_atoms, len(self.plan.inputs)), self.dtype)

    def _store_sigma(self, maps: Maps, sigma: np.ndarray) -> None:
        kept = maps.step.columns >= 0
        if kept.any():
            modulus = np.sqrt(maps.u) - np.sqrt(maps.floor)
            sigma[maps.block.atoms, maps.step.columns[kept]] = modulus[:, kept]

    # -- sweeps ------------------------------------------------------------------------------

    def sums(self) -> np.ndarray:
        """Return the sums (n_maps, n_groups, n_powers) over atoms of sigma^q."""
        sums, sigma = np.zeros(self.shape), self._empty_sigma()
        for maps in self._first():
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
        for maps in self._second(sigma):
            self._add_sums(maps, sums)
        return sums

    def atoms(self) -> np.ndarray:
        """Return sigma^q of every atom, of shape (n_atoms, n_maps, n_powers)."""
        table = np.zeros((self.hoods.n_atoms, self.shape[0], self.shape[2]), self.dtype)
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
        """Return the sums and their derivatives (D, *sums.shape) along directions."""
        parts = []
        per_direction = self.hoods.n_atoms * max(1, len(self.plan.inputs)) * self.dtype.itemsize
        size = max(1, TANGENT_BYTES // per_direction)
        sums = np.zeros(self.shape)
        for start in range(0, len(strains), size):
            part = slice(start, start + size)
            sums, derivatives = self._tangents(displacements[part], strains[part])
            parts.append(derivatives)
        return sums, np.concatenate(parts) if parts else np.zeros((0, *sums.shape))

    def _tangents(self, displacements, strains):
        sums = np.zeros(self.shape)
        derivatives = np.zeros((len(strains), *sums.shape))
        sigma, sigma_tangents = self._empty_sigma(), self._empty_sigma(len(strains))
        moves = np.stack(
            [self.hoods.moves(*pair).T for pair in zip(displacements, strains, strict=True)]
        )
        moves = moves.astype(self.dtype)
        for layer, maps in self._both(sigma):
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
            block, step = maps.block, maps.step
            kept = step.columns >= 0
            slopes = list(self.powers.slopes(maps.u))
            for direction, move in enumerate(moves):
                gathered = None
                if layer == 2:
                    gathered = sigma_tangents[direction][:, : step.n_inputs][block.neighbors]
                du = maps.push(move[:, block.pairs], gathered)
                for power, slope in enumerate(slopes):
                    self._add_by_group(maps, slope * du, derivatives[direction, ..., power])
                if kept.any():
                    modulus = du / (2 * np.sqrt(maps.u))
                    sigma_tangents[direction][block.atoms, step.columns[kept]] = modulus[:, kept]
        return sums, derivatives

    def _both(self, sigma: np.ndarray) -> Iterator[tuple[int, Maps]]:
        yield from ((1, maps) for maps in self._first())
        yield from ((2, maps) for maps in self._second(sigma))

    def gradients(self, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and the gradient (n_pairs, 3) of ``(cotangent * sums).sum()``.

        The gradient is in the vectors between atoms.
        """
        sums, sigma = np.zeros(self.shape), self._empty_sigma()
        gradient = np.zeros((len(self.hoods.vectors), 3))
        if self.plan.second:
            for maps in self._first():
                self._store_sigma(maps, sigma)
        sigma_gradient = np.zeros_like(sigma)
        for maps in self._second(sigma):
            self._add_sums(maps, sums)
            vectors, gathered = maps.pull(self._slope(maps, cotangent), inputs=True)
            gradient[maps.block.pairs] += vectors.T
            maps.block.add_to_neighbors(gathered, sigma_gradient[:, : maps.step.n_inputs])
        for maps in self._first():
            self._add_sums(maps, sums)
            step, block = maps.step, maps.block
            slope = self._slope(maps, cotangent)
            kept = step.columns >= 0
            if kept.any():
                above = sigma_gradient[block.atoms, step.columns[kept]]
                slope[:, kept] += above / (2 * np.sqrt(maps.u[:, kept]))
            gradient[block.pairs] += maps.pull(slope, inputs=False)[0].T
        return sums, gradient
