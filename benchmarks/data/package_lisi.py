"""Take the packaged Li-Si frames, and the archive that the tables need, from the full set.

    python benchmarks/data/package_lisi.py --data DIR             # DIR contains lisi/
    python benchmarks/data/package_lisi.py --data DIR --archive   # benchmarks/data/lisi.tar.xz

The package (skwavelet/datasets/data) has all compositions, paths 0 to 4 and the relaxation steps 0,
4, 13, 35, 55: from unrelaxed to the end. The archive has all paths with the twelve steps
``LISI_STEPS``, and the sets barriers, large and bulk, in the layout of the full set. Positions are
rounded to float32; everything else is copied. The script prints what this costs. Labels are those
of CHGNet v0.3.0, not of density functional theory.

Cost: 10 s; the archive a minute.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np

from skwavelet.datasets import LISI_STEPS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import ROOT, arguments
from common.data import ARCHIVE

PACKAGED = ROOT.parent / "skwavelet" / "datasets" / "data"
PER_FRAME = ("positions", "energy", "forces", "stress", "path", "step")
SMALL = ("path", "step", "numbers")


class Rounding:
    """Rounds positions, and keeps how much that changes."""

    def __init__(self):
        self.n_structures, self.shift, self.energy, self.spacing = 0, 0.0, 0.0, 0.0

    def __call__(self, record):
        """Return the record with positions in float32 and small integers."""
        exact = record["positions"]
        record = record | {"positions": exact.astype(np.float32)}
        record |= {key: record[key].astype(np.int8) for key in SMALL if key in record}
        moved = record["positions"] - exact
        # To first order the energy of the rounded geometry differs by the work of the forces.
        work = np.abs((record["forces"] * moved).sum(axis=(1, 2)))
        self.n_structures += len(exact)
        self.shift = max(self.shift, np.abs(moved).max())
        self.energy = max(self.energy, work.max())
        self.spacing = max(self.spacing, np.spacing(np.abs(record["energy"]).max()))
        return record


def selected(file, steps, paths=None):
    """Return the record of a file of paths with some of its frames."""
    with np.load(file) as archive:
        record = dict(archive)
    rows = np.isin(record["step"], steps)
    if paths is not None:
        rows &= np.isin(record["path"], paths)
    return record | {key: record[key][rows] for key in PER_FRAME}


def archive(source, target, rounded):
    """Write the archive, the same bytes each time."""
    with tarfile.open(target, "w:xz", preset=9) as packed:
        for file in sorted(source.glob("lisi/*/*.npz")):
            if file.parent.name == "paths":
                record = selected(file, LISI_STEPS)
            else:
                with np.load(file) as whole:
                    record = dict(whole)
            data = io.BytesIO()
            np.savez(data, **rounded(record))  # not compressed: xz does it better
            entry = tarfile.TarInfo(file.relative_to(source).as_posix())
            entry.size = data.tell()
            data.seek(0)
            packed.addfile(entry, data)
    return target.stat().st_size


def package(source, target, rounded):
    """Write the packaged frames."""
    written = 0
    for file in sorted(source.glob("lisi/paths/c*.npz")):
        path = target / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **rounded(selected(file, (0, 4, 13, 35, 55), range(5))))
        written += path.stat().st_size
    return written


def main():
    args = arguments(__doc__, data="needed", archive=False, output=PACKAGED)
    if not list(args.data.glob("lisi/paths/c*.npz")):
        sys.exit(f"no lisi/paths/c*.npz in {args.data}")
    rounded = Rounding()
    if args.archive:
        n_bytes = archive(args.data, ARCHIVE, rounded)
    else:
        n_bytes = package(args.data, args.output, rounded)
    print(
        f"{rounded.n_structures} structures, {n_bytes / 1e6:.2f} MB\nrounding moves a coordinate "
        f"by at most {rounded.shift:.1e} Å and a cell's energy by at most {rounded.energy:.1e} eV; "
        f"the stored energies are spaced by {rounded.spacing:.1e} eV"
    )


if __name__ == "__main__":
    main()
