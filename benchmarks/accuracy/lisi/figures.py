"""The figures of the protocol."""

import matplotlib
import numpy as np
from data import LARGE
from experiments import COMPARED
from labels import LABELLED
from matplotlib import colors
from matplotlib import pyplot as plt
from strain import bulk_displays, bulk_moduli, errors_by_size, images, of_unseen

from skwavelet.inspection import (
    LearningPathDisplay,
    ParityDisplay,
    PathEnergyDisplay,
    ReliabilityDisplay,
    SelectionDisplay,
)

DPI = 80
STAGES = (1, 21, 41)
BEST = "Point"
FULL = "energies, 10 × (forces, stresses)"


def composition(experiments):
    """Figure 3.1: energies against composition, how many have which on a logarithmic scale."""
    protocol = experiments.protocol
    paths = protocol.paths
    fraction = np.array([np.mean(atoms.numbers == 3) for atoms in paths.structures])
    energies = {
        "energy": paths.energies,
        "formation energy": paths.energies + protocol.shift["paths"],
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, (name, values) in zip(axes, energies.items(), strict=True):
        *_, image = ax.hist2d(fraction, values, bins=(37, 60), norm=colors.LogNorm())
        ax.set(xlabel="fraction of Li atoms", ylabel=f"{name} (eV/atom)")
        figure.colorbar(image, ax=ax, label="structures")
    return figure


def model_size(experiments):
    """Figure 3.2: error and weights against model size to the end, four models, random folds."""
    names = [name for name, scheme in experiments.chapter_3 if scheme == "chapter 3"]
    size = (4.5 * len(names), 6.5)
    figure, axes = plt.subplots(2, len(names), figsize=size, layout="constrained", squeeze=False)
    protocol = experiments.protocol
    for column, name in zip(axes.T, names, strict=True):
        result = experiments.results(name, "chapter 3")[0]
        model, test = result["model"], result["test"]
        X, y = protocol.features(name, "paths")[test], protocol.paths.energies[test]
        for ax, quantity in zip(column, ("error", "weights"), strict=True):
            LearningPathDisplay.from_estimator(model, X, y, quantity=quantity, ax=ax)
        column[0].set_title(f"{name}, random folds")
    return figure


def _selections(experiments, bys, size):
    name = experiments.names[-1]
    results = experiments.results(name, "chapter 3")
    table = experiments.protocol.table(name)
    table = table.assign(selections=sum(result["selections"] for result in results))
    display = SelectionDisplay(table)
    figure, axes = plt.subplots(1, len(bys), figsize=size, layout="constrained")
    for ax, by in zip(axes, bys, strict=True):
        display.plot(ax, by=by)
    return figure


def channels_and_powers(experiments):
    """Figure 3.3: channels, powers and orders of the features that chapter 3's models select."""
    return _selections(experiments, ("channel", "q", "order"), (10, 3.2))


def scales_and_wavelets(experiments):
    """Figure 3.4: pairs of scales, pairs of (n, l), of the features of chapter 3's models."""
    return _selections(experiments, ("scales", "wavelets"), (11, 5))


def learning_paths(experiments):
    """Figure 4.1: training, validation and test error against M."""
    figure, axes = _columns(experiments, 1, 3.8)
    protocol = experiments.protocol
    for ax, name in zip(axes[0], experiments.names, strict=True):
        result = experiments.headline(name)[0]
        model, test = result["model"], result["test"]
        X, y = protocol.features(name, "paths")[test], protocol.paths.energies[test]
        LearningPathDisplay.from_estimator(model, X, y, ax=ax)
        ax.set_title(name)
    return figure


def _columns(experiments, n_rows, height):
    n_columns = len(experiments.names)
    size = (max(5, 4 * n_columns), height)
    return plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)


def _draw_by_size(experiments, ax, tasks):
    """Draw errors of tasks against M, beyond M* too; those of the paths are thin."""
    for number, name in enumerate(experiments.names):
        color = f"C{number}"
        results = experiments.headline(name)
        curves = errors_by_size(experiments, results)
        size = np.concatenate([result["sizes"] for result in results]).mean()
        for (task, title), style in zip(tasks.items(), ("-", "--", ":"), strict=False):
            sizes = np.arange(1, len(curves[task]) + 1)
            ax.plot(sizes, curves[task], style, color=color, label=f"{name}: {title}")
        ax.plot(sizes, curves["paths"], color=color, lw=0.6, label=f"{name}: unseen paths")
        ax.axvline(size, color=color, ls=":", lw=1, label=f"{name}: M* = {size:.0f}")
    ax.set(xscale="log", yscale="log", xlabel="number of features M", ylabel="RMSE (meV/atom)")
    ax.legend(fontsize=7)


