"""The figures of the protocol."""

import matplotlib
import numpy as np
from data import LARGE
from experiments import CHAPTER_3, COMPARED, HEADLINE
from fits import STAGES
from labels import LABELLED
from matplotlib import pyplot as plt
from strain import bulk_displays, bulk_moduli, images, of_unseen

from skwavelet.inspection import (
    LearningPathDisplay,
    ParityDisplay,
    PathEnergyDisplay,
    ReliabilityDisplay,
    SelectionDisplay,
)

DPI = 80
BEST = HEADLINE[-1]
FULL = "energies, 10 × (forces, stresses)"


def composition(experiments):
    """Figure 3.1: energies, and formation energies, against composition."""
    protocol = experiments.protocol
    paths = protocol.paths
    fraction = np.array([np.mean(atoms.numbers == 3) for atoms in paths.structures])
    energies = {
        "energy": paths.energies,
        "formation energy": paths.energies + protocol.shift["paths"],
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    steps = np.array([atoms.info["step"] for atoms in paths.structures])
    for ax, (name, values) in zip(axes, energies.items(), strict=True):
        points = ax.scatter(fraction, values, c=steps, s=3, cmap="viridis_r")
        ax.set(xlabel="fraction of Li atoms", ylabel=f"{name} (eV/atom)")
    figure.colorbar(points, ax=axes, label="relaxation step")
    return figure


def model_size(experiments):
    """Figure 3.2: error and weights against model size, one greedy model, random folds."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    protocol = experiments.protocol
    for column, name in zip(axes.T, CHAPTER_3[:2], strict=True):
        result = experiments.results(name, "greedy, random folds")[0]
        model = result["model"]
        test = result["test"]
        X, y = protocol.features(name, "paths")[test], protocol.paths.energies[test]
        y = y + protocol.shift["paths"][test]
        for ax, quantity in zip(column, ("error", "weights"), strict=True):
            LearningPathDisplay.from_estimator(model, X, y, quantity=quantity, ax=ax)
        column[0].set_title(f"{name}, random folds")
    return figure


def _selections(experiments, bys, size):
    results = experiments.results("Voxel", bags="headline")
    table = experiments.protocol.table("Voxel")
    table = table.assign(selections=sum(result["selections"] for result in results))
    display = SelectionDisplay(table)
    figure, axes = plt.subplots(1, len(bys), figsize=size, layout="constrained")
    for ax, by in zip(axes, bys, strict=True):
        display.plot(ax, by=by)
    return figure


def channels_and_powers(experiments):
    """Figure 3.3: channels, powers and orders of the selected features, the headline ensemble."""
    return _selections(experiments, ("channel", "q", "order"), (10, 3.2))


def scales_and_wavelets(experiments):
    """Figure 3.4: pairs of scales, pairs of (n, l)."""
    return _selections(experiments, ("scales", "wavelets"), (11, 5))


def learning_paths(experiments):
    """Figure 4.1: training, validation and test error against M."""
    figure, axes = plt.subplots(1, len(HEADLINE), figsize=(12, 3.8), layout="constrained")
    protocol = experiments.protocol
    for ax, name in zip(axes, HEADLINE, strict=True):
        result = experiments.results(name, bags="headline")[0]
        model, test = result["model"], result["test"]
        X, y = protocol.features(name, "paths")[test], protocol.paths.energies[test]
        LearningPathDisplay.from_estimator(model, X, y, ax=ax)
        ax.set_title(name)
    return figure


def diffusion(experiments):
    """Energies along the diffusion paths, absolute and shifted."""
    part = experiments.protocol.parts["barriers"]
    paths = images(part)
    width = (len(paths) + 1) // 2
    figure, axes = plt.subplots(4, width, figsize=(3.2 * width, 10), layout="constrained")
    found = {
        name: of_unseen(experiments, experiments.results(name, bags="headline"), "barriers")
        for name in HEADLINE
    }
    pairs = [axes[2 * row : 2 * row + 2, k] for row in range(2) for k in range(width)]
    for column, (path, rows) in zip(pairs, paths.items(), strict=False):
        predictions = {name: energies[rows] for name, energies in found.items()}
        n_atoms = len(part.structures[rows[0]])
        for ax, shifted in zip(column, (False, True), strict=True):
            PathEnergyDisplay.from_predictions(
                part.energies[rows], predictions, n_atoms=n_atoms, shifted=shifted, ax=ax
            )
            ax.get_legend().remove()
        column[0].set_title(path)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def stages(experiments):
    """Energies along relaxation paths with few features and with all."""
    protocol = experiments.protocol
    paths = protocol.paths
    result = experiments.results("Voxel", bags="headline")[0]
    names = paths.parents[result["test"]]
    chosen = list(dict.fromkeys(names))
    chosen = chosen[:: max(1, len(chosen) // 4)][:4]
    figure, axes = plt.subplots(2, 4, figsize=(13, 5.6), layout="constrained")
    for column, name in zip(axes.T, chosen, strict=False):
        rows = np.flatnonzero(names == name)
        structures = [paths.structures[i] for i in result["test"][rows]]
        predictions = {
            f"M = {m}": values[rows] for m, values in zip(STAGES, result["staged"], strict=True)
        }
        predictions["M = M*"] = result["prediction_paths"][rows]
        for ax, shifted in zip(column, (False, True), strict=True):
            PathEnergyDisplay.from_predictions(
                paths.energies[result["test"][rows]],
                predictions,
                n_atoms=len(structures[0]),
                shifted=shifted,
                ax=ax,
            )
            steps = [atoms.info["step"] for atoms in structures]
            ax.set_xticks(range(len(steps)), steps)
            ax.set_xlabel("relaxation step")
            ax.get_legend().remove()
        column[0].set_title(f"{structures[0].info['composition']}, path {name}")
    axes[0, 0].legend(fontsize=7)
    return figure


def large_states(experiments):
    """Figure 4.4: larger cells by kind."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for ax, task in zip(axes, LARGE, strict=True):
        part = experiments.protocol.parts[task]
        for name in HEADLINE:
            predicted = of_unseen(experiments, experiments.results(name, bags="headline"), task)
            # Energies span eV, errors are of meV: the latter are drawn.
            errors = 1e3 * (predicted - part.energies)
            rmse = np.sqrt(np.mean(errors**2))
            ax.plot(part.energies, errors, ".", ms=4, label=f"{name}: RMSE {rmse:.2f}")
        ax.axhline(0, color="k", lw=0.8)
        ax.set(title=task, xlabel="reference energy (eV/atom)", ylabel="error (meV/atom)")
        ax.legend(fontsize=7)
    return figure


def _strain_models(experiments):
    found = {name: experiments.results(name, bags="headline") for name in ("Voxel", BEST)}
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
    """Figure 4.6: bulk modulus by composition, with the spread of the ensemble."""
    found = _strain_models(experiments)
    figure, axes = plt.subplots(
        1, len(found), figsize=(4 * len(found), 3.8), layout="constrained", sharey=True
    )
    for ax, (name, results) in zip(axes, found.items(), strict=True):
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
    for name in HEADLINE:
        results = experiments.results(name, bags="headline")
        test = np.concatenate([result["test"] for result in results])
        predicted = np.concatenate([result["prediction_paths"] for result in results])
        spread = np.concatenate([result["spread_paths"] for result in results])
        ReliabilityDisplay.from_predictions(energies[test], predicted, spread, name=name, ax=ax)
    ax.legend(fontsize=7)
    return figure


FIGURES = {
    "figure_3_1_composition": composition,
    "figure_3_2_model_size": model_size,
    "figure_3_3_channels_powers": channels_and_powers,
    "figure_3_4_scales_wavelets": scales_and_wavelets,
    "figure_4_1_learning_paths": learning_paths,
    "diffusion_paths": diffusion,
    "relaxation_paths": stages,
    "figure_4_4_large_states": large_states,
    "figure_4_5_energy_volume": energy_volume,
    "figure_4_6_bulk_modulus": bulk_modulus,
    "strain_diagnosis": diagnosis,
    "reliability": reliability,
}


def draw_all(experiments, out):
    """Draw every figure into ``out``."""
    matplotlib.use("agg")
    for name, draw in FIGURES.items():
        figure = draw(experiments)
        figure.savefig(out / f"{name}.png", dpi=DPI)
        plt.close(figure)
