"""Features computed once, in shards, and kept: ours, those of DScribe, and derivatives."""

import hashlib
import json
import os
import time

import numpy as np

import skwavelet

SHARD = 148
_TIMED = 40
_STEP = 0.005


class FeatureCache:
    """Features of the parts of the data, kept under ``directory`` by the settings that made them.

    Parameters
    ----------
    parts : dict of str to Part
    bases : dict of str to transformer
        Fitted on the path structures (geometry only) when first needed.
    directory : Path
    """

    def __init__(self, parts, bases, directory):
        self.parts, self.bases, self.directory = parts, bases, directory
        self._fitted, self._loaded = {}, {}

    def transformer(self, base):
        """Return the fitted transformer."""
        if base not in self._fitted:
            self._fitted[base] = self.bases[base].fit(self.parts["paths"].structures)
        return self._fitted[base]

    def settings(self, base):
        """Return what the features of a base depend on besides the structures."""
        transformer = self.transformer(base)
        learned = [getattr(transformer, key, None) for key in ("beta_", "n_scales_", "spacing_")]
        params = repr(transformer)
        if hasattr(transformer, "get_params"):
            params = {**transformer.get_params(), "n_jobs": None, "verbose": None}
        return f"{type(transformer).__name__} {params} {learned}"

    def folder(self, base):
        """Return where features of these settings, data and version are kept."""
        stamp = f"{skwavelet.__version__} {len(self.parts['paths'])} {self.settings(base)}"
        folder = self.directory / f"{base}-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}"
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "settings.txt").write_text(stamp + "\n")
        return folder

    def get(self, base, part):
        """Return the features (n_structures, n_features) of a part."""
        if (base, part) not in self._loaded:
            structures = self.parts[part].structures
            starts = range(0, len(structures), SHARD)
            shards = [
                self._shard(base, f"{part}_{start:05d}", structures[start : start + SHARD])
                for start in starts
            ]
            self._loaded[base, part] = np.concatenate(shards)
        return self._loaded[base, part]

    def _shard(self, base, name, structures):
        file = self.folder(base) / f"{name}.npy"
        if not file.exists():
            features = self.transformer(base).transform(structures)
            save(file, lambda target: np.save(target, features))
            print(f"features: {base} {name}", flush=True)
        return np.load(file)

    def strain_derivative(self, base, frames):
        """Return (N / V) d(features)/d(strain) / 3 of some path structures, hydrostatic strain.

        A central difference where the representation has no derivatives.
        """
        file = self.folder(base) / f"strain_derivative_{len(frames)}.npy"
        if not file.exists():
            structures = [self.parts["paths"].structures[i] for i in frames]
            transformer = self.transformer(base)
            if hasattr(transformer, "jvp"):
                strains = [np.eye(3)[None]] * len(structures)
                derivatives = np.concatenate(transformer.jvp(structures, strains=strains))
            else:
                sides = [
                    transformer.transform([strained(atoms, step) for atoms in structures])
                    for step in (-_STEP, _STEP)
                ]
                derivatives = (sides[1].astype(float) - sides[0]) / (2 * _STEP)
            per_volume = [len(atoms) / (3 * atoms.get_volume()) for atoms in structures]
            derivatives *= np.array(per_volume)[:, None]
            save(file, lambda target: np.save(target, derivatives))
            print(f"features: {base} derivatives by strain", flush=True)
        return np.load(file)

    def milliseconds(self, base):
        """Return the CPU time per structure of the featurization, one thread, of 40 frames."""
        file = self.folder(base) / "cost.json"
        if not file.exists():
            structures = self.parts["paths"].structures
            structures = structures[:: max(1, len(structures) // _TIMED)][:_TIMED]
            transformer = self.transformer(base)
            transformer.transform(structures[:4])
            times = []
            for _ in range(2):
                start = time.process_time()
                transformer.transform(structures)
                times.append(time.process_time() - start)
            cost = 1e3 * min(times) / len(structures)
            save(file, lambda target: target.write(json.dumps(cost).encode()))
        return json.loads(file.read_text())


def strained(atoms, strain):
    """Return a copy under a hydrostatic strain of the box side."""
    copy = atoms.copy()
    copy.set_cell((1 + strain) * atoms.cell, scale_atoms=True)
    return copy


def save(file, write):
    """Write a file in one step, so that an interruption leaves none that is half written."""
    part = file.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as target:
        write(target)
    part.replace(file)
