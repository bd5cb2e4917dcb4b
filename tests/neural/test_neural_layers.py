"""The layers against loops over atoms, and pooling against its definition."""

from itertools import permutations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from helpers.neural_checks import cells
from helpers.small_structures import molecule, random_rotation, triclinic
from scipy.special import eval_legendre

from skwavelet.neural.bases import RadialBasis, SolidHarmonics, SolidWavelets, cosine_cutoff
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.layers import GaussianAngularLayer, Geometry, LegendreAngularLayer
from skwavelet.neural.networks import AngularModule, ScatteringModule
from skwavelet.neural.pooling import (
    AtomPooling,
    entropy_loss,
    link_loss,
    node_batch,
    pool_atoms,
)
from skwavelet.representations.wavelets import solid_harmonics, wavelet
from skwavelet.structures.checks import check_structures

CUTOFF, ELEMENTS = 3.2, (3, 8, 14)


def batch_of(structures, dtype=torch.float64):
    checked = check_structures(structures)
    return collate([build_graph(s, CUTOFF, ELEMENTS) for s in checked], dtype)


def layer_and_inputs(make, legendre, n_angular=4, width=5, seed=0):
    torch.manual_seed(seed)
    batch = batch_of([triclinic(), molecule()])
    geometry = Geometry(CUTOFF, 0.5, 6, n_angular, legendre).double()
    around = geometry(batch.vectors(), batch.neighbors, batch.filled)
    features = torch.randn(len(batch.species), width, dtype=torch.float64)
    return make(width, 6, n_angular).double(), features, around, batch


def neighbors_of(batch):
    """For every atom its (neighbour, vector) pairs, straight from the padded rows."""
    vectors = batch.vectors()
    for i in range(len(batch.species)):
        slots = torch.nonzero(batch.filled[i]).ravel().tolist()
        yield i, [(int(batch.neighbors[i, k]), vectors[i, k]) for k in slots]


def gaussians(x, low, high, size, overlap=0.5):
    width = overlap * (high - low) / (size - 1)
    centers = torch.linspace(low, high, size, dtype=torch.float64)
    return torch.exp(-0.5 * ((x - centers) / width) ** 2)


def radial_gaussians(r):
    return gaussians(torch.log(r), np.log(0.5), np.log(CUTOFF), 6, overlap=1.0)


def ssp(x):
    return torch.log(0.5 * torch.exp(x) + 0.5)


def change_by(layer, message):
    bounded = message / (1 + (message @ message) / len(message)) ** 0.5
    return layer.update.outer(ssp(layer.update.inner(bounded)))


def switch(r):
    return 0.5 * (torch.cos(torch.pi * r / CUTOFF) + 1)


def test_neighbours_are_all_images_within_the_cutoff():
    batch = batch_of(cells())
    found = iter(neighbors_of(batch))
    for atoms in cells():
        shifts = np.array(np.meshgrid(*[np.arange(-3, 4)] * 3)).reshape(3, -1).T
        shifts = shifts[(shifts[:, ~atoms.pbc] == 0).all(axis=1)] @ atoms.cell.array
        for i in range(len(atoms)):
            expected = atoms.positions[:, None] + shifts - atoms.positions[i]
            lengths = np.linalg.norm(expected, axis=-1)
            expected = expected[(lengths < CUTOFF) & (lengths > 1e-8)]
            vectors = np.array([v.numpy() for _, v in next(found)[1]])
            order = [np.lexsort(v.round(8).T) for v in (vectors, expected)]
            np.testing.assert_allclose(vectors[order[0]], expected[order[1]], atol=1e-12)


def test_harmonics_are_those_of_the_library_and_obey_the_addition_theorem():
    points = torch.randn(3, 20, dtype=torch.float64, generator=torch.manual_seed(0))
    for l, values in enumerate(SolidHarmonics(5)(points.T)):
        np.testing.assert_allclose(values.T, solid_harmonics(points.numpy(), l), atol=1e-12)
    u, v = (x / x.norm() for x in points.T[:2])
    geometry = Geometry(CUTOFF, 0.5, 6, 5, legendre=True).double()
    slots = torch.stack([u, v])[None]
    around = geometry(slots, torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2))
    for l, values in enumerate(around.harmonics):
        np.testing.assert_allclose(values[0, 0] @ values[0, 1], eval_legendre(l, float(u @ v)))


