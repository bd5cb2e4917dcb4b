"""Kernels between the atoms of a structure and landmark atoms of the same element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.linalg.blas import dtrmm

from skwavelet.representations.atomwise.evaluator import AtomwiseEvaluator
from skwavelet.representations.atomwise.kernels import Kernel, Slopes
from skwavelet.representations.paths import Paths


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of one element.

    Attributes
    ----------
    columns : ndarray of shape (F,)
        Features of ``inner`` that vary over the atoms of this element.
    mean, scale : ndarray of shape (F,)
        Features x become y = (x - mean) / scale.
    vectors : ndarray of shape (M, F)
        y of the landmarks.
    mixing : ndarray of shape (M, n_features)
        From the kernels with the landmarks to the features: for K = L L^T among the landmarks it
        is the transposed inverse of L, so that features of landmarks have products K.
    kernel : Kernel
    """

    columns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    mixing: np.ndarray
    kernel: Kernel

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def squared(self) -> np.ndarray:
        """Squared lengths of the landmarks."""
        return np.square(self.vectors).sum(axis=1)

    def standardized(self, x: np.ndarray) -> np.ndarray:
        """Return y (n_atoms, F) of features of ``inner``."""
        return (x[:, self.columns] - self.mean) / self.scale

    def values(self, y: np.ndarray) -> np.ndarray:
        """Return the kernels (n_atoms, M) with the landmarks."""
        return self.kernel.values(y @ self.vectors.T, np.square(y).sum(axis=1), self.squared)

    def slopes(self, y: np.ndarray) -> Slopes:
        """Return the kernels and what their gradients are made of."""
        return self.kernel.slopes(y @ self.vectors.T, np.square(y).sum(axis=1), self.squared)

    @cached_property
    def _triangular(self) -> bool:
        n_landmarks, n_features = self.mixing.shape
        return n_landmarks == n_features and not np.tril(self.mixing, -1).any()

    def mix(self, kernels: np.ndarray) -> np.ndarray:
        """Return the features (n, n_features) for kernels (n, M)."""
        if not self._triangular:
            return kernels @ self.mixing
        # The triangle takes half of the operations; BLAS has the transposed of NumPy's arrays.
        return dtrmm(1.0, self.mixing.T, np.ascontiguousarray(kernels).T, lower=1).T


