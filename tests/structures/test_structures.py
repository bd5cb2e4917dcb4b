import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import covalent_radii
from helpers.small_structures import CELLS, Convertible, triclinic
from hypothesis import given, settings
from hypothesis import strategies as st

from skwavelet.structures.checks import (
    CLOSEST,
    check_distances,
    check_elements,
    check_structures,
    convert,
    perpendicular_heights,
    smallest_distance,
)


def with_nan(atoms, value=np.nan):
    atoms.positions[1, 2] = value
    return atoms


def with_cell(cell, pbc):
    atoms = Atoms("Si", cell=cell)
    atoms.pbc = pbc
    return atoms


def series(atoms):
    column = np.empty(len(atoms), dtype=object)
    column[:] = atoms
    return pd.Series(column, index=[f"s{i}" for i in range(len(atoms))])


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        tuple,
        iter,
        series,
        lambda atoms: series(atoms).to_numpy(),
        lambda atoms: [Convertible(a) for a in atoms],
    ],
    ids=["list", "tuple", "iterator", "series", "array", "to_ase_atoms"],
)
def test_every_kind_of_sequence(wrap):
    # Of equal size: np.asarray would make a two-dimensional array of atoms of them.
    atoms = [triclinic(), triclinic()]
    records = check_structures(wrap(atoms))
    assert [s.index for s in records] == [0, 1]
    for record, original in zip(records, atoms, strict=True):
        np.testing.assert_array_equal(record.numbers, original.numbers)
        np.testing.assert_array_equal(record.positions, original.positions)
        np.testing.assert_array_equal(record.cell, original.cell.array)
        np.testing.assert_array_equal(record.pbc, original.pbc)
        assert record.elements == (3, 14)
        assert len(record) == 3


def test_records_are_copies():
    atoms = triclinic()
    (record,) = check_structures([atoms])
    record.positions[:] = 0
    record.cell[:] = 0
    record.numbers[:] = 1
    assert atoms.positions.any()
    assert atoms.cell.array.any()
    assert atoms.numbers.tolist() == [3, 3, 14]


