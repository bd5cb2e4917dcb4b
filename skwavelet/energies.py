"""Labels of structures, energies per atom and formation energies per atom."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from skwavelet._utils.validation import check_row_vector
from skwavelet.structures.checks import check_structures
from skwavelet.structures.labels import Labels, labels_of, total_energies

__all__ = [
    "Labels",
    "energy_per_atom",
    "formation_energy_per_atom",
    "labels_of",
    "reference_energies",
    "total_energies",
]


def energy_per_atom(energies: ArrayLike, structures: Sequence[Atoms]) -> np.ndarray:
    """Divide total energies by the number of atoms.

    Parameters
    ----------
    energies : array-like of shape (n_structures,)
        Total energy of each structure, eV.
    structures : sequence of :class:`ase.Atoms`

    Returns
    -------
    ndarray of shape (n_structures,)
        eV/atom.

    Raises
    ------
    TypeError
        If ``structures`` is no sequence of structures.
    ValueError
        If the lengths differ, an energy is not finite, or a structure is broken.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import energies
    >>> energies.energy_per_atom([-10.8], [bulk("Si")])
    array([-5.4])
    """
    counts, _ = _count_elements(structures)
    return check_row_vector(energies, len(counts), "energies") / counts.sum(axis=1)


def formation_energy_per_atom(
    energies: ArrayLike,
    structures: Sequence[Atoms],
    references: Mapping[str, float] | None = None,
) -> np.ndarray:
    r"""Energy per atom relative to the elements it is formed from.

    With :math:`N_i` of a structure's :math:`N` atoms of element :math:`i`,
    :math:`E_\mathrm{form} = (E - \sum_i N_i \mu_i) / N`.

    Parameters
    ----------
    energies : array-like of shape (n_structures,)
        Energy of each structure, eV/atom (from total energies by `energy_per_atom`).
    structures : sequence of :class:`ase.Atoms`
    references : mapping of chemical symbol to float, default=None
        Reference energy :math:`\mu_i` of each element, eV/atom. None takes them from the end
        members of these very data, see `reference_energies`.

    Returns
    -------
    ndarray of shape (n_structures,)
        eV/atom.

    Raises
    ------
    TypeError
        If ``structures`` is no sequence of structures.
    ValueError
        If the lengths differ, an energy is not finite, a structure is broken, or
        ``references`` lacks an element or cannot be taken from the data.

    Examples
    --------
    >>> from ase import Atoms
    >>> from skwavelet.energies import formation_energy_per_atom
    >>> formation_energy_per_atom([-4.0], [Atoms("LiSi")], {"Li": -1.5, "Si": -5.5})
    array([-0.5])
    """
    if references is None:
        references = reference_energies(energies, structures)
    counts, symbols = _count_elements(structures)
    energies = check_row_vector(energies, len(counts), "energies")
    missing = [symbol for symbol in symbols if symbol not in references]
    if missing:
        index = int(np.flatnonzero(counts[:, symbols.index(missing[0])])[0])
        raise ValueError(f"Structure {index} has {missing[0]}, which references lacks; add it.")
    mu = np.array([references[symbol] for symbol in symbols], dtype=float)
    return energies - counts @ mu / counts.sum(axis=1)


def reference_energies(energies: ArrayLike, structures: Sequence[Atoms]) -> dict[str, float]:
    """Take the reference energy of each element from the end members of a set of structures.

    The end member of an element is the lowest in energy among the structures richest in it. The
    references give every end member a formation energy of zero. Where the end members are pure
    elements, the references are their energies; where they are compounds, the formation energy
    of a binary is its distance from the line through the two.

    Parameters
    ----------
    energies : array-like of shape (n_structures,)
        Energy of each structure, eV/atom.
    structures : sequence of :class:`ase.Atoms`

    Returns
    -------
    dict of chemical symbol to float
        eV/atom.

    Raises
    ------
    TypeError
        If ``structures`` is no sequence of structures.
    ValueError
        If the lengths differ, an energy is not finite, a structure is broken, or the end
        members do not determine one energy per element (too few compositions).

    Examples
    --------
    >>> from ase import Atoms
    >>> from skwavelet.energies import reference_energies
    >>> reference_energies([-1.5, -4.0, -5.5], [Atoms("Li2"), Atoms("LiSi"), Atoms("Si")])
    {'Li': -1.5, 'Si': -5.5}
    """
    counts, symbols = _count_elements(structures)
    energies = check_row_vector(energies, len(counts), "energies")
    fractions = counts / counts.sum(axis=1, keepdims=True)
    richest = fractions == fractions.max(axis=0)
    members = np.where(richest, energies[:, None], np.inf).argmin(axis=0)
    if np.linalg.matrix_rank(fractions[members]) < len(symbols):
        raise ValueError(
            f"The end members do not determine a reference energy for each of "
            f"{', '.join(symbols)}: pass references, or add structures of other compositions."
        )
    mu = np.linalg.solve(fractions[members], energies[members])
    return dict(zip(symbols, mu.tolist(), strict=True))


def _count_elements(structures: Sequence[Atoms]) -> tuple[np.ndarray, list[str]]:
    """Count atoms: (n_structures, n_elements) in order of atomic number, and the symbols."""
    numbers = [structure.numbers for structure in check_structures(structures)]
    elements = np.unique(np.concatenate(numbers))
    counts = np.array([(present == elements[:, None]).sum(axis=1) for present in numbers])
    return counts, [chemical_symbols[z] for z in elements]
