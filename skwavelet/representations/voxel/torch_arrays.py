"""The cascade's arrays as torch tensors, on a CPU or a GPU; see ``arrays.py``.

torch is imported when a tensor is first made, not before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skwavelet._utils.memory import available_memory
from skwavelet._utils.torch_device import usable_device
from skwavelet.representations.voxel.arrays import Unpacked, half
from skwavelet.representations.voxel.chunk import Chunk
from skwavelet.representations.voxel.shifts import Shift, phases

# Maps that are transformed together: enough to keep a GPU busy.
CHUNK_BYTES = {"cpu": 2**22, "cuda": 2**29}
# Structures that are computed together on a CPU.
BATCH_BYTES = 2**28


class TorchWorkspace:
    """Maps and half spectra of one shape; see ``fftw.Workspace``."""

    def __init__(self, arrays: TorchArrays, batch: int, shape: tuple[int, ...]):
        self._fft, self._shape = arrays.torch.fft, shape
        self.spectra = arrays.empty((batch, *half(shape)), spectra=True)
        self.maps = arrays.empty((batch, *shape))

    def inverse(self):
        """Transform ``spectra`` into ``maps`` and return them."""
        axes = (-3, -2, -1)
        return self._fft.irfftn(
            self.spectra, s=self._shape, dim=axes, norm="forward", out=self.maps
        )

    def forward(self):
        """Transform ``maps`` into ``spectra`` and return them."""
        return self._fft.rfftn(self.maps, dim=(-3, -2, -1), out=self.spectra)


@dataclass(frozen=True)
class TorchArrays(Unpacked):
    """Tensors of one precision, a real NumPy ``dtype``, on one device ("cpu", "cuda:0")."""

    dtype: np.dtype
    device: str

    @cached_property
    def torch(self) -> Any:
        """The module."""
        import torch

        return torch

    @cached_property
    def xp(self) -> Any:
        """The array namespace."""
        import array_api_compat.torch

        return array_api_compat.torch

    def __getstate__(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "device": self.device}

    @classmethod
    def on(cls, device: str, dtype: np.dtype) -> TorchArrays:
        """Return the arrays of a device, or raise ``ValueError`` if it is not there."""
        try:
            import array_api_compat  # noqa: F401
            import torch  # noqa: F401
        except ImportError as error:
            raise ValueError(
                f"device={device!r} needs torch and array-api-compat: "
                "pip install 'skwavelet[torch]', or use device=None."
            ) from error
        usable_device(device)
        return cls(np.dtype(dtype), device)

    @property
    def batch_bytes(self) -> float:
        """How much structures of one box may take that are computed together."""
        return BATCH_BYTES if self.device == "cpu" else 0.5 * self.available_memory()

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of maps go together."""
        return CHUNK_BYTES["cpu" if self.device == "cpu" else "cuda"]

    def _type(self, spectra: bool) -> Any:
        names = {"float32": "complex64", "float64": "complex128"}
        return getattr(self.torch, names[self.dtype.name] if spectra else self.dtype.name)

    fixed_bytes = 2.0**20
    by_planes = False

    def in_precision(self, dtype: np.dtype) -> TorchArrays:
        """Return the same backend with another real type."""
        return replace(self, dtype=dtype)

    def at(self, shape: tuple[int, int, int]) -> TorchArrays:
        """Return the backend for maps of a shape: this one."""
        return self

    def kept_parents(self, shape: tuple[int, int, int], count: int) -> int:
        """Return how many first-order maps may be kept together: all."""
        return count

    def mixes_early(self, n_channels: int, n_elements: int) -> bool:
        """Whether there are no more channels than elements to be transformed."""
        return n_channels <= n_elements

    def chunk(
        self,
        spectra: Any,
        filters: Any,
        wavelet: int,
        mix: Any,
        floors: np.ndarray,
        powers: tuple[float, ...],
    ) -> Chunk:
        """Return the wavelet transforms of a few maps."""
        return Chunk(self, spectra, filters, wavelet, mix, floors, powers)

    def available_memory(self) -> float:
        """Return how many bytes a computation may still take."""
        if self.device == "cpu":
            return available_memory()
        free, _ = self.torch.cuda.mem_get_info(self.device)
        # What torch keeps for the next tensors is free, too.
        kept = self.torch.cuda.memory_reserved(self.device)
        return free + kept - self.torch.cuda.memory_allocated(self.device)

    def asarray(self, values: Any) -> Any:
        """Return host values as a tensor of this precision."""
        if isinstance(values, self.torch.Tensor):
            return values
        kind = self._type(np.iscomplexobj(values))
        return self.torch.tensor(values, dtype=kind, device=self.device)

    def host(self, values: Any) -> np.ndarray:
        """Return values as a NumPy array."""
        return values.resolve_conj().cpu().numpy()

    def stack(self, rows: list[list[Any]]) -> Any:
        """Stack rows of tensors along two new first axes."""
        return self.torch.stack([self.torch.stack(row) for row in rows])

    def index(self, rows: np.ndarray) -> Any:
        """Return what selects rows, given their numbers."""
        return self.torch.as_tensor(rows, device=self.device)

    def empty(self, shape: tuple[int, ...], *, spectra: bool = False) -> Any:
        """Return an uninitialized tensor of maps or of spectra."""
        return self.torch.empty(shape, dtype=self._type(spectra), device=self.device)

    def zeros(self, shape: tuple[int, ...], *, spectra: bool = False) -> Any:
        """Return a tensor of zeros, of maps or of spectra."""
        return self.torch.zeros(shape, dtype=self._type(spectra), device=self.device)

    def buffer(self, name: str, shape: tuple[int, ...], *, spectra: bool = False) -> Any:
        """Return scratch space: torch itself keeps what was freed."""
        return self.empty(shape, spectra=spectra)

    def workspace(self, batch: int, shape: tuple[int, ...], slot: int = 0) -> TorchWorkspace:
        """Return a workspace of a shape."""
        return TorchWorkspace(self, batch, shape)

    def release(self) -> None:
        """Nothing is kept here."""

    def sum_products(self, a: Any, b: Any, axis: int, out: Any) -> Any:
        """Write the sum of a * b over an axis to ``out``."""
        return self.torch.sum(a * b, dim=axis, out=out)

    def conjugate(self, spectra: Any) -> Any:
        """Return the complex conjugate."""
        return spectra.conj()

    def shifted(self, spectra: Any, shape: tuple[int, int, int], shift: Shift, out: Any) -> Any:
        """Write the coefficients of shifted maps to ``out``, which is returned."""
        columns, last = phases(shape, shift, np.dtype(np.complex128), packed=False)
        self.torch.mul(spectra, self.asarray(columns)[:, :, None], out=out)
        out *= self.asarray(last[0])
        return out

    def average(
        self, maps: Any, shift: Shift, weight: float, out: Any, *, add: bool = False
    ) -> None:
        """Write, or add, means of neighbours in maps (S, B, grid) on a shifted grid to ``out``."""
        means = weight * maps
        for axis, half_voxels in enumerate(shift.halves, start=-3):
            if half_voxels:
                means = 0.5 * (means + self.torch.roll(means, half_voxels, axis))
        out[...] = out + means if add else means

    def forward_rows(self, maps: Any, out: Any, factors: np.ndarray | None = None) -> None:
        """Write the forward transforms of maps (S, B, grid), times real factors (half grid)."""
        found = self.torch.fft.rfftn(maps, dim=(-3, -2, -1))
        out[...] = found if factors is None else found * self.asarray(factors)

    def inverse_rows(self, spectra: Any, out: Any, factors: np.ndarray | None = None) -> None:
        """Write the inverse transforms of conjugated half spectra to maps (S, B, grid)."""
        spectra = spectra if factors is None else spectra * self.asarray(factors)
        axes, conjugates = (-3, -2, -1), spectra.conj().resolve_conj()
        out[...] = self.torch.fft.irfftn(conjugates, s=out.shape[-3:], dim=axes, norm="forward")

    def complex(self, maps: Any) -> Any:
        """Return maps as complex numbers, for products with those."""
        return maps.to(self._type(spectra=True))
