"""Pooling of atoms to fewer nodes, (6.17)-(6.19)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skwavelet.neural.bases import cosine_cutoff, lengths
from skwavelet.neural.graph import Batch
from skwavelet.neural.layers import gather


def pool_atoms(assignment: Tensor, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return features and positions of the nodes.

    Parameters
    ----------
    assignment : Tensor of shape (N, n_nodes)
        S, whose rows sum to 1.
    features : Tensor of shape (N, width)
    batch : Batch
        Of structures without periods.

    Returns
    -------
    features : Tensor of shape (B * n_nodes, width)
        S^T X of every structure.
    positions : Tensor of shape (B * n_nodes, 3)
        Means of the positions with the columns of S, normalized, as weights. S^T R itself would
        not move along with the atoms.
    """
    pooled = batch.sums(assignment[:, :, None] * features[:, None])
    share = assignment / gather(batch.sums(assignment), batch.structure)
    positions = batch.sums(share[:, :, None] * batch.positions[:, None])
    return pooled.flatten(0, 1), positions.flatten(0, 1)


def node_batch(positions: Tensor, batch: Batch, n_nodes: int) -> Batch:
    """Return the nodes of every structure, each the neighbour of all others, as a batch."""
    n_total, device = len(batch) * n_nodes, positions.device
    places = torch.arange(n_nodes, device=device)
    others = torch.stack([torch.cat([places[:i], places[i + 1 :]]) for i in range(n_nodes)])
    structure = torch.arange(len(batch), device=device).repeat_interleave(n_nodes)
    neighbors = others.repeat(len(batch), 1) + n_nodes * structure[:, None]
    return Batch(
        species=torch.zeros(n_total, dtype=torch.long, device=device),
        positions=positions,
        neighbors=neighbors,
        offsets=positions.new_zeros(*neighbors.shape, 3),
        filled=torch.ones_like(neighbors, dtype=torch.bool),
        structure=structure,
        sizes=torch.full((len(batch),), n_nodes, device=device),
        volumes=batch.volumes,
    )


def link_loss(assignment: Tensor, batch: Batch, switch: Tensor) -> Tensor:
    """Return the mean over structures of |A - S S^T|^2 / N^2, which wants neighbours in one node.

    A holds the cutoff function (N, K) of each pair, and 1 on the diagonal. Expanded, so that no
    N x N matrix is made.
    """
    near = gather(assignment, batch.neighbors)
    along = (switch * (near @ assignment[:, :, None]).squeeze(-1)).sum(dim=1)
    along = along + assignment.square().sum(dim=1)
    adjacency = switch.square().sum(dim=1) + 1
    overlap = batch.sums(assignment[:, :, None] * assignment[:, None]).square().sum(dim=(1, 2))
    total = batch.sums(adjacency - 2 * along) + overlap
    return (total / batch.sizes**2).mean()


def entropy_loss(assignment: Tensor, batch: Batch) -> Tensor:
    """Return the mean over structures of the mean entropy of the rows of S."""
    entropy = torch.special.entr(assignment).sum(dim=1)
    return (batch.sums(entropy) / batch.sizes).mean()


class AtomPooling(nn.Module):
    """Assign atoms to nodes by a softmax of their features.

    Parameters
    ----------
    width : int
        Number of features.
    n_nodes : int
    cutoff : float
        Of the adjacency in the link loss (Å).
    """

    def __init__(self, width: int, n_nodes: int, cutoff: float):
        super().__init__()
        self.n_nodes, self.cutoff = n_nodes, cutoff
        self.scores = nn.Linear(width, n_nodes)
        # Far from equal shares, which would put all nodes on the centroid.
        nn.init.normal_(self.scores.weight)

    def forward(self, features: Tensor, batch: Batch) -> tuple[Tensor, Batch, Tensor]:
        """Return the nodes' features, the nodes as a batch, and the sum of the two losses."""
        assignment = torch.softmax(self.scores(features), dim=1)
        pooled, positions = pool_atoms(assignment, features, batch)
        switch = cosine_cutoff(lengths(batch.vectors()), self.cutoff) * batch.filled
        losses = link_loss(assignment, batch, switch) + entropy_loss(assignment, batch)
        return pooled, node_batch(positions, batch, self.n_nodes), losses
