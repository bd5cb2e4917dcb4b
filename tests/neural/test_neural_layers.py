"""The layers against loops over atoms, and pooling against its definition."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from helpers.neural_checks import cells
from helpers.small_structures import molecule, random_rotation, rotated, slab, triclinic
from scipy.special import eval_legendre

from skwavelet.neural.bases import RadialBasis, SolidHarmonics, SolidWavelets, cosine_cutoff
from skwavelet.neural.couplings import Couplings, gaunt
from skwavelet.neural.geometry import GaussianGeometry, HarmonicGeometry
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.invariants import MomentProducts
from skwavelet.neural.layers import (
    GaussianAngularLayer,
    LegendreAngularLayer,
    LiteralAngularLayer,
)
from skwavelet.neural.moments import moments
from skwavelet.neural.networks import AngularModule, ScatteringModule
from skwavelet.neural.pooling import AtomPooling, Nodes, pool
from skwavelet.neural.product_kernels import LANES
from skwavelet.representations.wavelets import solid_harmonics, wavelet
from skwavelet.structures.checks import check_structures

CUTOFF, ELEMENTS = 3.2, (3, 8, 14)


def batch_of(structures, dtype=torch.float64, reaches=(CUTOFF,)):
    checked = check_structures(structures)
    return collate([build_graph(s, reaches, ELEMENTS) for s in checked], dtype)


def neighbors_of(batch):
    """For every atom its (neighbour, vector) pairs."""
    pairs = batch.pairs[0]
    for i in range(len(batch.species)):
        rows = torch.nonzero(pairs.centers == i).ravel().tolist()
        yield i, [(int(pairs.neighbors[p]), pairs.vectors[p]) for p in rows]


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
    harmonics = SolidHarmonics(5)(points.T)
    for l in range(6):
        values = harmonics[:, l * l : (l + 1) ** 2]
        np.testing.assert_allclose(values.T, solid_harmonics(points.numpy(), l), atol=1e-12)
    u, v = (x / x.norm() for x in points.T[:2])
    geometry = HarmonicGeometry(CUTOFF, 0.5, 6, 5).double()
    pairs = replace(batch_of([molecule()]).pairs[0], vectors=torch.stack([2 * u, v]))
    around = geometry(pairs, None)
    for l in range(5):
        one, two = around.harmonics[:, around.degrees == l]
        np.testing.assert_allclose(one @ two, eval_legendre(l, float(u @ v)), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_derivatives_of_the_functions_are_those_of_torch(dtype):
    geometry = HarmonicGeometry(CUTOFF, 0.5, 6, 5).to(dtype)
    geometry.set_crowding(2.0)
    batch = batch_of(cells(), dtype)
    vectors = batch.pairs[0].vectors.requires_grad_()
    pairs = replace(batch.pairs[0], vectors=vectors)
    torch.manual_seed(0)
    weights = torch.randn(len(vectors), 6 + 25, dtype=dtype)
    gradients = []
    for activity in (None, torch.ones(len(batch.species), dtype=dtype)):
        around = geometry(pairs, activity)
        values = torch.cat([around.radial, around.harmonics], dim=1)
        gradients.append(torch.autograd.grad((values * weights).sum(), vectors)[0])
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


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


def inputs_of(geometry, seed=0):
    torch.manual_seed(seed)
    batch = batch_of([triclinic(), molecule(), slab()])
    features = torch.randn(len(batch.species), 5, dtype=torch.float64)
    return batch, features, geometry.double()(batch.pairs[0], None)


@pytest.mark.parametrize("messages", ["both", "neighbor", "center"])
def test_gaussian_layer_is_its_sum_over_triplets(messages):
    batch, features, around = inputs_of(GaussianGeometry(CUTOFF, 0.5, 6, 4, literal=False))
    layer = GaussianAngularLayer(5, 6, 4, messages).double()
    theta = layer.triplet.weight.reshape(4, 5, 6)  # angular, channel, radial
    result, _ = layer(features, None, around)
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


def test_literal_layer_is_that_of_the_dissertation():
    """(6.12) to (6.16), with Gaussians of the distance that cross at one standard deviation."""
    batch, features, around = inputs_of(GaussianGeometry(CUTOFF, 0.5, 6, 4, literal=True))
    layer = LiteralAngularLayer(5, 6, 4).double()
    theta = layer.triplet.weight.reshape(4, 5, 6)
    result, _ = layer(features, None, around)
    for i, neighbors in neighbors_of(batch):
        filters = torch.zeros(5, dtype=torch.float64)
        for k, (_, v_k) in enumerate(neighbors):
            for j, (_, v_j) in enumerate(neighbors):
                if j != k:
                    r_j, r_k = v_j.norm(), v_k.norm()
                    angular = gaussians(v_j @ v_k / (r_j * r_k), -1, 1, 4)
                    radial = gaussians(r_k, 0, CUTOFF, 6)
                    h = torch.einsum("acr,a,r->c", theta, angular, radial)
                    filters = filters + switch(r_j) * switch(r_k) * (layer.mix.weight @ ssp(h))
        change = layer.outer(ssp(layer.inner(filters * features[i])))
        torch.testing.assert_close(result[i], features[i] + change, rtol=1e-10, atol=1e-10)


def test_the_literal_network_has_a_linear_readout_of_its_last_layer():
    torch.manual_seed(0)
    module = AngularModule(
        3, width=5, n_layers=2, n_radial=6, n_angular=4, cutoff=CUTOFF, start=0.5, basis="literal",
        messages="both",
    ).double()  # fmt: skip
    batch, _, around = inputs_of(module.geometries[0])
    features = module.embedding.weight[batch.species]
    for layer in module.levels[0]:
        features, _ = layer(features, None, around)
    (readout,) = module.readouts
    assert isinstance(readout, torch.nn.Linear)
    atoms = features @ readout.weight[0] + readout.bias
    expected = [atoms[batch.structure == place].sum() for place in range(len(batch))]
    torch.testing.assert_close(module(batch)[0], torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_triple_products_are_integrals_of_three_harmonics():
    """Against as many random directions as it takes, and unchanged by rotations."""
    points = np.random.default_rng(0).normal(size=(3, 400_000))
    points /= np.linalg.norm(points, axis=0)
    one, two, three = (solid_harmonics(points, l) for l in (1, 2, 3))
    rough = np.einsum("ap,bp,cp->abc", one, two, three)
    cosine = (rough * gaunt(1, 2, 3)).sum() / np.linalg.norm(rough)
    assert cosine > 0.999
    assert np.linalg.norm(gaunt(1, 2, 3)) == pytest.approx(1)


def test_compiled_products_are_the_array_operations_with_two_derivatives():
    torch.manual_seed(0)
    products = MomentProducts(torch.repeat_interleave(torch.arange(4), 2 * torch.arange(4) + 1))
    P = torch.randn(16, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(products(P), products.plain(P).transpose(0, 1).flatten(1))
    assert torch.autograd.gradcheck(products, P)
    assert torch.autograd.gradgradcheck(products, P)


def test_products_do_not_change_with_rotations_and_scale_as_powers():
    geometry = HarmonicGeometry(CUTOFF, 0.5, 6, 4).double()
    torch.manual_seed(0)
    weights = torch.randn(6, 4, 3, dtype=torch.float64)
    atoms, results = molecule(), []
    products = MomentProducts(geometry.degrees).double()
    for turned in (atoms, rotated(atoms, -random_rotation(3))):
        batch = batch_of([turned])
        around = geometry(batch.pairs[0], None)
        carried = torch.arange(9, dtype=torch.float64).view(3, 3)
        own = moments(around, Couplings(4, 1), weights, carried[None])
        results.append((own, products(own)))
    (own, found), (other, again) = results
    torch.testing.assert_close(found, again, rtol=1e-10, atol=1e-10)
    assert (own - other).abs().max() > 0.1
    assert found.shape == (3, products.n_outputs * 3)
    doubled = products(2 * own) / found
    torch.testing.assert_close(doubled[:, :24], torch.full_like(doubled[:, :24], 4))
    torch.testing.assert_close(doubled[:, 24:], torch.full_like(doubled[:, 24:], 8))


def test_moments_that_are_made_of_those_of_neighbours_turn_with_the_molecule():
    """Sums over components of one degree of products of two places do not change."""
    geometry = HarmonicGeometry(CUTOFF, 0.5, 6, 4).double()
    torch.manual_seed(0)
    features, couplings = Couplings(4, 1), Couplings(4, 4)
    weights = torch.randn(6, 4, 3, dtype=torch.float64)
    filters = torch.randn(6, len(couplings.paths), 3, dtype=torch.float64)
    atoms, results = molecule(), []
    for turned in (atoms, rotated(atoms, -random_rotation(3))):
        around = geometry(batch_of([turned]).pairs[0], None)
        carried = torch.arange(9.0).view(1, 3, 3).double()
        sent = moments(around, features, weights, carried)
        made = moments(around, couplings, filters, sent)
        parts = [made[l * l : (l + 1) ** 2] for l in range(4)]
        results.append((made, [torch.einsum("mip,miq->ipq", part, part) for part in parts]))
    (made, found), (other, again) = results
    assert (made - other).abs().max() > 0.1
    for one, two in zip(found, again, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)
    # Degree 3 has three paths, which have three channels each, degree 2 has as many as places.
    assert made.shape == (16, 3, 5 * 3)
    used = (made.abs() > 1e-10).any(dim=1)
    assert [used[l * l].sum().item() for l in range(4)] == [4 * 3, 5 * 3, 5 * 3, 3 * 3]


@pytest.mark.parametrize("first", [True, False])
def test_legendre_layer_is_its_sum_over_pairs_of_neighbours(first):
    """And moments of the layer before come from the atom, and times harmonics from neighbours."""
    geometry = HarmonicGeometry(CUTOFF, 0.5, 6, 4)
    geometry.set_crowding(2.5)
    batch, features, around = inputs_of(geometry)
    layer = LegendreAngularLayer(9, 6, around.degrees, first).double()
    features = torch.randn(len(features), 9, dtype=torch.float64)
    before = None if first else torch.randn(16, len(features), 9, dtype=torch.float64)
    result, own = layer(features, before, around)
    radial = layer.radial.weight.reshape(4, 9, 6)
    paths = [] if first else layer.of_moments.paths
    degrees = around.degrees.tolist()
    for i, neighbors in neighbors_of(batch):
        A = torch.zeros(16, 9, dtype=torch.float64)
        made = [torch.zeros(2 * c + 1, LANES, dtype=torch.float64) for c, _, _ in paths]
        if not first:
            send, receive = layer.send.weight, layer.receive.weight
            filters = layer.filters.weight.reshape(len(paths), LANES, 6)
            for m, l in enumerate(degrees):
                A[m] += layer.kept[l, 0] * before[m, i]
        for atom, v in neighbors:
            g = switch(v.norm()) * radial_gaussians(v.norm()) / 2.5**0.5
            harmonics = []
            for l in range(4):
                y = torch.from_numpy(solid_harmonics((v / v.norm()).numpy()[:, None], l))[:, 0]
                harmonics.append(y * np.sqrt(4 * np.pi / (2 * l + 1)))
                for m, value in zip(range(l * l, (l + 1) ** 2), harmonics[l], strict=True):
                    A[m] += value * (radial[l] @ g) * layer.features(features[atom])
            for k, (c, a, b) in enumerate(paths):
                sent = before[a * a : (a + 1) ** 2, atom] @ send[a]
                coefficients = (2 * c + 1) ** 0.5 * torch.from_numpy(gaunt(a, b, c))
                product = torch.einsum("abc,as,b->cs", coefficients, sent, harmonics[b])
                made[k] += (filters[k] @ g) * product
        for c in range(4) if paths else ():
            places = torch.cat([made[k] for k, path in enumerate(paths) if path[0] == c], dim=1)
            A[c * c : (c + 1) ** 2] += places @ receive[c, : places.shape[1]]
        torch.testing.assert_close(own[:, i], A, rtol=1e-10, atol=1e-10)
        P = torch.stack([A[m] @ layer.mix.weight[l] for m, l in enumerate(degrees)])
        P = P / (1 + P.square().mean()).sqrt()
        parts = [P[l * l : (l + 1) ** 2] for l in range(4)]
        terms = [(part * part).sum(dim=0) for part in parts]
        terms += [(part * part.roll(1, dims=1)).sum(dim=0) for part in parts]
        for a, b, c in ((1, 1, 2), (2, 2, 2), (1, 2, 3)):
            one, two, three = (parts[l] for l in (a, b, c))
            coefficients = torch.from_numpy(gaunt(a, b, c))
            terms.append(torch.einsum("abc,aq,bq,cq->q", coefficients, one, two, three))
        change = change_by(layer, torch.cat([A[0], *terms]))
        torch.testing.assert_close(result[i], features[i] + change, rtol=1e-9, atol=1e-10)


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


def test_scattering_layers_are_rounded_moduli_of_convolutions_at_the_atoms():
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
                    modulus = (maps.square().sum(dim=0).log1p() / 2).expm1()
                    torch.testing.assert_close(result[i, row : row + 2], modulus, rtol=1e-9, atol=0)
                    row += 2


def test_calibration_brings_features_to_order_one():
    module, batch = scattering(), batch_of([*cells(), molecule(), triclinic()])
    module.calibrate(batch)
    for moduli in module.layers(batch)[1:]:
        squares = (1 + moduli.detach()).square() - 1  # of the maps
        np.testing.assert_allclose(squares.mean(dim=0), (1 + 1) ** 2 - 1, rtol=1e-9)


def test_powers_are_those_of_one_and_the_modulus():
    module, batch = scattering(powers=(1, 4 / 3, 2)), batch_of([molecule(), triclinic()])
    found, q = module.atom_powers(batch), torch.tensor([1, 4 / 3, 2], dtype=torch.float64)
    parts = [(1 + f[:, None]) ** q[:, None] - 1 for f in module.layers(batch)]
    torch.testing.assert_close(found, torch.cat([p.flatten(1) for p in parts], dim=1))
    assert (module.layers(batch)[0] == module.embedding(batch.species).abs()).all()


# -- pooling -----------------------------------------------------------------------------------


def nodes_of(batch, width=4, seed=0):
    torch.manual_seed(seed)
    n = len(batch.species)
    features = torch.randn(n, width, dtype=torch.float64)
    return Nodes(features, torch.arange(n), torch.zeros(n, 3).double(), torch.ones(n).double())


@pytest.mark.parametrize("make", [molecule, triclinic])
def test_pooled_features_and_positions_follow_their_definition(make):
    """S^T X, and means of the positions of all images with shares as weights."""
    batch = batch_of([make()])
    nodes, pairs = nodes_of(batch), batch.pairs[0]
    torch.manual_seed(1)
    kept = 0.5 + torch.rand(len(nodes.sites), dtype=torch.float64)
    given = torch.rand(len(pairs.centers), dtype=torch.float64)
    found = pool(nodes, pairs, kept, given)
    assert found.sites.tolist() == [0, 1, 2]
    for j in range(3):
        to_j = [(kept[j], j, torch.zeros(3).double())]
        for p in torch.nonzero(pairs.neighbors == j).ravel().tolist():
            to_j.append((given[p], int(pairs.centers[p]), -pairs.vectors[p]))
        features = sum(share * nodes.features[i] for share, i, _ in to_j)
        shift = sum(share * off for share, _, off in to_j) / sum(share for share, *_ in to_j)
        torch.testing.assert_close(found.features[j], features)
        torch.testing.assert_close(found.shifts[j], shift)


def test_shares_add_up_to_one_and_end_at_the_reach():
    batch = batch_of(cells())
    pooling, nodes, pairs = AtomPooling(4, 2.5).double(), nodes_of(batch), batch.pairs[0]
    kept, given = pooling.shares(nodes, pairs)
    torch.testing.assert_close(kept.index_add(0, pairs.centers, given), torch.ones_like(kept))
    far = pairs.vectors.norm(dim=1) > 2.5
    assert (given[far] == 0).all()
    assert (given[~far] > 0).any()
    assert (kept > 0).all()


def test_nodes_fade_away_smoothly():
    """What a node keeps of an atom goes from more than 3/4 to less than 1/4."""
    batch = batch_of([Atoms("LiO", [[0, 0, 0], [0, 0, 1.5]])])
    nodes, pairs = nodes_of(batch), batch.pairs[0]
    activity = []
    for share in np.linspace(0, 1, 101):
        kept, given = torch.tensor([share, 1.0]), torch.tensor([1 - share, 0.0])
        left = pool(nodes, pairs, kept.double(), given.double())
        assert left.sites.tolist() == ([0, 1] if share > 0.25 else [1])
        activity.append(float(left.activity[0]) if share > 0.25 else 0.0)
        torch.testing.assert_close(left.activity[-1], torch.tensor(1.0).double())
    assert max(np.abs(np.diff(activity))) < 0.04
    assert activity[76:] == [1.0] * 25
    assert max(np.abs(np.diff(activity, 2))) < 0.01  # without a kink


def test_pairs_of_nodes_are_those_within_their_reach():
    batch = batch_of([triclinic(), molecule()], reaches=(CUTOFF, 3 * CUTOFF))
    torch.manual_seed(0)
    sites = torch.tensor([0, 2, 4, 5])
    shifts = 0.3 * torch.randn(4, 3, dtype=torch.float64)
    nodes = Nodes(torch.zeros(4, 1), sites, shifts, torch.ones(4))
    pairs = nodes.pairs(batch.pairs[1], 2 * CUTOFF)
    atoms = triclinic()
    places = atoms.positions[[0, 2]] + shifts[:2].numpy()
    images = np.array(np.meshgrid(*[np.arange(-4, 5)] * 3)).reshape(3, -1).T @ atoms.cell.array
    for a in range(2):
        expected = (places[:, None] + images - places[a]).reshape(-1, 3)
        expected = expected[
            (np.linalg.norm(expected, axis=1) < 2 * CUTOFF) & (expected != 0).any(1)
        ]
        found = pairs.vectors[pairs.centers == a].numpy()
        order = [np.lexsort(v.round(8).T) for v in (found, expected)]
        np.testing.assert_allclose(found[order[0]], expected[order[1]], atol=1e-12)
    rest = molecule().positions[[1, 2]] + shifts[2:].numpy()
    last = pairs.vectors[pairs.centers >= 2].numpy()
    np.testing.assert_allclose(last, [rest[1] - rest[0], rest[0] - rest[1]], atol=1e-12)


@pytest.mark.parametrize("torsion", [0, 40, -75, 160, 180])
def test_angle_of_pooled_nodes(torsion):
    """Of a chain A-B-C-D with B and C in one node: a function of the torsion, not equal to it."""
    a, h, turn = 1.4, 1.1, np.radians(torsion)  # of A and D: off the axis of B-C, above its middle
    ends = [[a, 0, -h], [a * np.cos(turn), a * np.sin(turn), h]]
    chain = Atoms("LiOOSi", [ends[0], [0, 0, -0.7], [0, 0, 0.7], ends[1]])
    chain.translate([1.0, 2.0, 3.0])
    assert chain.get_dihedral(0, 1, 2, 3) == pytest.approx(torsion % 360)
    batch = batch_of([chain])
    pairs = batch.pairs[0]
    given = ((pairs.centers == 1) & (pairs.neighbors == 2)).double()
    kept = torch.tensor([1.0, 0, 1, 1], dtype=torch.float64)
    left = pool(nodes_of(batch), pairs, kept, given)
    assert left.sites.tolist() == [0, 2, 3]
    nodes = chain.positions[[0, 2, 3]] + left.shifts.numpy()
    one, two = nodes[[0, 2]] - nodes[1]
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert cosine == pytest.approx((a**2 * np.cos(turn) - h**2) / (a**2 + h**2))
    assert (abs(np.cos(turn) - cosine) < 1e-12) == (abs(torsion) == 180)
