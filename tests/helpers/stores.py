"""Structures for feature stores, and stores compared."""

from helpers.small_structures import cubic, triclinic


def rattled(n, start=0):
    """Structures of two cells, which have grids of their own."""
    structures = [(triclinic, cubic)[i % 2]() for i in range(start, start + n)]
    for i, atoms in enumerate(structures, start):
        atoms.rattle(0.1, seed=i)
    return structures


def same_files(one, other):
    """Assert that two stores have the same bytes (pickles and locks aside)."""
    names = [sorted(str(p.relative_to(d)) for p in d.glob("chunks/*")) for d in (one, other)]
    assert names[0] == names[1]
    for name in [*names[0], "manifest.json"]:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
