"""Greedy orthogonal least squares on plain arrays.

Rows are multiplied by the roots of their weights, so that inner products are plain ones. Rows of
weight zero take no part in the fit; held-out rows among them are carried along by the columns
that are selected, so that predictions of every prefix of the path come for free.

The intercept is an ordinary column c that is selected first: orthogonalizing a feature against
c is centring when c is all ones, and leaves rows alone (derivatives, say) where c is zero.

Source: equations (3.3)-(3.9) of X. Brumwell, *Wavelet scattering and graph representations for
atomic structures* (dissertation, Michigan State University).
"""

import numpy as np

from skwavelet.linear.design import BLOCK, Design

# Scores closer than this are equal.
_TIE = 1e-10
# A squared norm kept up to date by subtraction is recomputed once it has lost this much of
# itself: until then its relative error stays below about 1e-3.
_STALE = 1e-12
# Vectors of the basis that sampled columns are compared with together.
_STEPS = 32


class Basis:
    """Orthonormal vectors, carried on over rows that take no part in inner products.

    Parameters
    ----------
    n_inner : int
        Number of rows, the first ones, that inner products are taken over.
    capacity : int
        Largest number of vectors.
    n_rows : int, default=None
        Number of all rows; None for ``n_inner``.
    """

    def __init__(self, n_inner: int, capacity: int, n_rows: int | None = None):
        self.n_inner = n_inner
        self.size = 0
        self._storage = np.empty((capacity, n_inner if n_rows is None else n_rows))

    @property
    def vectors(self) -> np.ndarray:
        """The vectors, of shape (size, n_rows)."""
        return self._storage[: self.size]

    @property
    def inner(self) -> np.ndarray:
        """The vectors on the rows of inner products, of shape (size, n_inner)."""
        return self._storage[: self.size, : self.n_inner]

    def append(self, vector: np.ndarray) -> None:
        """Add a vector, orthogonal to the others and of norm 1."""
        self._storage[self.size] = vector
        self.size += 1

    def residual(self, columns: np.ndarray) -> np.ndarray:
        """Return the part of columns (one, or one per row) that is orthogonal to the basis.

        They may end after ``n_inner`` rows.
        """
        vectors = self.vectors[:, : columns.shape[-1]]
        # Once is not enough for nearly dependent columns, twice is (Kahan and Parlett).
        for _ in range(2):
            columns = columns - (columns[..., : self.n_inner] @ self.inner.T) @ vectors
        return columns


class _Search:
    """Find the column whose decorrelated, renormalized form best matches the residual.

    ``alive`` (n_features,) masks columns that are neither selected nor known to depend on those
    selected.
    """

    def __init__(self, design, weight, tol, rows, root, basis):
        self.columns = columns = design.columns
        self.rows, self.root, self.basis = rows, root, basis
        self.alive = np.ones(len(columns), dtype=bool)
        self.start2 = np.empty(len(columns))
        for start in range(0, len(columns), BLOCK):
            part = slice(start, start + BLOCK)
            self.start2[part] = np.square(columns[part]) @ weight
        self.centred2 = self.start2.copy()
        if basis.size:
            self.centred2 -= self.products(basis.inner[0]) ** 2
        # The squared norm up to which what is left of a column counts as nothing.
        self.floor = np.maximum(tol**2 * self.centred2, design.rounding**2 * weight.sum())

    def take(self, index, n_rows):
        """Return some of the columns, one per row of the result."""
        taken = np.empty((len(index), n_rows))
        for column, out in zip(index, taken, strict=True):
            np.take(self.columns[column], self.rows[:n_rows], out=out, mode="clip")
        taken *= self.root[:n_rows]
        return taken

    def products(self, vector):
        """Inner products of all columns with a vector."""
        spread = np.zeros(self.columns.shape[1])
        n_inner = self.basis.n_inner
        spread[self.rows[:n_inner]] = self.root[:n_inner] * vector[:n_inner]
        return self.columns @ spread

    def pool(self, price):
        """Columns that may be selected."""
        return np.flatnonzero(self.alive if price is None else self.alive & np.isfinite(price))

    def pick(self, index, norm2, inner, price):
        """Return the candidate of the best score and its basis vector, or None."""
        left = norm2 > self.floor[index]
        self.alive[index[~left]] = False
        if not left.any():
            return None
        scores = inner[left] ** 2 / norm2[left]
        if price is not None:
            scores /= price[index[left]]
        # The first of several that are equal but for rounding, as copies of one feature are.
        column = index[left][np.argmax(scores >= (1 - _TIE) * scores.max())]
        self.alive[column] = False
        vector = self.basis.residual(self.take([column], len(self.rows))[0])
        return column, vector / np.linalg.norm(vector[: self.basis.n_inner])

    def exact(self, index, residual):
        """Squared norms and inner products with the residual, by orthogonalization."""
        norm2, inner = np.empty(len(index)), np.empty(len(index))
        n_inner = self.basis.n_inner
        for start in range(0, len(index), BLOCK):
            part = slice(start, start + BLOCK)
            left = self.basis.residual(self.take(index[part], n_inner))
            norm2[part] = np.square(left).sum(axis=1)
            inner[part] = left @ residual[:n_inner]
        return norm2, inner


