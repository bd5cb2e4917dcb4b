"""What voxel features cost, and what they share."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from sklearn.utils.validation import check_is_fitted

from skwavelet._utils.validation import check_columns
from skwavelet.representations.voxel.transformer import VoxelScattering
from skwavelet.structures.checks import check_structures

# Kinds of work, each with a price: transforms (voxels · log2(voxels)), passes over maps (voxels),
# maps and groups of maps handled together (calls), and what every structure costs.
_WORK = ("transforms", "passes", "calls", "structure")
PATH_COLUMNS = ("order", "channel", "wavelet1", "scale1", "wavelet2", "scale2")


class FeatureCosts:
    """Time that the features of a `VoxelScattering` take, and what they share.

    Features are powers of maps, maps need transforms, and second-order maps need those of first
    order. Work that one feature causes is free for all others that need it too. The time of a set
    of features is

    ms = p_1 · sum over transforms of (voxels · log2 voxels) + p_2 · sum over maps of voxels
    + p_3 · number of maps + p_4

    with prices p ≥ 0 that are fitted to measured times of some sets of features.

    Parameters
    ----------
    transformer : VoxelScattering
        Fitted.
    atoms : ase.Atoms
        The structure that costs refer to.
    random_state : int, default=0
        Draws the sets of features that are timed.

    Attributes
    ----------
    n_features : int
        Number of features of the transformer.
    prices_ : dict
        Price of each kind of work, ms per unit.
    measured_ : DataFrame
        The timed sets: ``n_features``, ``measured`` and ``predicted`` (ms).

    Raises
    ------
    TypeError, NotFittedError, ValueError
        If ``transformer`` is no fitted VoxelScattering, or ``atoms`` is unusable.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet import FeatureCosts, VoxelScattering
    >>> silicon = bulk("Si", cubic=True)
    >>> scattering = VoxelScattering(order=1, spacing=0.4).fit([silicon])
    >>> costs = FeatureCosts(scattering, silicon)
    >>> costs.predict([0, 1]) <= costs.predict(range(scattering.n_features_out_))
    True
    """

    def __init__(self, transformer: VoxelScattering, atoms: Atoms, *, random_state: int = 0):
        self.transformer = transformer
        self.atoms = atoms
        self.random_state = random_state
        if not isinstance(transformer, VoxelScattering):
            raise TypeError(
                f"The costs of {type(transformer).__name__} are not known: pass a VoxelScattering."
            )
        check_is_fitted(transformer)
        (structure,) = check_structures([atoms])
        evaluator = transformer._evaluator
        self._shapes = evaluator.grid(structure).shapes
        self._n_elements = len(structure.elements)
        self._widths = [2 * l + 1 for _, l in evaluator.bank.wavelets]
        units: dict[tuple, int] = {}
        self._work: list[np.ndarray] = []
        self._levels: list[tuple[int, int]] = []
        columns = evaluator.paths.columns
        needs = [
            [self._unit(units, key, *work) for key, *work in self._path_units(path)]
            for path in zip(*(columns[name].tolist() for name in PATH_COLUMNS), strict=True)
        ]
        self._needs = [needs[path] for path in evaluator.columns[0]]
        self.n_features = len(self._needs)
        self._table = np.array(self._work).reshape(-1, 3)
        self._calibrate()

    def _path_units(self, path: tuple) -> list[tuple]:
        """Return (key, level, transforms, passes, calls) of the work that a path needs."""
        order, channel, w1, j1, w2, j2 = path
        if order == 0:
            return []
        m1 = self._widths[w1]
        units = [
            (("filtered", w1, j1), j1, self._n_elements * m1, self._n_elements * m1, 1),
            # Mixing elements, the modulus and its roots.
            (("first", channel, w1, j1), j1, 0, (self._n_elements + 1) * m1 + 4, 0),
        ]
        if order == 2:
            m2, level = self._widths[w2], max(j1, j2)
            units += [
                (("parent", channel, w1, j1), j1, 1, 1, 1),
                (("second", *path[1:]), level, m2, 2 * m2 + 4, 1),
            ]
        return units

    def _unit(
        self,
        units: dict[tuple, int],
        key: tuple,
        level: int,
        transforms: int,
        passes: int,
        calls: int,
    ) -> int:
        if key not in units:
            units[key] = len(units)
            voxels = float(np.prod(self._shapes[level]))
            self._work.append(
                np.array([transforms * voxels * np.log2(voxels), passes * voxels, calls])
            )
            self._levels.append((level, transforms))
        return units[key]

    def _calibrate(self) -> None:
        rng = np.random.default_rng(self.random_state)
        orders = self.transformer.feature_table_["order"].to_numpy()
        sets = [np.flatnonzero(orders <= order) for order in (2, 0, 1) if order >= orders.min()]
        sizes = np.unique(np.geomspace(1, self.n_features, 7).astype(int))[:-1]
        sets += [np.sort(rng.choice(self.n_features, size, replace=False)) for size in sizes]
        times = np.array([self.measure(columns) for columns in sets])
        work = np.array([self._total(columns) for columns in sets])
        # Relative errors: a small set is to be predicted as well as a large one.
        prices, _ = nnls(work / times[:, None], np.ones(len(times)))
        self._prices = prices
        self.prices_ = dict(zip(_WORK, prices.tolist(), strict=True))
        self.measured_ = pd.DataFrame(
            {
                "n_features": [len(columns) for columns in sets],
                "measured": times,
                "predicted": work @ prices,
            }
        )

    def measure(self, columns: ArrayLike, repeats: int = 3) -> float:
        """Return the time (ms) that these features take, the shortest of some runs.

        Parameters
        ----------
        columns : array-like of int or of bool
            Numbers of the features, or a mask.
        repeats : int, default=3
            Number of runs.

        Returns
        -------
        float
        """
        restricted = self.transformer.restrict(columns)
        restricted.transform([self.atoms])
        times = []
        for _ in range(repeats):
            start = time.process_time()
            restricted.transform([self.atoms])
            times.append(time.process_time() - start)
        return 1e3 * min(times)

    def _needed(self, columns: ArrayLike) -> np.ndarray:
        chosen = check_columns(columns, self.n_features)
        needed = set().union(*(self._needs[column] for column in chosen))
        return np.array(sorted(needed), dtype=int)

    def _total(self, columns: ArrayLike) -> np.ndarray:
        return np.append(self._table[self._needed(columns)].sum(axis=0), 1.0)

    def predict(self, columns: ArrayLike) -> float:
        """Return the time (ms) that the model gives a set of features.

        Parameters
        ----------
        columns : array-like of int or of bool
            Numbers of the features, or a mask.

        Returns
        -------
        float
        """
        return float(self._total(columns) @ self._prices)

    def transforms(self, columns: ArrayLike) -> pd.Series:
        """Return the number of Fourier transforms on the grid of every scale.

        Parameters
        ----------
        columns : array-like of int or of bool
            Numbers of the features, or a mask.

        Returns
        -------
        Series of int
        """
        needed = self._needed(columns)
        levels = np.array(self._levels, dtype=int).reshape(-1, 2)[needed]
        counts = np.bincount(levels[:, 0], levels[:, 1], minlength=len(self._shapes))
        index = pd.Index(["x".join(map(str, shape)) for shape in self._shapes], name="grid")
        return pd.Series(counts.astype(int), index=index, name="transforms")

    def marginal(self, columns: ArrayLike) -> np.ndarray:
        """Return the time (ms), for every feature, that it would add to a set of features.

        Parameters
        ----------
        columns : array-like of int or of bool
            Numbers of the features of the set, or a mask.

        Returns
        -------
        ndarray of shape (n_features,)
        """
        prices = self._table @ self._prices[:3]
        prices[self._needed(columns)] = 0
        return np.array([prices[needs].sum() for needs in self._needs])
