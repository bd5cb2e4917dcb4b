"""Features computed once, in shards, and kept: ours, those of DScribe, and derivatives."""

import time

import numpy as np
from common.cache import describe

SHARD = 148
_TIMED = 40


class FeatureCache:
    """Features of the parts of the data, by bases that are fitted on the paths when needed."""

    def __init__(self, parts, bases, cache):
        self.parts, self.bases, self.cache = parts, bases, cache
        self._fitted, self._loaded = {}, {}

    def transformer(self, base):
        """Return the fitted transformer."""
        if base not in self._fitted:
            self._fitted[base] = self.bases[base].fit(self.parts["paths"].structures)
        return self._fitted[base]

    def settings(self, base):
        """Return what the features of a base depend on besides the structures."""
        return describe(self.transformer(base), set())

    def _get(self, base, name, compute, structures, *more):
        return self.cache.get(f"{base}-{name}", compute, self.transformer(base), structures, *more)

    def get(self, base, part):
        """Return the features (n_structures, n_features) of a part."""
        if (base, part) not in self._loaded:
            structures, shards = self.parts[part].structures, []
            for start in range(0, len(structures), SHARD):
                shard = structures[start : start + SHARD]

                def compute(shard=shard):
                    print(f"features: {base} {part}", flush=True)
                    return self.transformer(base).transform(shard)

                shards.append(self._get(base, part, compute, shard))
            self._loaded[base, part] = np.concatenate(shards)
        return self._loaded[base, part]

    def strain_derivative(self, base, frames):
        """Return (N / V) d(features)/d(strain) / 3 of some path structures, hydrostatic strain."""
        structures = [self.parts["paths"].structures[i] for i in frames]

        def compute():
            strains = [np.eye(3)[None]] * len(structures)
            derivatives = self.transformer(base).jvp(structures, strains=strains)
            per_volume = [len(atoms) / (3 * atoms.get_volume()) for atoms in structures]
            return np.concatenate(derivatives) * np.array(per_volume)[:, None]

        return self._get(base, "strain", compute, structures)

    def milliseconds(self, base):
        """Return the CPU time per structure of the featurization, one thread, of 40 frames."""
        structures = self.parts["paths"].structures
        structures = structures[:: max(1, len(structures) // _TIMED)][:_TIMED]

        def compute():
            self.transformer(base).transform(structures[:4])
            times = []
            for _ in range(2):
                start = time.process_time()
                self.transformer(base).transform(structures)
                times.append(time.process_time() - start)
            return 1e3 * min(times) / len(structures)

        return self._get(base, "cost", compute, structures)
