"""The representations of the comparison: ours, DScribe's, parts and unions of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from common.rivals import DScribe
from sklearn.base import BaseEstimator

from skwavelet import AngularFeatures, PointScattering, VoxelScattering

REACH = 6.0
SPECIES = ("Li", "Si")
CHAPTER_3 = "Point, chapter 3's 45,920"


class Composition(BaseEstimator):
    """Fractions of the elements, the least that a model can know."""

    def fit(self, X, y=None):
        """Do nothing."""
        return self

    def transform(self, X):
        """Return the fractions (n_structures, n_elements)."""
        return np.array([[np.mean(np.array(a.symbols) == s) for s in SPECIES] for a in X])

    def jvp(self, X, displacements=None, strains=None):
        """Return derivatives, which are zero."""
        return [np.zeros((1, len(SPECIES))) for _ in X]


BASES = {
    "voxel": VoxelScattering(),
    # The dissertation's 3,740 features; of its five scales the widest two see the box.
    "voxel-five-scales": VoxelScattering(n_scales=5),
    "point": PointScattering(),
    "point-two-scales": PointScattering(n_scales=2),
    "point-small": PointScattering((1, 2, 3), 2),
    "point-small-two-scales": PointScattering((1, 2, 3), 2, n_scales=2),
    # The 45,920 features of chapter 3, at the atoms instead of on a grid: a grid takes ten seconds
    # for a structure.
    "point-chapter-3": PointScattering(
        (1, 2, 3, 4, 5),
        4,
        order=2,
        n_scales=6,
        min_scale_step=0,
        pairs="increasing",
        centers="all",
    ),
    "angular": AngularFeatures(reach=REACH),
    "soap": DScribe("SOAP", {"n_max": 8, "l_max": 6}, by_element=True, step=0.005),
    "acsf": DScribe("ACSF", by_element=True, step=0.005),
    "composition": Composition(),
}


def _order_below_two(table):
    return table["order"] < 2


def _fewer_scales(n_scales):
    def keep(table):
        return ~((table["j1"] >= n_scales) | (table["j2"] >= n_scales)).fillna(False)

    return keep


def _elements_only(table):
    return table["channel"].isin(SPECIES)


@dataclass(frozen=True)
class Representation:
    """Columns of one or several bases side by side.

    ``keep`` makes a mask of features of the ``feature_table_`` of the one base; ``by_lower_order``
    divides every feature by the corresponding one an order lower (chapter 3); ``pooled`` adds up
    the sums over the elements: the average over all atoms.
    """

    bases: tuple[str, ...]
    keep: Callable[[pd.DataFrame], pd.Series] | None = None
    by_lower_order: bool = False
    pooled: bool = False


REPRESENTATIONS = {
    "Voxel": Representation(("voxel",)),
    "Voxel, order 1": Representation(("voxel",), _order_below_two),
    "Voxel, five scales": Representation(("voxel-five-scales",)),
    "Voxel, five scales, order 1": Representation(("voxel-five-scales",), _order_below_two),
    "Voxel, two scales": Representation(("voxel",), _fewer_scales(2)),
    "Voxel, order 1, two scales": Representation(
        ("voxel",), lambda table: _order_below_two(table) & _fewer_scales(2)(table)
    ),
    "Voxel, ratios": Representation(("voxel",), by_lower_order=True),
    "Voxel, order 1, ratios": Representation(("voxel",), _order_below_two, by_lower_order=True),
    "Point": Representation(("point",)),
    "Point, ratios": Representation(("point",), by_lower_order=True),
    CHAPTER_3: Representation(("point-chapter-3",)),
    f"{CHAPTER_3}, ratios": Representation(("point-chapter-3",), by_lower_order=True),
    "Point, two scales": Representation(("point-two-scales",)),
    "Point, small bank": Representation(("point-small",)),
    "Point, small bank, two scales": Representation(("point-small-two-scales",)),
    "Point, small bank, two scales, element channels": Representation(
        ("point-small-two-scales",), _elements_only
    ),
    "Angular": Representation(("angular",)),
    "Voxel + Point": Representation(("voxel", "point")),
    "Point + Angular": Representation(("point", "angular")),
    "SOAP": Representation(("soap",), pooled=True),
    "SOAP, by element": Representation(("soap",)),
    "ACSF": Representation(("acsf",), pooled=True),
    "ACSF, by element": Representation(("acsf",)),
    "Composition": Representation(("composition",)),
}
