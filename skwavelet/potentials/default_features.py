"""Features of potentials for which none are named: how many, and which radial functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from skwavelet.linear import RidgePath
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import build_rows
from skwavelet.representations.atomwise import AtomPolynomial
from skwavelet.representations.invariants import PointInvariants

# Products of invariants: so many, and up to so many for each element, as labels allow.
PRODUCTS, MOST_PRODUCTS, LABELS_PER_PRODUCT = 1500, 6000, 4
# Three or four elements with labels for as many have more, and more radial functions.
MORE_PRODUCTS, MORE_COMPONENTS, MORE_ELEMENTS = 2000, (14, 12, 11, 10, 9, 8, 7), (3, 4)
# How radial functions may fall off; the steeper ones are taken if they err less by this factor.
GENTLE, STEEP, BETTER = 3, 6, 0.9
# Small models that tell: so many components of forces, of so many groups at least, ...
TRIAL_LABELS, TRIAL_GROUPS = 6000, 40
# ... so many products for each element, these penalties, and this weight of forces.
TRIAL_PRODUCTS, TRIAL_ALPHAS, TRIAL_WEIGHT = 200, (1e-10, 1e-9), 0.01


def default_features(n_elements: int, n_labels: int, decay: int = GENTLE) -> AtomPolynomial:
    """Return the features of potentials for which none are named.

    Parameters
    ----------
    n_elements : int
        Number of elements, among which the products are shared out.
    n_labels : int
        Number of energies and of components of forces.
    decay : int
        How radial functions fall off, see `PointInvariants`.
    """
    possible = n_labels // LABELS_PER_PRODUCT
    most = min(PRODUCTS * n_elements, MOST_PRODUCTS)
    components, each = None, int(np.clip(possible, PRODUCTS, most)) // n_elements
    if n_elements in MORE_ELEMENTS and possible >= MORE_PRODUCTS * n_elements:
        components, each = MORE_COMPONENTS, MORE_PRODUCTS
    invariants = PointInvariants(components, decay=decay)
    return AtomPolynomial(invariants, center=True, max_order=4, max_products=each)


def chosen_decay(
    X: Sequence[Atoms],
    y: np.ndarray,
    forces: Sequence[np.ndarray | None],
    groups: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """Return how radial functions are to fall off, by errors of small models on groups held out.

    Components of the moments are those that vary most. Many far neighbours that move a lot take
    them up where molecules are floppy, and steeper functions tell more of the near ones, which
    carry most of the energy; where molecules are stiff, the far ones have something to tell. One or
    two elements, whose components tell both, have gentle ones.

    Parameters
    ----------
    X : sequence of ase.Atoms
    y : ndarray of shape (n_structures,)
        eV/atom.
    forces : sequence of ndarray of shape (N, 3) or None
    groups : ndarray of shape (n_structures,)
    rng : Generator
        Chooses some of the structures.
    """
    if len({number for atoms in X for number in atoms.numbers}) <= 2:
        return GENTLE
    some, n_labels = [], 0
    for i in rng.permutation(len(X)).tolist():
        label = forces[i]
        if label is not None and n_labels < TRIAL_LABELS:
            some.append(i)
            n_labels += label.size
    if len(np.unique(groups[some])) < TRIAL_GROUPS:
        return GENTLE
    structures, labels = [X[i] for i in some], [forces[i] for i in some]
    nothing: list[np.ndarray | None] = [None] * len(some)
    ones = np.ones(len(some))
    errors = []
    for decay in (GENTLE, STEEP):
        features = AtomPolynomial(
            PointInvariants(decay=decay), center=True, max_order=4, max_products=TRIAL_PRODUCTS
        )
        values = features.fit_transform(structures)
        rows = build_rows(
            feature_chain(features), structures, y[some], values, labels, nothing, "all", rng, ones
        )
        model = fit_rows(
            RidgePath(TRIAL_ALPHAS, members=False), rows, groups[some], TRIAL_WEIGHT, 1.0,
            penalty_factors=features.penalty_factors_,
        )  # fmt: skip
        errors.append(model.path_["held_out_rmse"].min())
    return STEEP if errors[1] < BETTER * errors[0] else GENTLE
