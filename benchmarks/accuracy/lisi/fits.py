"""Fitted results: one (representation, scheme, fold) at a time, stored as it finishes."""

import time

import joblib
import numpy as np
from common.cache import describe
from data import TASKS, frame_folds, path_folds
from representations import REPRESENTATIONS, SPECIES
from schemes import LONGEST, SCHEMES, SEED

from skwavelet.energies import formation_energy_per_atom, reference_energies


class Protocol:
    """The data, the folds and the results on them, which are kept in the cache."""

    def __init__(self, parts, store, cache):
        self.parts, self.store, self.cache = parts, store, cache
        self.paths = parts["paths"]
        self.stamp = joblib.hash(
            [
                (describe(part.structures, set()), part.energies, part.forces, part.stress)
                for part in parts.values()
            ]
        )
        self.fold, self.fold_of_path = path_folds(self.paths)
        self.frame_fold = frame_folds(len(self.paths))
        references = reference_energies(self.paths.energies, self.paths.structures)
        self.shift = {  # from energies to formation energies
            name: formation_energy_per_atom(part.energies, part.structures, references)
            - part.energies
            for name, part in parts.items()
        }

    def table(self, name):
        """Return the feature table of a representation of one base."""
        representation = REPRESENTATIONS[name]
        table = self.store.transformer(representation.bases[0]).feature_table_
        if representation.keep is not None:
            table = table[np.asarray(representation.keep(table), dtype=bool)]
        return table.reset_index(drop=True)

    def features(self, name, part):
        """Return the features of a representation."""
        representation = REPRESENTATIONS[name]
        X = np.hstack([self.store.get(base, part) for base in representation.bases])
        if representation.by_lower_order:
            X = self._by_lower_order(representation.bases[0], X)
        return self._select(name, X)

    def pressure_features(self, name):
        """Return d(features)/d(strain) N / 3V of one frame of some paths, and the frames."""
        frames = pressure_frames(self.paths)
        bases = REPRESENTATIONS[name].bases
        X = np.hstack([self.store.strain_derivative(base, frames) for base in bases])
        return self._select(name, X), frames

    def _select(self, name, X):
        representation = REPRESENTATIONS[name]
        if representation.pooled:
            return X.reshape(len(X), len(SPECIES), -1).sum(axis=1)
        if representation.keep is None:
            return X
        table = self.store.transformer(representation.bases[0]).feature_table_
        return X[:, np.asarray(representation.keep(table), dtype=bool)]

    def _by_lower_order(self, base, X):
        # Both numerator and denominator are per atom here: the number of atoms cancels.
        evaluator = self.store.transformer(base)._evaluator
        path, power = evaluator.columns
        lower = evaluator.paths.lower[path]
        known = lower >= 0
        below = X[:, lower[known] * len(evaluator.powers) + power[known]].astype(np.float64)
        ratios = X.astype(np.float64)
        above = ratios[:, known]
        ratios[:, known] = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
        return ratios

    def result(self, representation, scheme, fold, n_bags, keep_model=False):
        """Return the stored result, fitting first where there is none."""
        estimator = SCHEMES[scheme].make(n_bags)

        def compute():
            result, model = self._fit(representation, SCHEMES[scheme], fold, estimator)
            return result | {"model": model if keep_model else None}

        given = (representation, scheme, fold, estimator, keep_model)
        return self.cached(representation, compute, *given, code=["schemes"])

    def cached(self, representation, compute, *settings, code):
        """Return the stored result of fitting to a representation."""

        def fit():
            start = time.process_time()
            result = compute()
            result["fit_seconds"] = time.process_time() - start
            print(f"fit: {settings[:3]}; {result['fit_seconds']:.0f} s", flush=True)
            return result

        bases = [self.store.transformer(base) for base in REPRESENTATIONS[representation].bases]
        given = (bases, self.stamp, *settings, SEED)
        return self.cache.get("fit", fit, *given, code=["skwavelet.linear", *code])

    def _fit(self, representation, scheme, fold, estimator):
        of_frame = self.fold if scheme.folds == "paths" else self.frame_fold
        train, test = np.flatnonzero(of_frame != fold), np.flatnonzero(of_frame == fold)
        shift = {name: np.zeros(len(part)) for name, part in self.parts.items()}
        scale = {name: np.ones(len(part)) for name, part in self.parts.items()}
        if scheme.target == "formation":
            shift = self.shift
        if scheme.target == "total":
            scale = {
                name: np.array([len(atoms) for atoms in part.structures])
                for name, part in self.parts.items()
            }
        targets = scale["paths"] * (self.paths.energies + shift["paths"])
        X = self.features(representation, "paths")
        groups = self.paths.parents[train] if scheme.by_path else np.arange(len(train))
        model = estimator.fit(X[train], targets[train], groups=groups)

        def per_atom(prediction, part, rows=slice(None)):
            return prediction / scale[part][rows] - shift[part][rows]

        result = {"test": test, "coef": model.coef_, "intercept": model.intercept_}
        result["prediction_paths"] = per_atom(model.predict(X[test]), "paths", test)
        is_ensemble = hasattr(model, "estimators_")
        members = model.estimators_ if is_ensemble else []
        result["sizes"] = np.array([member.n_features_selected_ for member in members])
        for part in TASKS:
            Z = self.features(representation, part)
            result[f"prediction_{part}"] = per_atom(model.predict(Z), part)
            if part in ("barriers", "bulk") and is_ensemble:
                predictions = [per_atom(member.predict(Z), part) for member in members]
                result[f"members_{part}"] = np.array(predictions)
        if is_ensemble:
            result["spread_paths"] = model.predict(X[test], return_std=True)[1]
            seen = ~np.isnan(model.oob_prediction_)
            errors = (model.oob_prediction_ - targets[train]) / scale["paths"][train]
            result["oob_rmse"] = np.sqrt(np.mean(errors[seen] ** 2))
            result["selections"] = sum((member.coef_ != 0).astype(int) for member in members)
        if getattr(model, "max_features", None) == LONGEST:
            result["staged_paths"] = per_atom(_by_size(model, X[test]), "paths", test)
            for part in TASKS:
                Z = self.features(representation, part)
                result[f"staged_{part}"] = per_atom(_by_size(model, Z), part)
        return result, model

    def pressure(self, representation, coef, fold):
        """Return predicted and reference pressure (eV/Å³) of frames of unseen paths."""
        derivatives, frames = self.pressure_features(representation)
        unseen = self.fold[frames] == fold
        reference = -self.paths.stress[frames[unseen], :3].mean(axis=1)
        return -(derivatives[unseen] @ coef), reference


def _by_size(model, X):
    """Return predictions (LONGEST, n) with 1, 2, ... features; paths that end stay as they are."""
    stages = np.array(list(model.staged_predict(X)))
    return np.concatenate([stages, np.repeat(stages[-1:], LONGEST - len(stages), axis=0)])


def pressure_frames(paths, every=4):
    """Return the last frame of every fourth path, or of more."""
    _, last = np.unique(paths.parents[::-1], return_index=True)
    return np.sort(len(paths) - 1 - last)[::every]
