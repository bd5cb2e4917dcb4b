"""Standard deviations and intervals of ensembles, learned from groups that models have not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skwavelet.linear._training import check_prediction_data, linear_prediction
from skwavelet.linear.calibration import (
    SpreadCalibration,
    fit_calibration,
    overall_ratio,
    unbiased_std,
)
from skwavelet.linear.intervals import OutOfBagIntervals, check_coverage


class SpreadMixin:
    """What linear models with members (``estimators_``) add to tell how wrong they may be."""

    estimators_: list[Any]
    coef_: np.ndarray
    intercept_: float
    calibration_: SpreadCalibration
    _intervals: OutOfBagIntervals | None
    _told: tuple[np.ndarray, ...] | None
    # Which members left out the groups of some pattern (n_patterns, n_members), and the patterns
    # (n_samples,) of the rows of the last fit or update.
    _left_out: tuple[np.ndarray, np.ndarray]
    oob_prediction_: np.ndarray
    oob_spread_: np.ndarray

    def _learn_spread(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        weight: np.ndarray,
        groups: np.ndarray,
        left_out: np.ndarray,
    ) -> None:
        """Learn from errors out of bag how large errors are, from those told before as well.

        ``rows`` masks those of the last fit or update that tell. Groups are others than before, and
        ``left_out`` (n_samples, n_members) tells which members have not seen a row.
        """
        errors = self.oob_prediction_ - targets
        columns = (errors, self.oob_spread_, weight, groups, left_out)
        told = tuple(column[rows] for column in columns)
        if self._told is not None:
            told = tuple(np.concatenate(pair) for pair in zip(self._told, told, strict=True))
        self._told = told
        errors, spread, weight, groups, left_out = told
        self.calibration_ = fit_calibration(errors, spread, weight, groups)
        self._overall_ratio = overall_ratio(errors, spread, weight)
        self._intervals = None
        if len(errors):
            self._intervals = OutOfBagIntervals.fit(
                left_out, errors, spread, groups, self.calibration_
            )

    def predict(
        self, X: Any, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict, with standard deviations if they are asked for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether to return standard deviations too.

        Returns
        -------
        mean : ndarray of shape (n_samples,), float64
            Predictions, in units of y.
        std : ndarray of shape (n_samples,), float64
            Standard deviation of the error, in units of y; only with ``return_std=True``: that of
            the predictions of the members, calibrated by ``calibration_``.
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        mean = linear_prediction(X, self.coef_) + self.intercept_
        if not return_std:
            return mean
        return mean, self.calibration_(unbiased_std(self._predictions_of_members(X)))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Predict intervals that hold the target with a given probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        coverage : float, default=0.9
            Share of the targets that intervals are to hold, between 0.5 and 1.

        Returns
        -------
        ndarray of shape (n_samples, 2), float64
            Lower and upper ends, in units of y. They are infinite where there are fewer than
            coverage / (1 - coverage) groups out of bag.

        Raises
        ------
        ValueError
            If ``coverage`` is not between 0.5 and 1.

        Notes
        -----
        Jackknife+ after bootstrap [1]_ over groups [2]_: a group is left out of the models that its
        residuals are taken from as a whole, and every group counts the same. For samples of a new
        group of the same kind as those of the training set, intervals hold a share of about
        ``coverage`` of the targets on average over training sets. What can be proved is
        2 ``coverage`` - 1 at least, whatever the data and however few they are, if neither the
        number of features of each model depends on the groups that it left out, nor
        ``calibration_`` on any one group; with many groups they hardly do. Nothing is promised for
        samples unlike those of the training set. Residuals are relative to standard deviations,
        where there are models enough, so that intervals are wider where these are larger.

        Time and memory grow with the number of samples times that of training rows.

        References
        ----------
        .. [1] B. Kim, C. Xu and R. F. Barber, "Predictive inference is free with the
           jackknife+-after-bootstrap", NeurIPS 2020.
        .. [2] Y. Lee, R. F. Barber and R. Willett, "Distribution-free inference with hierarchical
           data", arXiv:2306.06342.

        Examples
        --------
        >>> import numpy as np
        >>> from skwavelet import BaggedOLSEnsemble
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(400, 5))
        >>> y = X[:, 0] + rng.normal(size=400)
        >>> model = BaggedOLSEnsemble(20, random_state=0).fit(X[:200], y[:200])
        >>> low, high = model.predict_interval(X[200:], coverage=0.8).T
        >>> float(np.mean((low < y[200:]) & (y[200:] < high)).round(1))
        0.8
        """
        check_is_fitted(self)
        coverage = check_coverage(coverage)
        X = check_prediction_data(self, X)
        members = self._predictions_of_members(X)
        if self._intervals is None:  # no group was left out
            return np.tile([-np.inf, np.inf], (len(members), 1))
        return self._intervals.predict(members, coverage)

    def _predictions_of_members(self, X: Any) -> np.ndarray:
        if not self.estimators_:
            raise TypeError(
                "There are no members to compare: fit with members=True, to several groups."
            )
        coefs = np.column_stack([model.coef_ for model in self.estimators_])
        return linear_prediction(X, coefs) + [model.intercept_ for model in self.estimators_]
