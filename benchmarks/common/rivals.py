"""The libraries that ours is measured beside, behind what the benchmarks ask of a representation.

They are imported when asked for, so that a script runs without those that it does not need.
"""

import importlib.metadata
import typing
import warnings

import numpy as np
import scipy.special
from ase.stress import voigt_6_to_full_3x3_stress
from sklearn.base import BaseEstimator

ACSF_FUNCTIONS = {
    "g2_params": [[4.0, shift] for shift in np.linspace(1.5, 5.5, 12).tolist()],
    "g4_params": [
        [eta, zeta, sign] for eta in (0.005, 0.05) for zeta in (1, 2, 4, 16) for sign in (-1, 1)
    ],
}


class DScribe(BaseEstimator):
    """SOAP or ACSF of DScribe in periodic cells, averaged over atoms, with derivatives.

    DScribe offers no derivatives of averages over periodic structures: these are central
    differences.

    Parameters
    ----------
    kind : {"SOAP", "ACSF"}
    settings : dict
        Arguments of the descriptor, but for elements and periodicity.
    by_element : bool
        Whether to sum over the atoms of every element (divided by the number of all atoms).
    step : float
        How far atoms move on average for a difference, in Å; a strain that is larger than the
        displacements moves its box side by this fraction.
    """

    def __init__(self, kind="SOAP", settings=None, by_element=False, step=1e-3):
        self.kind, self.settings, self.by_element, self.step = kind, settings, by_element, step

    def get_params(self, deep=True):
        """Return what features depend on, the version of DScribe included."""
        return super().get_params(deep) | {"version": importlib.metadata.version("dscribe")}

    def fit(self, X, y=None):
        """Learn the elements."""
        from dscribe import descriptors

        self.species_ = sorted({symbol for atoms in X for symbol in atoms.symbols})
        settings = self.settings or (ACSF_FUNCTIONS if self.kind == "ACSF" else {})
        self.descriptor_ = getattr(descriptors, self.kind)(
            species=self.species_, periodic=True, **{"r_cut": 6.0} | settings
        )
        parts = len(self.species_) if self.by_element else 1
        self.n_features_out_ = parts * self.descriptor_.get_number_of_features()
        return self

    def transform(self, X):
        """Return the averages (n_structures, n_features)."""
        return np.array([self._average(atoms) for atoms in X])

    def _average(self, atoms):
        features = self.descriptor_.create(atoms)
        if not self.by_element:
            return features.mean(axis=0)
        kinds = [np.array(atoms.symbols) == symbol for symbol in self.species_]
        return np.concatenate([features[kind].sum(axis=0) for kind in kinds]) / len(atoms)

    def jvp(self, X, displacements=None, strains=None):
        """Return derivatives along displacements and strains, one array per structure."""
        some = displacements if displacements is not None else strains
        none = [np.zeros((len(part), 1, 3)) for part in some]
        moves = none if displacements is None else displacements
        bends = [np.zeros((len(part), 3, 3)) for part in some] if strains is None else strains
        return [
            np.array([self._difference(atoms, *pair) for pair in zip(move, bend, strict=True)])
            for atoms, move, bend in zip(X, moves, bends, strict=True)
        ]

    def _difference(self, atoms, move, bend):
        # Long directions get short steps: the atoms move by `step` on average.
        length = self.step / max(np.sqrt(np.mean(move**2)), np.abs(bend).max())
        ends = []
        for step in (length, -length):
            copy = atoms.copy()
            copy.positions += step * move
            copy.set_cell(copy.cell.array @ (np.eye(3) + step * bend), scale_atoms=True)
            ends.append(self._average(copy))
        return (ends[0] - ends[1]) / (2 * length)


