"""The cascade of one structure at its atoms, and its two derivatives.

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

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.point.filters import Filters, WaveletsAt
from skwavelet.representations.point.plan import Plan, Step
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.structures.neighborhoods import Block, Neighborhoods

# Derivatives of all second-layer inputs together stay below this.
DERIVATIVE_BYTES = 2**26


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

    def jvp(self, moves: np.ndarray, dgathered: np.ndarray | None) -> np.ndarray:
        """Return du (n_atoms, M) along ``moves`` (3, E) and derivatives of the inputs."""
        df = self._padded(self.wavelets.jvp(moves)) @ self.gathered
        if dgathered is not None:
            df += self.psi @ dgathered
        return 2 * self._needed(self._over_m(self.f * df))

    def vjp(self, weights: np.ndarray, inputs: bool):
        """Return the gradients in the vectors and in the gathered inputs for that in u.

        Shapes (3, E) and (n_atoms, width, n_inputs); the second is None unless asked for.
        Overwrites the maps.
        """
        step, f = self.step, self.f
        if not step.complete:
            spread = np.zeros((len(f), len(step.wavelets) * step.n_inputs), dtype=f.dtype)
            spread[:, step.entries] = weights
            weights = spread
        weights = 2 * weights.reshape(len(f), len(step.wavelets), step.n_inputs)
        for wavelet, rows in enumerate(self.rows):
            f[:, rows] *= weights[:, wavelet, None]
        psi_cotangent = f @ np.swapaxes(self.gathered, 1, 2)
        gathered_cotangent = np.swapaxes(self.psi, 1, 2) @ f if inputs else None
        psi_cotangent = self.block.unpad(np.moveaxis(psi_cotangent, 1, 0))
        return self.wavelets.vjp(psi_cotangent), gathered_cotangent

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
    groups : AtomGroups
        Sums are over the atoms of every group.
    dtype : dtype
        Of the maps.
    """

    def __init__(self, plan: Plan, bank: Bank, hoods: Neighborhoods, weights, floors, powers,
                 groups, dtype):  # fmt: skip
        self.plan, self.bank, self.hoods = plan, bank, hoods
        self.weights = weights.astype(dtype)
        self.floors, self.gains = floors
        self.powers: AtomPowers = powers
        self.groups: AtomGroups = groups
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

    def _zeros(self, *directions: int) -> np.ndarray:
        n_powers = len(self.powers.powers)
        return self.groups.zeros(self.plan.n_maps, n_powers, self.dtype, *directions)

    def _add_sums(self, maps: Maps, sums: np.ndarray) -> None:
        for power, value in enumerate(self.powers.values(maps.u, maps.floor)):
            self._add_by_group(maps, value, sums[..., power])

    def _add_by_group(self, maps: Maps, values: np.ndarray, sums: np.ndarray) -> None:
        """Add ``values`` (n_atoms, M) to the sums (n_groups, n_maps) of every group."""
        output = maps.step.paths >= 0
        places = maps.step.paths[output]
        self.groups.add(maps.block.atoms, values[:, output], sums, places)

    def _weights_of_u(self, maps: Maps, weights: np.ndarray) -> np.ndarray:
        """Return the gradient in u (n_atoms, M) for weights of the sums."""
        weights = weights.astype(self.dtype)[self.groups.of[maps.block.atoms]]
        weights = weights[:, maps.step.paths] * (maps.step.paths >= 0)[:, None]
        return sum(
            weights[..., power] * derivative
            for power, derivative in enumerate(self.powers.derivatives(maps.u))
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
        """Return the sums (n_groups, n_maps, n_powers) over atoms of sigma^q."""
        sums, sigma = self._zeros(), self._empty_sigma()
        for _, maps in self._both(sigma):
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
        return sums

    def jvp(self, displacements: np.ndarray, strains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives (D, *sums.shape) along directions."""
        parts = []
        per_direction = self.hoods.n_atoms * max(1, len(self.plan.inputs)) * self.dtype.itemsize
        size = max(1, DERIVATIVE_BYTES // per_direction)
        sums = self._zeros()
        for start in range(0, len(strains), size):
            part = slice(start, start + size)
            sums, derivatives = self._jvp(displacements[part], strains[part])
            parts.append(derivatives)
        return sums, np.concatenate(parts) if parts else self._zeros(0)

    def _jvp(self, displacements, strains):
        sums, derivatives = self._zeros(), self._zeros(len(strains))
        sigma, dsigma = self._empty_sigma(), self._empty_sigma(len(strains))
        moves = np.stack(
            [self.hoods.jvp(*pair).T for pair in zip(displacements, strains, strict=True)]
        )
        moves = moves.astype(self.dtype)
        for layer, maps in self._both(sigma):
            self._add_sums(maps, sums)
            self._store_sigma(maps, sigma)
            block, step = maps.block, maps.step
            kept = step.columns >= 0
            factors = list(self.powers.derivatives(maps.u))
            for direction, move in enumerate(moves):
                gathered = None
                if layer == 2:
                    gathered = dsigma[direction][:, : step.n_inputs][block.neighbors]
                du = maps.jvp(move[:, block.pairs], gathered)
                for power, factor in enumerate(factors):
                    self._add_by_group(maps, factor * du, derivatives[direction, ..., power])
                if kept.any():
                    modulus = du / (2 * np.sqrt(maps.u))
                    dsigma[direction][block.atoms, step.columns[kept]] = modulus[:, kept]
        return sums, derivatives

    def _both(self, sigma: np.ndarray) -> Iterator[tuple[int, Maps]]:
        yield from ((1, maps) for maps in self._first())
        yield from ((2, maps) for maps in self._second(sigma))

    def vjp(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sums and the gradients of ``(weights * sums).sum()``.

        Those are in the positions (n_atoms, 3) and in a strain (3, 3).
        """
        sums, sigma = self._zeros(), self._empty_sigma()
        gradient = np.zeros((len(self.hoods.vectors), 3))
        if self.plan.second:
            for maps in self._first():
                self._store_sigma(maps, sigma)
        sigma_gradient = np.zeros_like(sigma)
        for maps in self._second(sigma):
            self._add_sums(maps, sums)
            vectors, gathered = maps.vjp(self._weights_of_u(maps, weights), inputs=True)
            gradient[maps.block.pairs] += vectors.T
            maps.block.add_to_neighbors(gathered, sigma_gradient[:, : maps.step.n_inputs])
        for maps in self._first():
            self._add_sums(maps, sums)
            step, block = maps.step, maps.block
            of_u = self._weights_of_u(maps, weights)
            kept = step.columns >= 0
            if kept.any():
                above = sigma_gradient[block.atoms, step.columns[kept]]
                of_u[:, kept] += above / (2 * np.sqrt(maps.u[:, kept]))
            gradient[block.pairs] += maps.vjp(of_u, inputs=False)[0].T
        return sums, *self.hoods.vjp(gradient)
