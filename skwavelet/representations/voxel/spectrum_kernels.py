"""Compiled passes over spectra: products with filters, and real maps packed as complex numbers.

See `skwavelet.representations.voxel.packing` for what packed spectra are. Here they have P parts
of n numbers, and their products with filters, of n numbers, are sums over the parts:

    z_bm = sum_p psi_mp x_bp.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled

# Numbers that are worked on at a time.
BLOCK = 1024


@compiled
def multiply(spectra, psi, turned, products):
    """Write the products (B, M, n) of packed spectra (B, P, n) and real filters (M, P, n).

    Where ``turned``, they are multiplied by -i.
    """
    n, packed = spectra.shape[2], spectra.shape[1] == 2
    source, target = spectra.view(psi.dtype), products.view(psi.dtype)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for m in range(len(psi)):
            p, q = psi[m, 0, start:stop], psi[m, -1, start:stop]
            for b in range(len(spectra)):
                x = source[b, 0, 2 * start : 2 * stop]
                w = source[b, -1, 2 * start : 2 * stop]
                y = target[b, m, 2 * start : 2 * stop]
                if packed and turned:
                    for k in range(len(p)):
                        y[2 * k] = p[k] * x[2 * k + 1] + q[k] * w[2 * k + 1]
                        y[2 * k + 1] = -p[k] * x[2 * k] - q[k] * w[2 * k]
                elif packed:
                    for k in range(len(p)):
                        y[2 * k] = p[k] * x[2 * k] + q[k] * w[2 * k]
                        y[2 * k + 1] = p[k] * x[2 * k + 1] + q[k] * w[2 * k + 1]
                elif turned:
                    for k in range(len(p)):
                        y[2 * k] = p[k] * x[2 * k + 1]
                        y[2 * k + 1] = -p[k] * x[2 * k]
                else:
                    for k in range(len(p)):
                        y[2 * k] = p[k] * x[2 * k]
                        y[2 * k + 1] = p[k] * x[2 * k + 1]


@compiled
def gather(pulled, spectra, psi, turned, cotangent, of_filters):
    """Write the cotangents of packed spectra and of real filters from those of their products.

    ``pulled`` (B, M, n) are the transforms of the maps' cotangents, whose complex conjugates are
    the products' cotangents. Those of the spectra (B, P, n) and of the filters (M, P, n) are
    written; see `multiply`.
    """
    n = spectra.shape[2]
    source, other = spectra.view(psi.dtype), pulled.view(psi.dtype)
    target = cotangent.view(psi.dtype)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        target[:, :, 2 * start : 2 * stop] = 0
        for m in range(len(psi)):
            for part in range(psi.shape[1]):
                p, g = psi[m, part, start:stop], of_filters[m, part, start:stop]
                g[:] = 0
                for b in range(len(spectra)):
                    x = source[b, part, 2 * start : 2 * stop]
                    y = other[b, m, 2 * start : 2 * stop]
                    c = target[b, part, 2 * start : 2 * stop]
                    if turned:
                        for k in range(len(p)):
                            g[k] += x[2 * k + 1] * y[2 * k] - x[2 * k] * y[2 * k + 1]
                            c[2 * k] -= p[k] * y[2 * k + 1]
                            c[2 * k + 1] -= p[k] * y[2 * k]
                    else:
                        for k in range(len(p)):
                            g[k] += x[2 * k] * y[2 * k] + x[2 * k + 1] * y[2 * k + 1]
                            c[2 * k] += p[k] * y[2 * k]
                            c[2 * k + 1] -= p[k] * y[2 * k + 1]


@compiled
def pack(spectra, steps, packed):
    """Write half spectra as packed ones, of the real part of what they stand for.

    Parameters
    ----------
    spectra : complex ndarray of shape (n, L0, L1, L2 // 2 + 1)
    steps : complex ndarray of shape (2, L2 // 2)
        1 + exp(i G.d) i for the frequencies of the last axis.
    packed : complex ndarray of shape (n, 2, L0, L1, L2 // 2)
        Written.
    """
    _, _, L0, L1, H = packed.shape
    low, high = steps[0], steps[1]
    half = spectra.real.dtype.type(0.5)
    turned = np.empty(H, spectra.dtype)
    for r in range(len(spectra)):
        for i in range(L0):
            for j in range(L1):
                here, across = spectra[r, i, j], spectra[r, (L0 - i) % L0, (L1 - j) % L1]
                first, second = packed[r, 0, i, j], packed[r, 1, i, j]
                for k in range(H):
                    turned[k] = across[H - k]
                for k in range(H):
                    first[k] = here[k] * low[k]
                    second[k] = turned[k].conjugate() * high[k]
                first[0] = half * (here[0] + across[0].conjugate()) * low[0]
                second[0] = half * (here[H] + across[H].conjugate()) * high[0]


@compiled
def unpack(packed, steps, cotangents):
    """Apply the adjoint of `pack`: from cotangents of packed spectra to those of half spectra."""
    _, _, L0, L1, H = packed.shape
    low, high = steps[0], steps[1]
    half = packed.real.dtype.type(0.5)
    turned = np.empty(H, packed.dtype)
    for r in range(len(packed)):
        for i in range(L0):
            for j in range(L1):
                first, second = packed[r, 0, i, j], packed[r, 1, i, j]
                ip, jp = (L0 - i) % L0, (L1 - j) % L1
                before, across = packed[r, 0, ip, jp], packed[r, 1, ip, jp]
                out = cotangents[r, i, j]
                turned[0] = before[0] * low[0]
                for k in range(1, H):
                    turned[k] = across[H - k] * high[H - k]
                for k in range(H):
                    out[k] = half * (first[k] * low[k] + turned[k].conjugate())
                out[H] = half * (second[0] * high[0] + (across[0] * high[0]).conjugate())


@compiled
def shift(spectra, columns, last, out):
    """Multiply spectra (n, P, L0, L1, L) of P parts by phases (L0, L1) and (P, L).

    The products are written to ``out``, which may be ``spectra``.
    """
    count, P, L0, L1, L = spectra.shape
    for r in range(count):
        for p in range(P):
            along = last[p]
            for i in range(L0):
                for j in range(L1):
                    phase, x, y = columns[i, j], spectra[r, p, i, j], out[r, p, i, j]
                    for k in range(L):
                        y[k] = x[k] * (phase * along[k])


@compiled
def pack_conjugates(spectra, steps, factors, products):
    """Write the products of complex conjugates of half spectra with filters that are 1.

    Parameters
    ----------
    spectra, steps
        See `pack`.
    factors : ndarray of shape (L0, L1, L2 // 2 + 1)
        Of the spectra; equal at opposite frequencies.
    products : complex ndarray of shape (n, L0, L1, L2 // 2)
        Written.
    """
    _, L0, L1, H = products.shape
    low, high = steps[0], steps[1]
    half = factors.dtype.type(0.5)
    turned = np.empty(H, spectra.dtype)
    for r in range(len(spectra)):
        for i in range(L0):
            for j in range(L1):
                ip, jp = (L0 - i) % L0, (L1 - j) % L1
                here, across, out = spectra[r, i, j], spectra[r, ip, jp], products[r, i, j]
                f, g = factors[i, j], factors[ip, jp]
                for k in range(H):
                    turned[k] = g[H - k] * across[H - k]
                for k in range(H):
                    out[k] = (f[k] * here[k]).conjugate() * low[k] + turned[k] * high[k]
                out[0] = half * (
                    (f[0] * here[0].conjugate() + g[0] * across[0]) * low[0]
                    + (f[H] * here[H].conjugate() + g[H] * across[H]) * high[0]
                )


@compiled
def unpack_maps(transforms, steps, factors, spectra):
    """Write half spectra of real maps from the transforms of the maps packed.

    Parameters
    ----------
    transforms : complex ndarray of shape (n, L0, L1, L2 // 2)
    steps
        See `pack`.
    factors : ndarray of shape (L0, L1, L2 // 2 + 1)
        Of the half spectra.
    spectra : complex ndarray of shape (n, L0, L1, L2 // 2 + 1)
        Written.
    """
    _, L0, L1, H = transforms.shape
    half = factors.dtype.type(0.5)
    # Those of the numbers here and of those across, from which a line is put together.
    tables = np.empty((2, H), transforms.dtype)
    for k in range(H):
        tables[0, k] = half * steps[0, k].conjugate()
        tables[1, k] = half * (steps[1, H - k] if k else steps[0, 0])
    one, other = tables
    edge = half * steps[1, 0]
    turned = np.empty(H, transforms.dtype)
    for r in range(len(spectra)):
        for i in range(L0):
            for j in range(L1):
                here, across = transforms[r, i, j], transforms[r, (L0 - i) % L0, (L1 - j) % L1]
                out, f = spectra[r, i, j], factors[i, j]
                turned[0] = across[0]
                for k in range(1, H):
                    turned[k] = across[H - k]
                for k in range(H):
                    out[k] = f[k] * (here[k] * one[k] + turned[k].conjugate() * other[k])
                out[H] = f[H] * (here[0] * edge.conjugate() + across[0].conjugate() * edge)