@dataclass(frozen=True, eq=False)
class LandmarkPaths(Paths):
    """The features of kernels with the landmarks of an element, which stand side by side.

    ``place`` is that of the feature among those of its element.
    """

    element: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, element: np.ndarray, place: np.ndarray) -> LandmarkPaths:
        """Return the features of some elements."""
        everywhere = np.full(len(element), -1)
        return cls(np.ones_like(element), everywhere, everywhere, element, place)


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelEvaluator(AtomwiseEvaluator):
    """The fitted state of an ``AtomKernel`` on plain arrays, with the landmarks of each element."""

    paths: LandmarkPaths
    landmarks: tuple[Landmarks, ...]

    def needed(self, columns: np.ndarray) -> np.ndarray:
        """Return what the kernels of some features compare, as columns of ``inner``."""
        kinds = np.unique(self.paths.element[self.columns[0][columns]])
        used = [self.landmarks[kind].columns for kind in kinds]
        # An element may have no feature that varies, and a representation needs one.
        return np.unique(np.concatenate([*used, [0]]).astype(int))

    def restrict(self, columns: np.ndarray) -> Self:
        """Return an evaluator of some features, with the landmarks of their elements only."""
        rows, used = self.columns[0][columns], self.needed(columns)
        element, place = self.paths.element[rows], self.paths.place[rows]
        # Features of an element stand side by side here, and in the order asked for outside.
        order = np.argsort(element, kind="stable")
        landmarks = []
        for kind, marks in enumerate(self.landmarks):
            chosen = place[order][element[order] == kind]
            kept = slice(None) if len(chosen) else slice(0)
            landmarks.append(
                replace(
                    marks,
                    columns=np.searchsorted(used, marks.columns) if len(chosen) else marks.columns,
                    vectors=marks.vectors[kept],
                    mixing=marks.mixing[kept][:, chosen],
                )
            )
        counts = [marks.mixing.shape[1] for marks in landmarks]
        places = np.concatenate([np.arange(count) for count in counts])
        return replace(
            self,
            paths=LandmarkPaths.of(element[order], places),
            columns=(np.argsort(order, kind="stable"), np.zeros(len(rows), dtype=int)),
            landmarks=tuple(landmarks),
            inner=self.inner.restrict(used),
        )

    def combined(self, matrix: np.ndarray) -> Self:
        """Return an evaluator of the features of every element times ``matrix``, side by side."""
        by_path = np.zeros((len(self.paths), matrix.shape[1]))
        np.add.at(by_path, self.columns[0], matrix)
        landmarks = tuple(
            replace(marks, mixing=marks.mixing @ by_path[self.paths.element == kind])
            for kind, marks in enumerate(self.landmarks)
        )
        element, place = np.indices((len(landmarks), matrix.shape[1])).reshape(2, -1)
        columns = np.arange(len(place)), np.zeros(len(place), dtype=int)
        paths = LandmarkPaths.of(element, place)
        return replace(self, paths=paths, columns=columns, landmarks=landmarks)

    @property
    def n_functions(self) -> int:
        """Number of landmarks."""
        return sum(len(marks.vectors) for marks in self.landmarks)

    def functions(self, kinds: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the kernels (n_atoms, M) with all landmarks, 0 with those of other elements."""
        values = np.zeros((len(x), self.n_functions))
        for atoms, part, marks in self._by_element(kinds):
            values[atoms, part] = marks.values(marks.standardized(x[atoms]))
        return values

    def functions_jvp(self, kind: int, x: np.ndarray, derivatives: np.ndarray) -> np.ndarray:
        """Return the derivatives (R, M) of the kernels of one atom."""
        along = np.zeros((len(derivatives), self.n_functions))
        for _, part, marks in self._by_element(np.array([kind])):
            y = marks.standardized(x[None])
            dy = derivatives[:, marks.columns] / marks.scale
            slopes = marks.slopes(y)
            products = np.matmul(dy, marks.vectors.T, out=along[:, part])
            products *= slopes.along_z
            products -= (dy @ y[0])[:, None] * slopes.along_y
        return along

    def functions_vjp(
        self, kinds: np.ndarray, x: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernels and the gradients (n_atoms, F) of ``(weights * kernels).sum()``."""
        values, gradients = np.zeros((len(x), self.n_functions)), np.zeros(x.shape)
        for atoms, part, marks in self._by_element(kinds):
            y = marks.standardized(x[atoms])
            values[atoms, part], along_z, along_y = marks.slopes(y)
            of_kernels = weights[atoms, part]
            gradient = (of_kernels * along_z) @ marks.vectors
            gradient -= (of_kernels * along_y).sum(axis=1)[:, None] * y
            gradients[np.ix_(atoms, marks.columns)] = gradient / marks.scale
        return values, gradients

    def mix(self, functions: np.ndarray) -> np.ndarray:
        """Return the features (..., n_features) for kernels (..., M)."""
        rows = np.split(functions.reshape(-1, functions.shape[-1]), self._ends[:-1], axis=1)
        mixed = [marks.mix(part) for marks, part in zip(self.landmarks, rows, strict=True)]
        return np.hstack(mixed).reshape(*functions.shape[:-1], -1)

    def unmix(self, weights: np.ndarray) -> np.ndarray:
        """Return weights (..., M) of the kernels for those (..., n_features) of the features."""
        ends = np.cumsum([marks.mixing.shape[1] for marks in self.landmarks])
        parts = np.split(weights, ends[:-1], axis=-1)
        unmixed = [p @ marks.mixing.T for p, marks in zip(parts, self.landmarks, strict=True)]
        return np.concatenate(unmixed, axis=-1)

    @property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(marks.vectors) for marks in self.landmarks])

    def _by_element(self, kinds: np.ndarray) -> Iterator[tuple[np.ndarray, slice, Landmarks]]:
        """Yield the atoms of every element, the places of its landmarks, and these."""
        for kind, (marks, end) in enumerate(zip(self.landmarks, self._ends, strict=True)):
            atoms = np.flatnonzero(kinds == kind)
            if len(atoms) and len(marks.vectors):
                yield atoms, slice(end - len(marks.vectors), end), marks
