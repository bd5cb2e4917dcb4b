"""Which weights of forces and stresses, and how many features, a potential takes by default."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skwavelet import EnergyForceRegressor, PointInvariants, RidgePath
from skwavelet.potentials.regressor import default_features
from tests.helpers.emt_data import copper_crystals


def fitted(data, regressor=None, **settings):
    features = PointInvariants((3, 2, 2), reach=4.0)
    model = EnergyForceRegressor(features, regressor, random_state=0, **settings)
    return model.fit(data.structures, data.energies, forces=data.forces, stress=data.stress)


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(20, seed=3)


def test_the_default_model_chooses_weights_on_structures_held_out(copper, capsys):
    model = fitted(copper, verbose=True)
    path, factors = model.regressor_.path_, model.regressor_.kind_weights_
    best = path.loc[path["held_out_rmse"].idxmin()]
    errors = best[["rmse_0", "rmse_1", "rmse_2"]]
    np.testing.assert_allclose(best["held_out_rmse"], errors.prod() ** (1 / 3))
    np.testing.assert_allclose(model.force_weight_, 0.001 * factors[1])
    np.testing.assert_allclose(model.stress_weight_, factors[2])
    assert path["weight_1"].nunique() > 1
    assert path["weight_2"].nunique() > 1
    printed = f"force_weight={model.force_weight_:.2g}, stress_weight={model.stress_weight_:.2g}"
    assert printed in capsys.readouterr().out
    # Weights that are given make the same model.
    given = {"force_weight": model.force_weight_, "stress_weight": model.stress_weight_}
    same = fitted(copper, RidgePath([model.regressor_.alpha_]), **given)
    np.testing.assert_allclose(same.regressor_.coef_, model.regressor_.coef_, rtol=1e-4, atol=1e-7)


def test_given_weights_stay(copper):
    model = fitted(copper, force_weight=0.02)
    assert model.force_weight_ == 0.02
    assert "weight_1" not in model.regressor_.path_
    assert "weight_2" in model.regressor_.path_
    model = fitted(copper, force_weight=0.02, stress_weight=3.0)
    assert (model.force_weight_, model.stress_weight_) == (0.02, 3.0)
    assert list(model.regressor_.path_) == ["alpha", "held_out_rmse"]


def test_other_linear_models_have_the_documented_weights(copper):
    model = fitted(copper, Ridge(1e-6))
    assert (model.force_weight_, model.stress_weight_) == (0.001, 1.0)


@pytest.mark.parametrize(
    ("n_elements", "n_labels", "each"),
    [(1, 10, 1500), (1, 10**6, 1500), (2, 8000, 1000), (3, 28000, 1500), (5, 10**6, 1200)],
)
def test_default_products_grow_with_the_labels(n_elements, n_labels, each):
    assert default_features(n_elements, n_labels).max_products == each
