"""Make the rmd17, mlearn and qm7 directories that the benchmarks read from the public archives.

    python benchmarks/data/convert.py rmd17 --source rmd17.tar.bz2 --out DIR
    python benchmarks/data/convert.py mlearn --source mlearn/data --out DIR
    python benchmarks/data/convert.py qm7 --source qm7.tar.gz --energies hof_qm7.txt --out DIR

- rmd17: the archive of revised MD17 (Christensen and von Lilienfeld 2020, figshare 12672038,
  Materials Cloud), or the directory in it: ``npz_data/rmd17_*.npz`` (``nuclear_charges``,
  ``coords`` in Å, ``energies`` in kcal/mol, ``forces`` in kcal/mol/Å, ``old_indices``) and
  ``splits/index_train_01.csv``, ``index_test_01.csv``. Kept are the structures of split 01, in the
  order of their indices, in eV and eV/Å.
- mlearn: ``data/`` of the repository materialsvirtuallab/mlearn (Zuo et al. 2020):
  ``Si/training.json``, ``Si/test.json`` and the same for other elements: lists of structures of
  pymatgen with ``outputs`` (energy, forces, virial_stress).
- qm7: the structures as distributed with the QML code, a tar archive or a directory of
  ``0001.xyz`` ..., and the list of energies ``name energy_pbe0 energy_dftb`` (kcal/mol).

A source is a path or a URL. mlearn was run on the public repository (Li, Si, Ge and Mo), the others
on small made-up archives of these layouts alone. What was not expected in them stops the script.

Cost: a minute or two for each set.
"""

import contextlib
import csv
import json
import lzma
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import kcal, mol

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments

KCAL_MOL = kcal / mol


@contextlib.contextmanager
def opened(source):
    """Yield the directory of a source: as it is, or downloaded and unpacked."""
    with tempfile.TemporaryDirectory() as part:
        if "://" in str(source):
            source, _ = urllib.request.urlretrieve(source, Path(part, "download"))
        if Path(source).is_dir():
            yield Path(source)
            return
        with tarfile.open(source) as archive:
            archive.extractall(Path(part, "whole"), filter="data")
        yield Path(part, "whole")


def one(directory, pattern):
    """Return the one file of this name below a directory."""
    found = sorted(directory.rglob(pattern))
    if len(found) != 1:
        raise ValueError(f"{len(found)} files {pattern} in {directory}, expected one")
    return found[0]


def indices(file):
    """Return the whole numbers of a file, one a line, with or without a heading."""
    with open(file, newline="") as lines:
        words = [row[0].strip() for row in csv.reader(lines) if row]
    return np.array([int(float(word)) for word in words if word.replace(".", "").isdigit()])


def rmd17(source, out, split="01"):
    """Write one npz per molecule."""
    with opened(source) as directory:
        parts = [indices(one(directory, f"index_{part}_{split}.csv")) for part in ("train", "test")]
        if np.intersect1d(*parts).size:
            raise ValueError(f"split {split} has structures on both sides")
        kept = np.sort(np.concatenate(parts))
        for file in sorted(directory.rglob("rmd17_*.npz")):
            with np.load(file) as archive:
                data = dict(archive)
            out.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                out / file.name.removeprefix("rmd17_"),
                numbers=data["nuclear_charges"],
                positions=data["coords"][kept],
                energy=data["energies"][kept] * KCAL_MOL,
                forces=data["forces"][kept] * KCAL_MOL,
                train=np.isin(kept, parts[0]),
                md17_index=data["old_indices"][kept],
            )


def mlearn(source, out):
    """Write one extended XYZ per element that has both parts."""
    with opened(source) as directory:
        for folder in sorted({file.parent for file in directory.rglob("training.json")}):
            structures = []
            for name, split in (("training", "train"), ("test", "test")):
                records = json.loads((folder / f"{name}.json").read_text())
                structures += [_mlearn_atoms(record, split) for record in records]
            out.mkdir(parents=True, exist_ok=True)
            write(out / f"{folder.name}.extxyz", structures, format="extxyz")


def _mlearn_atoms(record, split):
    structure, outputs = record["structure"], record["outputs"]
    sites = structure["sites"]
    atoms = Atoms(
        [site["species"][0]["element"] for site in sites],
        positions=[site["xyz"] for site in sites],
        cell=structure["lattice"]["matrix"],
        pbc=True,
    )
    if len(sites) != len(outputs["forces"]):
        raise ValueError(f"{len(sites)} atoms with {len(outputs['forces'])} forces")
    atoms.info = {
        "split": split,
        "group": record.get("group", ""),
        "description": record.get("description", ""),
    }
    if "virial_stress" in outputs:
        atoms.info["virial_stress_raw"] = np.array(outputs["virial_stress"])
    atoms.calc = SinglePointCalculator(atoms, energy=outputs["energy"], forces=outputs["forces"])
    return atoms


def qm7(source, energies, out):
    """Write all molecules to one compressed extended XYZ."""
    labels = {}
    for words in (line.split() for line in Path(energies).read_text().splitlines()):
        labels[words[0]] = float(words[1]), float(words[2])
    with opened(source) as directory:
        found = {file.name: file for file in directory.rglob("*.xyz")}
        missing = sorted(labels.keys() ^ found.keys())
        if missing:
            raise ValueError(f"structure or energy missing for {', '.join(missing[:5])}")
        structures = []
        for name in sorted(found):
            atoms = read(found[name], format="xyz")
            atoms.info = {"orig_file": name}
            atoms.info["energy_kcal_col2"], atoms.info["energy_kcal_col3"] = labels[name]
            structures.append(atoms)
    out.mkdir(parents=True, exist_ok=True)
    with lzma.open(out / "qm7.extxyz.xz", "wt") as target:
        write(target, structures, format="extxyz")


def main():
    args = arguments(
        __doc__, parts=("rmd17", "mlearn", "qm7"), source=None, energies=None, out=Path("data")
    )
    if (
        len(args.parts) != 1
        or args.source is None
        or (args.parts[0] == "qm7") != bool(args.energies)
    ):
        sys.exit("give one data set, its --source, and --energies with qm7 alone")
    name = args.parts[0]
    given = (args.source, args.energies) if name == "qm7" else (args.source,)
    globals()[name](*given, args.out / name)


if __name__ == "__main__":
    main()