class Polymlp(BaseEstimator):
    """pypolymlp's potential of polynomial invariants, as it comes.

    Its penalty is the one of least error of every tenth structure, which the fit leaves out.
    Settings are arguments of ``Pypolymlp.set_params``, beside the elements.
    """

    def __init__(self, settings=None):
        self.settings = settings

    def get_params(self, deep=True):
        """Return what results depend on, the version of pypolymlp included."""
        return super().get_params(deep) | {"version": _version("pypolymlp")}

    def fit(self, X, y, forces=None, stress=None):
        """Fit to energies (eV/atom), forces (eV/Å) and stresses (eV/Å³), or the first two."""
        from pypolymlp.calculator.utils.ase_calculator import PolymlpASECalculator
        from pypolymlp.calculator.utils.ase_utils import ase_atoms_to_structure
        from pypolymlp.mlp_dev.pypolymlp import Pypolymlp

        elements = tuple(sorted({symbol for atoms in X for symbol in atoms.symbols}))
        has_stress = stress is not None and all(part is not None for part in stress)
        potential = Pypolymlp().set_params(
            elements=elements,
            include_stress=has_stress,
            atomic_energy=(0.0,) * len(elements),
            **self.settings or {},
        )
        held = np.arange(len(X)) % 10 == 5
        labels = {}
        for name, members in (("train", np.flatnonzero(~held)), ("test", np.flatnonzero(held))):
            part = [X[i] for i in members]
            labels[f"{name}_structures"] = [ase_atoms_to_structure(atoms) for atoms in part]
            labels[f"{name}_energies"] = np.array([y[i] * len(X[i]) for i in members])
            labels[f"{name}_forces"] = [forces[i].T for i in members]
            if has_stress:
                labels[f"{name}_stresses"] = np.array(
                    [voigt_6_to_full_3x3_stress(stress[i]) * X[i].get_volume() for i in members]
                )
        potential.set_datasets_structures(**labels)
        potential.fit()
        coeffs = potential.coeffs

        class Calculator(PolymlpASECalculator):
            """Its stresses: pypolymlp has the other sign, eV/cell, and the end xy, yz, zx."""

            def calculate(self, atoms, *args, **kwargs):
                super().calculate(atoms, *args, **kwargs)
                stress = np.asarray(self.results["stress"])[[0, 1, 2, 4, 5, 3]]
                self.results["stress"] = -stress / atoms.get_volume()

        self.calculator_ = Calculator(params=potential.parameters, coeffs=coeffs)
        self.n_parameters_ = len(coeffs)
        return self


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def averaged_soap(n_max, l_max, average, cutoff):
    """Return a SOAP of Li-Si that DScribe itself averages: "outer" or "inner"."""
    from dscribe.descriptors import SOAP

    settings = {"r_cut": cutoff, "n_max": n_max, "l_max": l_max, "average": average}
    return SOAP(species=("Li", "Si"), periodic=True, **settings)


def featomic_soap(n_max, l_max, cutoff):
    """Return featomic's SOAP: three products for each radial and angular order of Li-Si."""
    from featomic import SoapPowerSpectrum

    return SoapPowerSpectrum(
        cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        density={"type": "Gaussian", "width": 0.5},
        basis={
            "type": "TensorProduct",
            "max_angular": l_max,
            "radial": {"type": "Gto", "max_radial": n_max - 1},
        },
    )


def load_kymatio():
    """Return kymatio's two frontends by name, whatever the SciPy.

    kymatio 0.3.0 imports ``scipy.special.sph_harm``, which SciPy 1.17 no longer has: it is defined
    from ``sph_harm_y``, which swaps the angles and the indices. Nothing else is changed.
    """
    if not hasattr(scipy.special, "sph_harm"):
        # Old: (m, l, azimuthal, polar); new: (l, m, polar, azimuthal).
        scipy.special.sph_harm = lambda m, l, azimuthal, polar: scipy.special.sph_harm_y(
            l, m, polar, azimuthal
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kymatio.scattering3d.frontend.numpy_frontend import HarmonicScatteringNumPy3D
        from kymatio.scattering3d.frontend.torch_frontend import HarmonicScatteringTorch3D
    return {"numpy": HarmonicScatteringNumPy3D, "torch": HarmonicScatteringTorch3D}


def schnetpack_model(name, width, cutoff):
    """Return SchNetPack's SchNet or PaiNN with three interactions, energies and forces."""
    import torch.utils.data.dataloader as dataloader

    # SchNetPack 2.1.1 imports a name that torch no longer has.
    dataloader.T_co = getattr(dataloader, "T_co", typing.TypeVar("T_co"))
    import schnetpack

    representation = getattr(schnetpack.representation, name)(
        n_atom_basis=width,
        n_interactions=3,
        radial_basis=schnetpack.nn.GaussianRBF(n_rbf=20, cutoff=cutoff),
        cutoff_fn=schnetpack.nn.CosineCutoff(cutoff),
    )
    return schnetpack.model.NeuralNetworkPotential(
        representation,
        input_modules=[schnetpack.atomistic.PairwiseDistances()],
        output_modules=[
            schnetpack.atomistic.Atomwise(n_in=width, output_key="energy"),
            schnetpack.atomistic.Forces(energy_key="energy", force_key="forces"),
        ],
    )
