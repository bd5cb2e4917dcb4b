"""Relaxation paths of amorphous lithium-silicon, and tasks beyond them.

The packaged part is a directory like the full set's, with fewer frames, so one reader serves both.
"""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from ase import Atoms
from sklearn.utils import Bunch

__all__ = ["LISI_STEPS", "load_lisi", "load_lisi_task"]

LISI_STEPS = (0, 1, 2, 4, 6, 9, 13, 18, 25, 35, 45, 55)
"""Twelve relaxation steps, dense where the energy falls fast: a common choice of ``steps``."""

_PACKAGED = Path(__file__).parent / "data"
_TASKS = {
    "barriers": "barriers/neb_*.npz",
    "bulk": "bulk/bulk_*.npz",
    "scratch": "large/scratch_*.npz",
    "t211": "large/t211_*.npz",
    "t222": "large/t222_*.npz",
}
# The relaxation path that the structures of a file continue, as found by the smallest distance to
# a path's last frame (0.27 to 0.89 Å root mean square; other paths are 4 Å and more away).
_BULK_PARENTS = (
    *(3, 6, 0, 9, 2, 7, 7, 3, 0, 1, 1, 6, 6, 7, 8, 2, 3, 0, 4),
    *(6, 6, 3, 7, 9, 2, 6, 3, 8, 2, 1, 0, 6, 7, 3, 3, 0, 4),
)
_PARENTS = {f"bulk_c{c:02d}": f"c{c:02d}/p{p}" for c, p in enumerate(_BULK_PARENTS)}
_PARENTS |= {f"neb_a_{i}": "c01/p6" for i in range(5)} | {"neb_b_0": "c04/p2"}
_LABELS = {"positions", "cell", "numbers", "energy", "forces", "stress", "path"}
_LABELS |= {"parent", "parent_path"}


