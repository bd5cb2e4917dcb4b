"""The compiled search for neighbours against explicit sums over images, and ASE's."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list
from helpers.neighbor_pairs import pairs_within
from helpers.small_structures import CELLS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skwavelet.structures import cell_list
from skwavelet.structures.cell_list import PairFinder
from skwavelet.structures.checks import Structure, check_structures


def found_pairs(structure, elements, reach, room=4096, dtype="float64"):
    """Return sorted (centre, neighbour, vector), after a look at what blocks promise."""
    pairs, next_atom = [], 0
    for block in PairFinder(structure, elements, reach, dtype, room).blocks():
        assert block.atoms.start == next_atom
        next_atom = block.atoms.stop
        n_atoms = block.atoms.stop - block.atoms.start
        assert block.ends.shape == (n_atoms + 1, len(elements))
        begin = 0
        for row in range(n_atoms):
            for kind, end in enumerate(block.ends[row + 1]):
                assert (end - begin) % 8 == 0
                for place in range(begin, end):
                    vector = block.vectors[:, place]
                    neighbor = block.neighbors[place]
                    if np.linalg.norm(vector) >= 1.5 * reach:
                        assert neighbor == block.atoms.start + row
                        continue
                    assert structure.numbers[neighbor] == elements[kind]
                    pairs.append((block.atoms.start + row, neighbor, *vector))
                begin = end
        assert begin == len(block.neighbors)
    assert next_atom == len(structure)
    return _sorted(pairs)


def _sorted(pairs):
    """Sort by atoms and rounded vectors: equal but for rounding errors is equal."""
    table = np.array(sorted(pairs, key=lambda p: (p[0], p[1], *np.round(p[2:], 4) + 0.0)))
    return table.reshape(-1, 5)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reach", [2.5, 5.3, 9.1])
def test_pairs_are_those_of_explicit_sums_over_images(name, reach):
    atoms = CELLS[name]()
    atoms.positions += [7.0, -9.0, 3.0]  # outside of the cell
    (structure,) = check_structures([atoms])
    elements = sorted({*structure.elements, 92})
    expected = _sorted([(i, k, *vector) for i, k, vector in pairs_within(atoms, reach)])
    for room in (8, 4096):
        found = found_pairs(structure, elements, reach, room)
        np.testing.assert_allclose(found, expected, atol=1e-11)
    single = found_pairs(structure, elements, reach, dtype="float32")
    np.testing.assert_allclose(single, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_atoms=st.integers(1, 30),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    reach=st.floats(1.0, 8.0),
    flat=st.floats(0.2, 3.0),
)
def test_pairs_of_random_cells_are_those_of_ase(seed, n_atoms, pbc, reach, flat):
    rng = np.random.default_rng(seed)
    cell = 3.0 * np.eye(3) + rng.normal(size=(3, 3))
    cell[2] *= flat
    # Structures with many more pairs are refused before they get here: their memory is counted.
    assume(n_atoms**2 * 4.2 * reach**3 / abs(np.linalg.det(cell)) < 1e6)
    positions = rng.uniform(-6, 6, size=(n_atoms, 3))
    numbers = rng.choice([3, 14], n_atoms)
    structure = Structure(0, numbers, positions, cell, np.array(pbc))
    i, j, vectors = primitive_neighbor_list("ijD", pbc, cell, positions, reach)
    expected = _sorted(list(zip(i, j, *vectors.T, strict=True)))
    if len(expected):
        radii = np.where(numbers == 3, 1.28, 1.11)
        lengths = np.linalg.norm(vectors, axis=1)
        if (lengths < 0.45 * (radii[i] + radii[j])).any():
            with pytest.raises(ValueError, match="Structure 0 has atoms"):
                found_pairs(structure, [3, 14], reach)
            return
    np.testing.assert_allclose(found_pairs(structure, [3, 14], reach), expected, atol=1e-9)


def test_atoms_far_apart_do_not_fill_the_memory_with_empty_bins():
    atoms = Atoms("Si3", [[0, 0, 0], [2.3, 0, 0], [1e7, 1e7, -1e7]])
    (structure,) = check_structures([atoms])
    assert found_pairs(structure, [14], 5.0)[:, :2].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("limit", [0, 2**26])
def test_later_sweeps_have_the_pairs_of_the_first(limit, monkeypatch):
    monkeypatch.setattr(cell_list, "KEPT_BYTES", limit)
    atoms = bulk("Si", cubic=True).repeat(3)
    atoms.rattle(0.1, seed=0)
    (structure,) = check_structures([atoms])
    finder = PairFinder(structure, [14], 4.0, "float64", room=512, again=True)
    first, few = list(finder.blocks()), list(finder.blocks(5))
    # A sweep over a few atoms in between, fewer than the first block has, changes nothing.
    assert [pairs.atoms for pairs in few] == [slice(0, 5)]
    second = list(finder.blocks())
    assert len(first) > 3
    for one, other in zip(first, second, strict=True):
        assert one.atoms == other.atoms
        np.testing.assert_array_equal(one.vectors, other.vectors)
        np.testing.assert_array_equal(one.neighbors, other.neighbors)
    # The first block is kept in any case.
    assert [one is other for one, other in zip(first[1:], second[1:], strict=True)] == (
        [limit > 0] * (len(first) - 1)
    )
