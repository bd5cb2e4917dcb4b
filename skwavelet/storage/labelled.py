"""Labelled structures of a file of any length, in memory a part at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from skwavelet._utils.validation import check_groups
from skwavelet.storage.sources import read_labelled
from skwavelet.structures.checks import check_distances, check_structures
from skwavelet.structures.labels import Labels, labels_of, read_labels
from skwavelet.structures.numbering import numbered

# A first part, which much is learned from, has at most this fraction (1 / 5) of one group.
_SHARE = 5


class Part(NamedTuple):
    """Structures that are in memory, their labels, and the numbers of their groups."""

    structures: list[Atoms]
    labels: Labels
    groups: np.ndarray

    def take(self, rows: np.ndarray) -> Part:
        """Return some of the structures."""
        labels = self.labels
        forces, stress = (
            None if values is None else [values[i] for i in rows]
            for values in (labels.forces, labels.stress)
        )
        return Part(
            [self.structures[i] for i in rows],
            Labels(labels.energies[rows], labels.total_energies[rows], forces, stress),
            self.groups[rows],
        )


class LabelledFile:
    """Labelled structures of a file, all of them checked, in memory a part at a time.

    The file is read once to check it. If it has few atoms, its structures are kept; if it has
    more, it is read again whenever structures are asked for.

    Parameters
    ----------
    path : str
        Any file that ASE reads.
    keys : mapping
        Names of labels, as `skwavelet.labels_of` takes them.
    group_key : str or None
        Where in ``atoms.info`` stands which structures belong together; None: every structure is
        its own group.
    max_atoms : int
        How many atoms are in memory at a time; up to twice as many where structures of one group
        stand together, which are not parted.

    Attributes
    ----------
    groups : ndarray of shape (n_structures,)
        Number of the group of every structure.
    sizes : ndarray of shape (n_structures,)
        Numbers of atoms.
    in_parts : bool
        Whether the structures are read again when they are asked for.

    Raises
    ------
    ValueError
        If the file or a structure is damaged, or a structure has no energy or no group; messages
        name it by its number in the file.
    """

    def __init__(
        self, path: str, keys: Mapping[str, str | None], group_key: str | None, max_atoms: int
    ):
        self.path, self._keys, self._max_atoms = path, keys, max_atoms
        groups: list[Any] = []
        sizes: list[int] = []
        self._elements: list[tuple[int, ...]] = []
        free: set[bool] = set()
        found = {"forces": False, "stress": False}
        part: Part | None = None
        for start, structures in self._chunks():
            with numbered(start):
                checked = check_structures(structures)
                check_distances(checked)
                labels = read_labels(structures, **keys, whole=False)
            sizes += [len(atoms) for atoms in structures]
            self._elements += [one.elements for one in checked]
            groups += self._groups_of(structures, start, group_key)
            free.add(keys["energy_key"] is None and not any(map(_has_energy, structures)))
            for name in found:
                found[name] |= getattr(labels, name) is not None
            part = Part(structures, labels, np.zeros(0))
        if part is None:
            raise ValueError(f"{path} holds no structures.")
        if len(free) > 1:
            raise ValueError(
                f"Some structures of {path} have a free energy only, and others an energy, which "
                "are not the same; pass --energy-key free_energy if all have one."
            )
        if not all(found.values()):
            with warnings.catch_warnings():  # of what was told above
                warnings.simplefilter("ignore")
                wanted = {"forces_key": "forces", "stress_key": "stress", "virial_key": "stress"}
                missing = {name: keys[name] for name, kind in wanted.items() if not found[kind]}
                labels_of(part.structures, energy_key=keys["energy_key"], **missing)  # says why
        self.groups = check_groups(groups if group_key else None, len(sizes))
        self.sizes = np.array(sizes)
        self.in_parts = len(sizes) > len(part.structures)
        self._whole = None if self.in_parts else part._replace(groups=self.groups)

    def elements(self, rows: np.ndarray) -> set[str]:
        """Return the chemical symbols that some structures contain."""
        numbers = set().union(*(self._elements[row] for row in rows))
        return {chemical_symbols[number] for number in numbers}

    def first_rows(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Choose some of the rows at random that stand for all, in increasing order.

        They hold every element, and as many whole groups as go into a part; of groups that are
        larger than a fifth of it, they hold some structures.
        """
        shuffled = np.random.default_rng(seed).permutation(rows)
        elements: set[int] = set()
        chosen: set[int] = set()
        for row in shuffled:
            if not elements.issuperset(self._elements[row]):
                elements.update(self._elements[row])
                chosen.add(row)
        _, first, place = np.unique(self.groups[shuffled], return_index=True, return_inverse=True)
        left = self._max_atoms - self.sizes[list(chosen)].sum()
        of_group = {self.groups[row]: self.sizes[row] for row in chosen}
        for row in shuffled[np.argsort(first[place], kind="stable")]:
            size, group = self.sizes[row], self.groups[row]
            held = of_group.get(group, 0) + size
            if row in chosen or size > left or held > max(self._max_atoms / _SHARE, size):
                continue
            chosen.add(row)
            left -= size
            of_group[group] = held
        return np.sort(list(chosen))

    def take(self, rows: np.ndarray) -> Part:
        """Return some structures, in the order of the file."""
        if self._whole is not None:
            return self._whole.take(rows)
        return self._part(list(self._read(rows)))

    def parts(self, rows: np.ndarray) -> Iterator[Part]:
        """Yield some structures, as many at a time as go into memory, in the order of the file."""
        if self._whole is not None:
            if len(rows):
                yield self._whole.take(rows)
            return
        collected: list[tuple[int, Atoms]] = []
        n_atoms = 0
        for index, atoms in self._read(rows):
            fill = (n_atoms + len(atoms)) / self._max_atoms
            same = collected and self.groups[collected[-1][0]] == self.groups[index]
            if collected and fill > (2 if same else 1):
                yield self._part(collected)
                collected, n_atoms = [], 0
            collected.append((index, atoms))
            n_atoms += len(atoms)
        if collected:
            yield self._part(collected)

    def _chunks(self) -> Iterator[tuple[int, list[Atoms]]]:
        """Yield (number of the first structure, structures) of all that the file holds."""
        start, n_atoms = 0, 0
        structures: list[Atoms] = []
        for atoms in read_labelled(self.path):
            if structures and n_atoms + len(atoms) > self._max_atoms:
                yield start, structures
                start, n_atoms, structures = start + len(structures), 0, []
            structures.append(atoms)
            n_atoms += len(atoms)
        if structures:
            yield start, structures

    def _read(self, rows: np.ndarray) -> Iterator[tuple[int, Atoms]]:
        """Yield (number, structure) of some structures of the file."""
        wanted = np.zeros(len(self.sizes), dtype=bool)
        wanted[rows] = True
        last = np.max(rows, initial=-1)
        for index, atoms in enumerate(read_labelled(self.path)):
            if index > last:
                return
            if len(atoms) != self.sizes[index]:
                raise ValueError(
                    f"{self.path} has changed while it was in use; run the command again."
                )
            if wanted[index]:
                yield index, atoms

    def _part(self, numbered: list[tuple[int, Atoms]]) -> Part:
        rows = [index for index, _ in numbered]
        structures = [atoms for _, atoms in numbered]
        with warnings.catch_warnings():  # of what was told when the file was read first
            warnings.simplefilter("ignore")
            labels = read_labels(structures, **self._keys, whole=False)
        return Part(structures, labels, self.groups[rows])

    def _groups_of(self, structures: list[Atoms], start: int, group_key: str | None) -> list[Any]:
        if group_key is None:
            return []
        for index, atoms in enumerate(structures, start):
            if group_key not in atoms.info:
                raise ValueError(
                    f"Structure {index} of {self.path} has no info[{group_key!r}] to group it by; "
                    f"there is {', '.join(map(repr, atoms.info)) or 'nothing'}."
                )
        return [atoms.info[group_key] for atoms in structures]


def _has_energy(atoms: Atoms) -> bool:
    return getattr(atoms.calc, "results", {}).get("energy") is not None
