"""Bulk moduli, elastic tensors and Debye temperatures of structures that no potential has seen."""

import numpy as np
from ase import units
from ase.stress import voigt_6_to_full_3x3_strain
from common.data import VOLUMES
from potentials import RECIPES
from strain import images
from titled import Titled

from skwavelet.inspection import bulk_modulus

STRAIN = 0.005
# Elastic tensors are those of every third composition.
EVERY = 3


def compositions(part):
    """Return the rows of the strained cells of each composition, and its Li/Si, which increases."""
    rows = list(images(part).values())
    ratio = [np.sum(part.structures[r[0]].numbers == 3) for r in rows]
    ratio /= np.array([np.sum(part.structures[r[0]].numbers == 14) for r in rows])
    order = np.argsort(ratio)
    return [rows[i] for i in order], ratio[order]


def bulk_moduli(potentials, energies):
    """Return the bulk modulus (GPa) of each composition from energies (eV/atom) of its cells."""
    part = potentials.parts["bulk"]
    found = []
    for rows in compositions(part)[0]:
        volumes = [part.structures[i].get_volume() for i in rows]
        n_atoms = len(part.structures[rows[0]])
        try:
            found.append(bulk_modulus(volumes, n_atoms * energies[rows]))
        except ValueError:  # no minimum
            found.append(np.nan)
    return np.array(found)


def unstrained(part):
    """Return the cell without strain of every so manyth composition."""
    return [
        part.structures[min(rows, key=lambda i: abs(part.structures[i].info["strain"]))]
        for rows in compositions(part)[0][::EVERY]
    ]


def clamped_tensor(atoms, calculator):
    """Return the elastic constants (6, 6) in GPa of atoms that follow the strain."""
    columns = []
    for component in range(6):
        stresses = []
        for sign in (1, -1):
            eta = np.zeros(6)
            eta[component] = sign * STRAIN
            strained = atoms.copy()
            cell = atoms.cell.array @ voigt_6_to_full_3x3_strain(eta)
            strained.set_cell(cell, scale_atoms=True)
            strained.calc = calculator
            stresses.append(strained.get_stress())
        columns.append((stresses[0] - stresses[1]) / (2 * STRAIN * units.GPa))
    return (np.array(columns) + np.array(columns).T) / 2


def averages(tensor):
    """Return the bulk and the shear modulus (Voigt's averages), in the unit of the tensor."""
    normal, mixed = np.trace(tensor[:3, :3]), tensor[0, 1] + tensor[1, 2] + tensor[0, 2]
    shear = np.trace(tensor[3:, 3:])
    return (normal + 2 * mixed) / 9, (normal - mixed + 3 * shear) / 15


def debye_temperature(atoms, tensor):
    """Return Debye's temperature (K) from the averages of an elastic tensor (GPa).

    Anderson's formula, h/k (3 N / 4 pi V)^(1/3) v with 3/v³ = 1/v_l³ + 2/v_t³.
    """
    bulk, shear = (modulus * units.GPa for modulus in averages(tensor))
    density = atoms.get_masses().sum() / atoms.get_volume()
    if not (bulk > 0 and shear > 0):
        return np.nan
    longitudinal, transverse = np.sqrt([(bulk + 4 / 3 * shear) / density, shear / density])
    speed = (3 / (longitudinal**-3 + 2 * transverse**-3)) ** (1 / 3)
    number = len(atoms) / atoms.get_volume()
    # ASE's units of time, energy and mass fit each other; h = 2 pi hbar.
    hbar = units._hbar * units.J * units.s
    return float(2 * np.pi * hbar / units.kB * (3 * number / (4 * np.pi)) ** (1 / 3) * speed)


def clamped(potentials, name):
    """Return the tensors (n_compositions, 6, 6), of the labels where name is None."""
    cells = unstrained(potentials.parts["bulk"])
    if name is None:
        with np.load(VOLUMES) as labels:
            known = dict(zip(labels["composition"], labels["tensors"], strict=True))
        unknown = np.full((6, 6), np.nan)  # a few compositions only: --quick
        return np.array([known.get(atoms.info["composition"], unknown) for atoms in cells], float)

    def compute():
        calculator = potentials.calculator(name)
        return np.array([clamped_tensor(atoms, calculator) for atoms in cells])

    return potentials.result("tensors", compute, name, STRAIN, EVERY, code=["elastic"])


