"""The Li-Si sets of the protocol: relaxation paths and what is asked beyond them."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from skwavelet import RelaxationPathGroupKFold
from skwavelet.datasets import LISI_STEPS, load_lisi, load_lisi_task

TASKS = ("barriers", "scratch", "t211", "t222", "bulk")
LARGE = ("scratch", "t211", "t222")
N_FOLDS = 5
N_FRAMES = len(LISI_STEPS)


@dataclass(frozen=True)
class Part:
    """Structures with labels; ``parents`` names the training path each stems from, "" for none."""

    structures: list[Atoms]
    energies: np.ndarray
    forces: list[np.ndarray]
    stress: np.ndarray
    parents: np.ndarray

    def __len__(self):
        return len(self.structures)

    def take(self, rows):
        """Return the part that consists of some rows."""
        return Part(
            [self.structures[i] for i in rows],
            self.energies[rows],
            [self.forces[i] for i in rows],
            self.stress[rows],
            self.parents[rows],
        )


def load(data_home, quick=False, n_frames=None):
    """Return the paths and tasks by name.

    ``quick`` keeps every ninth composition. ``n_frames`` of the twelve frames of each path, from
    the first to the last; default: all, 4 where it is to be quick.
    """
    n_frames = n_frames or (4 if quick else N_FRAMES)
    chosen = np.linspace(0, N_FRAMES - 1, n_frames).round().astype(int)
    steps = [LISI_STEPS[k] for k in chosen]
    everything = load_lisi(data_home=data_home, steps=steps)
    sets = {"paths": everything} | {name: load_lisi_task(name, data_home) for name in TASKS}
    parents = {name: data.parents for name, data in sets.items() if name != "paths"}
    parents["paths"] = everything.paths
    compositions = np.unique(everything.compositions)
    kept = compositions[::9] if quick else compositions
    parts = {}
    for name, data in sets.items():
        chosen = range(len(data.structures))
        if quick:
            chosen = np.flatnonzero(np.isin(data.compositions, kept))
            if name == "barriers":
                chosen = range(8)
        whole = Part(data.structures, data.energies, data.forces, data.stress, parents[name])
        parts[name] = whole.take(chosen)
    return parts


def path_folds(paths):
    """Return the test fold of every path structure, and of every path by name."""
    splitter = RelaxationPathGroupKFold(N_FOLDS, random_state=0)
    fold = np.empty(len(paths), dtype=int)
    for number, (_, test) in enumerate(splitter.split(paths.structures, groups=paths.parents)):
        fold[test] = number
    return fold, dict(zip(paths.parents.tolist(), fold.tolist(), strict=True))


def frame_folds(n_frames):
    """Return the test fold of every path structure when frames are dealt out at random."""
    return np.random.default_rng(0).permutation(n_frames) % N_FOLDS


def independent(part, fold, fold_of_path):
    """Return the rows of a task whose parent path, if any, is not in the training folds."""
    return np.array([fold_of_path.get(parent, fold) == fold for parent in part.parents])