class _AllColumns(_Search):
    """Every column is a candidate: norms and inner products are updated at each step."""

    def __init__(self, *args, residual):
        super().__init__(*args)
        self._norm2 = self.centred2.copy()
        self._reference = self.start2.copy()
        self._inner = self.products(residual)
        self._refresh(residual)

    def best(self, residual, price):
        index = self.pool(price)
        return self.pick(index, self._norm2[index], self._inner[index], price)

    def update(self, vector, projection, residual):
        """Take a new basis vector, and the residual's component along it, off every column."""
        along = self.products(vector)
        self._norm2 -= along**2
        self._inner -= along * projection
        self._refresh(residual)

    def _refresh(self, residual):
        stale = np.flatnonzero(self.alive & (self._norm2 < _STALE * self._reference))
        if len(stale):
            self._norm2[stale], self._inner[stale] = self.exact(stale, residual)
            self._reference[stale] = self._norm2[stale]
        self.alive &= self._norm2 > self.floor


class _SampledColumns(_Search):
    """A few random candidates per step: only these are compared with the basis.

    What is taken off the norm of a column by complete blocks of the basis is kept, so that each
    block is compared with each column once, when that column is next drawn.
    """

    def __init__(self, *args, n_candidates, rng):
        super().__init__(*args)
        self._n_candidates = n_candidates
        self._rng = rng
        self._norm2 = self.start2.copy()
        self._n_blocks = np.zeros(len(self.columns), dtype=np.intp)

    def best(self, residual, price):
        # A draw of nothing but dependent columns is repeated; each one leaves the pool.
        while (pool := self.pool(price)).size:
            index = pool
            if self._n_candidates < len(pool):
                index = self._rng.choice(pool, self._n_candidates, replace=False, shuffle=False)
                index.sort()
            candidates = self.take(index, self.basis.n_inner)
            norm2 = self._norms(index, candidates)
            inner = candidates @ residual[: self.basis.n_inner]
            stale = np.flatnonzero(norm2 < _STALE * self.start2[index])
            norm2[stale], inner[stale] = self.exact(index[stale], residual)
            found = self.pick(index, norm2, inner, price)
            if found is not None:
                return found
        return None

    def _norms(self, index, candidates):
        vectors = self.basis.inner
        n_complete = len(vectors) // _STEPS
        for block in range(self._n_blocks[index].min(), n_complete):
            behind = np.flatnonzero(self._n_blocks[index] <= block)
            along = candidates[behind] @ vectors[block * _STEPS : (block + 1) * _STEPS].T
            self._norm2[index[behind]] -= np.square(along).sum(axis=1)
        self._n_blocks[index] = n_complete
        along = candidates @ vectors[n_complete * _STEPS :].T
        return self._norm2[index] - np.square(along).sum(axis=1)

    def update(self, vector, projection, residual):
        """Nothing is carried from step to step."""


class GreedySteps:
    """Orthogonal least squares, one step after the other.

    At each step, the candidate with the largest absolute inner product of its decorrelated,
    renormalized column with the residual; that is the one whose addition leaves the least
    squared error after all weights are refitted. There can be ``n_most`` steps. Parameters are
    those of `greedy_path`.
    """

    def __init__(
        self,
        design: Design,
        y: np.ndarray,
        weight: np.ndarray,
        *,
        max_features: int,
        n_candidates: int | None = None,
        tol: float = 1e-8,
        rng: np.random.Generator | None = None,
        validation_weight: np.ndarray | None = None,
    ) -> None:
        held_out = np.zeros(len(y)) if validation_weight is None else validation_weight
        training, held_out_rows = np.flatnonzero(weight), np.flatnonzero(held_out)
        rows = np.concatenate([training, held_out_rows])
        root = np.sqrt(np.concatenate([weight[training], held_out[held_out_rows]]))
        intercept = design.intercept_column
        has_intercept = intercept is not None
        self.n_most = min(max_features, len(design.columns), len(training) - has_intercept)
        self._basis = Basis(len(training), self.n_most + has_intercept, len(rows))
        self._residual = root * y[rows]
        if intercept is not None:
            vector = root * intercept[rows]
            self._append(vector / np.linalg.norm(vector[: len(training)]))
        args = (design, weight, tol, rows, root, self._basis)
        self._search: _AllColumns | _SampledColumns
        if n_candidates is None:
            self._search = _AllColumns(*args, residual=self._residual)
        else:
            self._search = _SampledColumns(*args, n_candidates=n_candidates, rng=rng)

    @property
    def alive(self) -> np.ndarray:
        """Mask of the columns that are neither selected nor known to be dependent."""
        return self._search.alive

    @property
    def train2(self) -> float:
        """Weighted sum of the squared errors of the training rows."""
        return float(np.square(self._residual[: self._basis.n_inner]).sum())

    @property
    def validation2(self) -> float:
        """Weighted sum of the squared errors of the held-out rows."""
        return float(np.square(self._residual[self._basis.n_inner :]).sum())

    def _append(self, vector):
        """Add a vector to the basis; return the residual's component along it, now taken off."""
        n_inner = self._basis.n_inner
        projection = vector[:n_inner] @ self._residual[:n_inner]
        self._residual -= projection * vector
        self._basis.append(vector)
        return projection

    def step(self, price: np.ndarray | None = None) -> int | None:
        """Select one more column and return it; None if none is left that is independent.

        The decrease of the squared error is divided by ``price`` (n_features,); columns of infinite
        price are not selected.
        """
        found = self._search.best(self._residual, price)
        if found is None:
            return None
        column, vector = found
        projection = self._append(vector)
        self._search.update(vector, projection, self._residual)
        return int(column)
