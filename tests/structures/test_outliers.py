"""One structure whose atoms are far too close is named in fit; no sound set is refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import atomic_numbers, covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st

from skwavelet import AngularFeatures, PointScattering, VoxelScattering
from skwavelet.structures.checks import check_structures
from skwavelet.structures.outliers import check_outliers

REPRESENTATIONS = (VoxelScattering(order=0), PointScattering(), AngularFeatures())


def rattled(symbol="Si", count=8, size=0.1, **parameters):
    structures = [bulk(symbol, cubic=True, **parameters) for _ in range(count)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(size, seed=seed)
    return structures


def squeezed(atoms, distance):
    """Return a copy whose second atom stands at a distance from the first one."""
    close = atoms.copy()
    close.positions[1] = close.positions[0] + [0, distance, 0]
    return close


def dimers(symbol, distances):
    return [Atoms([symbol] * 2, [[0, 0, 0], [0, 0, d]]) for d in distances]


def part(symbol, part):
    return part * 2 * covalent_radii[atomic_numbers[symbol]]


def refused(structures):
    try:
        check_outliers(check_structures(structures), "go on")
    except ValueError as error:
        return str(error)
    return None


# -- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["Si", "Cu", "Na", "W"])
@pytest.mark.parametrize("short", [0.46, 0.5, 0.56])
def test_one_structure_is_named(symbol, short):
    structures = rattled(symbol)
    structures[3:3] = dimers(symbol, [part(symbol, short)])
    message = refused(structures)
    assert message.startswith(f"Structure 3 has atoms 0 and 1 only {part(symbol, short):.3g} Å")
    assert f"{symbol}-{symbol} distances of the other structures" in message
    assert message.endswith("or go on.")
    assert "\n" not in message


@pytest.mark.parametrize("transformer", REPRESENTATIONS, ids=lambda t: type(t).__name__)
def test_every_representation_names_it_in_fit(transformer):
    structures = [*rattled(), squeezed(bulk("Si", cubic=True), 1.2)]
    with pytest.raises(ValueError, match=r"Structure 8 has atoms 0 and 1 only 1\.2 Å apart"):
        transformer.fit(structures)
    fitted = transformer.fit(structures[:-1])
    # It may be predicted: only what is learned from it would spoil the others.
    assert np.isfinite(fitted.transform(structures)).all()
    if hasattr(transformer, "beta"):
        changed = type(transformer)(beta=0.4, order=0).fit(structures)
        assert changed.min_distance_ == pytest.approx(1.2)


def test_two_of_them_and_molecules():
    structures = rattled(count=30)
    structures[4] = squeezed(structures[4], 1.2)
    structures[20] = squeezed(structures[20], 1.25)
    assert refused(structures).startswith("Structure 4 has")
    molecules = [molecule(name) for name in ("CH4", "C2H6", "H2O", "C6H6", "CH3OH", "NH3")]
    # No other structure has a pair of hydrogen atoms for neighbours.
    assert refused([*molecules, *dimers("H", [0.3])]).startswith("Structure 6 has atoms 0 and 1")


def test_the_order_of_structures_does_not_matter():
    structures = [*rattled(), squeezed(bulk("Si", cubic=True), 1.25)]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(structures))
        place = order.tolist().index(len(structures) - 1)
        assert refused([structures[k] for k in order]).startswith(f"Structure {place} has")


# -- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["H", "Si", "Cu", "Cr"])
@pytest.mark.parametrize("count", [4, 6, 12, 50])
@pytest.mark.parametrize("spaced", [np.linspace, np.geomspace])
def test_curves_of_dimers(symbol, count, spaced):
    curve = dimers(symbol, spaced(part(symbol, 0.46), part(symbol, 2.5), count))
    assert refused(curve) is None


def test_curves_beside_crystals():
    for count in (5, 10, 40):
        curve = dimers("Si", np.geomspace(part("Si", 0.46), part("Si", 1.4), count))
        assert refused([*rattled(count=40), *curve]) is None


@pytest.mark.parametrize("symbol", ["Si", "Na", "Cu"])
def test_high_pressure(symbol):
    """Cells down to half of the volume per length, evenly or all of them squeezed alike."""
    structures = rattled(symbol, count=12)
    for atoms, scale in zip(structures, np.linspace(0.6, 1.0, 12), strict=True):
        atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    assert refused(structures) is None
    for atoms in structures:
        atoms.set_cell(0.62 / 0.6 * atoms.cell.array, scale_atoms=True)
    assert refused(structures) is None


def test_molecules_crystals_and_the_shortest_bonds():
    molecules = [molecule(name) for name in g2.names if len(molecule(name)) > 1]
    for atoms in molecules:
        atoms.positions *= 0.91
    shortest = [*dimers("V", [1.77]), *dimers("Cr", [1.68]), *dimers("H", [0.74])]
    crystals = [a for name in ("Si", "Cu", "Na", "W", "V", "Cr") for a in rattled(name, 4, 0.15)]
    assert refused([*molecules, *shortest, *crystals]) is None


def test_packaged_structures(lisi):
    assert refused(lisi.structures) is None


def test_small_sets_and_what_many_share():
    close = [squeezed(atoms, 1.2) for atoms in rattled(count=3)]
    assert refused(rattled(count=2) + close[:1]) is None
    assert refused(rattled(count=30) + close) is None


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_dynamics_of_any_temperature(data):
    """Shortest distances of a normal distribution, however wide, are no outliers."""
    width = data.draw(st.floats(0.0, 0.2))
    count = data.draw(st.integers(4, 60))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    distances = np.exp(rng.normal(np.log(2.3), width, count)).clip(part("Si", 0.46))
    assert refused(dimers("Si", distances)) is None