def table(potentials):
    """Return the table of bulk moduli of all compositions."""
    made = Titled(
        "bulk_moduli",
        "Bulk moduli of 37 unseen structures",
        "K = V d²E/dV² of a parabola within 4 % of the side, from energies of cells in which the "
        "atoms follow the strain; one structure of each composition, whose path was held out. "
        "MAE and mean error, GPa. r: correlation with α = Li/Si (softening with lithium); that of "
        "the labels stands in the first line. Slope: GPa per unit of α. RMSE: energies of the "
        "strained cells, meV/atom, all and within 4.5 %.",
    )
    part = potentials.parts["bulk"]
    _, alpha = compositions(potentials.parts["bulk"])
    strains = np.array([atoms.info["strain"] for atoms in part.structures])
    reference = bulk_moduli(potentials, part.energies)
    for name in (None, *RECIPES):
        energies = (
            part.energies if name is None else potentials.model(name).predict(part.structures)
        )
        found = reference if name is None else bulk_moduli(potentials, energies)
        known = np.isfinite(found)
        errors = 1e3 * (energies - part.energies)
        made.add(
            {
                "trained on": name or "(labels)",
                "no minimum": int((~known).sum()),
                "MAE of K": float(np.abs(found - reference)[known].mean()),
                "mean error of K": float((found - reference)[known].mean()),
                "r of K with α": float(np.corrcoef(alpha[known], found[known])[0, 1]),
                "slope": float(np.polyfit(alpha[known], found[known], 1)[0]),
                "RMSE": float(np.sqrt(np.mean(errors**2))),
                "RMSE to 4.5 %": float(np.sqrt(np.mean(errors[np.abs(strains) < 0.046] ** 2))),
            }
        )
    return made


def tensor_table(potentials):
    """Return the table of elastic tensors."""
    made = Titled(
        "elastic_tensors",
        "Elastic tensors of 13 unseen structures",
        "Differences of the stresses at strains of ±0.5 %, atoms following the strain: bulk and "
        "shear modulus (Voigt's averages), mean absolute error of all 21 constants, mean of the "
        "13 structures, correlation with α = Li/Si, and Debye temperatures from the same tensors. "
        "GPa and K.",
    )
    alpha = compositions(potentials.parts["bulk"])[1][::EVERY]
    structures = unstrained(potentials.parts["bulk"])
    reference = clamped(potentials, None)
    upper = np.triu_indices(6)
    for name in (None, *RECIPES):
        tensors = reference if name is None else clamped(potentials, name)
        bulk, shear = np.array([averages(tensor) for tensor in tensors]).T
        debye = np.array(
            [debye_temperature(a, tensor) for a, tensor in zip(structures, tensors, strict=True)]
        )
        row = {
            "trained on": name or "(labels)",
            "K": float(bulk.mean()),
            "G": float(shear.mean()),
            "r of K with α": float(np.corrcoef(alpha, bulk)[0, 1]),
            "r of G with α": float(np.corrcoef(alpha, shear)[0, 1]),
            "Debye temperature": float(np.nanmean(debye)),
            "MAE of K": np.nan,
            "MAE of G": np.nan,
            "MAE of constants": np.nan,
            "MAE of the Debye temperature": np.nan,
        }
        if name is not None:
            ours, theirs = tensors[:, *upper], reference[:, *upper]
            k, g = np.array([averages(tensor) for tensor in reference]).T
            expected = np.array(
                [debye_temperature(a, t) for a, t in zip(structures, reference, strict=True)]
            )
            row["MAE of K"] = float(np.abs(bulk - k).mean())
            row["MAE of G"] = float(np.abs(shear - g).mean())
            row["MAE of constants"] = float(np.abs(ours - theirs).mean())
            row["MAE of the Debye temperature"] = float(np.nanmean(np.abs(debye - expected)))
        made.add(row)
    return made
