"""Compare with kymatio's HarmonicScattering3D: the same coefficients, one thread.

    python -m pip install kymatio torch
    python benchmarks/speed/kymatio_comparison.py            # about five minutes
    python benchmarks/speed/kymatio_comparison.py --quick    # seconds, a smaller grid

kymatio's wavelets are r^l exp(-r^2 / 2 sigma^2) Y_lm dilated by 2^j, our (n, l) = (l + 1, l) but
for a constant, and it computes the first order for all (l, j <= J) and the second order for equal
l and j2 > j1. A subclass of VoxelScattering keeps just these paths. The other settings agree: grid,
sigma_0 = beta in voxels, J, L, integral powers, float32, one density per channel. kymatio gets
densities on the grid; they are made here from the exact Fourier coefficients that VoxelScattering
uses, so both transform the same signals. Time for them is not counted for kymatio, but is for
VoxelScattering. (The density that kymatio's own example makes, a sum of Gaussians in space, is
timed apart.)

kymatio sums every map over one grid, and we sum those with l = 0 and 1 over eight and two, which is
what makes our default features accurate. "One grid" leaves that out (a change to a table inside of
the library, for this comparison only): the same sums of as many maps.

The table shows the accuracy of everybody: the ratio to our converged coefficients (float64, half
the voxel size, full resolution) must be one constant per coefficient, since only normalizations
differ, so its variation over channels and structures is the error. The modulus is all but exact
here (smoothing=1e-8), as kymatio's is.

Cost: 4 min; needs kymatio and torch.
"""

import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import scipy.fft

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi
from skwavelet.representations.voxel import shifts

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.rivals import load_kymatio
from common.table import table
from common.timing import alternate, machine

BETA = 0.4


class TiedScattering(VoxelScattering):
    """VoxelScattering with n = l + 1, l1 = l2 and j2 > j1: kymatio's coefficients."""

    def _learn(self, structures):
        super()._learn(structures)
        evaluator = self._evaluator
        wavelets = evaluator.bank.wavelets
        tied = tuple((l + 1, l) for l in range(self.max_l + 1))
        place = np.array([tied.index(w) if w in tied else -2 for w in wavelets] + [-1])
        paths = evaluator.paths
        same = (paths.wavelet1 == paths.wavelet2) & (paths.scale2 > paths.scale1)
        keep = (place[paths.wavelet1] >= 0) & ((paths.order == 1) | ((paths.order == 2) & same))
        paths = paths.take(keep)
        wavelets = {name: place[getattr(paths, name)] for name in ("wavelet1", "wavelet2")}
        n_powers = len(evaluator.powers)
        self.feature_table_ = self.feature_table_[np.repeat(keep, n_powers)]
        self._evaluator = replace(
            evaluator,
            bank=replace(evaluator.bank, wavelets=tied),
            paths=replace(paths, **wavelets),
            columns=None,
        )


class OneGrid:
    """Transforms by a model with every map on one grid, as kymatio's are.

    Parameters
    ----------
    model : TiedScattering
        Fitted.
    """

    def __init__(self, model):
        self.transform = mock.patch.object(shifts, "GRIDS", ())(model.transform)
        self.feature_table_ = model.feature_table_


def densities(scattering, atoms):
    """Return one density per channel on the base grid (n_channels, L, L, L), band-limited."""
    (structure,) = scattering._check([atoms])
    evaluator = scattering._evaluator
    grid = evaluator.grid(structure)
    (elements,) = evaluator._coefficients(evaluator._densities([structure], grid), grid)[0]
    weights = evaluator.weights[evaluator._rows(structure)].T
    spectra = np.tensordot(weights, elements, axes=1)
    shape = grid.shapes[0]
    return scipy.fft.irfftn(spectra, s=shape, axes=(1, 2, 3), norm="forward").astype(np.float32)


def gaussian_densities(atoms, weights, length, sigma):
    """Return densities as kymatio's example makes them: Gaussians summed in space."""
    from kymatio.scattering3d.utils import generate_weighted_sum_of_gaussians

    points = np.mgrid[:length, :length, :length].astype(np.float32)
    positions = atoms.get_scaled_positions() * length
    repeated = np.repeat(positions[None], len(weights), axis=0)
    return generate_weighted_sum_of_gaussians(points, repeated, weights, sigma)


def in_kymatio_order(scattering, features):
    """Return our features (n_channels, paths of kymatio, l, powers).

    kymatio lists first-order j, then (j1, j2) with j2 > j1, for every l.
    """
    columns = scattering.feature_table_.reset_index(drop=True)
    columns["column"] = columns.index
    columns = columns.fillna({"j2": -1}).sort_values(["channel", "order", "j1", "j2", "l1", "q"])
    n_channels, n_l = columns["channel"].nunique(), columns["l1"].nunique()
    n_powers = columns["q"].nunique()
    ordered = features[..., columns["column"].to_numpy()]
    return ordered.reshape(*features.shape[:-1], n_channels, -1, n_l, n_powers)


def spread_of_ratio(ours, theirs):
    """Return median and largest relative deviation of theirs / ours from its median."""
    ratio = theirs / ours
    deviation = np.abs(ratio / np.median(ratio, axis=(0, 1), keepdims=True) - 1)
    return np.median(deviation), deviation.max()


