"""Nudged elastic bands with own forces, beside the diffusion paths of the labels."""

import numpy as np
from potentials import RECIPES
from strain import images
from titled import Titled

from skwavelet.properties import PropertyError, barrier

FMAX = 0.05


def bands(potentials, name):
    """Return the energies (eV) along the band between the ends of each path, or why there is none.

    Every band starts from nothing but the two end images.
    """
    part = potentials.parts["barriers"]
    found = {}
    for path, rows in images(part).items():
        first, last = (part.structures[rows[k]] for k in (0, -1))
        try:
            found[path] = barrier(
                first,
                last,
                potentials.calculator(name),
                n_images=len(rows) - 2,
                fmax=FMAX,
            ).energies
        except PropertyError as error:
            found[path] = str(error)
    return found


def stored(potentials, name):
    """Return the stored bands."""
    return potentials.result("bands", lambda: bands(potentials, name), name, FMAX, code=["bands"])


def both_barriers(energies):
    """Return the highest less the lowest, and the highest less the first."""
    return float(np.ptp(energies)), float(np.max(energies) - energies[0])


def table(potentials):
    """Return the table of barriers."""
    made = Titled(
        "bands",
        "Barriers by nudged elastic bands with own forces",
        "Highest energy less the lowest, and in brackets less the first; eV. Both ends relaxed by "
        f"the potential, six images between them, climbing, forces below {FMAX} eV/Å; nothing of "
        "the labelled band but its ends was given. The path that each diffusion path starts from "
        "was held out. 'On the labelled images' is what the potential says of the images of the "
        "labels, without moving them.",
    )
    part = potentials.parts["barriers"]
    runs = {name: stored(potentials, name) for name in RECIPES}
    fixed = {
        name: potentials.model(name).predict(part.structures) * len(part.structures[0])
        for name in RECIPES
    }
    misses = {}
    for path, rows in images(part).items():
        n_atoms = len(part.structures[rows[0]])
        reference = both_barriers(n_atoms * part.energies[rows])
        row = {"path": f"{path} ({part.structures[rows[0]].info['composition']})"}
        row["labels"] = _text(reference)
        for name, run in runs.items():
            at_images = both_barriers(fixed[name][rows] * n_atoms / len(part.structures[0]))
            for title, found in (
                (f"{name}; on the labelled images", at_images),
                (
                    f"{name}; own band",
                    None if isinstance(run[path], str) else both_barriers(run[path]),
                ),
            ):
                row[title] = _text(found)
                if found is not None:
                    misses.setdefault(title, []).append(np.abs(np.subtract(found, reference)))
        made.add(row)
    last = {"path": "mean absolute error", "labels": ""}
    made.add(last | {title: _text(np.mean(miss, axis=0)) for title, miss in misses.items()})
    reasons = {run[path] for run in runs.values() for path in run if isinstance(run[path], str)}
    if reasons:
        made.note += " '-': " + " / ".join(sorted(reasons))
    return made


def _text(barriers):
    return "-" if barriers is None else f"{barriers[0]:.3f} ({barriers[1]:.3f})"
