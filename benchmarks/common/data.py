"""One reader for each data set."""

import hashlib
import io
import lzma
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read
from common.cache import DEFAULT
from sklearn.utils import Bunch

from skwavelet.datasets import LISI_STEPS, load_lisi

# Atoms in a cubic cell of the mlearn elements.
_PER_CELL = {"Li": 2, "Mo": 2, "Cu": 4, "Ni": 4, "Si": 8, "Ge": 8}
ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "lisi.tar.xz"
VOLUMES = ARCHIVE.with_name("lisi_volumes.npz")
ENDS = ARCHIVE.with_name("lisi_ends.npz")
ETHANOL = ARCHIVE.with_name("ethanol_pbe.npz")


def lisi_home(data_home=None, target=DEFAULT):
    """Return a directory that contains ``lisi/``: the given one, or the unpacked archive.

    The archive holds all that the tables use: the twelve frames `LISI_STEPS` of each path and the
    extrapolation sets, labelled by CHGNet v0.3.0, not by density functional theory.
    ``load_lisi(data_home=...)`` and ``load_lisi_task`` read the directory like the full set.
    """
    if data_home is not None:
        return Path(data_home)
    home = Path(target) / f"lisi-{hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:12]}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as part, tarfile.open(ARCHIVE) as packed:
            packed.extractall(Path(part, "whole"), filter="data")
            Path(part, "whole").rename(home)
    return home


def strained_frame(atoms, strain):
    """Return a copy of a structure whose lengths are all 1 + ``strain`` times as long."""
    scaled = atoms.copy()
    scaled.set_cell((1 + strain) * atoms.cell.array, scale_atoms=True)
    return scaled


def lisi(data_home=None, packaged=False):
    """Return the Li-Si paths with 12 frames each, or the packaged 925 structures."""
    if packaged:
        return load_lisi()
    return load_lisi(data_home=lisi_home(data_home), steps=LISI_STEPS)


def split_paths(data):
    """Return structures of training paths and of unseen paths, both in random order.

    Of every composition, the first four fifths of its paths are for training.
    """
    number = np.array([int(path.rpartition("p")[2]) for path in data.paths])
    unseen = number >= (number.max() + 1) * 4 // 5
    shuffled = np.random.default_rng(0).permutation(len(data.structures))
    return shuffled[~unseen[shuffled]], shuffled[unseen[shuffled]]


def rmd17(directory, name):
    """Return a molecule of revised MD17: total eV, eV/Å, and ``train`` of the published split."""
    with np.load(Path(directory, "rmd17", f"{name}.npz")) as archive:
        data = dict(archive)
    structures = [Atoms(data["numbers"], positions) for positions in data["positions"]]
    return Bunch(
        structures=structures,
        energies=data["energy"],
        forces=data["forces"],
        train=data["train"].astype(bool),
    )


def rmd17_parts(directory, name, most=None):
    """Return (structures, energies in eV/atom, forces) to train on, and those to test on.

    The first ``most`` of either; default: all.
    """
    data = rmd17(directory, name)
    energies = data.energies / len(data.structures[0])
    return [
        ([data.structures[i] for i in rows], energies[rows], data.forces[rows])
        for rows in (np.flatnonzero(data.train)[:most], np.flatnonzero(~data.train)[:most])
    ]


def mlearn(directory, element):
    """Return structures, eV/atom and forces (eV/Å) of the published training and test parts."""
    with open(Path(directory, "mlearn", f"{element}.extxyz")) as file:
        structures = read(file, ":", format="extxyz")
    parts = ([a for a in structures if a.info["split"] == split] for split in ("train", "test"))
    return [
        (X, np.array([a.get_potential_energy() / len(a) for a in X]), [a.get_forces() for a in X])
        for X in parts
    ]


def mlearn_stress(atoms):
    """Return the labelled stress of an mlearn structure: eV/Å³, ASE's sign and order.

    The set has VASP's: kbar, positive under compression, in the order xx, yy, zz, xy, yz, zx.
    (`mlearn_reference` of silicon finds C11 and C44 from such stresses and from the energies of the
    same strained cells equal within 1 %.)
    """
    kbar = 0.1 * units.GPa
    return -kbar * np.asarray(atoms.info["virial_stress_raw"], dtype=float)[[0, 1, 2, 4, 5, 3]]


def mlearn_reference(directory, element):
    """Return what the labels of an mlearn element say of its crystal.

    Returns
    -------
    Bunch
        ``lattice_constant`` (Å) and ``energy`` (eV/atom) of the ground state, ``elastic`` (C11,
        C12, C44 in GPa, atoms not relaxed), ``slabs`` (relaxed surfaces by Miller indices).
    """
    structures = [atoms for part in mlearn(directory, element) for atoms in part[0]]
    (ground,) = (a for a in structures if a.info["description"] == "Ground state crystal")
    elastic = [a for a in structures if " strain " in a.info["description"]]
    side = ground.cell.lengths().mean()
    c11, c12, c44 = [], [], []
    for atoms in elastic:
        lengths, angles = np.split(atoms.cell.cellpar(), 2)
        stretch, tilt = lengths / side - 1, np.pi / 2 - np.radians(angles)
        if np.abs(tilt).max() < 1e-6:
            axis = np.abs(stretch).argmax()
            stress = mlearn_stress(atoms) - mlearn_stress(ground)
            c11.append((stretch[axis], stress[axis]))
            c12 += [(stretch[axis], stress[i]) for i in range(3) if i != axis]
        else:
            energy = atoms.get_potential_energy() - ground.get_potential_energy()
            shear = np.abs(tilt).max()
            c44.append((shear, 2 * energy / ground.get_volume() / shear))
    slabs = {
        "(" + a.info["description"].partition("_(")[2]: a
        for a in structures
        if a.info["group"] == "Surface"
    }
    return Bunch(
        lattice_constant=side / round((len(ground) / _PER_CELL[element]) ** (1 / 3)),
        energy=ground.get_potential_energy() / len(ground),
        elastic=[_slope(pairs) / units.GPa for pairs in (c11, c12, c44)],
        slabs=slabs,
    )


def _slope(pairs):
    """Return y/x at small x of pairs (x, y): through those of the smallest x and its double.

    They come in pairs of either sign, so that terms of second order cancel.
    """
    x, y = np.array(pairs).T
    small = np.abs(x) < 2.2 * np.abs(x).min()
    return (x[small] @ y[small]) / (x[small] @ x[small])


def qm7(directory):
    """Return the molecules of QM7 and their atomization energies (PBE0, kcal/mol)."""
    file = Path(directory, "qm7", "qm7.extxyz.xz")
    # At once: ASE decompresses a compressed file anew for every frame.
    text = io.StringIO(lzma.decompress(file.read_bytes()).decode())
    structures = read(text, ":", format="extxyz")
    return structures, np.array([atoms.info["energy_kcal_col2"] for atoms in structures])
