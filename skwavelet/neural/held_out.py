"""Which structures a network is judged by, and not trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from ase import Atoms

from skwavelet.structures.checks import Structure
from skwavelet.structures.folds import RelaxationPathGroupKFold


def fingerprints(structures: Sequence[Structure]) -> np.ndarray:
    """Return numbers (n_structures,) that tell structures apart."""
    found = []
    for structure in structures:
        parts = structure.numbers, structure.positions, structure.cell, structure.pbc
        digest = hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=8)
        found.append(int.from_bytes(digest.digest(), "little"))
    return np.array(found, dtype=np.uint64)


def split(
    X: Sequence[Atoms],
    structures: Sequence[Structure],
    groups: np.ndarray,
    fraction: float,
    seed: int,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on, and those of the groups that are held out.

    Groups are held out whole, of all compositions, and make up about ``fraction`` of the rows. Not
    held out are groups with a structure that the network was trained on before, or with an element
    that is in no other group that is trained on.

    Parameters
    ----------
    X : sequence of ase.Atoms
    structures : sequence of Structure
        The same, checked.
    groups : ndarray of int, of shape (n_structures,)
    fraction : float
    seed : int
        Deals the groups out.
    seen : ndarray of bool, of shape (n_structures,)
        Which structures the network was trained on before.

    Raises
    ------
    ValueError
        If nothing can be held out.
    """
    rows = np.flatnonzero(~np.isin(groups, groups[seen]))
    n_groups, wanted = len(np.unique(groups[rows])), fraction * len(groups)
    if not n_groups:
        raise ValueError(
            "warm_start=True goes on from a network that was trained on structures of every "
            "group: pass others as well, or set validation_fraction=None."
        )
    # Where nothing was trained on before, something has to be left to train on.
    least = 1 if seen.any() else 2
    if n_groups < least:
        raise ValueError(
            "One group cannot be split for validation: pass more groups, or set "
            "validation_fraction=None."
        )
    n_folds = min(n_groups, max(least, round(len(rows) / wanted)))
    folds = [rows]
    if n_folds > 1:
        dealt = RelaxationPathGroupKFold(n_folds, random_state=seed)
        own = [X[row] for row in rows.tolist()]
        folds = [rows[fold] for _, fold in dealt.split(own, groups=groups[rows])]
    folds = [_without_rare_elements(fold, structures, groups) for fold in folds]
    folds = [fold for fold in folds if len(fold)]
    if not folds:
        raise ValueError(
            "Nothing can be held out, as every group has an element that is in no other group: "
            "pass more groups, or set validation_fraction=None."
        )
    # One large group makes a large fold.
    held_out = min(folds, key=lambda fold: abs(len(fold) - wanted))
    return np.setdiff1d(np.arange(len(groups)), held_out), held_out


def _without_rare_elements(
    fold: np.ndarray, structures: Sequence[Structure], groups: np.ndarray
) -> np.ndarray:
    """Return the rows of a fold without groups that have an element that no other fold has."""
    train = np.setdiff1d(np.arange(len(groups)), fold)
    known = set(chain.from_iterable(structures[row].elements for row in train))
    unknown = [not known.issuperset(structures[row].elements) for row in fold]
    return fold[~np.isin(groups[fold], groups[fold[unknown]])]