UNUSABLE = {
    "single": (bulk("Si"), TypeError, r"single structure; pass a list of structures: \[atoms\]"),
    "convertible": (Convertible(bulk("Si")), TypeError, "single structure"),
    "matrix": (np.zeros((4, 3)), TypeError, r"not ndarray of shape \(4, 3\); pass a list"),
    "frame": (pd.DataFrame({"a": [1.0]}), TypeError, r"not DataFrame of shape \(1, 1\)"),
    "number": (3, TypeError, "not int; pass a list"),
    "none": (None, TypeError, "not NoneType; pass a list"),
    "string": ("Si", TypeError, "not str; pass a list"),
    "empty": ([], ValueError, "X holds no structures"),
    "item": ([bulk("Si"), "Si"], TypeError, "Structure 1 is str; convert it to ase.Atoms"),
    "vector": (np.zeros(3), TypeError, "Structure 0 is float64"),
    "no atoms": ([bulk("Si"), Atoms(cell=[3] * 3)], ValueError, "Structure 1 has no atoms; remove"),
    "dummy": ([Atoms("XSi")], ValueError, r"Structure 0 has atomic number \[?0\]?, which is no"),
    "unknown": ([Atoms(numbers=[150])], ValueError, "Structure 0 has atomic number 150"),
    "nan": ([triclinic(), with_nan(triclinic())], ValueError, r"1 has NaN .*\(atom 1\)"),
    "inf": ([with_nan(triclinic(), -np.inf)], ValueError, "Structure 0 has NaN or infinite pos"),
    "nan cell": ([with_cell([np.nan, 3, 3], True)], ValueError, "0 has a NaN or infinite cell"),
    "no cell": ([with_cell(None, True)], ValueError, "cell has no volume; set atoms.cell, or"),
    "flat": ([with_cell([[3, 0, 0], [0, 3, 0], [3, 3, 0]], True)], ValueError, "has no volume"),
    "line": ([with_cell([[3, 0, 0], [6, 0, 0], [0, 0, 0]], [1, 1, 0])], ValueError, "no volume"),
    "short": ([with_cell([0, 0, 0], [1, 0, 0])], ValueError, r"pbc=\[True, False, False\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_input(case):
    X, kind, message = UNUSABLE[case]
    with pytest.raises(kind, match=message) as caught:
        check_structures(X)
    assert "\n" not in str(caught.value)


def test_cells_without_periods_are_not_looked_at():
    assert len(check_structures([Atoms("Si"), with_cell([[1, 0, 0], [1, 0, 0], [0] * 3], False)]))
    assert check_structures([with_cell([[0, 0, 0], [0, 3, 0], [0, 0, 0]], [0, 1, 0])])


def test_unseen_elements():
    structures = check_structures([Atoms("Li"), Atoms("LiOC")])
    check_elements(structures, [3, 6, 8])
    with pytest.raises(ValueError, match=r"Structure 1 contains C, O, not seen in fit.*Li, Si"):
        check_elements(structures, [3, 14])


# -- distances -----------------------------------------------------------------------------------


def brute_force_distance(atoms):
    best = np.inf
    shifts = np.array(list(np.ndindex(7, 7, 7))) - 3
    shifts = shifts[(shifts[:, ~atoms.pbc] == 0).all(axis=1)] @ atoms.cell.array
    for i, one in enumerate(atoms.positions):
        for k, other in enumerate(atoms.positions):
            distances = np.linalg.norm(other + shifts - one, axis=1)
            best = min(best, distances[(distances > 0) | (i != k)].min(initial=np.inf))
    return best


@pytest.mark.parametrize("cell", CELLS)
def test_smallest_distance(cell):
    atoms = CELLS[cell]()
    assert smallest_distance(check_structures([atoms])) == pytest.approx(
        brute_force_distance(atoms), rel=1e-6
    )
    # The smallest of a set, wherever it stands.
    loose = atoms.copy()
    loose.set_cell(atoms.cell.array * 1.5)
    loose.positions *= 1.5
    for order in ([atoms, loose], [loose, atoms]):
        assert smallest_distance(check_structures(order)) == pytest.approx(
            brute_force_distance(atoms), rel=1e-6
        )


def test_distances_without_pairs():
    lone = check_structures([Atoms("Si")])
    assert smallest_distance(lone) == np.inf
    # An atom and its own image, farther apart than any first guess.
    far = check_structures([Atoms("Si"), Atoms("Si", cell=[11, 12, 13], pbc=True)])
    assert smallest_distance(far) == pytest.approx(11)
    pair = check_structures([Atoms("Si2", positions=[[0, 0, 0], [0, 0, 30]])])
    assert smallest_distance(pair) == pytest.approx(30)


@pytest.mark.parametrize("image", [False, True])
def test_coincident_atoms(image):
    twice = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 0.001]], cell=[4] * 3, pbc=True)
    if image:
        twice.positions[1] = [4, -4, 8]
    for others in ([], [bulk("Si")]):
        with pytest.raises(ValueError, match=f"Structure {len(others)} has atoms 0 and 1 at"):
            smallest_distance(check_structures([*others, twice]))


def test_perpendicular_heights():
    cell = triclinic().cell.array
    volume = abs(np.linalg.det(cell))
    expected = [volume / np.linalg.norm(np.cross(cell[i - 2], cell[i - 1])) for i in range(3)]
    np.testing.assert_allclose(perpendicular_heights(cell), expected)
    np.testing.assert_allclose(perpendicular_heights(np.diag([2.0, 3, 4])), [2, 3, 4])


# -- anything at all -----------------------------------------------------------------------------

