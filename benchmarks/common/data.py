"""One reader for each data set."""

import hashlib
import io
import lzma
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from common.cache import DEFAULT
from sklearn.utils import Bunch

from skwavelet.datasets import LISI_STEPS, load_lisi

ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "lisi.tar.xz"


def lisi_home(data_home=None, archive=ARCHIVE, target=DEFAULT):
    """Return a directory that contains ``lisi/``: the given one, or the unpacked archive.

    The archive holds all that the tables use: the twelve frames `LISI_STEPS` of each path and the
    extrapolation sets, labelled by CHGNet v0.3.0, not by density functional theory.
    ``load_lisi(data_home=...)`` and ``load_lisi_task`` read the directory like the full set.
    """
    if data_home is not None:
        return Path(data_home)
    home = Path(target) / f"lisi-{hashlib.sha256(archive.read_bytes()).hexdigest()[:12]}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as part, tarfile.open(archive) as packed:
            packed.extractall(Path(part, "whole"), filter="data")
            Path(part, "whole").rename(home)
    return home


def lisi(data_home=None, packaged=False):
    """Return the Li-Si paths with 12 frames each, or the packaged 925 structures."""
    if packaged:
        return load_lisi()
    return load_lisi(data_home=lisi_home(data_home), steps=LISI_STEPS)


def split_paths(data, share=(4, 5)):
    """Return structures of training paths and of unseen paths, both in random order.

    Of every composition, the first ``share`` of its paths are for training.
    """
    number = np.array([int(path.rpartition("p")[2]) for path in data.paths])
    unseen = number >= (number.max() + 1) * share[0] // share[1]
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


def rmd17_parts(directory, name):
    """Return (structures, energies in eV/atom, forces) to train on, and those to test on."""
    data = rmd17(directory, name)
    energies = data.energies / len(data.structures[0])
    return [
        ([data.structures[i] for i in rows], energies[rows], data.forces[rows])
        for rows in (np.flatnonzero(data.train), np.flatnonzero(~data.train))
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


def qm7(directory):
    """Return the molecules of QM7 and their atomization energies (PBE0, kcal/mol)."""
    file = Path(directory, "qm7", "qm7.extxyz.xz")
    # At once: ASE decompresses a compressed file anew for every frame.
    text = io.StringIO(lzma.decompress(file.read_bytes()).decode())
    structures = read(text, ":", format="extxyz")
    return structures, np.array([atoms.info["energy_kcal_col2"] for atoms in structures])
