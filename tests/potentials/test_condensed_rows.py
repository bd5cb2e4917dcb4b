"""Ridge regression on more rows than memory holds: sums of squares instead of rows."""

import numpy as np
import pytest
from helpers.check_helpers import error_of
from helpers.emt_data import copper_crystals
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, FeatureScaler, PointScattering
from skwavelet.potentials import regressor
from skwavelet.potentials import rows as rows_module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_condensed_rows_are_the_same_problem(dtype, fit_intercept, monkeypatch):
    """With weights of structures, and labels that are missing, bit for bit but for rounding."""
    data = copper_crystals(40, symbols=("Cu", "Au"))
    forces = [None if i % 7 == 3 else force for i, force in enumerate(data.forces)]
    stress = [None if i % 5 == 2 else tensor for i, tensor in enumerate(data.stress)]
    weight = np.random.default_rng(0).uniform(0.3, 2, 40)
    weight[5] = 0
    features = PointScattering((1, 2), 1, n_scales=1, reach=3.5, powers=(1,), dtype=dtype)
    pipeline = make_pipeline(features, FeatureScaler())
    ridge = Ridge(1e-3, fit_intercept=fit_intercept)
    model = EnergyForceRegressor(pipeline, ridge, force_weight=0.02, random_state=0)
    labels = (data.energies, forces, stress)
    plain = clone(model).fit(data.structures, *labels, sample_weight=weight)
    kept, fit_rows = [], regressor.fit_rows

    def spy(estimator, rows, *arguments, **options):
        kept.append(rows)
        return fit_rows(estimator, rows, *arguments, **options)

    monkeypatch.setattr(regressor, "fit_rows", spy)
    monkeypatch.setattr(rows_module, "LARGE", 1)
    condensed = clone(model).fit(data.structures, *labels, sample_weight=weight)
    n_features = plain.features_[0].n_features_out_
    assert len(kept[0].targets) <= 3 * (n_features + 1) + 1 < plain.n_rows_ == condensed.n_rows_
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    one, other = plain.regressor_, condensed.regressor_
    np.testing.assert_allclose(one.coef_, other.coef_, atol=tolerance * np.abs(one.coef_).max())
    np.testing.assert_allclose(one.intercept_, other.intercept_, rtol=tolerance)
    # A model that sees more of its rows than sums of squares gets them all.
    lasso = clone(model).set_params(regressor=Lasso(1e-5, max_iter=20)).fit
    with pytest.warns(ConvergenceWarning):
        lasso(data.structures, *labels)
    # That of weight 0 has one row of energy, 12 of forces and 6 of stress.
    assert len(kept[1].targets) == plain.n_rows_ + 19


def test_more_rows_than_memory_holds(monkeypatch):
    data = copper_crystals(60)
    features = PointScattering((1, 2), 1, n_scales=1, reach=3.5, powers=(1,))
    monkeypatch.setattr(rows_module, "LARGE", 1000)
    monkeypatch.setattr(rows_module, "available_memory", lambda: 1000.0)
    model = EnergyForceRegressor(features, Ridge(1e-3), n_directions="all", random_state=0)
    model.fit(data.structures, data.energies, data.forces)
    assert model.n_rows_ == 60 * 13
    bags = clone(model).set_params(regressor=BaggedOLSEnsemble(2))
    error_of(
        lambda: bags.fit(data.structures, data.energies, data.forces), ValueError, "GiB are free"
    )
