"""Which representations are trained how, and the results of each over the folds."""

from dataclasses import dataclass

import numpy as np
from data import LARGE, N_FOLDS, TASKS, independent
from labels import LABELLED
from labels import result as labelled_result
from representations import CHAPTER_3, REPRESENTATIONS

BAGS = {"headline": 30, "comparison": 10, "random frames": 2, "labels": 4}
QUICK_BAGS = {"headline": 6, "comparison": 3, "random frames": 2, "labels": 2}

HEADLINE = ("Voxel", "Voxel, order 1", "Point")
FIVE_SCALES = ("Voxel, five scales", "Voxel, five scales, order 1")
RIDGE = ("Voxel", "Point", "SOAP, by element", "ACSF, by element", "Composition")
# (representation, scheme) of chapter 3, ratios as they were normalized there.
RANDOM_FOLDS = [
    *(
        (name + ratios, "chapter 3")
        for ratios in ("", ", ratios")
        for name in ("Voxel, order 1", "Voxel", "Point", CHAPTER_3)
    ),
    *((name, "chapter 3") for name in FIVE_SCALES),
    *((f"{name}, ratios", "chapter 3, total energies") for name in ("Voxel", "Point", CHAPTER_3)),
]
# (table, representation, scheme, number of bags as a key of BAGS)
CHAPTER_4 = [
    ("4.1", "Voxel", "bagged, whole paths", "headline"),
    ("4.3", "Voxel, order 1", "bagged, whole paths", "headline"),
    ("4.4", "Voxel", "nested folds, all candidates", "comparison"),
    ("4.5", "Voxel", "bags of random frames", "random frames"),
    ("(3.10)", "Voxel", "bagged, formation energy", "comparison"),
    ("fewer bags", "Voxel", "bagged", "comparison"),
    ("4.1", "Voxel, five scales", "bagged, whole paths", "headline"),
    ("4.3", "Voxel, five scales, order 1", "bagged, whole paths", "headline"),
    ("4.4", "Voxel, five scales", "nested folds, all candidates", "comparison"),
    ("4.5", "Voxel, five scales", "bags of random frames", "random frames"),
    ("4.1, at the atoms", "Point", "bagged, whole paths", "headline"),
    ("4.4, at the atoms", "Point", "nested folds, all candidates", "comparison"),
    ("4.5, at the atoms", "Point", "bags of random frames", "random frames"),
]
BARE = "bagged"
WHOLE = "bagged, whole paths"
COMPARED = [
    name
    for name, given in REPRESENTATIONS.items()
    if not given.by_lower_order and name not in ("Composition", CHAPTER_3, *FIVE_SCALES)
]

# (representation, scheme, number of bags as a key of BAGS)
RUNS = [
    *((name, BARE, "comparison") for name in COMPARED),
    *((name, "ridge", "comparison") for name in RIDGE),
]


@dataclass(frozen=True)
class Errors:
    """Errors (eV/atom) by task, one array per fold."""

    by_fold: list[dict[str, np.ndarray]]

    def rmse(self, task):
        """Return the root mean square errors of the folds, meV/atom."""
        return 1e3 * np.sqrt(self._of_folds(task, np.square))

    def pooled_rmse(self, task):
        """Return the root mean square error of all structures together, meV/atom."""
        return 1e3 * np.sqrt(np.mean(np.concatenate([fold[task] for fold in self.by_fold]) ** 2))

    def mae(self, task):
        """Return the mean absolute errors of the folds, meV/atom."""
        return 1e3 * self._of_folds(task, np.abs)

    def ratio(self, task):
        """Return the error of a task over that of the paths."""
        return np.nanmean(self.rmse(task)) / self.rmse("paths").mean()

    def _of_folds(self, task, size):
        # With few compositions a fold may have no structure of a task.
        errors = [fold[task] for fold in self.by_fold]
        return np.array([np.mean(size(e)) if len(e) else np.nan for e in errors])


class Experiments:
    """Runs what has not been run yet, and hands out results.

    If the names of representations for the headline tables and figures are not all of `HEADLINE`,
    nothing else is run.
    """

    def __init__(self, protocol, bags, names=HEADLINE, n_folds=N_FOLDS):
        self.protocol, self.bags, self.names = protocol, bags, tuple(names)
        self.n_folds = n_folds
        self.everything = self.names == HEADLINE
        compared = (*COMPARED, *RIDGE) if self.everything else names
        self.bases = tuple(dict.fromkeys(b for n in compared for b in REPRESENTATIONS[n].bases))

    @property
    def chapter_3(self):
        """Those of `RANDOM_FOLDS` whose representations are among the names."""
        return [run for run in RANDOM_FOLDS if run[0].removesuffix(", ratios") in self.names]

    @property
    def chapter_4(self):
        """Those of `CHAPTER_4` whose representations are among the names."""
        return [run for run in CHAPTER_4 if run[1] in self.names]

    def run(self):
        """Compute and fit, cheap things first."""
        for base in self.bases:
            for part in self.protocol.parts:
                self.protocol.store.get(base, part)
        for _, *run in self.chapter_4:
            self.results(*run)
        for run in self.chapter_3:
            self.results(*run)
        if not self.everything:
            return
        for base in self.bases:
            self.protocol.store.milliseconds(base)
        for run in RUNS:
            self.results(*run)
        for name in (*COMPARED, *RIDGE):
            self.protocol.pressure_features(name)
        for name in LABELLED:
            for labels in LABELLED[name].trained_on:
                self.labelled(name, labels)

    def headline(self, name):
        """Return the results of the ensembles whose whole paths are kept."""
        return self.results(name, WHOLE, "headline")

    def results(self, name, scheme=BARE, bags="comparison"):
        """Return the stored results of the folds."""
        return [
            self.protocol.result(
                name,
                scheme,
                fold,
                self.bags[bags],
                keep_model=bags == "headline" or "chapter 3" in scheme,
            )
            for fold in range(self.n_folds)
        ]

    def labelled(self, name, labels):
        """Return the stored results of the folds of training on energies and derivatives."""
        return [
            labelled_result(self.protocol, name, labels, fold, self.bags["labels"])
            for fold in range(self.n_folds)
        ]

    def errors(self, results, leaking=False):
        """Return the `Errors` of the results of the folds.

        ``leaking``: the folds are not of paths, so nothing of the tasks is set aside.
        """
        parts, by_fold = self.protocol.parts, []
        for fold, result in enumerate(results):
            test = result["test"]
            errors = {"paths": result["prediction_paths"] - parts["paths"].energies[test]}
            for name in TASKS:
                rows = slice(None)
                if not leaking:
                    rows = independent(parts[name], fold, self.protocol.fold_of_path)
                errors[name] = (result[f"prediction_{name}"] - parts[name].energies)[rows]
            errors["large"] = np.concatenate([errors[name] for name in LARGE])
            by_fold.append(errors)
        return Errors(by_fold)

    def pressure_errors(self, name, results):
        """Return the RMSE of the pressure (GPa) of frames of unseen paths, fold by fold."""
        squares = []
        for fold, result in enumerate(results):
            predicted, reference = self.protocol.pressure(name, result["coef"], fold)
            squares.append(np.sqrt(np.mean((predicted - reference) ** 2)))
        return 160.21766 * np.array(squares)