numbers = st.one_of(st.integers(-2, 130), st.integers(1, 20))
coordinates = st.one_of(st.floats(-20, 20), st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 0.0]))


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.lists(numbers, max_size=4),
    values=st.lists(coordinates, min_size=12, max_size=12),
    cell=st.lists(coordinates, min_size=9, max_size=9),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_door_lets_in_only_what_is_usable(numbers, values, cell, pbc):
    """Either a record that fulfils what is promised, or one line that names the structure."""
    atoms = Atoms(numbers=[1] * len(numbers), pbc=pbc)
    atoms.numbers = numbers
    atoms.positions = np.reshape(values[: 3 * len(numbers)], (-1, 3))
    atoms.set_cell(np.reshape(cell, (3, 3)))
    message, record = "", None
    try:
        (record,) = check_structures([atoms])
    except ValueError as error:
        message = str(error)
    if record is None:
        assert message.startswith("Structure 0 ")
        assert "\n" not in message
        return
    assert len(record) > 0
    assert ((record.numbers > 0) & (record.numbers < 119)).all()
    assert np.isfinite(record.positions).all()
    periods = record.cell[record.pbc]
    assert np.isfinite(periods).all()
    assert np.linalg.matrix_rank(periods) == len(periods)


def strained_molecule(name, strain):
    atoms = molecule(name)
    atoms.positions *= 1 + strain
    return atoms


def test_bonds_of_chemistry_are_not_too_short():
    """Every molecule of the G2 set, squeezed by 9 %, and hot crystals."""
    molecules = [strained_molecule(name, -0.09) for name in g2.names if len(molecule(name)) > 1]
    shortest = [Atoms("V2", [[0, 0, 0], [0, 0, 1.77]]), Atoms("Cr2", [[0, 0, 0], [0, 0, 1.68]])]
    crystals = [bulk(symbol, cubic=True).repeat(2) for symbol in ("Si", "Cu", "Na", "W", "Al")]
    for seed, atoms in enumerate(crystals):
        atoms.set_cell(0.91 * atoms.cell.array, scale_atoms=True)
        atoms.rattle(0.15, seed=seed)
    check_distances(check_structures([*molecules, *shortest, *crystals]))


@pytest.mark.parametrize("size", [2, 7, 30, 80])
@pytest.mark.parametrize("pbc", [False, True, (True, True, False)])
def test_close_atoms_are_found_where_all_pairs_find_them(size, pbc):
    rng = np.random.default_rng(size)
    clusters = []
    for _ in range(40):
        side = 3.2 * size ** (1 / 3) * rng.uniform(0.5, 2)
        numbers = rng.choice([1, 6, 14, 29], size)
        clusters.append(
            Atoms(numbers, rng.uniform(0, side, size=(size, 3)), cell=[side + 1] * 3, pbc=pbc)
        )
    found = []
    for atoms in clusters:
        radii = covalent_radii[atoms.numbers]
        ratios = atoms.get_all_distances(mic=True) / (radii[:, None] + radii)
        found.append((ratios + np.eye(size)).min() < CLOSEST)
        (structure,) = check_structures([atoms])
        if found[-1]:
            with pytest.raises(
                ValueError, match=r"Structure 0 has atoms \d+ and \d+ only"
            ) as caught:
                check_distances([structure])
            pair = [int(word) for word in str(caught.value).split() if word.isdigit()][1:3]
            assert ratios[tuple(pair)] == pytest.approx((ratios + np.eye(size)).min())
        else:
            check_distances([structure])
    if any(found):
        with pytest.raises(ValueError, match=f"Structure {found.index(True)} has atoms"):
            check_distances(check_structures(clusters))


def test_conversion_of_one_structure():
    atoms = bulk("Si")
    assert convert(Convertible(atoms), 3) is atoms
    assert convert(atoms, 3) is atoms
    with pytest.raises(ValueError, match=r"Structure 3 cannot be converted .*\(ordered only\)"):
        convert(Convertible(None, ValueError("ordered only")), 3)
