"""``FeatureScaler``: columns of one size, without blowing up those that hardly ever appear."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import Interval, check_parameters
from skwavelet._utils.versioning import VersionedMixin


class FeatureScaler(
    DocumentedMixin, VersionedMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    r"""Divide columns by max² / rms, for models with a penalty such as Ridge.

    ``StandardScaler`` divides a column by its standard deviation. A feature that is all but
    constant in the training set is blown up by that, and a later structure that has more of it
    gets any energy at all. Here a column x is divided by

    .. math:: \max_i x_i^2 \Big/ \Big(\frac{1}{n}\sum_i x_i^2\Big)^{1/2}

    so that no value of the training set is larger than 1, and a column that appears in few rows
    is smaller still: a penalty keeps its weight small. Columns are not centred; linear models
    have an intercept.

    Parameters
    ----------
    floor : float, default=1e-6
        Columns with a divisor below this part of the largest one are nothing but noise in the
        training set. They are divided by the largest one, which leaves a penalized model next to
        no weight on them. 0 leaves the rule as it is.

    Attributes
    ----------
    scale_ : ndarray of shape (n_features,)
        What columns are divided by; positive also for columns of zeros.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of str
        Their names, where X had names.

    See Also
    --------
    BaggedOLSEnsemble : Needs no scaling.
    EnergyForceRegressor : Takes it among its features.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet import FeatureScaler
    >>> X = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    >>> FeatureScaler().fit(X).scale_
    array([1., 4.])
    """

    _parameter_constraints: ClassVar[dict] = {"floor": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, *, floor: float = 1e-6):
        self.floor = floor

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the divisors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        check_parameters(self)
        size = np.abs(validate_data(self, X, dtype=[np.float64, np.float32]))
        largest = size.max(axis=0).astype(np.float64)
        # Squares of ratios neither overflow nor vanish.
        ratio = size / np.where(largest > 0, largest, 1.0)
        rms = np.sqrt(np.square(ratio).mean(axis=0))
        scale = np.divide(largest, rms, out=np.zeros_like(largest), where=largest > 0)
        scale[scale < self.floor * scale.max()] = scale.max()
        self.scale_ = np.where(scale > 0, scale, 1.0)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Divide the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Of the dtype of X, float32 or float64.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return rows / self.scale_.astype(rows.dtype)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Multiply the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        rows = check_array(X, dtype=[np.float64, np.float32])
        return rows * self.scale_.astype(rows.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