def diffusion(experiments):
    """Figure 4.2: error of the diffusion paths against M, and energies along them."""
    part = experiments.protocol.parts["barriers"]
    paths = images(part)
    figure = plt.figure(figsize=(13, 9), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 2))
    _draw_by_size(experiments, upper.subplots(), {"barriers": "diffusion paths"})
    axes = lower.subplots(2, len(paths), squeeze=False)
    found = {
        name: of_unseen(experiments, experiments.headline(name), "barriers")
        for name in experiments.names
    }
    for column, (path, rows) in zip(axes.T, paths.items(), strict=True):
        predictions = {name: energies[rows] for name, energies in found.items()}
        _draw_path(column, part, rows, predictions)
        column[0].set_title(path, fontsize=8)
    axes[0, 0].legend(fontsize=7)
    return figure


def _draw_path(column, part, rows, predictions):
    """Draw energies of a path, absolute and relative to the first."""
    n_atoms = len(part.structures[rows[0]])
    for ax, shifted in zip(column, (False, True), strict=True):
        PathEnergyDisplay.from_predictions(
            part.energies[rows], predictions, n_atoms=n_atoms, shifted=shifted, ax=ax
        )
        ax.get_legend().remove()


def diffusion_stages(experiments):
    """Figure 4.3: energies along the diffusion paths with 1, 21, 41 and all features."""
    name, part = experiments.names[-1], experiments.protocol.parts["barriers"]
    results = experiments.headline(name)
    staged = of_unseen(experiments, results, "barriers", "staged")
    found = {f"M = {m}": staged[m - 1] for m in STAGES}
    found["M = M*"] = of_unseen(experiments, results, "barriers")
    paths = images(part)
    figure, axes = plt.subplots(
        2, len(paths), figsize=(13, 5.6), layout="constrained", squeeze=False
    )
    for column, (path, rows) in zip(axes.T, paths.items(), strict=True):
        _draw_path(column, part, rows, {key: values[rows] for key, values in found.items()})
        column[0].set_title(path, fontsize=8)
    axes[0, 0].legend(fontsize=7)
    return figure


