"""Time features of this checkout beside those of an earlier one, in turn.

    git worktree add /tmp/before 930d0c2
    python benchmarks/speed/versions.py --before /tmp/before
    python benchmarks/speed/versions.py --before /tmp/before --quick

930d0c2 is the last version without compiled kernels. Each version runs in a process of its own, on
one thread, and one of the two computes at a time: features of one structure, and features with the
gradient of their sum. The shortest CPU times count. The structures are a Li-Si cell of 66 atoms and
a tiling of it. Only public names are used, so that any two versions that have them can be compared.

Cost: 4 min.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import machine

ROOT = Path(__file__).resolve().parents[2]
OCTAVES = "scale_step=1.0, n_scales=2, order=2, max_l=2, reach=6.0"
KINDS = (
    "PointScattering(reach=6.0)",
    f"PointScattering(3, {OCTAVES})",
    f"PointScattering((1, 2, 3), {OCTAVES})",
    "AngularFeatures(reach=6.0)",
    "AngularFeatures(angles='legendre', reach=6.0)",
    "VoxelScattering(n_scales=3)",
)
TILINGS = (1, 1, 1), (4, 2, 2)
WORKER = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from skwavelet import AngularFeatures, PointScattering, VoxelScattering
from skwavelet.datasets import load_lisi

structures = load_lisi().structures[:100:10]
for line in sys.stdin:
    expression, tiling, gradient, count = line.split("|")
    transformer = eval(expression).fit(structures)
    atoms = [structures[0] * eval(tiling)]
    cotangent = np.ones((1, transformer.transform(atoms).shape[1]))
    def once():
        if int(gradient):
            transformer.value_and_vjp(atoms, cotangent)
        else:
            transformer.transform(atoms)
    once()
    print(cotangent.shape[1], len(atoms[0]), flush=True)
    while sys.stdin.readline().strip() == "again":
        start = time.process_time()
        for _ in range(int(count)):
            once()
        print((time.process_time() - start) / int(count), flush=True)
"""


class Version:
    """A process that runs the code of a checkout.

    Parameters
    ----------
    checkout : path
    """

    def __init__(self, checkout):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=os.environ | threads | {"PYTHONPATH": str(checkout)},
        )  # fmt: skip

    def ask(self, line):
        """Send a line, and return the numbers of the answer."""
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("one of the versions has failed")
        return [float(word) for word in answer.split()]

    def end(self):
        """Leave the question that is being timed."""
        print("end", file=self.process.stdin, flush=True)

    def close(self):
        """End the process."""
        self.process.communicate()


def compare(versions, expression, tiling, gradient, repeats):
    """Return numbers of features and of atoms, and the shortest seconds of every version."""
    count = 1 if "Voxel" in expression else 12
    question = f"{expression}|{tiling}|{int(gradient)}|{count}"
    sizes = [version.ask(question) for version in versions]
    times = [[version.ask("again")[0] for version in versions] for _ in range(repeats)]
    for version in versions:
        version.end()
    return sizes, [min(own) for own in zip(*times, strict=True)]


def main():
    args = arguments(__doc__, quick={"repeats": 2}, before="", repeats=6)
    if not args.before:
        sys.exit("--before names a checkout of the earlier version")
    print(machine("numpy", "numba"))
    versions = [Version(args.before), Version(ROOT)]
    table = Table((
        "", "features", "atoms", "before, µs/atom", "now", "ratio",
        "with gradient: before", "now", "ratio",
    ))  # fmt: skip
    for expression in KINDS:
        only_cell = args.quick or "Voxel" in expression  # on voxels, larger ones take minutes
        for tiling in TILINGS[:1] if only_cell else TILINGS:
            row = []
            for gradient in (False, True):
                sizes, (before, now) = compare(versions, expression, tiling, gradient, args.repeats)
                n_atoms = sizes[1][1]
                row += [1e6 * before / n_atoms, 1e6 * now / n_atoms, before / now]
            features = " and ".join(str(n) for n in sorted({int(size[0]) for size in sizes}))
            table.add(f"`{expression}`", features, int(n_atoms), *row)
    for version in versions:
        version.close()


if __name__ == "__main__":
    main()
