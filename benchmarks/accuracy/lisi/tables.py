"""The tables of the protocol, as Markdown and CSV."""

import numpy as np
from data import N_FOLDS
from experiments import COMPARED, RIDGE, WHOLE
from labels import LABELLED
from representations import REPRESENTATIONS
from strain import bulk_moduli, bulk_rmse_within, errors_by_size, images, of_unseen
from titled import Titled

from skwavelet.inspection import barrier

FOUR = {
    "paths": "paths",
    "barriers": "diffusion",
    "large": "larger cells",
    "bulk": "strained cells",
}
THESIS_RATIOS = {"barriers": 1.65, "large": 1.28, "bulk": 1.72}
# The thesis's M*, mean and standard deviation, on its own data.
THESIS_SIZES = {
    ("Voxel", WHOLE): (121, 64),
    ("Voxel, order 1", WHOLE): (108, 38),
    ("Voxel", "nested folds, all candidates"): (153, 82),
    ("Voxel", "bags of random frames"): (2855, 113),
}
SIZES = (1, 3, 10, 21, 41, 70, 100, 150, 200, 300, 400, 500)


def _mean(values):
    return float(np.nanmean(values)), float(np.nanstd(values))


def _sizes(results):
    return _mean(np.concatenate([result["sizes"] for result in results]))


def extrapolation(experiments):
    """Table 4.1 (and 4.3, for the first order) for the headline representations."""
    table = Titled(
        "table_4_1",
        "Table 4.1: interpolation and extrapolation",
        f"Five folds of paths, {experiments.bags['headline']} bags, energies only; meV/atom, mean "
        "± standard deviation over the folds. Ratio: RMSE over that of the paths.",
    )
    for name in experiments.names:
        errors = experiments.errors(experiments.headline(name))
        for task, title in FOUR.items():
            table.add(
                {
                    "representation": name,
                    "task": title,
                    "RMSE": _mean(errors.rmse(task)),
                    "MAE": _mean(errors.mae(task)),
                    "ratio": errors.ratio(task),
                    "ratio of the thesis": THESIS_RATIOS.get(task, 1.0),
                }
            )
    return table


def large_states(experiments):
    """Larger cells by kind."""
    table = Titled(
        "large_states",
        "Larger cells by kind",
        "As table 4.1: packed and relaxed at twice the size, 2x1x1 and 2x2x2 tilings of path "
        "frames with every atom displaced by 0.1 Å; RMSE, meV/atom.",
    )
    for name in experiments.names:
        errors = experiments.errors(experiments.headline(name))
        kinds = ("scratch", "t211", "t222")
        table.add({"representation": name} | {kind: _mean(errors.rmse(kind)) for kind in kinds})
    return table


def by_size(experiments):
    """Errors against the number of features, beyond the best."""
    made = Titled(
        "error_by_size",
        "Error against the number of features",
        "As table 4.1, by models of M features each, beyond the number M* of least out-of-bag "
        "error too (mean ± standard deviation over the models); RMSE, meV/atom, of all structures "
        "together.",
    )
    for name in experiments.names:
        results = experiments.headline(name)
        curves = errors_by_size(experiments, results)
        chosen = {f"M = {m}": m - 1 for m in SIZES if m <= len(curves["paths"])}
        for title, row in chosen.items():
            shown = {FOUR[task]: float(curves[task][row]) for task in FOUR}
            made.add({"representation": name, "features": title} | shown)
        errors = experiments.errors(results)
        mean, spread = _sizes(results)
        shown = {title: float(errors.pooled_rmse(task)) for task, title in FOUR.items()}
        made.add({"representation": name, "features": f"M* = {mean:.0f} ± {spread:.0f}"} | shown)
    return made


