"""The density's Fourier coefficients by non-uniform FFT: cost N + V log V instead of N V.

It takes the place of the separable sums where there are many atoms. Everything
runs in double precision and is rounded at the end, so that the tolerance is the only error; in
single precision the phases of distant voxels would lose as many digits as the grid has points.

Only the half spectrum is computed.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from itertools import pairwise

import numpy as np

from skwavelet._utils.threads import n_threads
from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.density import SeparableDensity, angular_orders, pair_weights

# Below this tolerance the smaller upsampling factor, 1.25, is too coarse for its kernel.
COARSE_TOLERANCE = 1e-9
# Atoms of one element from which on it is faster than the separable sums, by measurement.
CROSSOVER = 400
# Frequencies that are transformed together; their scratch space takes three times as much.
WINDOW = 2**24


def is_faster(n_atoms: int) -> bool:
    """Whether to transform this many atoms here: they are many, and finufft is installed."""
    return n_atoms >= CROSSOVER and _installed()


@lru_cache(maxsize=1)
def _installed() -> bool:
    return importlib.util.find_spec("finufft") is not None


def make_density(
    arrays: Arrays, fractional: np.ndarray, shape: tuple[int, int, int], tolerance: float
) -> SeparableDensity | NonUniformDensity:
    """Return the density of atoms of one element, by the faster of both ways."""
    if is_faster(len(fractional)):
        return NonUniformDensity(arrays, fractional, shape, tolerance)
    return SeparableDensity(arrays, fractional, shape)


class NonUniformDensity:
    """Structure factors of many atoms of one element, see ``SeparableDensity``.

    The last axis of the half spectrum is cut into windows of frequencies: a phase shifts each to
    the frequencies around zero that a transform knows, and its scratch space shrinks with it. They
    are computed on the host, to a ``tolerance`` relative to the root mean square of the result.
    """

    def __init__(
        self,
        arrays: Arrays,
        fractional: np.ndarray,
        shape: tuple[int, int, int],
        tolerance: float,
    ):
        self.arrays, self.shape = arrays, shape
        self._orders = angular_orders(shape)
        self._angles = 2 * np.pi * np.ascontiguousarray(fractional.T, dtype=np.float64)
        self._modes, self._tolerance = half(shape), tolerance
        width = max(1, WINDOW // (shape[0] * shape[1]))
        # As even as can be: narrow windows cost as much as wide ones to spread atoms to.
        count = -(-self._modes[2] // width)
        edges = np.linspace(0, self._modes[2], count + 1).astype(int).tolist()
        self._windows = list(pairwise(edges))

    def _planned(self, kind: int, window: tuple[int, int]):
        """Return an executable transform, its middle frequency and the phases of that."""
        import finufft

        start, stop = window
        plan = finufft.Plan(
            kind,
            (*self._modes[:2], stop - start),
            eps=self._tolerance,
            isign=-1,
            dtype="complex128",
            modeord=1,
            nthreads=n_threads(),
            showwarn=0,  # of threads on one physical core, which are meant
            upsampfac=1.25 if self._tolerance >= COARSE_TOLERANCE else 2.0,
        )
        plan.setpts(*self._angles)
        middle = start + (stop - start) // 2
        return plan.execute, middle, np.exp(-1j * middle * self._angles[2])

    def _to_frequencies(self, strengths: np.ndarray | None, out: np.ndarray) -> None:
        """Write sum_k strengths_k exp(-2 pi i h.s_k), half spectrum, to ``out``; None for ones."""
        for start, stop in self._windows:
            execute, middle, phases = self._planned(1, (start, stop))
            modes = execute(phases if strengths is None else strengths * phases)
            # From the middle up, then what lies below it.
            out[..., middle:stop] = modes[..., : stop - middle]
            out[..., start:middle] = modes[..., stop - middle :]

    def _to_atoms(self, coefficients: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return sum_h factor_h coefficients_h exp(-2 pi i h.s_k) over the half spectrum."""
        total = np.zeros(self._angles.shape[1], dtype=np.complex128)
        for start, stop in self._windows:
            execute, middle, phases = self._planned(2, (start, stop))
            modes = np.empty((*self._modes[:2], stop - start), dtype=np.complex128)
            for part, place in (
                (slice(middle, stop), slice(0, stop - middle)),
                (slice(start, middle), slice(stop - middle, None)),
            ):
                there = factor[..., part] if factor.shape[-1] > 1 else factor
                np.multiply(coefficients[..., part], there, out=modes[..., place])
            total += execute(modes) * phases
        return total

    def _scratch(self) -> np.ndarray:
        dtype = np.result_type(self.arrays.dtype, np.complex64)
        return np.empty(self._modes, dtype=dtype)

    def write(self, out: Array) -> None:
        """Write rho^(G) (L0, L1, L2 // 2 + 1) to ``out``."""
        values = out if isinstance(out, np.ndarray) else self._scratch()
        self._to_frequencies(None, values)
        if values is not out:
            out[...] = self.arrays.asarray(values)

    def jvp(self, directions: np.ndarray) -> Array:
        """Return d rho^ (D, L0, L1, L2 // 2 + 1) along motions (D, N, 3) of the positions."""
        result = self.arrays.zeros((len(directions), *self._modes), spectra=True)
        term = self._scratch()
        for row, motions in zip(result, directions, strict=True):
            for motion, h in zip(motions.T, self._orders, strict=True):
                self._to_frequencies(motion, term)
                term *= -1j * h
                row += self.arrays.asarray(term)
        return result

    def vjp(self, cotangent: Array) -> np.ndarray:
        """Return the gradient (N, 3) of Re sum_G cotangent rho^ in fractional positions."""
        weights = pair_weights(self.shape, self.arrays.dtype)
        values = self.arrays.host(cotangent)
        return np.stack([self._to_atoms(values, h * weights) for h in self._orders], axis=1).imag
