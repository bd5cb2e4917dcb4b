"""Train a potential on energies, forces and stresses, and relax a structure with it.

One composition of amorphous lithium-silicon: four relaxation paths train a model, a fifth tests
its forces, and the first frame of the fifth relaxes under the model in ASE. Saves a figure.

Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.

Run: ``python examples/lisi_potential.py`` (two minutes on one core).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.optimize import FIRE

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    ScatteringCalculator,
    VoxelScattering,
    prune,
)
from skwavelet.datasets import load_lisi


def main() -> None:
    """Fit, test, relax, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("lisi_potential.png"))
    args = parser.parse_args()

    lisi = load_lisi()
    here = np.flatnonzero(lisi.compositions == "LiSi")
    unseen = lisi.paths[here] == lisi.paths[here][-1]
    train, test = here[~unseen], here[unseen]
    # Forces enter as projections on random directions of all atoms at once. A larger `smoothing`
    # of the modulus than the default makes them less rough. Frames of a path are correlated:
    # paths are what the ensemble draws.
    model = EnergyForceRegressor(
        VoxelScattering(smoothing=0.1),
        BaggedOLSEnsemble(20, max_features=60, random_state=0),
        n_directions=4,
        random_state=0,
    )
    model.fit(
        [lisi.structures[i] for i in train],
        lisi.energies[train],
        forces=[lisi.forces[i] for i in train],
        stress=[lisi.stress[i] for i in train],
        groups=lisi.paths[train],
    )
    model = prune(model)  # what it does not use need not be computed
    print(f"{len(train)} structures, {model.n_rows_} rows")
    print(f"{model.features_.n_features_out_} features are in use")

    structures = [lisi.structures[i] for i in test]
    predicted = np.concatenate(model.predict_forces(structures))
    expected = np.concatenate([lisi.forces[i] for i in test])
    error = 1000 * np.sqrt(np.mean((predicted - expected) ** 2))
    print(f"forces of the unseen path: RMSE {error:.0f} meV/Å")
    print(f"the forces themselves: rms {1000 * np.sqrt(np.mean(expected**2)):.0f} meV/Å")
    print(f"extrapolation scores: {model.extrapolation_score(structures).round(1)}")

    atoms = structures[0].copy()
    atoms.calc = ScatteringCalculator(model)
    energies = []
    relaxation = FIRE(atoms, logfile=None)
    relaxation.attach(
        lambda: energies.append(
            (atoms.get_potential_energy(), atoms.calc.get_property("energy_std", atoms))
        )
    )
    relaxation.run(fmax=0.3, steps=15)
    plot(expected, predicted, np.array(energies) / len(atoms)).savefig(args.output, dpi=150)
    print(f"figure: {args.output}")


def plot(expected, predicted, energies) -> plt.Figure:
    """Draw predicted against reference forces, and the energy during the relaxation."""
    figure, (parity, relaxation) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    parity.plot(expected.ravel(), predicted.ravel(), ".", ms=3)
    parity.axline((0, 0), slope=1, color="k", lw=0.8)
    parity.set(
        xlabel="reference force (eV/Å)",
        ylabel="predicted force (eV/Å)",
        title="A path the model has not seen",
    )
    energy, std = energies.T
    relaxation.errorbar(np.arange(len(energy)), energy, std, marker=".", capsize=2)
    relaxation.set(
        xlabel="step", ylabel="energy (eV/atom)", title="Its first frame relaxes under the model"
    )
    figure.suptitle("Li-Si; labels from CHGNet v0.3.0, not DFT", fontsize=10)
    return figure


if __name__ == "__main__":
    main()
