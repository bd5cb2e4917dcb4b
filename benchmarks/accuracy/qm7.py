"""Atomization energies of QM7 by point scattering, sums over atoms and ridge regression.

    python benchmarks/accuracy/qm7.py --data DIR
    python benchmarks/accuracy/qm7.py --data DIR --quick     # 600 molecules

QM7 (7,101 molecules, PBE0, kcal/mol), five random folds of molecules. Features are sums over atoms
(``normalize=None``), scaled by what the training molecules show, in two ways; the penalty is the
one of least leave-one-out error of the training molecules. Beside it stands what kymatio publishes
for its own example: HarmonicScattering3D of 192 x 128 x 96 voxels, orders 0 to 2, three charges,
StandardScaler and Ridge, five random folds.

Cost: 12 min, 3 GB.
"""

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import FeatureScaler, PointScattering

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import qm7
from common.table import Table
from common.timing import machine

SCALERS = {  # with the penalties that are tried
    "StandardScaler": (StandardScaler(), 10.0 ** np.arange(-5, 4)),
    "FeatureScaler": (FeatureScaler(), 10.0 ** np.arange(-9, 1)),
}
PUBLISHED = ["kymatio, published", "", 2.75, 4.18, "", "", ""]


def main():
    args = arguments(__doc__, data="needed", cache=True, quick={"molecules": 600}, molecules=7101)
    structures, energies = qm7(args.data)
    chosen = np.random.default_rng(0).permutation(len(energies))[: args.molecules]
    X, y = [structures[i] for i in chosen], energies[chosen]
    transformer = PointScattering(normalize=None).fit(X)

    def featurize():
        start = time.process_time()
        features = transformer.transform(X)
        return features, time.process_time() - start

    features, seconds = args.cache.get("qm7", featurize, transformer, X)
    features = features.astype(np.float64)
    print(f"{machine('numpy', 'scikit-learn')}\n\n{len(y)} molecules, kcal/mol\n")
    header = ["", "features", "MAE", "RMSE", "features: CPU ms a molecule", "fit: CPU s a fold"]
    shown = Table([*header, "penalties"])
    for name, (scaler, alphas) in SCALERS.items():
        errors, penalties = np.empty(len(y)), []
        start = time.process_time()
        for train, test in KFold(5, shuffle=True, random_state=0).split(features):
            model = make_pipeline(scaler, RidgeCV(alphas)).fit(features[train], y[train])
            errors[test] = model.predict(features[test]) - y[test]
            penalties.append(model[-1].alpha_)
        fit = (time.process_time() - start) / 5
        title = f"PointScattering, {name}"
        found = [np.abs(errors).mean(), np.sqrt(np.mean(errors**2)), 1e3 * seconds / len(y)]
        chosen = f"{min(penalties):g} to {max(penalties):g}"
        shown.add(title, features.shape[1], *found, f"{fit:.0f}", chosen)
    shown.add(*PUBLISHED)


if __name__ == "__main__":
    main()
