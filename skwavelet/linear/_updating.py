"""More training rows for a fitted ensemble, without a fit from scratch."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from skwavelet._utils.validation import check_groups, check_row_vector, check_sample_weight
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear._spread import SpreadMixin
from skwavelet.linear.calibration import mean_and_spread


class UpdateMixin(SpreadMixin):
    """What ensembles of greedy models add to learn from more rows."""

    estimators_: list[GreedyOLSRegressor]
    n_updates_: int
    _entropy: list[int]

    def update(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        intercept_column: ArrayLike | None = None,
    ) -> Self:
        """Learn from more rows, with the features that are selected already.

        Every model draws each of the new groups as often as a bootstrap sample would, a number of
        times that has a Poisson distribution of mean 1, and estimates its weights from all
        rows that it has drawn so far. They are those of a fit from scratch with the same
        features and draws, at the cost of the new rows alone: the triangular factors of the
        models are updated.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the new rows.
        y : array-like of shape (n_samples,)
            Targets.
        groups, sample_weight, intercept_column : array-like of shape (n_samples,), default=None
            As in `fit`. The groups are new ones, whatever their labels.

        Returns
        -------
        self : object
            The ensemble with other weights, of the features of the last `fit`. ``oob_prediction_``
            and ``oob_spread_`` are those of the new rows, of the models that have not drawn them.
            Their errors join those of `fit` in ``calibration_`` and intervals.

        Raises
        ------
        ValueError
            If an array has the wrong length or is not finite, or weights are negative.

        Examples
        --------
        >>> import numpy as np
        >>> from skwavelet import BaggedOLSEnsemble
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(100, 5))
        >>> y = X[:, 0] + 0.1 * rng.normal(size=100)
        >>> model = BaggedOLSEnsemble(10, random_state=0).fit(X[:50], y[:50])
        >>> model = model.update(X[50:], y[50:])
        >>> model.coef_[0].round(1)
        np.float64(1.0)
        """
        check_is_fitted(self)
        rows: Any
        rows, targets = validate_data(self, X, y, reset=False, dtype=np.float64, y_numeric=True)
        n_samples = len(rows)
        codes = check_groups(groups, n_samples)
        weight = check_sample_weight(sample_weight, n_samples)
        column = np.ones(n_samples)
        if intercept_column is not None:
            column = check_row_vector(intercept_column, n_samples, "intercept_column")
        targets = targets.astype(np.float64)
        self.n_updates_ += 1
        rng = np.random.default_rng([*self._entropy, self.n_updates_])
        draws = rng.poisson(1.0, size=(len(self.estimators_), codes.max() + 1))[:, codes]
        for model, of_model in zip(self.estimators_, draws, strict=True):
            drawn = weight * of_model
            kept = drawn > 0
            if kept.any():
                model._add_rows(rows[kept], targets[kept], drawn[kept], column[kept])
        self._average()
        self._tell_errors(rows, targets, codes, weight, column, (draws == 0).T)
        return self

    def _tell_errors(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        codes: np.ndarray,
        weight: np.ndarray,
        column: np.ndarray,
        left_out: np.ndarray,
    ) -> None:
        """Learn how large the errors are on the new rows that models have left out."""
        coefs = np.column_stack([model.coef_ for model in self.estimators_])
        levels = np.array([model.intercept_ for model in self.estimators_])
        predictions = rows @ coefs + np.outer(column, levels)
        self.oob_prediction_, self.oob_spread_ = mean_and_spread(predictions, left_out)
        self._left_out = patterns_of(left_out, codes)
        told = (column != 0) & (weight > 0) & (left_out.sum(axis=1) > 1)
        before = self._told[3].max(initial=-1) + 1 if self._told is not None else 0
        self._learn_spread(told, targets, weight, before + codes, left_out)

    def _average(self) -> None:
        self.coef_ = np.mean([model.coef_ for model in self.estimators_], axis=0)
        self.intercept_ = float(np.mean([model.intercept_ for model in self.estimators_]))


def patterns_of(left_out: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n_groups, n_models), and which of them that of each sample (n_samples,) is."""
    _, first, pattern = np.unique(groups, return_index=True, return_inverse=True)
    return left_out[first], pattern.ravel()