def barriers(experiments):
    """Table 4.2, its barriers (highest minus lowest), and those from the first image."""
    table = Titled(
        "table_4_2",
        "Table 4.2: barriers",
        "Highest energy of a path minus its lowest, as in the dissertation, and in brackets minus "
        "that of its first image; eV. Each path is predicted by the model that was not trained on "
        "the path it starts from; ± is the standard deviation over the members of its ensemble.",
    )
    part = experiments.protocol.parts["barriers"]
    found = {name: experiments.headline(name) for name in experiments.names}
    if experiments.everything:
        found["Point, with forces and stresses"] = experiments.labelled(
            "Point", "energies, forces, stresses"
        )
    predictions = {
        name: of_unseen(experiments, results, "barriers") for name, results in found.items()
    }
    members = {
        name: of_unseen(experiments, results, "barriers", "members")
        for name, results in found.items()
    }
    misses = {name: [] for name in found}
    for path, rows in images(part).items():
        n_atoms = len(part.structures[rows[0]])
        reference = _barriers(n_atoms * part.energies[rows])
        row = {"path": f"{path} ({part.structures[rows[0]].info['composition']})"}
        row["reference"] = _both(reference)
        for name in found:
            predicted = _barriers(n_atoms * predictions[name][rows])
            spread = np.std([np.ptp(energies) for energies in n_atoms * members[name][:, rows]])
            row[name] = _both(predicted, spread)
            misses[name].append(np.abs(np.subtract(predicted, reference)))
        table.add(row)
    last = {"path": "mean absolute error", "reference": ""}
    table.add(last | {name: _both(np.mean(miss, axis=0)) for name, miss in misses.items()})
    return table


def _barriers(energies):
    return float(np.ptp(energies)), barrier(energies)


def _both(barriers, spread=None):
    over_lowest, over_first = barriers
    ends = "" if spread is None else f" ± {spread:.3f}"
    return f"{over_lowest:.3f}{ends} ({over_first:.3f})"


def schemes(experiments):
    """Tables 4.1 and 4.3 to 4.5: validation, test and model size of the schemes."""
    bags = experiments.bags
    made = Titled(
        "schemes",
        "Tables 4.3 to 4.5: orders, randomization and sampling",
        f"RMSE, meV/atom, over five folds of paths; {bags['headline']} bags in 4.1 and "
        f"4.3, 4 folds in 4.4, {bags['random frames']} bags of random frames in 4.5, "
        f"{bags['comparison']} elsewhere. 'Validation' is the error on what was left out of "
        "each bag: with random frames it leaks. M*: number of features per model, from paths that "
        "end when the validation error has not fallen for 50 steps (in 4.1 and 4.3 at 500 "
        "features); the thesis's is that of its own data.",
    )
    for table, name, scheme, count in experiments.chapter_4:
        results = experiments.results(name, scheme, count)
        errors = experiments.errors(results)
        row = {"table": table, "features": name, "scheme": scheme}
        row["validation"] = _mean([1e3 * result["oob_rmse"] for result in results])
        for task, title in FOUR.items():
            row[title] = _mean(errors.rmse(task))
        row["M*"] = _sizes(results)
        thesis = THESIS_SIZES.get((name, scheme))
        row["M* of the thesis"] = "-" if thesis is None else f"{thesis[0]} ± {thesis[1]}"
        made.add(row)
    return made


def chapter_3(experiments, name="chapter_3", title="Chapter 3: random folds of frames"):
    """Random folds, four models of each."""
    number, n_folds = len(experiments.protocol.paths), experiments.n_folds
    folds = "Five folds" if n_folds == N_FOLDS else f"The first {n_folds} of five folds"
    made = Titled(
        name,
        title,
        f"{folds} of random frames, {number:,} structures in all; four "
        "greedy models of all candidates per fold, each of which leaves out a quarter of the other "
        "frames to choose M* (paths of models end when the error of these has not fallen for 100 "
        "steps), and predicts with the mean of the four. "
        "Frames of one path are on both sides, so that the errors are too small for unseen paths. "
        "'Ratios': features over those of one order lower, as chapter 3 has them. The features "
        "are the default ones, but for those that are said to be the thesis's 45,920; meV/atom.",
    )
    for name, scheme in experiments.chapter_3:
        results = experiments.results(name, scheme)
        errors = experiments.errors(results, leaking=True)
        made.add(
            {
                "features": name,
                "energies": "of cells" if "total" in scheme else "per atom",
                "number": len(results[0]["coef"]),
                "RMSE": _mean(errors.rmse("paths")),
                "MAE": _mean(errors.mae("paths")),
                "M*": _sizes(results),
                **{FOUR[task]: _mean(errors.rmse(task)) for task in ("barriers", "large", "bulk")},
            }
        )
    return made