def relaxation_stages(experiments):
    """Energies along relaxation paths with few features and with all."""
    paths = experiments.protocol.paths
    result = experiments.headline(experiments.names[-1])[0]
    names = paths.parents[result["test"]]
    chosen = list(dict.fromkeys(names))
    chosen = chosen[:: max(1, len(chosen) // 4)][:4]
    figure, axes = plt.subplots(2, 4, figsize=(13, 5.6), layout="constrained")
    for column, name in zip(axes.T, chosen, strict=False):
        of_path = np.flatnonzero(names == name)
        rows = result["test"][of_path]
        predictions = {f"M = {m}": result["staged_paths"][m - 1][of_path] for m in STAGES}
        predictions["M = M*"] = result["prediction_paths"][of_path]
        _draw_path(column, paths, rows, predictions)
        steps = [paths.structures[i].info["step"] for i in rows]
        for ax in column:
            ax.set_xticks(range(len(steps)), steps)
            ax.set_xlabel("relaxation step")
        composition = paths.structures[rows[0]].info["composition"]
        column[0].set_title(f"{composition}, path {name}")
    axes[0, 0].legend(fontsize=7)
    return figure


def large_states(experiments):
    """Figure 4.4: error of larger cells against M, and errors by kind."""
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    titles = dict(zip(LARGE, ("packed", "2x1x1", "2x2x2"), strict=True))
    _draw_by_size(experiments, axes[0], titles)
    for ax, task in zip(axes[1:], LARGE, strict=True):
        part = experiments.protocol.parts[task]
        for name in experiments.names:
            predicted = of_unseen(experiments, experiments.headline(name), task)
            # Energies span eV, errors are of meV: the latter are drawn.
            errors = 1e3 * (predicted - part.energies)
            rmse = np.sqrt(np.mean(errors**2))
            ax.plot(part.energies, errors, ".", ms=4, label=f"{name}: RMSE {rmse:.2f}")
        ax.axhline(0, color="k", lw=0.8)
        ax.set(xlabel="reference energy (eV/atom)", ylabel="error (meV/atom)", title=titles[task])
        ax.legend(fontsize=7)
    return figure


def _strain_models(experiments):
    found = {name: experiments.headline(name) for name in experiments.names}
    if not experiments.everything:
        return found
    found["Point, two scales"] = experiments.results("Point, two scales")
    found[f"{BEST}: {FULL}"] = experiments.labelled(BEST, FULL)
    return found


def energy_volume(experiments):
    """Figure 4.5: energy against volume of three compositions."""
    found = _strain_models(experiments)
    figure, axes = plt.subplots(
        3, len(found), figsize=(3.4 * len(found), 8), layout="constrained", squeeze=False
    )
    for column, (name, results) in zip(axes.T, found.items(), strict=True):
        displays = bulk_displays(experiments, results)
        chosen = list(displays)[:: max(1, len(displays) // 2)][:3]
        for ax, formula in zip(column, chosen, strict=False):
            displays[formula].plot(ax)
            ax.set_title(f"{formula}; {name}", fontsize=8)
            ax.legend(fontsize=7)
    return figure


def bulk_modulus(experiments):
    """Figure 4.6: error of strained cells against M, and bulk moduli with their spread."""
    found = _strain_models(experiments)
    figure, axes = plt.subplots(
        1, 1 + len(found), figsize=(4 * (1 + len(found)), 3.8), layout="constrained"
    )
    _draw_by_size(experiments, axes[0], {"bulk": "strained cells"})
    for ax, (name, results) in zip(axes[1:], found.items(), strict=True):
        predicted, reference, spread = bulk_moduli(experiments, results)
        ParityDisplay.from_predictions(
            reference, predicted, std=spread, quantity="bulk modulus", unit="GPa", ax=ax
        )
        ax.set_title(name, fontsize=8)
        ax.legend(fontsize=7)
    return figure


def diagnosis(experiments):
    """Pressure error on unseen paths against the error of strained cells."""
    figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
    runs = [(name, "tab:blue", name, experiments.results(name)) for name in COMPARED]
    for name in LABELLED:
        label = f"{name}: {FULL}"
        runs.append((name, "tab:orange", label, experiments.labelled(name, FULL)))
    for number, (name, color, label, results) in enumerate(runs, start=1):
        x = experiments.pressure_errors(name, results).mean()
        y = np.nanmean(experiments.errors(results).rmse("bulk"))
        ax.plot(x, y, marker=f"${number}$", color=color, ms=9, ls="none", label=label)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="pressure error on unseen paths (GPa)",
        ylabel="RMSE of strained cells (meV/atom)",
    )
    figure.legend(loc="outside right center", fontsize=8)
    return figure


def reliability(experiments):
    """Spread of the ensembles against their errors on unseen paths."""
    figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    energies = experiments.protocol.paths.energies
    for name in experiments.names:
        results = experiments.headline(name)
        test = np.concatenate([result["test"] for result in results])
        predicted = np.concatenate([result["prediction_paths"] for result in results])
        spread = np.concatenate([result["spread_paths"] for result in results])
        ReliabilityDisplay.from_predictions(energies[test], predicted, spread, name=name, ax=ax)
    ax.legend(fontsize=7)
    return figure


# The dissertation's figures have its numbers, the others are ours. Those of MORE are not of the
# headline representations alone.
FIGURES = {
    "figure_3_1_composition": composition,
    "figure_3_2_model_size": model_size,
    "figure_3_3_channels_powers": channels_and_powers,
    "figure_3_4_scales_wavelets": scales_and_wavelets,
    "figure_4_1_learning_paths": learning_paths,
    "figure_4_2_diffusion": diffusion,
    "figure_4_3_few_features": diffusion_stages,
    "figure_4_4_large_states": large_states,
    "figure_4_5_energy_volume": energy_volume,
    "figure_4_6_bulk_modulus": bulk_modulus,
    "relaxation_paths": relaxation_stages,
    "reliability": reliability,
}
MORE = {"strain_diagnosis": diagnosis}


def draw_all(experiments, out):
    """Draw every figure into ``out``."""
    matplotlib.use("agg")
    for name, draw in (FIGURES | (MORE if experiments.everything else {})).items():
        figure = draw(experiments)
        figure.savefig(out / f"{name}.png", dpi=DPI)
        plt.close(figure)
