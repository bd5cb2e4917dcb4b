"""Devices of torch that are there."""

from __future__ import annotations

import torch


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device of torch, or raise ``ValueError`` if torch cannot use it."""
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"torch cannot use device={str(device)!r} ({reason}); use device='cpu'."
        ) from error
    return place
