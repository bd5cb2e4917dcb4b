"""The whole Li-Si protocol: relaxation paths, and extrapolation to barriers, sizes and strains.

    python benchmarks/accuracy/lisi/ --data DIR --out DIR
    python benchmarks/accuracy/lisi/ --out DIR --quick     # a few compositions, minutes
    python benchmarks/accuracy/lisi/ relax neb --out DIR   # some parts: see PARTS

DIR of ``--data`` contains ``lisi/``; without it the frames in benchmarks/data are read, which are
the same but for positions in float32. **Labels are those of the pretrained potential CHGNet v0.3.0,
not of density functional theory.** Needs ``pip install dscribe matplotlib``.

Models are trained on relaxation paths (4,440 structures, 12 frames of 370 paths) in five folds of
whole paths, each composition spread evenly. Every model predicts the held-out paths and the tasks:
diffusion (nudged-elastic-band images), larger cells, strained cells. Images, tilings and strained
cells descend from a path: only the models that were not trained on that path predict them. Errors
are over structures, per atom; means and standard deviations are over the folds.

The part ``tables`` makes the tables and figures of chapters 3 and 4 (``--only Point``: those of
some representations alone, of the dissertation's five scales as well; ``--bags 100``: as many
models as the dissertation has). The others
train potentials on the paths but 74, two of each composition, and ask them for what comes of those:
``relax`` from their first frames, ``neb`` between the ends of diffusion paths, ``elastic`` (bulk
moduli, elastic tensors, Debye temperatures), ``voltage``, ``diffusion`` by dynamics of
``--picoseconds``. ``strain`` trains on other frames, volumes and features to find what strained
cells need. ``chapter3`` is its protocol with its own 45,920 features, at the atoms, for the first
``--folds`` of five, with ``--frames`` of each path. ``network`` trains `AngularNetwork` on
energies, forces and stresses of one fold for ``--minutes`` of CPU time, beside it
`EnergyForceRegressor` on the same, and asks both for the unseen paths and all tasks. Where chgnet
is installed (``pip install chgnet``), the labels' own potential says what it makes of the
structures that came out.

Features are computed once, in shards, and fitted results are stored one by one under
``--out``/cache: an interrupted run goes on where it was. ``--out`` receives ``tables.md`` and one
page for each other part, CSV files, figures and ``run.json`` (seed, versions, settings).

Cost: 1 h for tables (8 min with --only Point --bags 100), 30 min for the network, 6 min for
chapter3 with --frames 4 (without it over an hour), 35 min for the other parts; needs
dscribe and matplotlib, and torch for the network.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import bands
import diffusion
import elastic
import relaxations
import strain_causes
import voltage
from common.cache import Cache
from common.command import arguments
from common.data import lisi_home
from common.timing import machine
from data import N_FOLDS, N_FRAMES, load
from experiments import BAGS, FIVE_SCALES, HEADLINE, QUICK_BAGS, Experiments
from features import FeatureCache
from figures import draw_all
from fits import Protocol
from potentials import Potentials
from representations import BASES, CHAPTER_3
from schemes import SEED
from tables import chapter_3, write_all

# The tables of a part, from the potentials and the options.
PARTS = {
    "relax": lambda potentials, args: [
        relaxations.error_table(potentials),
        relaxations.choice_table(potentials),
        relaxations.table(potentials),
    ],
    "neb": lambda potentials, args: [bands.table(potentials)],
    "elastic": lambda potentials, args: [
        elastic.table(potentials),
        elastic.tensor_table(potentials),
    ],
    "voltage": lambda potentials, args: [voltage.table(potentials)],
    "strain": lambda potentials, args: [strain_causes.table(potentials, lisi_home(args.data))],
    "diffusion": lambda potentials, args: [diffusion.table(potentials, args.picoseconds)],
    "network": lambda potentials, args: [_network(potentials, args)],
    "chapter3": lambda potentials, args: [_chapter_3(potentials.parts, potentials.cache, args)],
}


def _network(potentials, args):
    import network  # needs torch

    return network.table(potentials.parts, args.minutes, potentials.cache)


def main() -> None:
    args = arguments(
        __doc__,
        data="lisi",
        quick={"picoseconds": 0.5, "minutes": 0.2, "bags": QUICK_BAGS["headline"], "frames": 4},
        out=Path("lisi-results"),
        only=(),
        bags=BAGS["headline"],
        picoseconds=10.0,
        minutes=15.0,
        folds=N_FOLDS,
        frames=N_FRAMES,
        parts=("tables", *PARTS),
    )
    if set(args.only) - {*HEADLINE, *FIVE_SCALES}:
        sys.exit(f"--only takes of {HEADLINE + FIVE_SCALES}")
    out = args.out / "quick" if args.quick else args.out
    parts = load(lisi_home(args.data), args.quick, args.frames)
    cache = Cache(out / "cache")
    about = machine("dscribe", "numpy", "scikit-learn", "ase")
    print(about, flush=True)
    if "tables" in args.parts:
        _tables(parts, cache, out, args, about)
    potentials = Potentials(parts, cache)
    for part in args.parts:
        if part in PARTS:
            made = PARTS[part](potentials, args)
            text = "\n".join(table.page() for table in made)
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{part}.md").write_text(text, encoding="utf-8")
            for table in made:
                table.write_csv(out / f"{table.name}.csv")
            print(text, flush=True)


def _protocol(parts, cache):
    return Protocol(parts, FeatureCache(parts, BASES, cache), cache)


def _chapter_3(parts, cache, args):
    """Return the table of chapter 3's protocol with its own features."""
    names = ("Point", CHAPTER_3)
    experiments = Experiments(_protocol(parts, cache), BAGS, names, args.folds)
    return chapter_3(experiments, "chapter_3_features", "Chapter 3 with its own features")


def _tables(parts, cache, out, args, about):
    """Make the tables and figures of chapters 3 and 4."""
    protocol = _protocol(parts, cache)
    names = args.only or HEADLINE
    bags = (QUICK_BAGS if args.quick else BAGS) | {"headline": args.bags}
    experiments = Experiments(protocol, bags, names)
    experiments.run()
    settings = {
        "labels": "CHGNet v0.3.0, not density functional theory",
        "machine": about,
        "seed": SEED,
        "bags": experiments.bags,
        "structures": {name: len(part) for name, part in parts.items()},
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "features": {base: protocol.store.settings(base) for base in experiments.bases},
    }
    (out / "run.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
    write_all(experiments, out)
    draw_all(experiments, out)
    print((out / "tables.md").read_text())


if __name__ == "__main__":
    main()
