"""Pooling of atoms to fewer nodes, after (6.17)-(6.19), at a cost proportional to the atoms.

In the reference every atom is shared out among a fixed number of nodes, which are all neighbours of
each other. Here the nodes stand for atoms: every atom is shared out among itself and the atoms
around it, in learned parts. Atoms that keep little fade away, so that the number of nodes
follows from the structure, cells may be periodic, and energies stay smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skwavelet.neural.bases import cosine_cutoff, lengths
from skwavelet.neural.graph import Pairs

# A node with less than the first share of an atom is none, with more than the second a whole one.
_FADING = (0.25, 0.75)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Atoms, or what stands for several of them.

    Attributes
    ----------
    features : Tensor of shape (n_nodes, width)
    sites : Tensor of shape (n_nodes,)
        Atom that a node belongs to.
    shifts : Tensor of shape (n_nodes, 3)
        Position of the node relative to its atom (Å).
    activity : Tensor of shape (n_nodes,)
        1 for a whole node, and less for one that fades away.
    """

    features: Tensor
    sites: Tensor
    shifts: Tensor
    activity: Tensor

    def pairs(self, of_atoms: Pairs, reach: float) -> Pairs:
        """Return the pairs of nodes closer than a reach, out of those of their atoms."""
        place = torch.full_like(of_atoms.starts[1:], -1)
        place[self.sites] = torch.arange(len(self.sites), device=place.device)
        centers, neighbors = place[of_atoms.centers], place[of_atoms.neighbors]
        found = torch.nonzero((centers >= 0) & (neighbors >= 0)).squeeze(1)
        centers, neighbors = centers[found], neighbors[found]
        vectors = of_atoms.vectors.index_select(0, found)
        vectors = vectors + self.shifts.index_select(0, neighbors)
        vectors = vectors - self.shifts.index_select(0, centers)
        near = torch.nonzero(vectors.detach().square().sum(dim=1) < reach**2).squeeze(1)
        return Pairs.of(
            centers[near], neighbors[near], vectors.index_select(0, near), len(self.sites)
        )


def pool(nodes: Nodes, pairs: Pairs, kept: Tensor, given: Tensor) -> Nodes:
    """Share nodes out among themselves and their neighbours.

    ``kept`` (n_nodes,) is S_ii, the share that a node keeps of itself, and ``given`` (P,) S_ij, the
    share of the first node of a pair that its second node gets. The new nodes have features S^T X,
    at the means of the positions with shares, divided by their sum, as weights: S^T R itself would
    not move along with the atoms.
    """
    whole = nodes.activity
    given = given * whole.index_select(0, pairs.centers)
    kept = kept * whole
    mass = kept.index_add(0, pairs.neighbors, given)
    sent = given[:, None] * nodes.features.index_select(0, pairs.centers)
    features = (kept[:, None] * nodes.features).index_add(0, pairs.neighbors, sent)
    # From the neighbour, which gets the share, to the centre, which gives it.
    moved = torch.zeros_like(nodes.shifts)
    moved = moved.index_add(0, pairs.neighbors, -given[:, None] * pairs.vectors)
    low, high = _FADING
    t = ((mass - low) / (high - low)).clamp(0, 1)
    activity = t * t * (3 - 2 * t)
    left = torch.nonzero(activity.detach() > 0).squeeze(1)
    shifts = nodes.shifts.index_select(0, left)
    shifts = shifts + moved.index_select(0, left) / mass.index_select(0, left)[:, None]
    return Nodes(
        features.index_select(0, left), nodes.sites[left], shifts, activity.index_select(0, left)
    )


def _entropy(shares: Tensor) -> Tensor:
    """Return -s ln s, with a derivative that is finite at 0."""
    return -shares * torch.log(shares + 1e-12)


class AtomPooling(nn.Module):
    """Learned shares of nodes, to others within a reach (Å)."""

    def __init__(self, width: int, reach: float):
        super().__init__()
        self.reach = reach
        self.score = nn.Linear(width, 1)
        # Far from equal shares, which would leave all nodes where they are.
        nn.init.normal_(self.score.weight)

    def forward(self, nodes: Nodes, pairs: Pairs) -> tuple[Nodes, Tensor]:
        """Return the nodes that are left, and the entropy (n_nodes,) of the shares of each."""
        kept, given = self.shares(nodes, pairs)
        entropy = _entropy(kept).index_add(0, pairs.centers, _entropy(given))
        return pool(nodes, pairs, kept, given), entropy * nodes.activity

    def shares(self, nodes: Nodes, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return what nodes keep (n_nodes,) and give (P,): a softmax of scores, times a cutoff."""
        # Between -8 and 8, so that exponentials stay numbers.
        score = 8 * torch.tanh(self.score(nodes.features).squeeze(1) / 8)
        size = torch.exp(score)
        switch = cosine_cutoff(lengths(pairs.vectors), self.reach)
        given = size.index_select(0, pairs.neighbors) * switch
        given = given * nodes.activity.index_select(0, pairs.neighbors)
        total = size.index_add(0, pairs.centers, given)
        return size / total, given / total.index_select(0, pairs.centers)
