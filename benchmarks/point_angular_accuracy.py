"""Accuracy of point scattering and angular features beside voxels and DScribe's SOAP and ACSF.

    python benchmarks/point_angular_accuracy.py --data DIR --cache DIR
    python benchmarks/point_angular_accuracy.py --cache DIR --quick    # packaged structures

DIR/lisi: energies along unseen relaxation paths of amorphous Li-Si, 12 frames per path, five folds
of whole paths, the same BaggedOLSEnsemble for all. Labels are those of the pretrained potential
CHGNet v0.3.0, not of density functional theory. All representations reach 6 Å but VoxelScattering
(defaults) and are computed on one thread; the time per structure is CPU time. DScribe's features
are those of the atoms, averaged over the atoms of each element, and once over all atoms.

DIR/mlearn: silicon of Zuo et al. 2020 (PBE) with its published split, energies and forces by
EnergyForceRegressor; mean absolute errors, comparable with the published ones.

Features are kept in --cache under the settings that made them.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import threadpoolctl
from ase.io import read
from dscribe.descriptors import ACSF, SOAP
from sklearn.pipeline import FeatureUnion
from timing import machine, table

import skwavelet
from skwavelet import (
    AngularFeatures,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    RelaxationPathGroupKFold,
    VoxelScattering,
)
from skwavelet.datasets import LISI_STEPS, load_lisi

REACH = 6.0
SPECIES = ["Li", "Si"]
OURS = {
    "Point, order 1": PointScattering(order=1, reach=REACH),
    "Point": PointScattering(reach=REACH),
    "Point, all centers": PointScattering(reach=REACH, centers="all"),
    "Angular, pairs only": AngularFeatures(order=1, reach=REACH),
    "Angular": AngularFeatures(reach=REACH),
    "Angular, Legendre": AngularFeatures(angles="legendre", reach=REACH),
    "Voxel": VoxelScattering(),
}
UNIONS = [
    ("Point, order 1", "Angular"),
    ("Point", "Angular"),
    ("Voxel", "Point, order 1"),
    ("Voxel", "Angular"),
    ("Voxel", "Point, order 1", "Angular"),
]


class Averaged:
    """A descriptor of DScribe, averaged over the atoms of every element or over all atoms."""

    def __init__(self, descriptor, by_element):
        self.descriptor, self.by_element = descriptor, by_element

    def __repr__(self):
        size = self.descriptor.get_number_of_features()
        return f"{type(self.descriptor).__name__} {size} {self.by_element}"

    def transform(self, structures):
        """Return the averages of structures."""
        return np.array([self._average(atoms) for atoms in structures], dtype=np.float32)

    def _average(self, atoms):
        features = self.descriptor.create(atoms)
        if not self.by_element:
            return features.mean(axis=0)
        kinds = [np.array(atoms.symbols) == symbol for symbol in SPECIES]
        return np.concatenate([features[kind].sum(axis=0) for kind in kinds]) / len(atoms)


def dscribe_descriptors():
    soap = SOAP(species=SPECIES, r_cut=REACH, n_max=8, l_max=6, periodic=True)
    acsf = ACSF(
        species=SPECIES,
        r_cut=REACH,
        g2_params=[[4.0, shift] for shift in np.linspace(1.5, 5.5, 12)],
        g4_params=[
            [eta, zeta, sign] for eta in (0.005, 0.05) for zeta in (1, 2, 4, 16) for sign in (-1, 1)
        ],
        periodic=True,
    )
    return {
        "SOAP n8 l6": Averaged(soap, by_element=False),
        "SOAP n8 l6, by element": Averaged(soap, by_element=True),
        "ACSF, by element": Averaged(acsf, by_element=True),
    }


def cached_features(name, transformer, structures, cache):
    """Return features and CPU seconds per structure, kept in ``cache`` under their settings."""
    stamp = f"{skwavelet.__version__} {len(structures)} {transformer!r}"
    file = cache / f"lisi_{name.replace(', ', '_').replace(' ', '-')}.npz"
    if file.exists():
        with np.load(file) as stored:
            if str(stored["stamp"]) == stamp:
                return stored["features"], float(stored["seconds"])
    start = time.process_time()
    features = transformer.transform(structures)
    seconds = (time.process_time() - start) / len(structures)
    np.savez(file, features=features, seconds=seconds, stamp=stamp)
    print(f"  {name}: {features.shape[1]} features, {1e3 * seconds:.1f} ms", flush=True)
    return features, seconds


def lisi(options):
    full = {"data_home": options.data, "steps": LISI_STEPS}
    data = load_lisi(**({} if options.quick else full))
    structures, y, paths = data.structures, data.energies, data.paths
    folds = list(RelaxationPathGroupKFold(5, random_state=0).split(structures, groups=paths))
    representations = dscribe_descriptors()
    for name, transformer in OURS.items():
        representations[name] = transformer.fit(structures)
    known = {}
    for name, transformer in representations.items():
        if options.without is None or not any(name.startswith(w) for w in options.without):
            known[name] = cached_features(name, transformer, structures, options.cache)
    for parts in UNIONS:
        if all(part in known for part in parts):
            features, seconds = zip(*(known[part] for part in parts), strict=True)
            known[" + ".join(parts)] = np.hstack(features), sum(seconds)
    print(
        f"\n{len(y)} structures, {len(np.unique(paths))} paths, five path folds, "
        f"{options.n_estimators} bags. Labels: CHGNet v0.3.0, not DFT.\n"
    )
    header = ["", "features", "RMSE, meV/atom", "fold by fold", "ms per structure"]
    print(table(header, []), flush=True)
    for name, (features, seconds) in known.items():
        errors = []
        for train, test in folds:
            model = BaggedOLSEnsemble(options.n_estimators, random_state=0)
            model.fit(features[train], y[train], groups=paths[train])
            errors.append(1e3 * np.sqrt(np.mean((model.predict(features[test]) - y[test]) ** 2)))
        by_fold = " ".join(f"{error:.2f}" for error in errors)
        rmse = np.sqrt(np.mean(np.square(errors)))
        row = [name, features.shape[1], f"{rmse:.2f}", by_fold, f"{1e3 * seconds:.1f}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def mlearn(options):
    with open(options.data / "mlearn/Si.extxyz") as file:
        structures = read(file, ":", format="extxyz")
    train, test = ([a for a in structures if a.info["split"] == s] for s in ("train", "test"))
    # One element: all channels are multiples of one.
    settings = {"channels": ["number"]}
    point = PointScattering((1, 2, 3, 4), 3, reach=REACH, n_scales=3, **settings)
    angular = AngularFeatures(reach=REACH, **settings)
    candidates = {
        "Point, order 1": point.set_params(order=1),
        "Angular": angular,
        "Point, order 1 + Angular": FeatureUnion([("point", point), ("angular", angular)]),
    }
    print(
        f"\nmlearn Si: {len(train)} training, {len(test)} test structures, PBE; MAE. "
        "Published (Zuo et al. 2020): GAP 2.91 and 0.07, MTP 2.21 and 0.06.\n"
    )
    print(table(["", "features", "energy, meV/atom", "force, eV/Å", "fit, s"], []), flush=True)
    energies = [np.array([a.get_potential_energy() / len(a) for a in s]) for s in (train, test)]
    forces = [[a.get_forces() for a in s] for s in (train, test)]
    for name, features in candidates.items():
        start = time.process_time()
        model = EnergyForceRegressor(
            features,
            BaggedOLSEnsemble(options.n_estimators, random_state=0),
            force_weight=0.01,
            n_directions=24,
            random_state=0,
        )
        with warnings.catch_warnings():
            # The smallest of these cells are narrower than the widest wavelet.
            warnings.filterwarnings("ignore", message="n_scales=")
            model.fit(train, energies[0], forces=forces[0])
        seconds = time.process_time() - start
        energy = 1e3 * np.abs(model.predict(test) - energies[1]).mean()
        residuals = zip(model.predict_forces(test), forces[1], strict=True)
        force = np.abs(np.concatenate([(f - g).ravel() for f, g in residuals])).mean()
        size = len(model.regressor_.coef_)
        row = [name, size, f"{energy:.2f}", f"{force:.3f}", f"{seconds:.0f}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--cache", type=Path, required=True, help="directory for the features")
    parser.add_argument("--quick", action="store_true", help="packaged Li-Si structures only")
    parser.add_argument("--n-estimators", type=int, default=100)
    parser.add_argument("--only", choices=["lisi", "mlearn"], help="one of the two tables")
    parser.add_argument("--without", nargs="+", help="leave out names that begin like this")
    options = parser.parse_args()
    if options.data is None and not options.quick:
        parser.error("--data (or the environment variable SKWAVELET_DATA) names the full data sets")
    options.cache.mkdir(parents=True, exist_ok=True)

    print(machine("numpy", "dscribe"))
    with threadpoolctl.threadpool_limits(1):
        if options.only != "mlearn":
            lisi(options)
        if options.only != "lisi" and options.data is not None:
            mlearn(options)


if __name__ == "__main__":
    main()