def test_wavelets_are_those_of_the_library():
    orders, scales, beta = [(1, 0), (3, 1), (3, 2)], [0.0, 0.5], 0.4
    waves = SolidWavelets(orders, beta, scales, np.array([1.0, 2.0, 3.0]))
    points = torch.randn(30, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    expected = [
        gain * wavelet(points.numpy().T / 2**j, n, l, beta)
        for gain, (n, l) in enumerate(orders, start=1)
        for j in scales
    ]
    np.testing.assert_allclose(waves(points).T, np.concatenate(expected), rtol=1e-11, atol=1e-13)
    assert waves.output_of.tolist() == [0, 1, 2, 2, 2, 3, 3, 3, *[4] * 5, *[5] * 5]


def test_cosine_cutoff():
    r = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(cosine_cutoff(r, 2.0), [1, 0.5, 0, 0], atol=1e-15)


@pytest.mark.parametrize("messages", ["both", "neighbor", "center"])
def test_gaussian_layer_is_its_sum_over_triplets(messages):
    layer, features, around, batch = layer_and_inputs(
        lambda *sizes: GaussianAngularLayer(*sizes, messages), legendre=False
    )
    theta = layer.triplet.weight.reshape(4, 5, 6)  # angular, channel, radial
    result, _ = layer(features, [], around)
    for i, neighbors in neighbors_of(batch):
        message = torch.zeros(5, dtype=torch.float64)
        for k, (atom_k, v_k) in enumerate(neighbors):
            r_k = v_k.norm()
            g_k = radial_gaussians(r_k)
            inner = ssp(layer.pair(g_k))
            for j, (atom_j, v_j) in enumerate(neighbors):
                if j == k:
                    continue
                r_j = v_j.norm()
                angular = gaussians(v_j @ v_k / (r_j * r_k), -1, 1, 4)
                h = torch.einsum("acr,a,r->c", theta, angular, g_k)
                weight = 0.5 * switch(r_j)
                if messages == "both":
                    g_j = radial_gaussians(r_j)
                    weight = weight * layer.partner(features[atom_j]) * layer.partner_radial(g_j)
                inner = inner + ssp(h) * weight
            source = i if messages == "center" else atom_k
            message = message + switch(r_k) * layer.mix(inner) * layer.features(features[source])
        change = change_by(layer, message)
        torch.testing.assert_close(result[i], features[i] + change, rtol=1e-10, atol=1e-10)


def test_legendre_layer_is_its_sum_over_pairs_of_neighbours():
    layer, features, around, batch = layer_and_inputs(
        lambda *sizes: LegendreAngularLayer(*sizes, first=True), legendre=True
    )
    result, _ = layer(features, [], around)
    radial = layer.radial.weight.reshape(4, 5, 6)
    for i, neighbors in neighbors_of(batch):
        carried = [
            switch(v.norm()) * layer.features(features[atom])
            * (radial @ radial_gaussians(v.norm()))
            for atom, v in neighbors
        ]  # fmt: skip
        terms = [sum(row[0] for row in carried)]
        for l in range(4):
            term = torch.zeros(5, dtype=torch.float64)
            for (_, v), one in zip(neighbors, carried, strict=True):
                for (_, w), two in zip(neighbors, carried, strict=True):
                    cosine = float(v @ w / (v.norm() * w.norm()))
                    term = term + eval_legendre(l, cosine) * one[l] * layer.mix[l](two[l])
            terms.append(0.3 * term)
        change = change_by(layer, torch.cat(terms))
        torch.testing.assert_close(result[i], features[i] + change, rtol=1e-10, atol=1e-10)


def test_moments_of_the_layer_before_come_from_the_atom_and_its_neighbours():
    layer, features, around, batch = layer_and_inputs(
        lambda *sizes: LegendreAngularLayer(*sizes, first=False), legendre=True
    )
    before = [torch.randn(len(features), 2 * l + 1, 5, dtype=torch.float64) for l in (1, 2, 3)]
    result, moments = layer(features, before, around)
    radial = layer.radial.weight.reshape(4, 5, 6)
    for i, neighbors in neighbors_of(batch):
        message = []
        for l in range(4):
            A = torch.zeros(2 * l + 1, 5, dtype=torch.float64)
            sent = torch.zeros(2 * l + 1, 1, dtype=torch.float64)  # a quarter of the width
            for atom, v in neighbors:
                g = radial_gaussians(v.norm())
                y = torch.from_numpy(solid_harmonics((v / v.norm()).detach().numpy()[:, None], l))
                y = y * np.sqrt(4 * np.pi / (2 * l + 1))
                A = A + switch(v.norm()) * y * (radial[l] @ g) * layer.features(features[atom])
                if l:
                    carrier = layer.carriers[l - 1]
                    filters = switch(v.norm()) * carrier.radial(g)
                    sent = sent + filters * carrier.send(before[l - 1][atom])
            if l:
                A = A + carrier.own(before[l - 1][i]) + carrier.receive(sent)
                torch.testing.assert_close(moments[l - 1][i], A, rtol=1e-10, atol=1e-10)
            else:
                message.append(A[0])
            message.append(0.3 * (A * layer.mix[l](A)).sum(dim=0))
        change = change_by(layer, torch.cat(message))
        torch.testing.assert_close(result[i], features[i] + change, rtol=1e-10, atol=1e-10)


def test_radial_functions_vanish_where_directions_are_not_defined():
    r = torch.tensor([1e-6, 1e-3], dtype=torch.float64, requires_grad=True)
    values = RadialBasis(10, 0.5, 5.0)(r)
    (slopes,) = torch.autograd.grad(values.sum(), r, create_graph=True)
    (curvatures,) = torch.autograd.grad(slopes.sum(), r)
    assert max(x.abs().max() for x in (values, slopes, curvatures)) < 1e-100


def scattering(n_layers=2, orders=((1, 0), (2, 1), (3, 2)), powers=(1, 2)):
    torch.manual_seed(0)
    return ScatteringModule(
        3, wavelets=orders, beta=0.6, scales=[0.0, 1.0], gains=np.ones(len(orders)), reach=CUTOFF,
        width=2, n_layers=n_layers, powers=powers, head="linear",
    ).double()  # fmt: skip


def test_scattering_layers_are_moduli_of_convolutions_at_the_atoms():
    module, batch = scattering(), batch_of([triclinic(), molecule()])
    layers = module.layers(batch)
    inputs = module.embedding(batch.species)
    for number, result in enumerate(layers[1:]):
        if number:
            inputs = module.mixers[0](layers[1])
        for i, neighbors in neighbors_of(batch):
            row = 0
            for n, l in module.wavelets.wavelets:
                for j in (0.0, 1.0):
                    maps = 0
                    for atom, v in neighbors:
                        psi = wavelet(v.numpy()[:, None] / 2**j, n, l, 0.6)
                        maps = maps + switch(v.norm()) * torch.from_numpy(psi) * inputs[atom]
                    modulus = (maps.square().sum(dim=0) + 1e-8).sqrt() - 1e-4
                    torch.testing.assert_close(result[i, row : row + 2], modulus, rtol=1e-9, atol=0)
                    row += 2


def test_calibration_brings_features_to_order_one():
    module, batch = scattering(), batch_of([*cells(), molecule(), triclinic()])
    module.calibrate(batch)
    for features in module.layers(batch)[1:]:
        square = features.detach().square().mean(dim=0).sqrt()
        np.testing.assert_allclose(square, 1, atol=0.02)


# -- pooling -----------------------------------------------------------------------------------


def one_molecule_and(n):
    return batch_of([molecule()] * n)


def test_pooled_features_and_positions_follow_their_definition():
    batch = one_molecule_and(2)
    torch.manual_seed(0)
    S = torch.softmax(torch.randn(6, 2, dtype=torch.float64), dim=1)
    X = torch.randn(6, 4, dtype=torch.float64)
    pooled, positions = pool_atoms(S, X, batch)
    for b in range(2):
        rows = slice(3 * b, 3 * b + 3)
        torch.testing.assert_close(pooled[2 * b : 2 * b + 2], S[rows].T @ X[rows])
        normalized = S[rows] / S[rows].sum(dim=0)
        expected = normalized.T @ batch.positions[rows]
        torch.testing.assert_close(positions[2 * b : 2 * b + 2], expected)


def test_pooled_positions_move_along_with_the_atoms():
    batch = one_molecule_and(1)
    S = torch.softmax(torch.randn(3, 2, dtype=torch.float64, generator=torch.manual_seed(0)), dim=1)
    turn = torch.from_numpy(random_rotation(0))
    shift = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    moved = batch_of([molecule()])
    moved.positions.copy_(batch.positions @ turn.T + shift)
    (_, before), (_, after) = (pool_atoms(S, S, b) for b in (batch, moved))
    torch.testing.assert_close(after, before @ turn.T + shift)
    # What the literal S^T R does not do.
    literal = S.T @ moved.positions - (S.T @ batch.positions @ turn.T + shift)
    assert literal.abs().max() > 0.1


@pytest.mark.parametrize("torsion", [0, 40, -75, 160, 180])
def test_angle_of_pooled_nodes(torsion):
    """Of a chain A-B-C-D with B and C in one node: a function of the torsion, not equal to it."""
    a, h, turn = 1.4, 1.1, np.radians(torsion)  # of A and D: off the axis of B-C, above its middle
    ends = [[a, 0, -h], [a * np.cos(turn), a * np.sin(turn), h]]
    chain = Atoms("LiOOSi", [ends[0], [0, 0, -0.7], [0, 0, 0.7], ends[1]])
    chain.translate([1.0, 2.0, 3.0])
    assert chain.get_dihedral(0, 1, 2, 3) == pytest.approx(torsion % 360)
    S = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    _, nodes = pool_atoms(S, S, batch_of([chain]))
    one, two = (nodes[[0, 2]] - nodes[1]).numpy()
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert cosine == pytest.approx((a**2 * np.cos(turn) - h**2) / (a**2 + h**2))
    assert (abs(np.cos(turn) - cosine) < 1e-12) == (abs(torsion) == 180)


def test_one_node_is_the_centroid_and_the_identity_is_the_structure():
    batch = one_molecule_and(1)
    X = torch.randn(3, 4, dtype=torch.float64, generator=torch.manual_seed(0))
    pooled, positions = pool_atoms(torch.ones(3, 1, dtype=torch.float64), X, batch)
    torch.testing.assert_close(pooled[0], X.sum(dim=0))
    torch.testing.assert_close(positions[0], batch.positions.mean(dim=0))
    pooled, positions = pool_atoms(torch.eye(3, dtype=torch.float64), X, batch)
    torch.testing.assert_close(pooled, X)
    torch.testing.assert_close(positions, batch.positions)
    # The nodes are neighbours of one another as the atoms are, so that layers give the same.
    geometry = Geometry(CUTOFF, 0.5, 6, 4, legendre=True).double()
    layer = LegendreAngularLayer(4, 6, 4, first=True).double()
    results = [
        layer(X, [], geometry(b.vectors(), b.neighbors, b.filled))[0]
        for b in (batch, node_batch(positions, batch, 3))
    ]
    torch.testing.assert_close(*results)


def test_losses_of_pooling():
    structures = [molecule(), molecule()[:2]]
    batch, n_atoms = batch_of(structures), (3, 2)
    torch.manual_seed(0)
    S = torch.softmax(torch.randn(5, 3, dtype=torch.float64), dim=1)
    links, entropies = [], []
    for atoms, part in zip(structures, S.split(n_atoms), strict=True):
        distances = torch.from_numpy(atoms.get_all_distances())
        A = torch.where(distances < CUTOFF, switch(distances), 0.0)  # 1 on the diagonal
        links.append((A - part @ part.T).square().sum() / len(atoms) ** 2)
        entropies.append(-(part * part.log()).sum(dim=1).mean())
    near = switch(batch.vectors().norm(dim=-1)) * batch.filled
    torch.testing.assert_close(link_loss(S, batch, near), torch.stack(links).mean())
    torch.testing.assert_close(entropy_loss(S, batch), torch.stack(entropies).mean())
    assert entropy_loss(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]], batch) == 0


