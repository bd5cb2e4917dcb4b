"""The representations of the comparison: ours, DScribe's, parts and unions of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from dscribe.descriptors import ACSF, SOAP

from skwavelet import AngularFeatures, PointScattering, VoxelScattering

REACH = 6.0
SPECIES = ("Li", "Si")


class ByElement:
    """A descriptor of DScribe, summed over the atoms of every element, per atom."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def __repr__(self):
        size = self.descriptor.get_number_of_features()
        reach = getattr(self.descriptor, "_r_cut", REACH)
        return f"{type(self.descriptor).__name__}({size} features, {reach} Å)"

    def fit(self, structures):
        """Do nothing: these descriptors learn nothing."""
        return self

    def transform(self, structures):
        """Return the sums (n_structures, n_elements * n_features), per atom."""
        return np.array([self._sums(atoms) for atoms in structures], dtype=np.float32)

    def _sums(self, atoms):
        features = self.descriptor.create(atoms)
        kinds = [np.array(atoms.symbols) == symbol for symbol in SPECIES]
        return np.concatenate([features[kind].sum(axis=0) for kind in kinds]) / len(atoms)


class Composition:
    """Fractions of the elements, the least that a model can know."""

    def __repr__(self):
        return "Composition()"

    def fit(self, structures):
        """Do nothing."""
        return self

    def transform(self, structures):
        """Return the fractions (n_structures, n_elements)."""
        return np.array(
            [[np.mean(np.array(atoms.symbols) == s) for s in SPECIES] for atoms in structures]
        )


def _soap():
    return SOAP(species=SPECIES, r_cut=REACH, n_max=8, l_max=6, periodic=True)


def _acsf():
    return ACSF(
        species=SPECIES,
        r_cut=REACH,
        g2_params=[[4.0, shift] for shift in np.linspace(1.5, 5.5, 12)],
        g4_params=[
            [eta, zeta, sign] for eta in (0.005, 0.05) for zeta in (1, 2, 4, 16) for sign in (-1, 1)
        ],
        periodic=True,
    )


BASES = {
    "voxel": VoxelScattering(),
    "point": PointScattering(),
    "point-two-scales": PointScattering(n_scales=2),
    "point-small": PointScattering((1, 2, 3), 2),
    "point-small-two-scales": PointScattering((1, 2, 3), 2, n_scales=2),
    "angular": AngularFeatures(reach=REACH),
    "soap": ByElement(_soap()),
    "acsf": ByElement(_acsf()),
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

    Attributes
    ----------
    bases : tuple of str
    keep : callable or None
        From the ``feature_table_`` of the one base to a mask of its features.
    by_lower_order : bool
        Divide every feature by the corresponding one an order lower (chapter 3).
    pooled : bool
        Add up the sums over the elements: the average over all atoms.
    """

    bases: tuple[str, ...]
    keep: Callable[[pd.DataFrame], pd.Series] | None = None
    by_lower_order: bool = False
    pooled: bool = False


REPRESENTATIONS = {
    "Voxel": Representation(("voxel",)),
    "Voxel, order 1": Representation(("voxel",), _order_below_two),
    "Voxel, two scales": Representation(("voxel",), _fewer_scales(2)),
    "Voxel, order 1, two scales": Representation(
        ("voxel",), lambda table: _order_below_two(table) & _fewer_scales(2)(table)
    ),
    "Voxel, ratios": Representation(("voxel",), by_lower_order=True),
    "Voxel, order 1, ratios": Representation(("voxel",), _order_below_two, by_lower_order=True),
    "Point": Representation(("point",)),
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
