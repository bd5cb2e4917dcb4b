"""What a representation computes of one structure: features and their derivatives.

A representation writes its sums, one per path and power, and their two derivatives. What all of
them share is here: sums of order zero, normalization, the choice of some features, and for those
that sum over atoms the features of every atom.

The vocabulary of derivatives is the same everywhere: *values*, *jvp* (derivatives along
directions) and *vjp* (gradients of a linear form of the values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from skwavelet._utils.memory import available_memory
from skwavelet.representations.normalization import Normalization
from skwavelet.representations.paths import Paths
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions

# What takes less than this together is not compared with the memory that is free: asking for it
# takes as long as the features of a small molecule, and so much must be free anyway.
NEGLIGIBLE_BYTES = 2**25

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluator:
    """The fitted state of a representation on plain arrays.

    A subclass writes ``sums``, ``sums_jvp`` and ``sums_vjp``, or the same for several structures
    at once (``all_sums``, ...). Their rows of order zero are filled in here.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers of the rows of ``weights``, in increasing order.
    weights : ndarray of shape (n_elements, n_channels)
        Channel weights.
    paths : Paths
    powers : tuple of float
    normalize : {"atoms", "lower_order"} or None
    dtype : str
        Of the features.
    columns : tuple of (ndarray, ndarray), optional
        Path and power of every feature; all of them in order by default.
    """

    elements: tuple[int, ...]
    weights: np.ndarray
    paths: Paths
    powers: tuple[float, ...]
    normalize: str | None
    dtype: str
    columns: tuple[np.ndarray, np.ndarray] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.columns is None:
            places = np.arange(len(self.paths) * len(self.powers))
            object.__setattr__(self, "columns", np.divmod(places, len(self.powers)))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    # -- what a representation writes --------------------------------------------------------

    def sums(self, structure: Structure) -> np.ndarray:
        """Return the sums (n_paths, n_powers); 0 for paths of order zero."""
        raise NotImplementedError

    def sums_jvp(
        self, structure: Structure, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives (n_directions, n_paths, n_powers)."""
        raise NotImplementedError

    def sums_vjp(self, structure: Structure, weights: np.ndarray) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``.

        Those are in the positions (N, 3) and in a strain (3, 3).
        """
        raise NotImplementedError

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that a method takes at its peak; called for every structure."""
        return 0.0

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return the two ends of the message that a structure needs too much: "needs", remedy."""
        return "needs", "use smaller structures"

    def prepare(self, method: str) -> None:
        """Do once what every process would do by itself: compile what a method needs."""

    def in_double(self) -> Self:
        """Return an evaluator whose energies are smooth enough for line searches.

        This one, unless the rounding errors of single precision are too rough until the sums.
        """
        return self

    # -- one structure -----------------------------------------------------------------------

    def values(self, structure: Structure) -> np.ndarray:
        """Return the features, of shape (n_features,)."""
        return self.all_values([structure])[0]

    def jvp(self, structure: Structure, directions: Directions) -> np.ndarray:
        """Return derivatives along directions, of shape (n_directions, n_features)."""
        return self.all_jvp([structure], [directions])[0]

    def vjp(self, structure: Structure, cotangent: np.ndarray) -> Gradients:
        """Return the features and the gradients of ``cotangent @ features``.

        Shapes (n_features,), (N, 3) for positions and (3, 3) for a strain.
        """
        return self.all_vjp([structure], [cotangent])[0]

    # -- several structures ------------------------------------------------------------------

    def all_values(self, structures: list[Structure]) -> list[np.ndarray]:
        """Return the features of several structures."""
        return [
            self._normalized(sums + self._zero_order(structure), structure)
            for structure, sums in zip(structures, self.all_sums(structures), strict=True)
        ]

    def all_jvp(
        self, structures: list[Structure], directions: list[Directions]
    ) -> list[np.ndarray]:
        """Return derivatives along directions of several structures."""
        pairs = self.all_sums_jvp(structures, directions)
        return [
            self._normalization.jvp(
                sums + self._zero_order(structure), derivatives, len(structure)
            ).astype(self.dtype)
            for structure, (sums, derivatives) in zip(structures, pairs, strict=True)
        ]

    def all_vjp(
        self, structures: list[Structure], cotangents: Sequence[np.ndarray]
    ) -> list[Gradients]:
        """Return the features of several structures and the gradients of linear forms of them."""
        zero = [self._zero_order(structure) for structure in structures]
        sums = zero
        # The weights of the sums depend on the values of those one order lower.
        if self.normalize == "lower_order":
            sums = [a + b for a, b in zip(self.all_sums(structures), zero, strict=True)]
        weights = [
            self._normalization.vjp(cotangent, values, len(structure))
            for cotangent, values, structure in zip(cotangents, sums, structures, strict=True)
        ]
        results = zip(structures, zero, self.all_sums_vjp(structures, weights), strict=True)
        return [
            (self._normalized(values + constant, structure), gradient, strain)
            for structure, constant, (values, gradient, strain) in results
        ]

    def all_sums(self, structures: list[Structure]) -> Sequence[np.ndarray]:
        """Return ``sums`` of several structures."""
        return [self.sums(structure) for structure in structures]

    def all_sums_jvp(
        self, structures: list[Structure], directions: list[Directions]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ``sums_jvp`` of several structures."""
        return [self.sums_jvp(*pair) for pair in zip(structures, directions, strict=True)]

    def all_sums_vjp(
        self, structures: list[Structure], weights: list[np.ndarray]
    ) -> list[Gradients]:
        """Return ``sums_vjp`` of several structures."""
        return [self.sums_vjp(*arguments) for arguments in zip(structures, weights, strict=True)]

    # -- memory ------------------------------------------------------------------------------

    def available_memory(self) -> float:
        """Return the bytes that are free where the features are computed."""
        return available_memory()

    def check(
        self, structures: Sequence[Structure], method: str = "values", n_workers: int = 1
    ) -> None:
        """Raise ``ValueError`` if a method would not fit into memory.

        ``n_workers`` structures are computed at the same time, at worst the largest ones.
        """
        needs = [self.memory(structure, method) for structure in structures]
        together = sum(sorted(needs)[-n_workers:])
        if together <= NEGLIGIBLE_BYTES:
            return
        free = self.available_memory()
        if together > free:
            largest = np.argsort(-np.array(needs), kind="stable")[:n_workers].tolist()
            first = structures[largest[0]]
            what, remedy = self.describe_need(first)
            others = ""
            if len(largest) > 1:
                others = f", together with others in {len(largest)} processes"
                others += f" {together / 2**30:.1f} GiB"
                remedy = f"use fewer processes (n_jobs), {remedy}"
            raise ValueError(
                f"Structure {first.index} {what} "
                f"{needs[largest[0]] / 2**30:.1f} GiB{others}, but {free / 2**30:.1f} GiB are "
                f"free; {remedy}."
            )

    # -- parts -------------------------------------------------------------------------------

    def restrict(self, columns: np.ndarray) -> Self:
        """Return an evaluator of some of the features, with no more paths than those need."""
        path, power = self.columns[0][columns], self.columns[1][columns]
        needed = np.unique(path)
        if self.normalize == "lower_order":
            # Twice: the second order needs the first, and that the zeroth.
            for _ in range(2):
                lower = self.paths.lower[needed]
                needed = np.union1d(needed, lower[lower >= 0])
        powers = np.unique(power)
        return replace(
            self,
            paths=self.paths.take(needed),
            columns=(np.searchsorted(needed, path), np.searchsorted(powers, power)),
            powers=tuple(self.powers[k] for k in powers),
        )

    @cached_property
    def _numbers(self) -> np.ndarray:
        return np.array(self.elements)

    @cached_property
    def _normalization(self) -> Normalization:
        return Normalization(self.normalize, self.paths, self.columns)

    def _normalized(self, sums: np.ndarray, structure: Structure) -> np.ndarray:
        return self._normalization.values(sums, len(structure))

    @cached_property
    def _channel_powers(self) -> tuple[np.ndarray, np.ndarray]:
        """The paths of order zero, and |c(Z)|^q (n_elements, n_zero, n_powers) of each."""
        zero = np.flatnonzero(self.paths.order == 0)
        weights = np.abs(self.weights)[:, self.paths.channel[zero], None]
        return zero, weights ** np.array(self.powers)

    def kinds(self, structure: Structure) -> np.ndarray:
        """Return the place of every atom's element in ``elements``, of shape (N,)."""
        return np.searchsorted(self._numbers, structure.numbers)

    def _zero_order(self, structure: Structure) -> np.ndarray:
        """Return sum_k |c(Z_k)|^q in the rows (n_paths, n_powers) of the zero-order paths."""
        zero, powers = self._channel_powers
        counts = np.bincount(self.kinds(structure), minlength=len(self.elements))
        sums = np.zeros((len(self.paths), len(self.powers)))
        sums[zero] = np.einsum("e,ecq->cq", counts, powers)
        return sums