def _summary_row(experiments, name, model, results):
    protocol, errors = experiments.protocol, experiments.errors(results)
    row = {"representation": name, "model": model, "features": len(results[0]["coef"])}
    sizes = [result["sizes"] for result in results if len(result["sizes"])]
    row["used per model"] = float(np.mean(np.concatenate(sizes))) if sizes else np.nan
    row["used in all"] = float(np.mean([np.count_nonzero(r["coef"]) for r in results]))
    for task, title in FOUR.items():
        row[title] = _mean(errors.rmse(task))
    for task in ("barriers", "large", "bulk"):
        row[f"ratio, {FOUR[task]}"] = errors.ratio(task)
    bases = REPRESENTATIONS[name].bases
    row["CPU ms"] = sum(protocol.store.milliseconds(base) for base in bases)
    return row


def summary(experiments):
    """Everything side by side."""
    bags = experiments.bags
    table = Titled(
        "summary",
        "Summary: all representations and models",
        f"Five folds of paths; RMSE, meV/atom, mean ± standard deviation over the folds. "
        f"{bags['comparison']} bags, {bags['labels']} where forces and stresses train too. CPU "
        "time of the features of a 58-76-atom cell, one thread; that of a part of a "
        "representation is that of the whole.",
        digits=1,
    )
    for name in COMPARED:
        table.add(_summary_row(experiments, name, "bagged", experiments.results(name)))
    for name in RIDGE:
        results = experiments.results(name, "ridge")
        table.add(_summary_row(experiments, name, "ridge", results))
    for name in LABELLED:
        for labels in LABELLED[name].trained_on:
            results = experiments.labelled(name, labels)
            table.add(_summary_row(experiments, name, f"bagged: {labels}", results))
    return table


def strain(experiments):
    """Pressure of unseen paths against the error of strained cells."""
    table = Titled(
        "strain",
        "Strained cells: what energies alone tell, what forces and stresses add",
        "Pressure: RMSE over one frame of unseen paths (GPa), a check that needs no strained "
        "cells. RMSE, meV/atom: of all strains (to ±9 % of the box side) and within ±4.5 %. K: "
        "mean absolute error of the bulk modulus (GPa) of a parabola within 4 % of strain, "
        f"37 compositions. {experiments.bags['comparison']} bags, "
        f"{experiments.bags['labels']} with several kinds of labels.",
    )
    runs = [(name, "energies", experiments.results(name)) for name in COMPARED]
    runs += [(name, "energies; ridge", experiments.results(name, "ridge")) for name in RIDGE]
    runs += [
        (name, labels, experiments.labelled(name, labels))
        for name in LABELLED
        for labels in LABELLED[name].trained_on
    ]
    for name, labels, results in runs:
        errors = experiments.errors(results)
        predicted, reference, _ = bulk_moduli(experiments, results)
        table.add(
            {
                "representation": name,
                "labels": labels,
                "paths": _mean(errors.rmse("paths")),
                "pressure": _mean(experiments.pressure_errors(name, results)),
                "all strains": _mean(errors.rmse("bulk")),
                "to 4.5 %": bulk_rmse_within(experiments, results, 0.046),
                "K": float(np.mean(np.abs(predicted - reference))),
                "forces (meV/Å)": 1e3 * np.mean([r.get("force_rmse", np.nan) for r in results]),
            }
        )
    return table


# The first of these are of the headline representations alone.
TABLES = (extrapolation, large_states, barriers, by_size, schemes, chapter_3)
MORE = (summary, strain)


def write_all(experiments, out):
    """Write ``tables.md`` and one CSV per table."""
    made = [make(experiments) for make in TABLES + MORE * experiments.everything]
    for table in made:
        table.write_csv(out / f"{table.name}.csv")
    text = "\n".join(table.page() for table in made)
    (out / "tables.md").write_text(text, encoding="utf-8")
