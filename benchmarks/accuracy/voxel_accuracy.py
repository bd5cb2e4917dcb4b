"""Measure the accuracy of VoxelScattering's default settings on real Li-Si cells.

    python benchmarks/accuracy/voxel_accuracy.py            # all parts
    python benchmarks/accuracy/voxel_accuracy.py --quick    # seconds, one structure
    python benchmarks/accuracy/voxel_accuracy.py --cells    # equivalent cells, six minutes

Resolution is learned from all packaged paths, as a user would; then, for structures spread over
the compositions and relative to every feature's own value:

- discretization: the deviation from converged features (float64, half the voxel size, full
  resolution), in float32 and float64, for several values of ``oversampling``;
- translation: the spread (standard deviation) when all atoms move by random fractions of a voxel;
- rotation: the spread over the 48 symmetries of the cube applied to the cubic cell, an exact
  symmetry of the continuous features and of the grid;
- supercell: the deviation of a cell doubled along one axis from the single cell;
- smoothing: how much the smooth modulus itself changes the features, against smoothing = 1e-8.

Zero-order features are exact and left out.

``--cells`` compares energies per atom of equivalent cells instead, for linear models of first-order
features of rattled copper cells with energies by EMT, and of all features of Li-Si (labels: CHGNet
v0.3.0): doubled and sheared cells have the same voxels; thrice repeated ones, and the conventional
beside the primitive cell, others. ``voxel_quadrature.py`` shows what other ways of summing the
powers bring.

Cost: 3 min; --cells 6 min.
"""

import itertools
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.equivalent_cells import HEADER, compare, copper, lisi
from common.table import table
from common.timing import machine

# What --cells compares, beside the default.
COPPER_SETTINGS = (
    {"dtype": "float64"},
    {"smoothing": 0.1},
    {"aliasing": 1e-6},
    {"spacing": 0.14},
    {"order": 2},
)
LISI_SETTINGS = ({"oversampling": 2.0}, {"aliasing": 1e-5}, {"aliasing": 1e-6})


def statistics(relative, orders):
    """Return median and largest value of first and second order, as text."""
    return [
        f"{statistic(relative[:, orders == order]):.1e}"
        for order in (1, 2)
        for statistic in (np.median, np.max)
    ]


def relative_deviation(features, reference):
    return np.abs(features / reference - 1)


def relative_spread(features):
    """Return std over the first axis relative to the mean, keeping a row."""
    features = features.astype(np.float64)
    return (features.std(axis=0) / features.mean(axis=0))[None]


def translated(atoms, voxel, rng):
    moved = atoms.copy()
    moved.translate(rng.uniform(0, voxel, 3))
    return moved


def rotated(atoms):
    """Return the 48 images of a structure in a cubic cell."""
    images = []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((-1, 1), repeat=3):
            image = atoms.copy()
            image.positions = atoms.positions[:, axes] * signs
            images.append(image)
    return images


def equivalent_cells():
    """Print how far energies of equivalent cells are apart, for several settings."""
    of_copper = [{"order": 1} | parameters for parameters in ({}, *COPPER_SETTINGS)]
    of_lisi = [{}, *LISI_SETTINGS]
    for name, cells, settings in (("Li-Si", lisi(), of_lisi), ("copper", copper(), of_copper)):
        structures, rows = cells[0], []
        for parameters in settings:
            scattering = VoxelScattering(**parameters).fit(structures)
            scattering.transform(structures[:2])  # FFTs are planned
            start = time.process_time()
            scattering.transform(structures)
            seconds = time.process_time() - start
            title = ", ".join(f"{k}={v}" for k, v in parameters.items()) or "default"
            times = f"{1000 * seconds / len(structures):.1f}"
            rows.append([title, *compare(scattering.transform, *cells), times])
        print(f"\nEquivalent cells of {name}, energies per atom, rms difference, meV/atom\n")
        print(table(["settings", *HEADER, "CPU ms / structure"], rows), flush=True)


def main():
    args = arguments(__doc__, cells=False, quick={"count": 1, "images": 4}, count=6, images=16)
    if args.cells:
        print(machine("numpy", "pyFFTW"))
        equivalent_cells()
        return
    # Spacings and scales set by hand draw warnings that are meant for users.
    warnings.simplefilter("ignore", UserWarning)
    structures = load_lisi().structures
    spread = np.linspace(0, len(structures) - 1, args.count + 2).astype(int)
    chosen = [structures[i] for i in spread[1:-1]]
    print(machine("numpy", "pyFFTW"))

    def fitted(**parameters):
        return VoxelScattering(**parameters).fit(structures)

    default = fitted()
    orders = default.feature_table_["order"].to_numpy()
    full = 2.0 ** (default.n_scales_ - 1)
    print(
        f"\n{', '.join(str(a.symbols) for a in chosen)}; beta {default.beta_:.3f} Å, "
        f"{default.n_scales_} scales, spacing {default.spacing_:.3f} Å, "
        f"{default.n_features_out_} features\n"
    )
    rows = []

    def add(name, relative):
        rows.append([name, *statistics(relative, orders)])

    converged = fitted(spacing=default.spacing_ / 2, oversampling=full, dtype="float64")
    reference = converged.transform(chosen)
    features = default.transform(chosen)
    add("discretization: default", relative_deviation(features, reference))
    for name, parameters in {
        "float64": {"dtype": "float64"},
        "oversampling=1": {"oversampling": 1.0},
        "oversampling=2": {"oversampling": 2.0},
        f"oversampling={full:g}, full resolution": {"oversampling": full},
    }.items():
        found = fitted(**parameters).transform(chosen)
        add(f"discretization: {name}", relative_deviation(found, reference))

    rng = np.random.default_rng(0)
    spreads = [
        relative_spread(
            default.transform([translated(a, default.spacing_, rng) for _ in range(args.images)])
        )
        for a in chosen
    ]
    add(f"translation: spread over {args.images}", np.concatenate(spreads))
    spreads = [relative_spread(default.transform(rotated(a))) for a in chosen[:2]]
    add("rotation: spread over 48", np.concatenate(spreads))
    doubled = default.transform([a.repeat((2, 1, 1)) for a in chosen])
    add("supercell: 2x1x1 against 1x1x1", relative_deviation(doubled, features))
    sharp = fitted(smoothing=1e-8, dtype="float64").transform(chosen)
    for smoothing in (1e-3, 1e-4, 1e-5, 1e-6):
        found = fitted(smoothing=smoothing, dtype="float64").transform(chosen)
        mark = ", the default" if smoothing == default.smoothing else ""
        add(f"smoothing={smoothing:g}{mark}", relative_deviation(found, sharp))
    header = ["relative deviation", "median, order 1", "largest", "median, order 2", "largest"]
    print(table(header, rows))
    discretization = relative_deviation(features, reference).max(axis=0)
    worst = default.get_feature_names_out()[np.argsort(-discretization)[:3]]
    print(f"\nLargest discretization errors of the default: {', '.join(worst)}")


if __name__ == "__main__":
    main()
