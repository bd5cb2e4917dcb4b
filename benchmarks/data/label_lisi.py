"""More labels of Li-Si by CHGNet v0.3.0: paths at other volumes, and elastic tensors.

    python benchmarks/data/label_lisi.py --data DIR --cache DIR

makes ``benchmarks/data/lisi_volumes.npz``, which comes with the repository: ``pip install chgnet``
brings the potential that labelled all Li-Si structures (on those that come with it, energies agree
to a float32's rounding, forces to 2e-4 eV/Å), so that a question the data do not answer can be
asked. It is not density functional theory.

- ``path, step, strain, energy, stress``: one frame of every path, drawn at random, its cell and
  positions scaled by 1 + strain, strains from -9 % to +9 %; eV/atom and eV/Å³.
- ``composition, tensors`` (13, 6, 6): elastic constants (GPa) of the strain-free cell of every
  third composition in the task "bulk", atoms following strains of ±0.5 %, by differences of
  stresses.

Interrupted runs go on where they were.

Cost: 4 min; needs chgnet.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "accuracy" / "lisi"))

from common.command import arguments
from common.data import VOLUMES, lisi_home, strained_frame
from data import load
from elastic import clamped_tensor, unstrained
from potentials import label_calculator

CHUNK = 37
MOST = 0.09


def main():
    args = arguments(__doc__, data="lisi", cache=True)
    parts = load(lisi_home(args.data))
    calculator = label_calculator()
    rng = np.random.default_rng(0)
    paths = parts["paths"]
    names = np.unique(paths.parents)
    rows = np.array([rng.choice(np.flatnonzero(paths.parents == name)) for name in names])
    strains = rng.uniform(-MOST, MOST, len(rows)).round(4)
    structures = [
        strained_frame(paths.structures[i], strain) for i, strain in zip(rows, strains, strict=True)
    ]

    def label(part):
        print(f"labels from structure {part.start}", flush=True)
        energies, stresses = [], []
        for atoms in structures[part]:
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy() / len(atoms))
            stresses.append(atoms.get_stress())
        return np.array(energies), np.array(stresses)

    chunks = [slice(start, start + CHUNK) for start in range(0, len(rows), CHUNK)]
    labelled = [
        args.cache.get("chgnet-volumes", lambda part=part: label(part), structures[part])
        for part in chunks
    ]
    cells = unstrained(parts["bulk"])

    def tensor(atoms):
        print(f"tensor of {atoms.info['composition']}", flush=True)
        return clamped_tensor(atoms, calculator)

    tensors = [
        args.cache.get("chgnet-tensor", lambda a=atoms: tensor(a), atoms, code=["elastic"])
        for atoms in cells
    ]
    np.savez_compressed(
        VOLUMES,
        path=names,
        step=np.array([paths.structures[i].info["step"] for i in rows], dtype=np.int8),
        strain=strains,
        energy=np.concatenate([energies for energies, _ in labelled]),
        stress=np.concatenate([stresses for _, stresses in labelled]).astype(np.float32),
        composition=np.array([atoms.info["composition"] for atoms in cells]),
        tensors=np.array(tensors).astype(np.float32),
    )
    print(f"{len(rows)} structures, {len(tensors)} tensors, {VOLUMES.stat().st_size} bytes")


if __name__ == "__main__":
    main()