def compare(structures, *, length, n_scales, max_l, powers, channels, repeats):
    """Time one setting and return rows of the table."""
    # Cubic voxels of one size need one cell: frames of the first path.
    cell = structures[0].cell
    chosen = [a for a in structures if np.allclose(a.cell, cell)][:2]
    side = cell[0, 0]
    common = {
        "n": range(1, max_l + 2),
        "max_l": max_l,
        "beta": BETA,
        "n_scales": n_scales,
        "powers": powers,
        "channels": channels,
        "spacing": side / length,
        "min_scale_step": 1,
        "normalize": None,
        "smoothing": 1e-8,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ours = {
            "skwavelet, multi-resolution": TiedScattering(**common).fit(chosen),
            "skwavelet, full resolution": TiedScattering(
                **common, oversampling=2.0 ** (n_scales - 1)
            ).fit(chosen),
        }
        model = next(iter(ours.values()))
        ours["skwavelet, multi-resolution, one grid"] = OneGrid(model)
        exact = TiedScattering(
            **(common | {"spacing": side / length / 2}), oversampling=2.0**n_scales, dtype="float64"
        ).fit(chosen)
    rows = model._check(chosen[:1])
    assert model._evaluator.grid(rows[0]).shapes[0] == (length,) * 3
    signals = [densities(model, a) for a in chosen]
    names = sorted(model.channels_.columns)
    order = [list(model.channels_.columns).index(name) for name in names]
    signals = [signal[order] for signal in signals]

    import torch

    torch.set_num_threads(1)
    settings = {
        "J": n_scales - 1,
        "shape": (length,) * 3,
        "L": max_l,
        "sigma_0": BETA / side * length,
        "integral_powers": powers,
    }
    theirs = {name: frontend(**settings) for name, frontend in load_kymatio().items()}
    inputs = {"numpy": signals, "torch": [torch.from_numpy(signal) for signal in signals]}
    functions = {
        f"kymatio, {name}": partial(frontend.scattering, inputs[name][0])
        for name, frontend in theirs.items()
    }
    functions |= {name: partial(m.transform, chosen[:1]) for name, m in ours.items()}
    timings = alternate(functions, repeats)

    found = {
        f"kymatio, {name}": np.stack([np.asarray(frontend.scattering(x)) for x in inputs[name]])
        for name, frontend in theirs.items()
    }
    found |= {name: in_kymatio_order(m, m.transform(chosen)) for name, m in ours.items()}
    reference = in_kymatio_order(exact, exact.transform(chosen))
    fastest = min((n for n in timings if n.startswith("kymatio")), key=lambda n: timings[n].best)
    lines = []
    for name, timing in timings.items():
        median, largest = spread_of_ratio(reference, found[name])
        lines.append(
            [
                name,
                f"{1e3 * timing.best:.1f}",
                f"{1e3 * timing.median:.1f}",
                f"{1e3 * timing.best_cpu:.1f}",
                f"{timings[fastest].best / timing.best:.1f}",
                f"{timings[fastest].best_cpu / timing.best_cpu:.1f}",
                f"{median:.1e}",
                f"{largest:.1e}",
            ]
        )
    weights = model.channels_[names].loc[chosen[0].get_chemical_symbols()].to_numpy().T
    sigma = settings["sigma_0"]
    gaussians = alternate(
        {"": partial(gaussian_densities, chosen[0], weights, length, sigma)}, max(2, repeats // 5)
    )[""]
    print(
        f"\n{chosen[0].symbols}, {length}^3 points, J = {n_scales - 1}, L = {max_l}, powers "
        f"{', '.join(f'{q:.3g}' for q in powers)}, {len(names)} channel{'s' * (len(names) > 1)}: "
        f"{model.n_features_out_} coefficients\n"
    )
    header = ["", "best (ms)", "median (ms)", "best CPU (ms)", "speed", "CPU speed"]
    header += ["deviation, median", "largest"]
    print(table(header, lines))
    print(
        f"\nkymatio's density, Gaussians summed in space, would add {1e3 * gaussians.best:.0f} ms.",
        flush=True,
    )


def main():
    args = arguments(__doc__, quick={"repeats": 3}, repeats=6)
    try:
        load_kymatio()
    except ImportError as error:
        sys.exit(f"{error}; python -m pip install kymatio torch")
    structures = load_lisi().structures
    print(machine("kymatio", "torch", "numpy", "scipy", "pyFFTW"))
    thesis = (1, 4 / 3, 5 / 3, 2)
    base = {"length": 48, "n_scales": 5, "max_l": 2}
    settings = [
        base | {"powers": thesis, "channels": "auto"},
        base | {"powers": (1, 2), "channels": "auto"},
        base | {"powers": (1, 2), "channels": ["valence"]},
        {"length": 64, "n_scales": 5, "max_l": 3, "powers": thesis, "channels": "auto"},
    ]
    if args.quick:
        small = {"length": 32, "n_scales": 3, "max_l": 2, "powers": thesis}
        settings = [small | {"channels": "auto"}]
    for setting in settings:
        compare(structures, **setting, repeats=args.repeats)


if __name__ == "__main__":
    main()
