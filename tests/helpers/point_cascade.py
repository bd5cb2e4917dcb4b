"""The cascade of point scattering in plain NumPy: what the compiled kernels are checked against.

Both layers are the same map: inputs s_k at the atoms go to

    f_m(i) = sum_{k in N(i)} psi_m(R_k - R_i) s_k,    u(i) = sum_m f_m(i)^2,

a small matrix product for every atom; the first layer's inputs are the channels' weights, the
second's the moduli sigma = sqrt(u + floor^2) - floor. (5.1) has psi(R_i - R_k): another sign for
odd l, the same modulus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from helpers.neighbor_blocks import Block, padded_blocks

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.point.filters import SWITCH_START
from skwavelet.representations.wavelets import SolidHarmonics, radial_coefficients
from skwavelet.structures.neighborhoods import Neighborhoods


def reference_cascade(evaluator, structure, groups):
    """Return the cascade that computes the same sums as a ``PointEvaluator``."""
    return Cascade(
        make_plan(evaluator.paths)[0],
        evaluator.bank,
        Neighborhoods(structure, max(evaluator.bank.reaches)),
        evaluator.weights[evaluator.kinds(structure)],
        evaluator._floors(),
        AtomPowers(evaluator.powers),
        groups,
        evaluator.dtype,
    )


class AtomPowers:
    """Powers u^(q/2) of squared moduli u, for several q.

    Parameters
    ----------
    powers : sequence of float
        Exponents q of the modulus.
    """

    def __init__(self, powers):
        self.powers = tuple(float(q) for q in powers)
        self._cubic = [min(abs(q - 4 / 3), abs(q - 5 / 3)) < 1e-9 for q in self.powers]

    def terms(self, u: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) for every q; ``u`` must be positive."""
        r, c = np.sqrt(u), None
        for q, cubic in zip(self.powers, self._cubic, strict=True):
            if q == 1:
                yield r
            elif q == 2:
                yield u
            elif cubic:
                c = np.cbrt(u) if c is None else c
                yield c * c if q < 1.5 else r * c
            else:
                yield u ** u.dtype.type(q / 2)

    def values(self, u: np.ndarray, floor: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) - floor^(q/2), exactly 0 where ``u`` (n_atoms, M) is ``floor`` (M,)."""
        for term, constant in zip(self.terms(u), self.terms(floor), strict=True):
            yield term - constant

    def derivatives(self, u: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the derivatives of the terms in ``u``."""
        inverse = 1 / u
        for q, term in zip(self.powers, self.terms(u), strict=True):
            yield u.dtype.type(q / 2) * term * inverse