def load_lisi(
    *,
    data_home: str | PathLike | None = None,
    steps: Sequence[int] | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[list[Atoms], np.ndarray]:
    """Load relaxation paths of amorphous Li-Si with energies, forces and stresses.

    The labels come from the pretrained potential CHGNet v0.3.0, **not** from density functional
    theory. The packaged part has 925 structures of 58 to 76 atoms: 37 compositions, five paths
    each, relaxation steps 0, 4, 13, 35 and 55. The returned ``DESCR`` tells the rest.

    Parameters
    ----------
    data_home : str or path, default=None
        Directory that holds the full set as ``lisi/paths/c00.npz`` ... ``c36.npz`` (ten paths
        per composition, steps 0 to 55). It is not published yet; ``DESCR`` tells how it was
        made. None reads the packaged part.
    steps : sequence of int, default=None
        Relaxation steps to keep. None keeps all there are; ``LISI_STEPS`` names the twelve that
        make the 4,440 structures of the benchmarks (full set only).
    return_X_y : bool, default=False
        Return ``(structures, energies)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Ordered by composition, path and step, with the attributes

        structures : list of n :class:`ase.Atoms`
            Periodic cubic cells in Å, atoms not wrapped into them; ``info`` holds ``path``,
            ``composition``, ``step`` and ``alpha`` (the intended N_Li/N_Si).
        energies : ndarray of shape (n,)
            eV/atom.
        forces : list of n ndarrays of shape (n_atoms, 3)
            eV/Å.
        stress : ndarray of shape (n, 6)
            eV/Å³, ASE's sign and order (xx, yy, zz, yz, xz, xy).
        paths : ndarray of n str
            The relaxation path of each structure, such as ``"c05/p3"``. Frames of one path are
            correlated: use these labels as groups in cross-validation.
        compositions : ndarray of n str
            Reduced formula, such as ``"LiSi5"``.
        steps : ndarray of n int
            Relaxation step within the path.
        DESCR : str
            Where the data come from, protocol, units and licence.

    (structures, energies) : tuple
        If ``return_X_y`` is True.

    Raises
    ------
    FileNotFoundError
        If ``data_home`` holds no ``lisi/paths/c*.npz``.
    ValueError
        If ``steps`` names a step that was not recorded.

    Examples
    --------
    >>> from skwavelet.datasets import load_lisi
    >>> lisi = load_lisi()
    >>> len(lisi.structures), len(set(lisi.compositions)), len(set(lisi.paths))
    (925, 37, 185)
    >>> print(f"{lisi.structures[0].symbols}: {lisi.energies[0]:.2f} eV/atom")
    Li6Si60: -4.50 eV/atom
    """
    data = _load(_PACKAGED if data_home is None else data_home, "paths/c*.npz", steps)
    if return_X_y:
        return data.structures, data.energies
    data.steps = np.array([atoms.info["step"] for atoms in data.structures])
    return data


def load_lisi_task(name: str, data_home: str | PathLike) -> Bunch:
    """Load one of the extrapolation tasks that go with the full set of Li-Si paths.

    They ask a model trained on relaxation paths for what lies outside them. The labels come from
    CHGNet v0.3.0, not from density functional theory. Nothing of these tasks is packaged.

    Parameters
    ----------
    name : {"barriers", "bulk", "scratch", "t211", "t222"}
        - ``"barriers"``: nudged-elastic-band paths of one Li atom (index ``info["moving"]``),
          eight images each, five paths in Li0.2Si and one in Li0.5Si.
        - ``"bulk"``: the lowest-energy structure of each composition under nine hydrostatic
          strains of the box side (``info["strain"]``, -0.09 to 0.09).
        - ``"scratch"``: cells with twice the atoms, packed and relaxed independently.
        - ``"t211"``, ``"t222"``: frames of the paths tiled 2x1x1 or 2x2x2, then every atom
          displaced by 0.1 Å in a random direction (``info["parent_frame"]`` is the frame's
          number within its composition).
    data_home : str or path
        Directory that holds ``lisi/barriers``, ``lisi/bulk`` and ``lisi/large``.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As from `load_lisi`, without ``steps``. ``paths`` of a tiled structure is the path of its
        parent; elsewhere it is the name of the file, such as ``"neb_a_0"``. One more attribute:

        parents : ndarray of n str
            The relaxation path that a structure comes from or continues, such as ``"c01/p6"``,
            also in ``info["parent"]``; empty for ``"scratch"``. A structure is no independent
            test of a model that was trained on its parent: leave out of training what
            ``np.isin(lisi.paths, task.parents)`` finds, or test each with models of folds that
            held its parent out.

    Raises
    ------
    FileNotFoundError
        If ``data_home`` does not hold the task.
    ValueError
        If ``name`` is not a task.

    Examples
    --------
    >>> import os
    >>> from skwavelet.datasets import load_lisi_task
    >>> if "SKWAVELET_DATA" in os.environ:
    ...     barriers = load_lisi_task("barriers", os.environ["SKWAVELET_DATA"])
    ...     assert len(barriers.structures) == 48
    """
    if name not in _TASKS:
        raise ValueError(f"Unknown task {name!r}; choose from {', '.join(_TASKS)}.")
    data = _load(data_home, _TASKS[name], None)
    data.parents = np.array([atoms.info["parent"] for atoms in data.structures])
    return data


def _load(data_home: str | PathLike, pattern: str, steps: Sequence[int] | None) -> Bunch:
    files = sorted(Path(data_home, "lisi").glob(pattern))
    if not files:
        raise FileNotFoundError(
            f"No {pattern} in {Path(data_home, 'lisi')}; "
            "data_home must be the directory that contains lisi/."
        )
    structures, energies, forces, stress = zip(
        *(frame for file in files for frame in _frames(file, steps)), strict=True
    )
    return Bunch(
        structures=list(structures),
        energies=np.array(energies),
        forces=list(forces),
        stress=np.array(stress),
        paths=np.array([atoms.info["path"] for atoms in structures]),
        compositions=np.array([atoms.info["composition"] for atoms in structures]),
        DESCR=(_PACKAGED / "lisi" / "README.md").read_text(encoding="utf-8"),
    )


def _frames(
    file: Path, steps: Sequence[int] | None
) -> Iterator[tuple[Atoms, float, np.ndarray, np.ndarray]]:
    """Yield (atoms, eV/atom, forces, stress) of the frames of one file."""
    with np.load(file, allow_pickle=False) as archive:
        record = dict(archive)
    n_frames, n_atoms = record["positions"].shape[:2]
    rows = np.arange(n_frames)
    if steps is not None:
        recorded = np.unique(record["step"])
        missing = np.setdiff1d(steps, recorded)
        if missing.size or np.size(steps) == 0:
            raise ValueError(
                f"steps {list(steps)} asked for; recorded are {', '.join(map(str, recorded))}."
            )
        rows = rows[np.isin(record["step"], steps)]
    cells = np.broadcast_to(record["cell"], (n_frames, *record["cell"].shape[-2:]))
    composition = str(Atoms(record["numbers"]).symbols.formula.reduce()[0])
    extras = {key: np.broadcast_to(record[key], n_frames) for key in record.keys() - _LABELS}
    tag = file.stem.rpartition("_")[2]
    for row in rows:
        if "path" in record:
            path, origin = f"{tag}/p{record['path'][row]}", {}
        elif "parent_path" in record:
            path = f"{tag}/p{record['parent_path'][row]}"
            origin = {"parent": path, "parent_frame": int(record["parent"][row])}
        else:
            path, origin = file.stem, {"parent": _PARENTS.get(file.stem, "")}
        atoms = Atoms(
            record["numbers"],
            positions=record["positions"][row],
            cell=cells[row],
            pbc=True,
            info={"path": path, "composition": composition}
            | origin
            | {key: values[row].item() for key, values in sorted(extras.items())},
        )
        yield (
            atoms,
            float(record["energy"][row]) / n_atoms,
            record["forces"][row].astype(np.float64),
            record["stress"][row].astype(np.float64),
        )
