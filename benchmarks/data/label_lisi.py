"""More labels of Li-Si by CHGNet v0.3.0: other volumes, elastic tensors, ends of a potential.

    python benchmarks/data/label_lisi.py --data DIR --cache DIR

makes ``benchmarks/data/lisi_volumes.npz`` and ``lisi_ends.npz``, which come with the repository:
``pip install chgnet`` brings the potential that labelled all Li-Si structures (on those that come
with it, energies agree to a float32's rounding, forces to 2e-4 eV/Å), so that a question the data
do not answer can be asked. It is not density functional theory.

``lisi_volumes.npz``:

- ``path, step, strain, energy, stress``: one frame of every path, drawn at random, its cell and
  positions scaled by 1 + strain, strains from -9 % to +9 %; eV/atom and eV/Å³.
- ``composition, tensors`` (13, 6, 6): elastic constants (GPa) of the strain-free cell of every
  third composition in the task "bulk", atoms following strains of ±0.5 %, by differences of
  stresses.

``lisi_ends.npz``: where the default potential ends when it relaxes the training paths from their
first frames (``path, n_atoms, positions``; cells and elements are those of the paths' last frames),
with ``energy`` (eV/atom), ``forces`` and ``stress``.

``label_lisi.py volumes`` or ``ends`` makes one of the two alone. Interrupted runs go on where they
were.

Cost: 4 min for the volumes, over 5 for the ends; needs chgnet.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "accuracy" / "lisi"))

from common.command import arguments
from common.data import ENDS, VOLUMES, lisi_home, strained_frame
from data import load
from elastic import clamped_tensor, unstrained
from potentials import FORCES, RECIPES, Potentials, label_calculator
from relaxations import relax_all

CHUNK = 37
MOST = 0.09


def main():
    args = arguments(__doc__, data="lisi", cache=True, parts=("volumes", "ends"))
    parts = load(lisi_home(args.data))
    for part in args.parts:
        {"volumes": label_volumes, "ends": label_ends}[part](parts, args.cache)


def label_ends(parts, cache):
    """Label where a potential's relaxations of its training paths end."""
    potentials, paths = Potentials(parts, cache), parts["paths"]
    runs = cache.get(
        "own-ends",
        lambda: relax_all(potentials, FORCES, training=True),
        RECIPES[FORCES].make(),
        potentials.stamp,
        code=["potentials", "relaxations"],
    )
    structures = []
    for path in runs:
        atoms = paths.structures[np.flatnonzero(paths.parents == path)[-1]].copy()
        atoms.positions = runs[path]["positions"].astype(np.float32)
        structures.append(atoms)
    energies, forces, stresses = labels_of_all(structures, cache)
    np.savez_compressed(
        ENDS,
        path=np.array(list(runs)),
        n_atoms=np.array([len(atoms) for atoms in structures], dtype=np.int16),
        positions=np.concatenate([atoms.positions for atoms in structures]).astype(np.float32),
        energy=np.array(energies),
        forces=np.concatenate(forces).astype(np.float32),
        stress=np.array(stresses).astype(np.float32),
    )
    last = [np.flatnonzero(paths.parents == path)[-1] for path in runs]
    there = 1e3 * (np.array(energies) - paths.energies[last])
    bias = 1e3 * (np.array([run["energies"][-1] for run in runs.values()]) - energies)
    print(
        f"{len(runs)} ends, {ENDS.stat().st_size} bytes; meV/atom: labels there less those of the "
        f"labelled ends, mean {there.mean():.1f}, median of sizes {np.median(np.abs(there)):.1f}; "
        f"potential less labels there, mean {bias.mean():.1f}, RMS {np.sqrt(np.mean(bias**2)):.1f}"
    )


def labels_of_all(structures, cache):
    """Return energies (eV/atom), forces and stresses of structures, kept chunk by chunk."""
    chunks = [structures[start : start + CHUNK] for start in range(0, len(structures), CHUNK)]
    labelled = [
        cache.get("chgnet", lambda chunk=chunk: labels_of_chunk(chunk), chunk) for chunk in chunks
    ]
    return [[label for part in labelled for label in part[kind]] for kind in range(3)]


def labels_of_chunk(structures):
    """Return energies (eV/atom), forces and stresses of some structures."""
    print(f"labels of {len(structures)} structures", flush=True)
    calculator, found = label_calculator(), []
    for atoms in structures:
        atoms.calc = calculator
        energy = atoms.get_potential_energy() / len(atoms)
        found.append((energy, atoms.get_forces(), atoms.get_stress()))
        atoms.calc = None
    return tuple(zip(*found, strict=True))


def label_volumes(parts, cache):
    """Label one frame of every path at another volume, and elastic tensors."""
    calculator = label_calculator()
    rng = np.random.default_rng(0)
    paths = parts["paths"]
    names = np.unique(paths.parents)
    rows = np.array([rng.choice(np.flatnonzero(paths.parents == name)) for name in names])
    strains = rng.uniform(-MOST, MOST, len(rows)).round(4)
    structures = [
        strained_frame(paths.structures[i], strain) for i, strain in zip(rows, strains, strict=True)
    ]
    energies, _, stresses = labels_of_all(structures, cache)
    cells = unstrained(parts["bulk"])

    def tensor(atoms):
        print(f"tensor of {atoms.info['composition']}", flush=True)
        return clamped_tensor(atoms, calculator)

    tensors = [
        cache.get("chgnet-tensor", lambda a=atoms: tensor(a), atoms, code=["elastic"])
        for atoms in cells
    ]
    np.savez_compressed(
        VOLUMES,
        path=names,
        step=np.array([paths.structures[i].info["step"] for i in rows], dtype=np.int8),
        strain=strains,
        energy=np.array(energies),
        stress=np.array(stresses).astype(np.float32),
        composition=np.array([atoms.info["composition"] for atoms in cells]),
        tensors=np.array(tensors).astype(np.float32),
    )
    print(f"{len(rows)} structures, {len(tensors)} tensors, {VOLUMES.stat().st_size} bytes")


if __name__ == "__main__":
    main()