class Filters:
    """The wavelets 2^(-3j) psi_nlm(u / 2^j) s(|u|^2) of one scale j.

    s is 1 up to half the squared reach and falls to 0 at the reach, twice continuously
    differentiable.

    Parameters
    ----------
    wavelets : sequence of (n, l)
    beta : float
        Width of the scale-0 wavelets (Å).
    scale : float
        The scale j.
    reach : float
        Largest distance (Å).
    """

    def __init__(self, wavelets, beta: float, scale: float, reach: float):
        self.wavelets = tuple(wavelets)
        self.dilation = 2.0**scale
        self.beta = beta
        self.squared_reach = (reach / self.dilation) ** 2
        ends = np.cumsum([0, *(2 * l + 1 for _, l in self.wavelets)]).tolist()
        self.rows = [slice(*pair) for pair in pairwise(ends)]
        self.n_rows = ends[-1]

    def at(self, vectors: np.ndarray) -> WaveletsAt:
        """Return the wavelets at ``vectors`` (3, E)."""
        x = vectors / vectors.dtype.type(self.dilation)
        return WaveletsAt(self, x, self._radial((x**2).sum(axis=0)))

    def _radial(self, square: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return Q_nl / r^l with the switch, and its derivative in the square of r, per wavelet."""
        cast = square.dtype.type
        half = cast(0.5 / self.beta**2)
        t = square * half
        switch, switch_derivative = _switch(square, self.squared_reach)
        envelope = np.exp(-t)
        switched = envelope * switch
        # d(exp(-t) s)/dt, s taken as a function of t.
        falling = envelope * (switch_derivative / half) - switched
        radial = []
        for n, l in self.wavelets:
            poly, derivative = _horner(_coefficients(n, l, self.beta, self.dilation), t)
            radial.append((poly * switched, (derivative * switched + poly * falling) * half))
        return radial


class WaveletsAt:
    """The wavelets of one scale at given vectors, and their derivatives.

    Parameters
    ----------
    filters : Filters
    x : ndarray of shape (3, E)
        Vectors divided by the dilation.
    radial : list of (ndarray of shape (E,), ndarray of shape (E,))
        For every wavelet Q_nl / r^l, and its derivative in the square of r.
    """

    def __init__(self, filters: Filters, x: np.ndarray, radial):
        self.filters, self.x, self.radial = filters, x, radial
        degrees = sorted({l for _, l in filters.wavelets})
        self._solid = SolidHarmonics(x, degrees[-1])
        self.harmonics = {l: self._solid.values(l) for l in degrees}

    def values(self) -> np.ndarray:
        """Return the wavelets (n_rows, E); all m of a wavelet in a row."""
        values = np.empty((self.filters.n_rows, self.x.shape[1]), dtype=self.x.dtype)
        for rows, l, height, _ in self._wavelets():
            np.multiply(self.harmonics[l], height, out=values[rows])
        return values

    def jvp(self, moves: np.ndarray) -> np.ndarray:
        """Return the derivatives (n_rows, E) of the values along ``moves`` (3, E)."""
        dx = moves / moves.dtype.type(self.filters.dilation)
        along = 2 * (self.x * dx).sum(axis=0)
        turned = {l: np.einsum("ame,ae->me", g, dx) for l, g in self._harmonic_gradients.items()}
        derivatives = np.empty((self.filters.n_rows, self.x.shape[1]), dtype=self.x.dtype)
        for rows, l, height, derivative in self._wavelets():
            np.multiply(self.harmonics[l], derivative * along, out=derivatives[rows])
            derivatives[rows] += turned[l] * height
        return derivatives

    def vjp(self, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradient (3, E) in the vectors for a cotangent (n_rows, E) of the values."""
        by_degree = {l: np.zeros_like(value) for l, value in self.harmonics.items()}
        along = np.zeros_like(self.x[0])
        for rows, l, height, derivative in self._wavelets():
            by_degree[l] += height * cotangent[rows]
            along += derivative * np.einsum("me,me->e", self.harmonics[l], cotangent[rows])
        gradient = 2 * along * self.x
        for l, weights in by_degree.items():
            if l:
                gradient += np.einsum("ame,me->ae", self._harmonic_gradients[l], weights)
        return gradient / self.x.dtype.type(self.filters.dilation)

    def _wavelets(self):
        """Yield rows, degree, radial part and its derivative of every wavelet."""
        filters = self.filters
        for rows, (_, l), pair in zip(filters.rows, filters.wavelets, self.radial, strict=True):
            yield rows, l, *pair

    @cached_property
    def _harmonic_gradients(self) -> dict[int, np.ndarray]:
        return {l: self._solid.gradients(l) for l in self.harmonics}


def _switch(square: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 - (10 y^3 - 15 y^4 + 6 y^5) over the switch, and its derivative in ``square``."""
    cast = square.dtype.type
    start = SWITCH_START * end
    y = np.clip((square - cast(start)) / cast(end - start), cast(0), cast(1))
    value = 1 - y**3 * (10 - 15 * y + 6 * y**2)
    derivative = -30 * (y * (1 - y)) ** 2 / cast(end - start)
    return value, derivative


def _horner(coefficients: tuple[float, ...], t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a polynomial, highest power first, and its derivative."""
    value, derivative = np.full_like(t, coefficients[0]), np.zeros_like(t)
    for coefficient in coefficients[1:]:
        derivative = derivative * t + value
        value = value * t + t.dtype.type(coefficient)
    return value, derivative


@lru_cache(maxsize=1024)
def _coefficients(n: int, l: int, beta: float, dilation: float) -> tuple[float, ...]:
    """Return ``radial_coefficients`` times dilation^-3."""
    return tuple((radial_coefficients(n, l, beta) / dilation**3).tolist())


@dataclass(frozen=True, eq=False)
class Step:
    """The moduli of several wavelets of one scale acting on several inputs.

    The products of all ``wavelets`` with the first ``n_inputs`` inputs are computed together;
    ``entries`` are those that are needed.

    Attributes
    ----------
    scale : int
        Place in the list of scales.
    wavelets : tuple of int
        Places in the list of wavelets.
    n_inputs : int
    entries : ndarray of shape (M,)
        Places of the needed moduli in the raveled (wavelets, inputs).
    paths : ndarray of shape (M,)
        Maps (paths whatever their centre), -1 for none.
    columns : ndarray of shape (M,)
        Where the modulus stands among the inputs of the second layer, -1 for nowhere.
    """

    scale: int
    wavelets: tuple[int, ...]
    n_inputs: int
    entries: np.ndarray
    paths: np.ndarray
    columns: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether every product is needed, in order."""
        return len(self.entries) == len(self.wavelets) * self.n_inputs


@dataclass(frozen=True, eq=False)
class Plan:
    """Both layers.

    Attributes
    ----------
    first, second : tuple of Step
    inputs : ndarray of shape (n_inputs, 3)
        Channel, wavelet and scale of the first-order moduli that enter the second layer, by
        increasing scale.
    n_maps : int
        Paths whatever their centre, of order zero too.
    """

    first: tuple[Step, ...]
    second: tuple[Step, ...]
    inputs: np.ndarray
    n_maps: int


@lru_cache(maxsize=32)
def make_plan(paths: ScatteringPaths) -> tuple[Plan, np.ndarray]:
    """Arrange paths into steps.

    Returns the plan and the map (a path whatever its centre) of every path.
    """
    columns = {name: column for name, column in paths.columns.items() if name != "center"}
    maps, places = np.unique(np.column_stack(list(columns.values())), axis=0, return_inverse=True)
    everywhere = np.full(len(maps), -1)
    named = dict(zip(columns, maps.T, strict=True))
    return _plan_maps(ScatteringPaths(center=everywhere, **named)), places


def _plan_maps(paths: ScatteringPaths) -> Plan:
    first, second = (np.flatnonzero(paths.order == order) for order in (1, 2))
    places = np.column_stack([paths.scale1, paths.wavelet1, paths.channel])
    inputs = np.unique(places[second], axis=0)
    column = {tuple(key): i for i, key in enumerate(inputs.tolist())}
    output = {tuple(places[i].tolist()): i for i in first}
    keys = np.array(sorted({*column, *output}), dtype=int).reshape(-1, 3)
    first_steps = [
        _step(
            scale,
            wavelets=here[:, 1],
            inputs=here[:, 2],
            paths=[output.get(tuple(key), -1) for key in here.tolist()],
            columns=[column.get(tuple(key), -1) for key in here.tolist()],
        )
        for scale in np.unique(keys[:, 0])
        for here in [keys[keys[:, 0] == scale]]
    ]
    second_steps = []
    for scale in np.unique(paths.scale2[second]):
        rows = second[paths.scale2[second] == scale]
        parents = [column[tuple(key)] for key in places[rows].tolist()]
        unused = np.full(len(rows), -1)
        second_steps.append(_step(scale, paths.wavelet2[rows], parents, rows, unused))
    return Plan(tuple(first_steps), tuple(second_steps), inputs[:, ::-1], len(paths))


def _step(scale, wavelets, inputs, paths, columns) -> Step:
    distinct, place = np.unique(wavelets, return_inverse=True)
    n_inputs = int(np.max(inputs)) + 1
    entries = place * n_inputs + np.asarray(inputs)
    order = np.argsort(entries)
    return Step(
        int(scale),
        tuple(distinct.tolist()),
        n_inputs,
        entries[order],
        np.asarray(paths)[order],
        np.asarray(columns)[order],
    )


def step_filters(bank, step: Step) -> Filters:
    """Return the filters of a step."""
    wavelets = [bank.wavelets[w] for w in step.wavelets]
    return Filters(wavelets, bank.beta, bank.scales[step.scale], bank.reaches[step.scale])


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

    def __init__(self, plan: Plan, bank, hoods: Neighborhoods, weights, floors, powers,
                 groups, dtype):  # fmt: skip
        self.plan, self.bank, self.hoods = plan, bank, hoods
        self.weights = weights.astype(dtype)
        self.floors, self.gains = floors
        self.powers: AtomPowers = powers
        self.groups: AtomGroups = groups
        self.dtype = np.dtype(dtype)

    # -- what all sweeps share ---------------------------------------------------------------

    def _maps(self, step: Step, inputs: np.ndarray, floor: np.ndarray) -> Iterator[Maps]:
        filters = step_filters(self.bank, step)
        inputs = np.ascontiguousarray(inputs[:, : step.n_inputs])
        floats = 3 * step.n_inputs + 2 * filters.n_rows
        for block in padded_blocks(self.hoods, self.bank.reaches[step.scale], floats):
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
