"""The whole Li-Si protocol: relaxation paths, and extrapolation to barriers, sizes and strains.

    python benchmarks/accuracy/lisi/ --data DIR --out DIR
    python benchmarks/accuracy/lisi/ --out DIR --quick     # a few compositions, minutes

DIR of ``--data`` contains ``lisi/``; without it the frames in benchmarks/data are read, which are
the same but for positions in float32. **Labels are those of the pretrained potential CHGNet v0.3.0,
not of density functional theory.** Needs ``pip install dscribe matplotlib``.

Models are trained on relaxation paths (4,440 structures, 12 frames of 370 paths) in five folds of
whole paths, each composition spread evenly. Every model predicts the held-out paths and the tasks:
diffusion (nudged-elastic-band images), larger cells, strained cells. Images, tilings and strained
cells descend from a path: only the models that were not trained on that path predict them. Errors
are over structures, per atom; means and standard deviations are over the folds.

Features are computed once, in shards, and fitted results are stored one by one under
``--out``/cache: an interrupted run goes on where it was. ``--out`` receives ``tables.md``, CSV
files, figures and ``run.json`` (seed, versions, settings).

Cost: 1 h; needs dscribe and matplotlib.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.cache import Cache
from common.command import arguments
from common.data import lisi_home
from common.timing import machine
from data import load
from experiments import BAGS, HEADLINE, QUICK_BAGS, Experiments
from features import FeatureCache
from figures import draw_all
from fits import Protocol
from representations import BASES
from schemes import SEED
from tables import barriers, extrapolation, write_all


def main() -> None:
    args = arguments(
        __doc__,
        data="lisi",
        quick={},
        out=Path("lisi-results"),
        only=(),
    )
    # These print tables 4.1 and 4.2 of some representations and write nothing but the cache.
    if set(args.only) - set(HEADLINE):
        sys.exit(f"--only takes of {HEADLINE}")
    out = args.out / "quick" if args.quick else args.out
    parts = load(lisi_home(args.data), args.quick)
    cache = Cache(out / "cache")
    protocol = Protocol(parts, FeatureCache(parts, BASES, cache), cache)
    experiments = Experiments(protocol, QUICK_BAGS if args.quick else BAGS)
    about = machine("dscribe", "numpy", "scikit-learn", "ase")
    print(about, flush=True)
    if args.only:
        for table in (extrapolation, barriers):
            print(table(experiments, args.only).page())
        return
    experiments.run()
    settings = {
        "labels": "CHGNet v0.3.0, not density functional theory",
        "machine": about,
        "seed": SEED,
        "bags": experiments.bags,
        "structures": {name: len(part) for name, part in parts.items()},
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "features": {base: protocol.store.settings(base) for base in BASES},
    }
    (out / "run.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
    write_all(experiments, out)
    draw_all(experiments, out)
    print((out / "tables.md").read_text())


if __name__ == "__main__":
    main()
