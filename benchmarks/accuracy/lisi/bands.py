"""Nudged elastic bands with own forces, beside the diffusion paths of the labels."""

import numpy as np
from ase.constraints import FixAtoms
from ase.geometry import get_distances
from potentials import RECIPES
from strain import images
from titled import Titled

from skwavelet.properties import PropertyError, barrier

FMAX = 0.05
# Bands are run with the best potentials only: they take minutes each.
BANDS = tuple(name for name in RECIPES if name.startswith("invariants"))
# Atoms farther than this (Å) from where the lithium is, at both ends, stay in a local band.
NEAR = 4.0


def band(potentials, name, path, local):
    """Return the energies (eV) along the band between the ends of a path, or why there is none.

    The band starts from nothing but the two end images, which are relaxed first. ``local``: only
    the atoms near the one that moves are free.
    """
    part = potentials.parts["barriers"]
    rows = images(part)[path]
    first, last = (part.structures[rows[k]].copy() for k in (0, -1))
    if local:
        near = np.zeros(len(first), dtype=bool)
        for end in (first, last):
            moving = end.positions[[first.info["moving"]]]
            _, distances = get_distances(moving, end.positions, end.cell, end.pbc)
            near |= distances[0] < NEAR
        last.positions[~near] = first.positions[~near]
        for end in (first, last):
            end.set_constraint(FixAtoms(mask=~near))
    try:
        return barrier(
            first, last, potentials.calculator(name), n_images=len(rows) - 2, fmax=FMAX
        ).energies
    except PropertyError as error:
        return str(error)


def stored(potentials, name, path, local):
    """Return the stored band."""
    given = (path, local, FMAX, NEAR)
    return potentials.result(
        "band", lambda: band(potentials, name, path, local), name, *given, code=["bands"]
    )


def both_barriers(energies):
    """Return the highest less the lowest, and the highest less the first."""
    return float(np.ptp(energies)), float(np.max(energies) - energies[0])


def table(potentials):
    """Return the table of barriers."""
    made = Titled(
        "bands",
        "Barriers by nudged elastic bands with own forces",
        "Highest energy less the lowest, and in brackets less the first; eV. The path that each "
        "diffusion path starts from was held out. 'Labelled images': energies of the images of the "
        "labels, as they are. 'Band': six images between the ends of the labels, both relaxed by "
        f"the potential first; climbing, forces below {FMAX} eV/Å; nothing of the labelled band "
        f"but its ends was given. 'Local': atoms more than {NEAR:g} Å from the lithium that moves "
        "stay where they are at the first image. '-': did not converge in 500 steps.",
    )
    part = potentials.parts["barriers"]
    columns = {}
    for name in RECIPES:
        energies = potentials.model(name).predict(part.structures)
        columns[f"{name}; labelled images"] = {
            path: len(part.structures[rows[0]]) * energies[rows]
            for path, rows in images(part).items()
        }
    for local, title in ((True, "local band"), (False, "band")):
        for name in BANDS:
            columns[f"{name}; {title}"] = {
                path: stored(potentials, name, path, local) for path in images(part)
            }
    misses = {title: [] for title in columns}
    reference = {
        path: len(part.structures[rows[0]]) * part.energies[rows]
        for path, rows in images(part).items()
    }
    shown = {title: ["-" for _ in reference] for title in columns}
    for number, path in enumerate(reference):
        expected = both_barriers(reference[path])
        for title, found in columns.items():
            if not isinstance(found[path], str):
                barriers = both_barriers(found[path])
                shown[title][number] = _text(barriers)
                misses[title].append(np.abs(np.subtract(barriers, expected)))
    for title, cells in (
        {"labels": [_text(both_barriers(e)) for e in reference.values()]} | shown
    ).items():
        miss = misses.get(title)
        row = {"potential; band": title} | dict(zip(reference, cells, strict=True))
        made.add(row | {"mean absolute error": _text(np.mean(miss, axis=0)) if miss else ""})
    return made


def _text(barriers):
    return f"{barriers[0]:.3f} ({barriers[1]:.3f})"
