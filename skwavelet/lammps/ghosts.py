"""Copies of other ranks' atoms."""

from __future__ import annotations

from typing import Any

import numpy as np

# How far (Å) beyond the range of the model copies of other ranks' atoms are kept: LAMMPS's default
# for the skin of neighbour lists, which are built again once an atom has moved by half of it.
SKIN = 2.0


class Ghosts:
    """Copies of other ranks' atoms (ghosts): whether there are enough, and whose they are.

    LAMMPS makes them when it builds its neighbour lists, and moves them along until it does so
    again. ``reach`` (Å) is the range of the model.
    """

    def __init__(self, lmp: Any, comm: Any, reach: float):
        self.lmp, self.comm, self.reach = lmp, comm, reach
        self._built: tuple[float, int] | None = None

    def follow(self, step: int, n_owned: int, positions: np.ndarray) -> None:
        """Take notice of the atoms at a step."""
        # All ranks build together; what comes twice at a step may be a new run.
        built = (self.lmp.get_thermo("nbuild"), step)
        if self._built is None or built[0] != self._built[0] or step == self._built[1]:
            self._learn_owners(n_owned, len(positions))
            self._first = positions[:n_owned].copy()
        self._built = built
        moved = np.square(positions[:n_owned] - self._first).sum(axis=1).max(initial=0.0)
        if moved > (SKIN / 2) ** 2 * (1 + 1e-9):
            raise ValueError(
                f"An atom has moved {np.sqrt(moved):.2f} Å since LAMMPS built its neighbour lists, "
                f"and copies of atoms reach {SKIN} Å beyond the model; use `neighbor {SKIN} bin` "
                "and `neigh_modify delay 0 every 1 check yes`."
            )

    def send_back(self, ghost_forces: np.ndarray, forces: np.ndarray) -> None:
        """Add what acts on copies, (n_ghosts, ...), to what acts on the atoms themselves."""
        parts = [ghost_forces[places] for places in self._sent]
        for places, part in zip(self._received, self.comm.alltoall(parts), strict=True):
            np.add.at(forces, places, part)

    def _learn_owners(self, n_owned: int, n_atoms: int) -> None:
        """Find which rank owns every copy, and where it stands there.

        Every tag has a rank that knows the owner, tag modulo ranks, so that no rank has to know
        all of them.
        """
        tags = self.lmp.numpy.extract_atom("id", nelem=n_atoms).copy()
        owned, ghosts = tags[:n_owned], tags[n_owned:]
        known = self._by_rank(owned)
        registered = self.comm.alltoall([owned[places] for places in known])
        register = {tag: rank for rank, part in enumerate(registered) for tag in part.tolist()}
        asked = self._by_rank(ghosts)
        questions = self.comm.alltoall([ghosts[places] for places in asked])
        answers = self.comm.alltoall(
            [np.array([register[tag] for tag in part.tolist()], dtype=int) for part in questions]
        )
        owners = np.zeros(len(ghosts), dtype=int)
        for places, answer in zip(asked, answers, strict=True):
            owners[places] = answer
        self._sent = [np.flatnonzero(owners == rank) for rank in range(self.comm.size)]
        order = np.argsort(owned)
        self._received = [
            order[np.searchsorted(owned, part, sorter=order)]
            for part in self.comm.alltoall([ghosts[places] for places in self._sent])
        ]

    def _by_rank(self, tags: np.ndarray) -> list[np.ndarray]:
        """Return the places of the tags that every rank keeps the register of."""
        keeper = tags % self.comm.size
        return [np.flatnonzero(keeper == rank) for rank in range(self.comm.size)]
