"""Nudged elastic bands with own forces, beside the diffusion paths of the labels."""

import numpy as np
from ase.mep import NEB
from ase.optimize import FIRE
from potentials import FORCES, RECIPES, label_calculator
from strain import images
from titled import Titled

from skwavelet.properties import PropertyError, barrier

FMAX = 0.05
MAX_STEPS = 200


def _ends(potentials):
    """Return the structures of the ends of every path and the number of images, by name."""
    part = potentials.parts["barriers"]
    return {
        path: (part.structures[rows[0]], part.structures[rows[-1]], len(rows))
        for path, rows in images(part).items()
    }


def bands(potentials, name):
    """Return the energies (eV) along the band between the ends of each path, or why there is none.

    Every band starts from nothing but the two end images, which are relaxed first.
    """
    found = {}
    for path, (first, last, n_images) in _ends(potentials).items():
        try:
            found[path] = barrier(
                first, last, potentials.calculator(name), n_images=n_images - 2, fmax=FMAX
            ).energies
        except PropertyError as error:
            found[path] = str(error)
    return found


def stored(potentials, name):
    """Return the stored bands."""
    return potentials.result("bands", lambda: bands(potentials, name), name, FMAX, code=["bands"])


def between_fixed_ends(potentials, name):
    """Return the images of each band between the ends of the labels, which stay where they are."""
    found = {}
    for path, (first, last, n_images) in _ends(potentials).items():
        band = [first.copy() for _ in range(n_images - 1)] + [last.copy()]
        for image in band:
            image.calc = potentials.calculator(name)
        elastic = NEB(band, method="improvedtangent")
        elastic.interpolate(method="idpp", mic=True)
        for climb in (False, True):
            elastic.climb = climb
            FIRE(elastic, logfile=None).run(fmax=FMAX, steps=MAX_STEPS)
        energies = [image.get_potential_energy() for image in band]
        found[path] = {
            "energies": np.array(energies),
            "positions": [image.get_positions() for image in band],
            "force": float(np.linalg.norm(elastic.get_forces(), axis=-1).max()),
        }
    return found


def stored_between_fixed_ends(potentials, name):
    """Return the stored bands between fixed ends."""
    return potentials.result(
        "bands-fixed",
        lambda: between_fixed_ends(potentials, name),
        name,
        FMAX,
        MAX_STEPS,
        code=["bands"],
    )


def labels_along(potentials, name):
    """Return the labels' own energies (eV) of those images, None without CHGNet."""
    calculator = label_calculator()
    if calculator is None:
        return None

    def compute():
        found = {}
        for path, band in stored_between_fixed_ends(potentials, name).items():
            atoms = _ends(potentials)[path][0].copy()
            atoms.calc, energies = calculator, []
            for positions in band["positions"]:
                atoms.positions = positions
                energies.append(atoms.get_potential_energy())
            found[path] = np.array(energies)
        return found

    return potentials.result("bands-labels", compute, name, FMAX, MAX_STEPS, code=["bands"])


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
        "labels, as they are. 'Fixed ends': a band of six images, interpolated between the ends of "
        f"the labels, which stay; climbing, forces below {FMAX} eV/Å or {MAX_STEPS} steps. 'Labels "
        "there': the labels' own energies along that band. 'Own ends': the ends relaxed by the "
        "potential before; '-' where the band did not converge in 500 steps.",
    )
    part = potentials.parts["barriers"]
    columns = {}
    for name in RECIPES:
        energies = potentials.model(name).predict(part.structures)
        columns[f"{name}; labelled images"] = {
            path: len(part.structures[rows[0]]) * energies[rows]
            for path, rows in images(part).items()
        }
    fixed = stored_between_fixed_ends(potentials, FORCES)
    columns[f"{FORCES}; fixed ends"] = {path: band["energies"] for path, band in fixed.items()}
    along = labels_along(potentials, FORCES)
    if along is not None:
        columns[f"{FORCES}; labels there"] = along
    columns[f"{FORCES}; own ends"] = stored(potentials, FORCES)
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
    # Paths are the columns: there are fewer of them.
    for title, cells in (
        {"labels": [_text(both_barriers(e)) for e in reference.values()]} | shown
    ).items():
        miss = misses.get(title)
        row = {"potential; band": title} | dict(zip(reference, cells, strict=True))
        made.add(row | {"mean absolute error": _text(np.mean(miss, axis=0)) if miss else ""})
    return made


def _text(barriers):
    return f"{barriers[0]:.3f} ({barriers[1]:.3f})"
