"""Time PointScattering and AngularFeatures beside DScribe's SOAP, on one thread.

    python benchmarks/point_angular_speed.py            # some minutes
    python benchmarks/point_angular_speed.py --quick    # without the largest cells

The structures are a Li-Si cell of 66 atoms and tilings of it; every representation reaches 6 Å. The
feature sets are paired with a SOAP of about as many features, which is averaged over atoms within
DScribe: "outer" (the mean of the power spectra, what sums over atoms are) and "inner" (the power
spectrum of the mean, DScribe's fastest). Rivals take turns; the minimum of the CPU times counts,
which other processes on the machine disturb less than wall times.
"""

import argparse

import numpy as np
import threadpoolctl
from dscribe.descriptors import SOAP
from matscipy.neighbours import neighbour_list
from timing import alternate, machine, table

from skwavelet import AngularFeatures, PointScattering
from skwavelet.datasets import load_lisi
from skwavelet.structures import check_structures

REACH = 6.0
# Ours, and (n_max, l_max) of a SOAP with no more features.
PAIRS = {
    "PointScattering, orders 0-1": (PointScattering(order=1, reach=REACH), (8, 4)),
    "PointScattering, n = 3, octaves": (PointScattering(3, scale_step=1, reach=REACH), (10, 7)),
    "PointScattering, n = 1-3, octaves": (PointScattering(scale_step=1, reach=REACH), (16, 10)),
    "PointScattering, defaults": (PointScattering(reach=REACH), (16, 20)),
    "AngularFeatures, defaults": (AngularFeatures(reach=REACH), (12, 9)),
    "AngularFeatures, Legendre": (AngularFeatures(angles="legendre", reach=REACH), (12, 9)),
}


def soap(n_max, l_max, average):
    return SOAP(
        species=["Li", "Si"], r_cut=REACH, n_max=n_max, l_max=l_max, periodic=True, average=average
    )


def compare(structures, atoms, repeats):
    """Print the times of every pair, and of gradients, for one structure."""
    rng = np.random.default_rng(0)
    rows = []
    for name, (transformer, (n_max, l_max)) in PAIRS.items():
        transformer.fit(structures)
        cotangent = rng.normal(size=(1, transformer.n_features_out_))
        rivals = {average: soap(n_max, l_max, average) for average in ("outer", "inner")}
        times = alternate(
            {
                "ours": lambda t=transformer: t.transform([atoms]),
                "gradient": lambda t=transformer, c=cotangent: t.value_and_vjp([atoms], c),
                "outer": lambda r=rivals: r["outer"].create(atoms),
                "inner": lambda r=rivals: r["inner"].create(atoms),
            },
            repeats,
        )
        best = {key: 1e3 * timing.best_cpu for key, timing in times.items()}
        rows.append([
            name,
            transformer.n_features_out_,
            f"{best['ours']:.1f}",
            f"{best['gradient'] / best['ours']:.2f}",
            f"n{n_max} l{l_max}, {rivals['outer'].get_number_of_features()}",
            f"{best['outer']:.1f}",
            f"{best['inner']:.1f}",
            f"{best['inner'] / best['ours']:.1f}",
        ])  # fmt: skip
    header = [
        "",
        "features",
        "ms",
        "with gradient",
        "SOAP",
        "outer, ms",
        "inner, ms",
        "inner / ours",
    ]
    print(f"\n{len(atoms)} atoms\n\n{table(header, rows)}")


def scaling(structures, cell, tilings):
    """Print the cost per atom of features and gradients as the cell grows."""
    transformers = {
        "PointScattering, octaves": PointScattering(3, scale_step=1, reach=REACH).fit(structures),
        "AngularFeatures": AngularFeatures(reach=REACH).fit(structures),
    }
    rng = np.random.default_rng(0)
    rows = []
    for tiling in tilings:
        atoms = cell * tiling
        functions = {}
        for name, transformer in transformers.items():
            cotangent = rng.normal(size=(1, transformer.n_features_out_))
            functions[name] = lambda t=transformer, a=atoms: t.transform([a])
            functions[f"{name}, gradient"] = lambda t=transformer, c=cotangent, a=atoms: (
                t.value_and_vjp([a], c)
            )
        times = alternate(functions, 1 if len(atoms) > 20_000 else 3)
        rows.append([len(atoms), *(f"{1e6 * t.best_cpu / len(atoms):.0f}" for t in times.values())])
    print(f"\nCPU time per atom, µs\n\n{table(['atoms', *functions], rows)}")


def neighbor_lists(cell, tilings):
    rows = []
    for tiling in tilings:
        atoms = cell * tiling
        (structure,) = check_structures([atoms])
        times = alternate(
            {
                "vesin": lambda s=structure: s.neighbors(REACH, "ijD"),
                "matscipy": lambda a=atoms: neighbour_list("ijD", a, REACH),
            },
            5,
        )
        rows.append([len(atoms), *(f"{1e3 * t.best_cpu:.2f}" for t in times.values())])
    print(
        f"\nNeighbour lists within {REACH:g} Å, ms\n\n{table(['atoms', 'vesin', 'matscipy'], rows)}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the largest cells")
    quick = parser.parse_args().quick

    structures = load_lisi().structures
    cell = next(atoms for atoms in structures if len(atoms) == 66)
    tilings = [(4, 2, 2)] if quick else [(4, 2, 2), (6, 5, 5), (16, 10, 10)]
    print(machine("numpy", "scipy", "vesin", "dscribe"))
    with threadpoolctl.threadpool_limits(1):
        compare(structures, cell, repeats=10)
        compare(structures, cell * (4, 2, 2), repeats=3)
        scaling(structures, cell, [(1, 1, 1), *tilings])
        neighbor_lists(cell, [(1, 1, 1), *tilings[:2]])


if __name__ == "__main__":
    main()
