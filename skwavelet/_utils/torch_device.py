"""Devices of torch that are there; torch is imported when one is asked for, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device of torch, or raise ``ValueError`` if torch cannot use it."""
    import torch

    try:
        return torch.empty(1, device=device).device  # "cuda" is "cuda:0", for one
    except (AssertionError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"torch cannot use device={str(device)!r} ({reason}); use device='cpu'."
        ) from error
