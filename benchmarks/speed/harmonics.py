"""Time the solid harmonics of the compiled kernels beside sphericart's and print a table.

    pip install sphericart
    python benchmarks/speed/harmonics.py

Both evaluate all degrees up to ``max_l`` at the same random points on one thread; a reverse sweep
is the gradient of a weighted sum of all of them at every point. The compiled kernels work on 512
points at a time, as they do on pairs of atoms. The largest difference of the values, relative to
the largest value, is printed beside.

Cost: 1 min.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import alternate, machine

from skwavelet.representations.point.moment_kernels import CHUNK
from skwavelet.representations.point.moments import MomentLayout
from skwavelet.representations.point.wavelet_kernels import add_harmonic_gradients, fill_harmonics


class Compiled:
    """The kernels of this package, with their tables."""

    def __init__(self, points, max_l):
        self.max_l = max_l
        self.parts = [
            np.ascontiguousarray(part.T) for part in np.split(points, len(points) // CHUNK)
        ]
        dtype = points.dtype
        self.norms = MomentLayout(np.arange(max_l + 1)).norms.astype(dtype)
        self.vertical = np.empty((len(self.norms), CHUNK), dtype)
        self.azimuth = np.empty((2, max_l + 1, CHUNK), dtype)
        self.rows = np.empty(((max_l + 1) ** 2, CHUNK), dtype)

    def fill(self, part):
        """Write the harmonics of some points to ``rows``."""
        squares = np.einsum("ik,ik->k", part, part)
        fill_harmonics(
            self.norms, self.max_l, part, squares, CHUNK, self.vertical, self.azimuth, self.rows
        )

    def values(self):
        """Evaluate all, and return those of the last points."""
        for part in self.parts:
            self.fill(part)
        return self.rows.T

    def sweep(self, weights):
        """Evaluate all with gradients, and return those of the last points."""
        for part in self.parts:
            self.fill(part)
            gradient = np.zeros_like(part)
            add_harmonic_gradients(
                self.norms, self.max_l, part, CHUNK, self.vertical, self.azimuth, weights, gradient
            )
        return gradient.T


def main():
    """Print the table."""
    import sphericart

    args = arguments(__doc__, max_l=[3, 6, 9], points=200 * CHUNK, repeats=15)
    print(machine("sphericart"))
    table = Table(
        ["max_l", "dtype", "what", "sphericart, ns", "this, ns", "times faster", "difference"]
    )
    rng = np.random.default_rng(0)
    for max_l in args.max_l:
        for dtype in (np.float32, np.float64):
            points = rng.normal(size=(args.points // CHUNK * CHUNK, 3)).astype(dtype)
            weights = rng.normal(size=((max_l + 1) ** 2, CHUNK)).astype(dtype)
            ours, other = Compiled(points, max_l), sphericart.SolidHarmonics(max_l)
            everywhere = np.tile(weights.T, (len(ours.parts), 1))

            def sweep(other=other, points=points, everywhere=everywhere):
                _, gradients = other.compute_with_gradients(points)
                return np.einsum("kal,kl->ka", gradients, everywhere)

            pairs = {
                "values": (lambda other=other, points=points: other.compute(points), ours.values),
                "reverse sweep": (sweep, lambda ours=ours, weights=weights: ours.sweep(weights)),
            }
            for what, (theirs, mine) in pairs.items():
                expected, found = theirs()[-CHUNK:], mine()
                times = alternate({"theirs": theirs, "mine": mine}, args.repeats)
                one, two = (1e9 * times[name].best_cpu / len(points) for name in times)
                difference = np.abs(found - expected).max() / np.abs(expected).max()
                table.add(
                    max_l, np.dtype(dtype).name, what, f"{one:.0f}", f"{two:.0f}",
                    f"{one / two:.1f}", f"{difference:.0e}",
                )  # fmt: skip


if __name__ == "__main__":
    main()