def test_nodes_at_one_place_have_derivatives():
    """Equal assignments put all nodes on the centroid."""
    batch = one_molecule_and(1)
    positions = batch.positions.clone().requires_grad_()
    moved = batch_of([molecule()])
    object.__setattr__(moved, "positions", positions)
    module = AngularModule(
        3, width=4, n_layers=1, n_radial=5, n_angular=3, cutoff=CUTOFF, start=0.5,
        basis="legendre", messages="both", nodes=(2,),
    ).double()  # fmt: skip
    torch.nn.init.zeros_(module.pools[0].scores.weight)
    torch.nn.init.zeros_(module.pools[0].scores.bias)
    energy, losses = module(moved)
    (gradient,) = torch.autograd.grad((energy + losses).sum(), positions)
    assert torch.isfinite(gradient).all()


def test_pooling_layer_does_not_depend_on_the_order_of_atoms():
    torch.manual_seed(0)
    pool = AtomPooling(4, 2, CUTOFF).double()
    X = torch.randn(3, 4, dtype=torch.float64)
    first = pool(X, one_molecule_and(1))
    for order in permutations(range(3)):
        other = pool(X[list(order)], batch_of([molecule()[list(order)]]))
        torch.testing.assert_close(other[0], first[0])
        torch.testing.assert_close(other[1].positions, first[1].positions)
        torch.testing.assert_close(other[2], first[2])
