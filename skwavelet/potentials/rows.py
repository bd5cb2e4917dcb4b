"""Energies, forces and stresses as rows of one linear problem.

With phi the features of a structure of N atoms and volume V, the energy per atom is
``phi . w + b``; the total energy is N times that, so that along a displacement v of the atoms and
a strain eps of the cell (both linear in w, neither with an intercept)

    F . v          = -N dphi(v) . w
    stress : eps   = (N / V) dphi(eps) . w
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_strain
from scipy.linalg import eigh

from skwavelet._utils.memory import available_memory
from skwavelet.potentials.linear_chain import LinearChain
from skwavelet.representations.atom_features import AtomFeaturesMixin

# Derivatives are taken for so many structures at a time, fewer where they have many rows, ...
_BATCH = 256
_BATCH_ROWS = 4096  # ... and Gram matrices grow by so many rows.
LARGE = 2**28  # Rows of more bytes, in float64, are condensed where that changes nothing.
# Deviations from the mean of the energy rows have the weight of energies, and no intercept.
ENERGY, FORCE, STRESS, DEVIATION = range(4)
# Directions per structure where derivatives along all of them would take long.
DIRECTIONS = 8

# Strains along which stress has components xx, yy, zz, yz, xz, xy (Voigt).
VOIGT_STRAINS = voigt_6_to_full_3x3_strain(np.eye(6)) - np.eye(3)


@dataclass(frozen=True)
class Rows:
    """Rows of a linear problem.

    Attributes
    ----------
    design : ndarray of shape (n_rows, n_features)
        Energy rows first, one per structure; of `condensed` rows one, the mean.
    targets : ndarray of shape (n_rows,)
    structure : ndarray of shape (n_rows,)
        Number of the structure that a row comes from.
    kind : ndarray of shape (n_rows,)
        ``ENERGY``, ``FORCE``, ``STRESS``, or ``DEVIATION`` of energies from their mean.
    structure_weight : ndarray of shape (n_structures,)
        Weight of every structure.
    n_components : tuple of float
        Number of labels of each kind, of which the rows may be a random sketch, each counted with
        the weight of its structure.
    n_condensed : int
        How many rows these stand for, if they stand for others; see ``len``.
    """

    design: np.ndarray
    targets: np.ndarray
    structure: np.ndarray
    kind: np.ndarray
    structure_weight: np.ndarray
    n_components: tuple[float, ...]
    n_condensed: int = 0

    def __len__(self) -> int:
        return self.n_condensed or len(self.targets)

    def parts_of(self, kind: int) -> Iterator[np.ndarray]:
        """Yield the rows of a kind, some at a time."""
        of_kind = np.flatnonzero(self.kind == kind)
        for start in range(0, len(of_kind), _BATCH_ROWS):
            yield self.design[of_kind[start : start + _BATCH_ROWS]]

    def weights(self, force_weight: float, stress_weight: float) -> np.ndarray:
        """Return weights (n_rows,) of the squared errors.

        Their sum over rows is n_structures (mean squared energy error + force_weight * mean
        squared force error + stress_weight * mean squared stress error), where the rows of a
        sketch stand for all components on average, and a structure of weight 2 counts as two.
        """
        return self.weigh(self.factors(force_weight, stress_weight))

    def factors(self, force_weight: float, stress_weight: float) -> np.ndarray:
        """Return what the weight of a structure is multiplied by in rows of each kind."""
        n_structures = self.n_components[ENERGY]
        weights = (1.0, force_weight, stress_weight, 1.0)
        counts = (*self.n_components, n_structures)
        return np.array([
            weight * n_structures / count if count else 0.0
            for weight, count in zip(weights, counts, strict=True)
        ])  # fmt: skip

    def weigh(self, factors: np.ndarray) -> np.ndarray:
        """Return weights (n_rows,) from `factors`, those of other rows maybe."""
        return factors[self.kind] * self.structure_weight[self.structure]


def random_directions(
    n_components: int, n_directions: int | str, rng: np.random.Generator
) -> np.ndarray:
    """Return directions (D, n_components) with sum_d (v_d . r)^2 = |r|^2 on average.

    All components where ``n_directions`` is "all" or at least as many; otherwise so many
    orthonormal random ones, times sqrt(n_components / n_directions).
    """
    if isinstance(n_directions, str) or n_directions >= n_components:
        return np.eye(n_components)
    basis = np.linalg.qr(rng.standard_normal((n_components, n_directions)))[0]
    # QR fixes the signs of the basis; they do not matter for squares.
    return basis.T * np.sqrt(n_components / n_directions)


def build_rows(
    chain: LinearChain,
    X: Sequence[Atoms],
    y: np.ndarray,
    features: np.ndarray,
    forces: list[np.ndarray | None],
    stress: list[np.ndarray | None],
    n_directions: int | str | None,
    rng: np.random.Generator,
    structure_weight: np.ndarray,
    condense: bool = False,
    n_copies: int = 0,
) -> Rows:
    """Compute the rows of energies, forces and stresses; raise ValueError if memory is too small.

    Parameters
    ----------
    chain : LinearChain
        From structures to the features of the linear model.
    X : sequence of ase.Atoms
    y : ndarray of shape (n_structures,)
        eV/atom.
    features : ndarray of shape (n_structures, n_features)
        What the chain makes of X.
    forces, stress : list
        As from `check_forces` and `check_stress`.
    n_directions : int, "all" or None
        Directions per structure: so many for the forces, and at most 6 for the stress. None: all
        for representations at the atoms, `DIRECTIONS` for others.
    rng : Generator
    structure_weight : ndarray of shape (n_structures,)
    condense : bool, default=False
        Whether fewer rows with the same sums of squares will do, in place of too many: about
        three times as many as there are features.
    n_copies : int, default=0
        How many copies in float64 there must be room for, which a linear model makes.
    """
    if n_directions is None:
        local = all(isinstance(leaf, AtomFeaturesMixin) for leaf in chain.leaves)
        n_directions = "all" if local else DIRECTIONS
    labels = list(zip(forces, stress, strict=True))
    labelled = [i for i, pair in enumerate(labels) if any(label is not None for label in pair)]
    n_rows = len(X) + sum(_n_rows(label, n_directions) for pair in labels for label in pair)
    n_of_kinds = (
        sum(w * v.size for w, v in zip(structure_weight, some, strict=True) if v is not None)
        for some in (forces, stress)
    )
    n_components = (float(structure_weight.sum()), *n_of_kinds)
    rows: _Collected | _Condensed
    if condense and n_rows * features.shape[1] * 8 > LARGE and n_rows > features.shape[1]:
        rows = _Condensed(features, y, structure_weight)
    else:
        _check_memory(n_rows, features, n_copies)
        rows = _Collected(features, y, n_rows)
    per_structure = 8 * n_rows / len(X) * features.shape[1]
    n_batch = int(np.clip(LARGE / 8 / per_structure, 1, _BATCH))
    for start in range(0, len(labelled), n_batch):
        batch = labelled[start : start + n_batch]
        directions = [_Directions.of(X[i], *labels[i], n_directions, rng) for i in batch]
        tangents = chain.jvp(
            [X[i] for i in batch],
            [one.displacements for one in directions],
            [one.strains for one in directions],
        )
        rows.add(
            [(one.factors[:, None], part) for one, part in zip(directions, tangents, strict=True)],
            np.concatenate([one.targets for one in directions]),
            np.repeat(batch, [len(one.targets) for one in directions]),
            np.concatenate([one.kind for one in directions]),
        )
    return rows.finished(structure_weight, n_components)


def _n_rows(label: np.ndarray | None, n_directions: int | str) -> int:
    if label is None:
        return 0
    return label.size if isinstance(n_directions, str) else min(label.size, n_directions)


@dataclass(frozen=True)
class _Directions:
    """Directions of one structure, the labels along them, and what derivatives are times."""

    displacements: np.ndarray
    strains: np.ndarray
    targets: np.ndarray
    factors: np.ndarray
    kind: np.ndarray

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        force: np.ndarray | None,
        stress: np.ndarray | None,
        n_directions: int | str,
        rng: np.random.Generator,
    ) -> _Directions:
        n_atoms = len(atoms)
        moves, strains, targets = np.zeros((0, n_atoms, 3)), np.zeros((0, 3, 3)), []
        if force is not None:
            along = random_directions(force.size, n_directions, rng)
            targets.append(along @ force.ravel())
            moves = along.reshape(-1, n_atoms, 3)
        if stress is not None:
            along = random_directions(6, n_directions, rng)
            targets.append(along @ stress)
            strains = np.einsum("dk,kab->dab", along, VOIGT_STRAINS)
        counts = [len(moves), len(strains)]
        volume = atoms.get_volume() if len(strains) else 1.0
        return cls(
            np.concatenate([moves, np.zeros((len(strains), n_atoms, 3))]),
            np.concatenate([np.zeros((len(moves), 3, 3)), strains]),
            np.concatenate(targets),
            np.repeat([-float(n_atoms), n_atoms / volume], counts),
            np.repeat([FORCE, STRESS], counts),
        )


class _Collected:
    """All rows as they are."""

    def __init__(self, features: np.ndarray, y: np.ndarray, n_rows: int):
        self.design = np.empty((n_rows, features.shape[1]), dtype=features.dtype)
        self.design[: len(y)] = features
        self.targets, self.structure = [y], [np.arange(len(y))]
        self.kind = [np.full(len(y), ENERGY)]

    def add(self, design: list[tuple], targets: Any, structure: Any, kind: Any) -> None:
        start = sum(map(len, self.targets))
        for factors, part in design:
            end = start + len(part)
            np.multiply(factors, part, out=self.design[start:end], casting="same_kind")
            start = end
        self.targets.append(targets)
        self.structure.append(structure)
        self.kind.append(kind)

    def finished(self, weight: np.ndarray, n_components: Any) -> Rows:
        targets, structure, kind = map(np.concatenate, (self.targets, self.structure, self.kind))
        return Rows(self.design, targets, structure, kind, weight, n_components)


class _Condensed:
    """Rows of the same sums of squares, whatever the weights of model and kind.

    With A the rows of a kind and their targets, times the roots of the weights of structures, the
    rows of any R with R^T R = A^T A stand for them, such as roots of eigenvalues times
    eigenvectors of A^T A.
    """

    def __init__(self, features: np.ndarray, y: np.ndarray, weight: np.ndarray):
        self.weight, self.n_rows = weight, len(y)
        self.mean = np.average(features, axis=0, weights=weight)
        self.level = float(np.average(y, weights=weight))
        self.grams = {kind: np.zeros(2 * (features.shape[1] + 1,)) for kind in (FORCE, STRESS)}
        self.grams[DEVIATION] = np.zeros_like(self.grams[FORCE])
        for start in range(0, len(y), _BATCH_ROWS):
            part = slice(start, start + _BATCH_ROWS)
            self._add(DEVIATION, features[part] - self.mean, y[part] - self.level, weight[part])

    def add(self, design: list[tuple], targets: Any, structure: Any, kind: Any) -> None:
        self.n_rows += len(targets)
        whole = np.concatenate([factors * part for factors, part in design])
        for one in (FORCE, STRESS):
            rows = kind == one
            self._add(one, whole[rows], targets[rows], self.weight[structure[rows]])

    def finished(self, weight: np.ndarray, n_components: Any) -> Rows:
        parts, kinds = [np.append(self.mean, self.level)[None]], [[ENERGY]]
        for kind, gram in self.grams.items():
            if gram.any():
                values, vectors = eigh(gram)
                parts.append(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)
                kinds.append([kind] * len(gram))
        rows, kind_of = np.concatenate(parts), np.concatenate(kinds)
        # The mean has the weight of all structures, and the others have theirs in them.
        structure = (kind_of != ENERGY).astype(int)
        weights = np.array([weight.sum(), 1.0])
        return Rows(
            rows[:, :-1], rows[:, -1], structure, kind_of, weights, n_components, self.n_rows
        )

    def _add(self, kind: int, design: np.ndarray, targets: Any, weight: np.ndarray) -> None:
        rows = np.column_stack([design, targets]) * np.sqrt(weight)[:, None]
        self.grams[kind] += rows.T @ rows


def _check_memory(n_rows: int, features: np.ndarray, n_copies: int) -> None:
    needed = n_rows * features.shape[1] * (features.dtype.itemsize + 8 * n_copies)
    free = available_memory()
    if needed > free:
        raise ValueError(
            f"{n_rows} energy, force and stress rows of {features.shape[1]} features need "
            f"{needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; lower n_directions, "
            "use fewer features, or pass forces of some structures only."
        )
