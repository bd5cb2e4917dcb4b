"""Take the packaged part of the Li-Si paths (skwavelet/datasets/data) from the full set.

python benchmarks/data/package_lisi.py --source DIR      # DIR contains lisi/paths/c00.npz ...

All compositions, paths 0 to 4, relaxation steps 0, 4, 13, 35, 55: from unrelaxed to the end.
Positions are rounded to float32; everything else is copied. The script prints what this costs.
"""

import argparse
from pathlib import Path

import numpy as np

PATHS = range(5)
STEPS = (0, 4, 13, 35, 55)
PACKAGED = Path(__file__).resolve().parents[2] / "skwavelet" / "datasets" / "data"
PER_FRAME = ("positions", "energy", "forces", "stress", "path", "step")


def main(source: Path, output: Path) -> None:
    target = output / "lisi" / "paths"
    target.mkdir(parents=True, exist_ok=True)
    n_structures = n_bytes = 0
    shift = energy_change = resolution = 0.0
    files = sorted((source / "lisi" / "paths").glob("c*.npz"))
    if not files:
        raise SystemExit(f"no lisi/paths/c*.npz in {source}")
    for file in files:
        with np.load(file) as archive:
            record = dict(archive)
        rows = np.isin(record["path"], PATHS) & np.isin(record["step"], STEPS)
        record |= {key: record[key][rows] for key in PER_FRAME}
        exact = record["positions"]
        record |= {
            "positions": exact.astype(np.float32),
            "path": record["path"].astype(np.int8),
            "step": record["step"].astype(np.int8),
            "numbers": record["numbers"].astype(np.int8),
        }
        np.savez_compressed(target / file.name, **record)

        n_structures += rows.sum()
        n_bytes += (target / file.name).stat().st_size
        moved = record["positions"] - exact
        shift = max(shift, np.abs(moved).max())
        # To first order the energy of the rounded geometry differs by the work of the forces.
        work = np.abs((record["forces"] * moved).sum(axis=(1, 2)))
        energy_change = max(energy_change, work.max())
        resolution = max(resolution, np.spacing(np.abs(record["energy"]).max()))
    print(f"{n_structures} structures of {len(files)} compositions, {n_bytes / 1e6:.2f} MB")
    print(
        f"rounding moves a coordinate by at most {shift:.1e} Å and a cell's energy by at most "
        f"{energy_change:.1e} eV; the stored energies are spaced by {resolution:.1e} eV"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="directory with lisi/")
    parser.add_argument("--output", type=Path, default=PACKAGED, help="default: the package")
    arguments = parser.parse_args()
    main(arguments.source, arguments.output)
