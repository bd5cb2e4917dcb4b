"""Cross-validation that keeps relaxation paths whole and compositions balanced."""

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import ArrayLike
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from skwavelet._utils.validation import check_groups, is_missing
from skwavelet.structures.checks import as_atoms


class RelaxationPathGroupKFold(BaseCrossValidator):
    """K folds of whole groups with each composition spread evenly over them.

    The frames of one relaxation path resemble each other, so a path with frames on both sides
    of a split leaks: a path is put into one fold as a whole. The paths of one composition are
    dealt out so that their numbers in two folds differ by at most one (ten paths in five folds
    are two in each).

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=True
        Whether to deal the paths out in random order; otherwise in order of appearance. In
        both cases, larger groups come before smaller ones.
    random_state : int, RandomState instance or None, default=None
        Shuffles. An int gives the same folds at every call.
    group_key : str, default="path"
        Where the group of a structure stands in its ``info`` when ``groups`` is not passed.

    See Also
    --------
    sklearn.model_selection.GroupKFold : Groups balanced by size alone, which is what this
        splitter does when X does not hold structures.

    Examples
    --------
    >>> from ase import Atoms
    >>> from skwavelet import RelaxationPathGroupKFold
    >>> structures = []
    >>> for formula in ("LiSi", "Li2Si"):
    ...     for path in range(2):
    ...         for frame in range(3):
    ...             structures.append(Atoms(formula, info={"path": f"{formula}-{path}"}))
    >>> for train, test in RelaxationPathGroupKFold(2, shuffle=False).split(structures):
    ...     print(sorted({structures[i].info["path"] for i in test}))
    ['Li2Si-0', 'LiSi-0']
    ['Li2Si-1', 'LiSi-1']
    """

    # Asks for `groups` by default; `set_split_request` changes that.
    __metadata_request__split: ClassVar[dict] = {"groups": True}

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        group_key: str = "path",
    ):
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(f"n_splits must be an integer of at least 2; got {n_splits!r}.")
        self.n_splits: int = n_splits
        self.shuffle: bool = shuffle
        self.random_state: int | np.random.RandomState | None = random_state
        self.group_key: str = group_key

    def split(
        self, X: Sequence[Atoms] | ArrayLike, y: Any = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the rows of each training and test set.

        Parameters
        ----------
        X : sequence of ase.Atoms, or array-like of shape (n_samples, n_features)
            Structures, or anything else of the right length if ``groups`` is passed; without
            structures, folds are balanced by the number of rows alone.
        y : object, default=None
            Ignored.
        groups : array-like of shape (n_samples,), default=None
            Group of each row, any hashable label. None takes ``atoms.info[group_key]``.

        Yields
        ------
        train, test : ndarray of int
            Row indices.

        Raises
        ------
        ValueError
            If groups are missing, of the wrong length, or fewer than folds.
        """
        fold_of_row = self._folds(X, groups)
        for fold in range(self.n_splits):
            yield np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        int
            ``n_splits``.
        """
        return self.n_splits

    def _folds(self, X: Any, groups: ArrayLike | None) -> np.ndarray:
        structures = _structures(X)
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        if groups is None:
            groups = _groups_from_info(structures, self.group_key)
        codes = check_groups(groups, n_samples)
        sizes = np.bincount(codes)
        if len(sizes) < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} folds need at least as many groups; got {len(sizes)}."
            )
        compositions = None
        if structures is not None:
            _, first_rows = np.unique(codes, return_index=True)
            compositions = check_groups(
                [str(_composition(structures[row])) for row in first_rows], len(sizes)
            )
        rng = check_random_state(self.random_state) if self.shuffle else None
        return assign_folds(sizes, self.n_splits, rng, compositions)[codes]


def assign_folds(
    sizes: np.ndarray,
    n_folds: int,
    rng: np.random.RandomState | np.random.Generator | None = None,
    classes: np.ndarray | None = None,
) -> np.ndarray:
    """Deal groups out to folds, evenly within each class and by number of rows overall.

    Parameters
    ----------
    sizes : ndarray of shape (n_groups,)
        Number of rows of each group; at least n_folds groups.
    n_folds : int
        Number of folds, none of which stays empty.
    rng : RandomState or Generator, default=None
        Shuffles the groups; None keeps their order.
    classes : ndarray of shape (n_groups,), default=None
        Integer class (composition) of each group. None balances numbers of rows alone.
    """
    order = np.arange(len(sizes)) if rng is None else rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    if classes is not None:
        # One class after the other, so that what is left over of each meets the folds as
        # the classes before have filled them.
        order = order[np.argsort(classes[order], kind="stable")]
    rows = np.zeros(n_folds)
    of_class = np.zeros((n_folds, 1 if classes is None else classes.max() + 1))
    folds = np.empty(len(sizes), dtype=int)
    for group in order:
        if classes is None:
            fold = np.argmin(rows)
        else:
            fold = np.lexsort((rows, of_class[:, classes[group]]))[0]
            of_class[fold, classes[group]] += 1
        rows[fold] += sizes[group]
        folds[group] = fold
    return folds


def _structures(X: Any) -> list[Atoms] | None:
    """Return X as a list of Atoms, or None if it holds something else."""
    is_column = isinstance(X, np.ndarray | pd.Series) and X.ndim == 1 and X.dtype == object
    if not (is_column or (isinstance(X, Sequence) and not isinstance(X, str))):
        return None
    items = as_atoms(X)
    return items if items and all(isinstance(x, Atoms) for x in items) else None


def _groups_from_info(structures: list[Atoms] | None, key: str) -> list[Any]:
    if structures is None:
        raise ValueError("Pass groups: X does not hold structures whose info could name them.")
    for index, atoms in enumerate(structures):
        if is_missing(atoms.info.get(key)):
            raise ValueError(
                f"Structure {index} has no info[{key!r}]: set it to the name of its path, or"
                " pass groups."
            )
    return [atoms.info[key] for atoms in structures]


def _composition(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    """Reduced composition as ((atomic number, count), ...)."""
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    reduced = counts // max(np.gcd.reduce(counts), 1)
    return tuple(zip(numbers.tolist(), reduced.tolist(), strict=True))
