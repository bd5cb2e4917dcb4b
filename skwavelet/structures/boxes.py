"""The box around a structure: its periods, and right angles where it has none; how it strains."""

from __future__ import annotations

import numpy as np


def bounding_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Return the cell (3, 3) with unit vectors across the periods in place of non-periodic ones."""
    if pbc.all():
        return cell
    cell, periods = cell.copy(), cell[pbc]
    if len(periods) == 0:
        return np.eye(3)
    if len(periods) == 2:
        normal = np.cross(*periods)
        cell[~pbc] = normal / np.linalg.norm(normal)
    elif len(periods) == 1:
        cell[~pbc] = _frame(periods[0])[1:]
    return cell


def _frame(period: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors along a period and across it, the latter by the most distant axis."""
    along = period / np.linalg.norm(period)
    across = np.eye(3)[np.abs(along).argmin()]
    across = across - (across @ along) * along
    across /= np.linalg.norm(across)
    return along, across, np.cross(along, across)


def box_strain(cell: np.ndarray, pbc: np.ndarray, strains: np.ndarray) -> np.ndarray:
    """Return the strains (..., 3, 3) of the padded box when a structure is strained.

    Periods follow the strain; the other box vectors keep their lengths and stay perpendicular to
    the periods: eta = P eps - (1 - P) eps^T P with P the projector on the span of the periods.
    The box of a wire turns about it, too, when the wire turns.
    """
    if pbc.all():
        return strains
    P, (direction, turn) = _projector(cell[pbc]), _turn(cell[pbc])
    bent = P @ strains - (np.eye(3) - P) @ np.swapaxes(strains, -1, -2) @ P
    angles = np.tensordot(strains, direction, axes=2)
    return bent + np.multiply.outer(angles, turn)


def box_strain_transpose(cell: np.ndarray, pbc: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Apply the adjoint of ``box_strain`` to a strain gradient (3, 3)."""
    if pbc.all():
        return gradient
    P, (direction, turn) = _projector(cell[pbc]), _turn(cell[pbc])
    return P @ gradient - P @ gradient.T @ (np.eye(3) - P) + (turn * gradient).sum() * direction


def _projector(periods: np.ndarray) -> np.ndarray:
    """Return the projector (3, 3) on the span of the periods."""
    basis = np.linalg.qr(periods.T)[0]
    return basis @ basis.T


def _turn(periods: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the strain that turns the box about a wire, and the turn, each of shape (3, 3).

    The axis e that fixes the box across the wire a stands still: when a moves by da, the box
    turns about a by -(e.a) (da.c) / |e - (e.a) a|, with c perpendicular to both a and e.
    """
    if len(periods) != 1:
        return np.zeros((3, 3)), np.zeros((3, 3))
    along, _, third = _frame(periods[0])
    cosine = along[np.abs(along).argmin()]
    direction = -cosine / np.sqrt(1 - cosine**2) * np.outer(along, third)
    return direction, np.cross(along, np.eye(3))
