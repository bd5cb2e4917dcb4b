"""Energies, forces and stresses as rows of one linear problem.

With phi the features of a structure of N atoms and volume V, the energy per atom is
``phi . w + b``; the total energy is N times that, so that along a displacement v of the atoms and
a strain eps of the cell (both linear in w, neither with an intercept)

    F . v          = -N dphi(v) . w
    stress : eps   = (N / V) dphi(eps) . w
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_strain
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skwavelet._utils.memory import available_memory
from skwavelet.potentials.linear_chain import LinearChain
from skwavelet.structures.checks import Structure

# Derivatives are taken for so many structures at a time.
_BATCH = 256
ENERGY, FORCE, STRESS = range(3)

# Strains along which stress has components xx, yy, zz, yz, xz, xy (Voigt).
VOIGT_STRAINS = voigt_6_to_full_3x3_strain(np.eye(6)) - np.eye(3)


@dataclass(frozen=True)
class Rows:
    """Rows of a linear problem.

    Attributes
    ----------
    design : ndarray of shape (n_rows, n_features)
        Energy rows first, one per structure.
    targets : ndarray of shape (n_rows,)
    structure : ndarray of shape (n_rows,)
        Number of the structure that a row comes from.
    kind : ndarray of shape (n_rows,)
        ``ENERGY``, ``FORCE`` or ``STRESS``.
    structure_weight : ndarray of shape (n_structures,)
        Weight of every structure.
    n_components : tuple of float
        Number of labels of each kind, of which the rows may be a random sketch, each counted with
        the weight of its structure.
    """

    design: np.ndarray
    targets: np.ndarray
    structure: np.ndarray
    kind: np.ndarray
    structure_weight: np.ndarray
    n_components: tuple[float, float, float]

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
        weights = (1.0, force_weight, stress_weight)
        return np.array([
            weight * n_structures / count if count else 0.0
            for weight, count in zip(weights, self.n_components, strict=True)
        ])  # fmt: skip

    def weigh(self, factors: np.ndarray) -> np.ndarray:
        """Return weights (n_rows,) from `factors`, those of other rows maybe."""
        return factors[self.kind] * self.structure_weight[self.structure]


def check_forces(forces: Sequence | None, X: Sequence[Atoms]) -> list[np.ndarray | None]:
    """Return one array (N, 3) per structure, or None where forces are missing.

    Missing are entries that are None or NaN throughout.

    Raises
    ------
    ValueError
        If the number of entries, a shape or a value is wrong.
    """
    return _check_labels(forces, [(len(atoms), 3) for atoms in X], "forces", "(n_atoms, 3)")


def check_stress(stress: Sequence | None, X: Sequence[Atoms]) -> list[np.ndarray | None]:
    """Return one array (6,) per structure, or None where the stress is missing."""
    checked = _check_labels(stress, [(6,)] * len(X), "stress", "(6,) in Voigt order")
    for index, (atoms, value) in enumerate(zip(X, checked, strict=True)):
        if value is not None and not atoms.pbc.all():
            raise ValueError(
                f"stress[{index}] is given, but structure {index} is not periodic in all "
                "directions and has no stress; pass None for it."
            )
    return checked


def check_stress_is_defined(structures: Sequence[Structure]) -> None:
    """Raise ``ValueError`` for the first structure that has no stress, as no volume is its own."""
    for structure in structures:
        if not structure.pbc.all():
            raise ValueError(
                f"Structure {structure.index} is not periodic in all directions and has no stress; "
                "leave it out."
            )


def _check_labels(
    labels: Any, shapes: Sequence[tuple[int, ...]], name: str, described: str
) -> list[np.ndarray | None]:
    if labels is None:
        return [None] * len(shapes)
    if not hasattr(labels, "__len__") or len(labels) != len(shapes):
        got = len(labels) if hasattr(labels, "__len__") else type(labels).__name__
        raise ValueError(
            f"{name} must hold one entry (an array or None) per structure, {len(shapes)} in all; "
            f"got {got}."
        )
    checked: list[np.ndarray | None] = []
    for index, (label, shape) in enumerate(zip(labels, shapes, strict=True)):
        if label is None:
            checked.append(None)
            continue
        label = np.asarray(label, dtype=np.float64)
        if label.shape != shape and not (label.size and np.isnan(label).all()):
            raise ValueError(
                f"{name}[{index}] must have shape {described}, here {shape}; got {label.shape}."
            )
        if np.isnan(label).all():
            checked.append(None)
            continue
        if not np.isfinite(label).all():
            raise ValueError(
                f"{name}[{index}] holds NaN or infinite values; repair them, or pass None if the "
                f"structure has no {name}."
            )
        checked.append(label)
    return checked


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
    n_directions: int | str,
    rng: np.random.Generator,
    structure_weight: np.ndarray,
) -> Rows:
    """Compute the rows of energies, forces and stresses.

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
    n_directions : int or "all"
        Directions per structure: so many for the forces, and at most 6 for the stress.
    rng : Generator
    structure_weight : ndarray of shape (n_structures,)

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        If the rows do not fit into memory.
    """
    moves, strains, factors, labelled = [], [], [], []
    targets, structure, kind = [y], [np.arange(len(X))], [np.full(len(X), ENERGY)]
    for index, (atoms, force, virial) in enumerate(zip(X, forces, stress, strict=True)):
        if force is None and virial is None:
            continue
        n_atoms = len(atoms)
        move, strain = np.zeros((0, n_atoms, 3)), np.zeros((0, 3, 3))
        if force is not None:
            along = random_directions(force.size, n_directions, rng)
            targets.append(along @ force.ravel())
            move = along.reshape(-1, n_atoms, 3)
        if virial is not None:
            along = random_directions(6, n_directions, rng)
            targets.append(along @ virial)
            strain = np.einsum("dk,kab->dab", along, VOIGT_STRAINS)
        n_moves, n_strains = len(move), len(strain)
        moves.append(np.concatenate([move, np.zeros((n_strains, n_atoms, 3))]))
        strains.append(np.concatenate([np.zeros((n_moves, 3, 3)), strain]))
        volume = atoms.get_volume() if n_strains else 1.0
        factors.append(np.repeat([-float(n_atoms), n_atoms / volume], [n_moves, n_strains]))
        kind.append(np.repeat([FORCE, STRESS], [n_moves, n_strains]))
        structure.append(np.full(n_moves + n_strains, index))
        labelled.append(index)
    n_rows = sum(map(len, targets))
    _check_memory(n_rows, features)
    design = np.empty((n_rows, features.shape[1]), dtype=features.dtype)
    design[: len(X)] = features
    row = len(X)
    for start in range(0, len(labelled), _BATCH):
        part = slice(start, start + _BATCH)
        structures = [X[index] for index in labelled[part]]
        tangents = chain.jvp(structures, moves[part], strains[part])
        for tangent, factor in zip(tangents, factors[part], strict=True):
            design[row : row + len(factor)] = factor[:, None] * tangent
            row += len(factor)
    n_forces, n_stresses = (
        sum(w * v.size for w, v in zip(structure_weight, labels, strict=True) if v is not None)
        for labels in (forces, stress)
    )
    return Rows(
        design,
        np.concatenate(targets),
        np.concatenate(structure),
        np.concatenate(kind),
        structure_weight,
        (float(structure_weight.sum()), n_forces, n_stresses),
    )


def _check_memory(n_rows: int, features: np.ndarray) -> None:
    # The rows themselves, and the float64 copy that a linear model makes of them.
    needed = n_rows * features.shape[1] * (features.dtype.itemsize + 8)
    free = available_memory()
    if needed > free:
        raise ValueError(
            f"{n_rows} energy, force and stress rows of {features.shape[1]} features need "
            f"{needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; lower n_directions, "
            "use fewer features, or pass forces of some structures only."
        )


def fit_rows(
    regressor: Any,
    rows: Rows,
    groups: np.ndarray,
    force_weight: float,
    stress_weight: float,
) -> Any:
    """Return a fitted clone of a linear model, whose intercept enters energy rows only.

    Parameters
    ----------
    regressor : estimator
        A linear model whose ``fit`` takes ``sample_weight``.
    rows : Rows
    groups : ndarray of shape (n_structures,)
        Group of every structure, passed on to models that know groups.
    force_weight, stress_weight : float
        See `Rows.weights`.

    Raises
    ------
    TypeError
        If ``regressor`` takes no sample weights.
    """
    if isinstance(regressor, Pipeline):
        raise TypeError(
            "regressor is a Pipeline, but its steps would scale rows of forces as if they were "
            "features: put scalers and the like with the features, "
            "features=make_pipeline(VoxelScattering(), FeatureScaler()), and pass the last step."
        )
    regressor = clone(regressor)
    if not has_fit_parameter(regressor, "sample_weight"):
        raise TypeError(
            f"{type(regressor).__name__}.fit takes no sample_weight, which energies, forces and "
            "stresses need: use BaggedOLSEnsemble(), GreedyOLSRegressor(), Ridge() or the like."
        )
    weight = rows.weights(force_weight, stress_weight)
    energy = rows.kind == ENERGY
    arguments = {"groups": groups[rows.structure]} if has_fit_parameter(regressor, "groups") else {}
    intercept = getattr(regressor, "fit_intercept", True)
    if has_fit_parameter(regressor, "intercept_column"):
        if intercept:
            arguments["intercept_column"] = energy.astype(np.float64)
        return regressor.fit(rows.design, rows.targets, sample_weight=weight, **arguments)
    # Least squares with an intercept in the energy rows alone is that without one after the
    # energy rows have been centred. The models of scikit-learn compute in the dtype they get.
    design, targets = rows.design.astype(np.float64), rows.targets.copy()
    if intercept:
        center, level = (
            np.average(values[energy], axis=0, weights=weight[energy])
            for values in (design, targets)
        )
        design[energy] -= center
        targets[energy] -= level
        if "fit_intercept" not in regressor.get_params(deep=False):
            raise TypeError(
                f"{type(regressor).__name__} has no parameter fit_intercept, and force rows "
                "must not have an intercept: use a linear model that has."
            )
        regressor.set_params(fit_intercept=False)
    regressor.fit(design, targets, sample_weight=weight, **arguments)
    if intercept:
        regressor.set_params(fit_intercept=True)
        regressor.intercept_ = float(level - center @ np.ravel(regressor.coef_))
    return regressor
