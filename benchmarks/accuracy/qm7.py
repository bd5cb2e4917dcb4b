"""Atomization energies of QM7 by point scattering, sums over atoms and ridge regression.

    python benchmarks/accuracy/qm7.py --data DIR
    python benchmarks/accuracy/qm7.py --data DIR --quick     # 600 molecules

QM7 (7,101 molecules, PBE0, kcal/mol), five random folds of molecules. Features are sums over atoms
(``normalize=None``), standardized with the training molecules; the penalty is the one of least
leave-one-out error of the training molecules. Beside it stands what kymatio publishes for its own
example: HarmonicScattering3D of 192 x 128 x 96 voxels, orders 0 to 2, three charges,
StandardScaler and Ridge, five random folds.

Cost: 10 min, 3 GB.
"""

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import PointScattering

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import qm7
from common.table import table
from common.timing import machine

PUBLISHED = ["kymatio, published", "", 2.75, 4.18, "", ""]


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
    errors, penalties = np.empty(len(y)), []
    start = time.process_time()
    for train, test in KFold(5, shuffle=True, random_state=0).split(features):
        model = make_pipeline(StandardScaler(), RidgeCV(10.0 ** np.arange(-5, 4)))
        model.fit(features[train], y[train])
        errors[test] = model.predict(features[test]) - y[test]
        penalties.append(model[-1].alpha_)
        print(f"<!-- MAE of a fold: {np.abs(errors[test]).mean():.3f} -->", flush=True)
    fit = (time.process_time() - start) / 5
    print(f"{machine('numpy', 'scikit-learn')}\n\n{len(y)} molecules, kcal/mol\n")
    row = [f"PointScattering, penalties {min(penalties):g} to {max(penalties):g}"]
    row += [features.shape[1], f"{np.abs(errors).mean():.2f}", f"{np.sqrt(np.mean(errors**2)):.2f}"]
    row += [f"{1e3 * seconds / len(y):.1f}", f"{fit:.0f}"]
    header = ["", "features", "MAE", "RMSE", "features: CPU ms a molecule", "fit: CPU s a fold"]
    print(table(header, [row, PUBLISHED]))


if __name__ == "__main__":
    main()
