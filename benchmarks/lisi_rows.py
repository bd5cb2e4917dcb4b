"""Energy, force and stress rows of Li-Si structures, computed once and kept in a directory."""

from pathlib import Path

import numpy as np

from skwavelet.chaining import feature_chain
from skwavelet.datasets import LISI_STEPS, load_lisi
from skwavelet.labels import ENERGY, Rows, build_rows, check_forces, check_stress


def load(data_home):
    """Return the packaged structures, or all paths with 12 frames each."""
    if data_home is None:
        return load_lisi()
    return load_lisi(data_home=data_home, steps=LISI_STEPS)


def cached(path, compute):
    """Return the arrays of an npz file, computing and writing it if it is not there."""
    path = Path(path)
    if not path.exists():
        arrays = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    with np.load(path) as archive:
        return dict(archive)


def lisi_rows(data, transformer, cache, *, n_parts, n_directions):
    """Return rows of random eighths of the data, and the structures' numbers.

    ``transformer`` is fitted. Every part is a file of its own, so that a run can be resumed.
    """
    shuffled = np.random.default_rng(0).permutation(len(data.structures))
    parts = []
    for part, members in enumerate(np.array_split(shuffled, 8)[:n_parts]):

        def compute(part=part, members=members):
            X = [data.structures[i] for i in members]
            rows = build_rows(
                feature_chain(transformer),
                X,
                data.energies[members],
                transformer.transform(X),
                check_forces([data.forces[i] for i in members], X),
                check_stress([data.stress[i] for i in members], X),
                n_directions,
                np.random.default_rng(part),
            )
            return {
                "design": rows.design,
                "targets": rows.targets,
                "structure": members[rows.structure],
                "kind": rows.kind,
            }

        parts.append(cached(Path(cache, f"rows_{part}.npz"), compute))
        print(f"rows of part {part + 1} of {n_parts}", flush=True)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def select(rows, structures, n_atoms):
    """Return the `Rows` of some structures, in their order, energies first."""
    place = np.full(len(n_atoms), -1)
    place[structures] = np.arange(len(structures))
    chosen = np.flatnonzero(place[rows["structure"]] >= 0)
    number, kind = place[rows["structure"][chosen]], rows["kind"][chosen]
    order = np.lexsort((number, kind != ENERGY))
    chosen, number, kind = chosen[order], number[order], kind[order]
    counts = (len(structures), int(3 * n_atoms[structures].sum()), 6 * len(structures))
    return Rows(rows["design"][chosen], rows["targets"][chosen], number, kind, counts)


def errors(model, rows):
    """Return RMSEs of energies (meV/atom), forces (meV/Å) and stresses (meV/Å³)."""
    predicted = rows.design @ model.coef_ + model.intercept_ * (rows.kind == ENERGY)
    squares = (predicted - rows.targets) ** 2
    return [
        1e3 * np.sqrt(squares[rows.kind == kind].sum() / count)
        for kind, count in enumerate(rows.n_components)
    ]
