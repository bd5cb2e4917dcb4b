"""Time VoxelScattering on a device of torch beside one core with NumPy, and beside kymatio.

    python benchmarks/speed/voxel_gpu.py --device cuda         # about two minutes
    python benchmarks/speed/voxel_gpu.py --device cpu --quick  # seconds, without a GPU

- structures: features (and features with gradients) of frames of one relaxation path, 66 atoms in
  one cell, beta = 0.4 Å, five scales, 3,740 features, float32: structures per second on the device
  and on one core with NumPy, and the largest deviation between the two.
- kymatio: the coefficients of ``kymatio_comparison.py`` (48 points along each side, three scales,
  l <= 2, three powers, all five channels) by kymatio's HarmonicScattering3D with its torch backend
  on the same device, as many densities at a time as is fastest. kymatio starts from finished
  densities on the device; VoxelScattering starts from ``ase.Atoms``. Skipped without kymatio.

Transfers to and from the device are part of all times. Timings name the device.

Cost: 2 min; needs torch, array-api-compat and kymatio.
"""

import importlib.util
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from kymatio_comparison import TiedScattering, densities

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.rivals import load_kymatio
from common.table import table
from common.timing import machine


def fitted(structures, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return VoxelScattering(**({"beta": 0.4} | parameters)).fit(structures)


def per_second(function, count, repeats, device):
    """Return how many of ``count`` structures a function does in a second, at best."""
    best = np.inf
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        if repeat:  # the first makes plans and filters
            best = min(best, time.perf_counter() - start)
    return count / best


def frames_of_one_cell(structures, count):
    """Return so many structures of the cell of Li19Si47, displaced where there are not enough."""
    atoms = next(a for a in structures if str(a.symbols) == "Li19Si47")
    result = []
    for seed in range(count):
        result.append(atoms.copy())
        result[-1].rattle(0.05, seed=seed)
    return result


def part_structures(structures, device, quick):
    count, repeats = (4, 1) if quick else (256, 3)
    frames = frames_of_one_cell(structures, count)
    few = frames[: 4 if quick else 16]
    scattering = fitted(structures, n_scales=3 if quick else 5)
    rng = np.random.default_rng(0)
    cotangents = rng.normal(size=(count, scattering.n_features_out_))
    rows, values = [], {}
    for name, chosen, where in (("NumPy, one core", few, None), (device, frames, device)):
        model = scattering.set_params(device=where)
        values[name] = model.transform(few)
        rates = [
            per_second(lambda m=model, c=chosen: m.transform(c), len(chosen), repeats, device),
            per_second(
                lambda m=model, c=chosen: m.value_and_vjp(c, cotangents[: len(c)]),
                len(chosen),
                repeats,
                device,
            ),
        ]
        rows.append([name, rates])
    base = rows[0][1]
    header = ["", "features / s", "ratio", "features and gradients / s", "ratio"]
    lines = [
        [name, f"{a:.1f}", f"{a / base[0]:.1f}", f"{b:.1f}", f"{b / base[1]:.1f}"]
        for name, (a, b) in rows
    ]
    print(f"{scattering.n_features_out_} features of 66 atoms, {count} structures of one cell\n")
    print(table(header, lines))
    one, two = values.values()
    print(f"\nLargest relative deviation: {np.abs(two / one - 1).max():.1e} (float32)")


def part_kymatio(structures, device, quick):
    if importlib.util.find_spec("kymatio") is None:
        print("kymatio is not installed")
        return
    points, count, repeats = (24, 2, 1) if quick else (48, 64, 3)
    frames = frames_of_one_cell(structures, count)
    side = frames[0].cell.lengths()[0]
    common = {
        "n": range(1, 4), "max_l": 2, "n_scales": 3, "powers": (0.5, 1.0, 2.0),
        "spacing": side / points, "min_scale_step": 1, "normalize": None,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = TiedScattering(beta=0.4, **common).fit(frames)
    signals = np.concatenate([densities(model, atoms) for atoms in frames])
    signals = torch.from_numpy(signals).to(device)
    ours = per_second(
        lambda: model.set_params(device=device).transform(frames), count, repeats, device
    )
    theirs = load_kymatio()["torch"](
        J=2, shape=(points,) * 3, L=2, sigma_0=0.4 / side * points, integral_powers=[0.5, 1.0, 2.0]
    ).to(device)
    rates = {
        size: per_second(
            lambda s=size: [theirs.scattering(part) for part in signals.split(s)],
            count,
            repeats,
            device,
        )
        for size in (1, 5, 10, 20, 40, 80)
        if size <= len(signals)
    }
    best = max(rates, key=rates.get)
    rows = [
        ["skwavelet", f"{ours:.2f}", f"{ours / rates[best]:.2f}"],
        [f"kymatio, {best} densities at a time", f"{rates[best]:.2f}", "1"],
    ]
    n_channels = len(model.channels_.columns)
    print(f"{count} structures, {n_channels} channels, {model.n_features_out_} coefficients\n")
    print(table(["", "structures / s", "ratio"], rows))


def main():
    args = arguments(__doc__, quick={}, device="cuda")
    structures, device = load_lisi().structures, args.device
    name = torch.cuda.get_device_name(device) if device != "cpu" else "CPU"
    print(f"{machine('numpy', 'torch')}; device {name}\n\n## structures\n", flush=True)
    part_structures(structures, device, args.quick)
    print("\n## kymatio\n", flush=True)
    part_kymatio(structures, device, args.quick)


if __name__ == "__main__":
    main()
