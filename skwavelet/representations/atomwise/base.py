"""What transformers of the features of every atom share: the representation that they contain."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from sklearn.base import clone

from skwavelet._utils.validation import HasMethods, StrOptions
from skwavelet.representations.atom_evaluator import AtomEvaluator
from skwavelet.representations.atom_features import AtomFeaturesMixin
from skwavelet.representations.atomwise.evaluator import AtomwiseEvaluator
from skwavelet.representations.paths import Paths
from skwavelet.representations.point import PointScattering
from skwavelet.structures.checks import as_atoms


class AtomwiseTransformer(AtomFeaturesMixin):
    """Base of transformers that sum functions of the features of every atom.

    Subclasses implement ``_learn_functions``, which sets ``feature_table_`` and ``_evaluator``;
    they have the parameters that are constrained here.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "representation": [None, HasMethods(["fit", "transform_atoms"])],
        "normalize": [None, StrOptions({"atoms"})],
        "dtype": [StrOptions({"float32", "float64"})],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def _fit(self, X: Iterable[Atoms]) -> None:
        """Fit the representation, and learn from the features of the atoms."""
        X = as_atoms(X)
        representation = self._default() if self.representation is None else self.representation
        self.representation_ = clone(representation).fit(X)
        if not isinstance(getattr(self.representation_, "_evaluator", None), AtomEvaluator):
            raise TypeError(
                f"representation={type(self.representation_).__name__} has no features of every "
                "atom; use PointScattering() or AngularFeatures()."
            )
        self.min_distance_ = self.representation_.min_distance_
        self.elements_ = self.representation_.elements_
        self.channels_ = self.representation_.channels_
        self._atomic_numbers = self.representation_._atomic_numbers
        self._learn_functions(X)

    def _restrict(self, kept: np.ndarray) -> None:
        """Keep some of the features, and of the representation what they are made of."""
        self.representation_ = self.representation_.restrict(self._evaluator.needed(kept))
        super()._restrict(kept)

    @property
    def elements(self) -> Any:
        """The elements that the representation has been told of, if any."""
        return getattr(self.representation, "elements", None)

    def _default(self) -> Any:
        """Return the representation that None stands for."""
        return PointScattering()

    _evaluator: AtomwiseEvaluator

    def _learn_functions(self, X: list[Atoms]) -> None:
        raise NotImplementedError

    def _state_of_evaluator(self, paths: Paths) -> dict[str, Any]:
        """Return the fields that all evaluators of functions of features have."""
        return self._shared_state(paths, (1.0,)) | {"inner": self.representation_._evaluator}
