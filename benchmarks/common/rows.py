"""Rows of energies, forces and stresses, computed once and kept.

Rows are those that ``EnergyForceRegressor`` makes, kept so that many linear models can be fitted to
them.
"""

import zlib
from types import SimpleNamespace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from skwavelet.potentials.rows import ENERGY, STRESS, Rows, build_rows

_BLOCK = 2048


def _geometry(structures, start):
    return zlib.crc32(b"".join(atoms.positions.tobytes() for atoms in structures))


def cached_rows(source, structures, labels, members, n_directions, cache, chunk=40, seed=_geometry):
    """Return the rows of some structures, in pieces that a later run finds again.

    Labels are (energies per atom, forces, stresses), None where there is none. ``members`` are the
    structures whose rows are wanted: directions depend on them, not on the representation
    ``source``. A piece has ``chunk`` structures; ``seed`` makes the seed of its directions of these
    and of its start. A dict of ``design``, ``targets``, ``structure`` (its number) and ``kind``.
    """
    parts = []
    for start in range(0, len(members), chunk):
        part = members[start : start + chunk]
        X = [structures[i] for i in part]
        chosen = [[label[i] for i in part] for label in labels]

        def compute(X=X, part=part, chosen=chosen, start=start):
            rows = build_rows(
                source,
                X,
                np.array(chosen[0]),
                source.transform(X),
                *chosen[1:],
                n_directions,
                np.random.default_rng(seed(X, start)),
                np.ones(len(X)),
            )
            return {
                "design": rows.design.astype(np.float32),
                "targets": rows.targets,
                "structure": part[rows.structure],
                "kind": rows.kind,
            }

        settings = (source, X, part, chosen, n_directions, seed(X, start))
        parts.append(cache.get("rows", compute, *settings, code=["skwavelet.potentials.rows"]))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def beside(parts):
    """Return the rows of several representations of the same structures, side by side."""
    return parts[0] | {"design": np.hstack([part["design"] for part in parts])}


def unweighted(design, targets, structure, kind, n_components):
    """Return `Rows` of structures that all count alike."""
    ones = np.ones(n_components[ENERGY])
    return Rows(design, targets, structure, kind, ones, n_components)


def select(rows, structures, n_atoms):
    """Return the `Rows` of some structures, in their order, energies first."""
    place = np.full(len(n_atoms), -1)
    place[structures] = np.arange(len(structures))
    chosen = np.flatnonzero(place[rows["structure"]] >= 0)
    number, kind = place[rows["structure"][chosen]], rows["kind"][chosen]
    order = np.lexsort((number, kind != ENERGY))
    chosen, number, kind = chosen[order], number[order], kind[order]
    n_stresses = 6 * len(np.unique(number[kind == STRESS]))
    counts = (len(structures), int(3 * n_atoms[structures].sum()), n_stresses)
    return unweighted(rows["design"][chosen], rows["targets"][chosen], number, kind, counts)


def errors(model, rows):
    """Return RMSEs of energies (meV/atom), forces (meV/Å) and stresses (meV/Å³).

    Those of forces and stresses along random directions: unbiased estimates of all components'.
    """
    predicted = rows.design @ model.coef_ + model.intercept_ * (rows.kind == ENERGY)
    squares = (predicted - rows.targets) ** 2
    return [
        1e3 * np.sqrt(squares[rows.kind == kind].sum() / max(count, 1))
        for kind, count in enumerate(rows.n_components)
    ]


class RowsRidge:
    """Ridge regressions of energy, force and stress rows, any weights from one Gram matrix each.

    Features are divided by max² / rms of their derivative rows, unless they have a scale, as those
    of kernels do: those that hardly ever appear are noise if blown up to the size of the others.
    (On 160 structures of ethanol, division by the rms alone costs half as much error again.) The
    intercept enters the energy rows alone. The structures ``held`` are left out at first, to choose
    weights and penalty with. ``EnergyForceRegressor`` with scikit-learn's ``Ridge`` does the same,
    one fit at a time.
    """

    def __init__(self, rows, held, scaled=True):
        self.rows = rows
        self.held = np.isin(rows.structure, held)
        moving = rows.kind != ENERGY
        square, largest = 0.0, 0.0
        for part in np.array_split(np.flatnonzero(moving), max(1, moving.sum() // _BLOCK)):
            size = np.abs(rows.design[part].astype(np.float64))
            square = square + np.square(size).sum(axis=0)
            largest = np.maximum(largest, size.max(axis=0))
        rms = np.sqrt(square / moving.sum())
        self.scale = np.where(rms > 0, largest**2 / np.where(rms > 0, rms, 1), np.inf)
        if not scaled:
            self.scale = np.ones_like(rms)
        energies = rows.kind == ENERGY
        self.center = rows.design[energies].mean(axis=0, dtype=np.float64)
        self.level = rows.targets[energies].mean()
        self._sums = {
            (kind, held): self._sum((rows.kind == kind) & (self.held == held))
            for kind in range(3)
            for held in (False, True)
        }

    def _sum(self, chosen):
        """Return Gram matrix and right-hand side of some rows of one kind."""
        size = len(self.scale)
        gram, right = np.zeros((size, size)), np.zeros(size)
        for part in np.array_split(np.flatnonzero(chosen), max(1, chosen.sum() // _BLOCK)):
            design = self.rows.design[part].astype(np.float64)
            targets = self.rows.targets[part]
            if len(part) and self.rows.kind[part[0]] == ENERGY:
                design, targets = design - self.center, targets - self.level
            design /= self.scale
            gram += design.T @ design
            right += design.T @ targets
        return gram, right

    def fit(self, force_weight, stress_weight, alpha, *, everything=True):
        """Return a linear model; ``alpha`` is relative to the mean square of the columns."""
        factors = self._factors(force_weight, stress_weight)
        gram, right = np.zeros_like(self._sums[0, False][0]), np.zeros(len(self.scale))
        for (kind, held), (part, part_right) in self._sums.items():
            if factors[kind] and (everything or not held):
                gram += factors[kind] * part
                right += factors[kind] * part_right
        gram[np.diag_indices_from(gram)] += alpha * np.trace(gram) / len(gram)
        coef = cho_solve(cho_factor(gram, overwrite_a=True), right) / self.scale
        return SimpleNamespace(coef_=coef, intercept_=self.level - self.center @ coef)

    def _factors(self, force_weight, stress_weight):
        counts = self.rows.n_components
        weights = (1.0, force_weight, stress_weight)
        return [w * counts[0] / max(n, 1) for w, n in zip(weights, counts, strict=True)]

    def held_errors(self, model):
        """Return mean squared errors of energies, forces and stresses of the held structures."""
        part = self.held
        design, kind = self.rows.design[part], self.rows.kind[part]
        squares = (design @ model.coef_ + model.intercept_ * (kind == ENERGY)) - self.rows.targets[
            part
        ]
        squares **= 2
        share = (kind == ENERGY).sum() / self.rows.n_components[ENERGY]
        return [
            squares[kind == k].sum() / max(share * count, 1)
            for k, count in enumerate(self.rows.n_components)
        ]

    def choose(self, force_weight, stress_weight, alphas):
        """Return the model of all rows with the penalty of least held-out error, and both."""
        weights = np.array([1.0, force_weight, stress_weight])
        tried = []
        for alpha in alphas:
            model = self.fit(force_weight, stress_weight, alpha, everything=False)
            held = self.held_errors(model)
            tried.append((float(weights @ held), alpha, held))
        _, alpha, held = min(tried)
        return self.fit(force_weight, stress_weight, alpha), alpha, held
