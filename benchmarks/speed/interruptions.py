"""Random kills: whether a store loses anything, and whether it ends with the right bytes.

Protocol. A child process featurizes rattled small crystals of eight cells to disk with
``python -m skwavelet featurize`` and is killed with SIGKILL after a random time, drawn anew each
time between 0 and ``--longest`` seconds after its first new file; then the same command is run
again, with one or two processes as chance has it, ``--kills`` times in all. After every kill, the
chunks that were complete before must still be there, unchanged, and every complete chunk must pass
its checksum. At the end an uninterrupted run with the same FFT plans must give the same bytes.

    python benchmarks/speed/interruptions.py [--kills 50] [--quick]

Cost: 5 min.
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write

from skwavelet import FeatureStore, featurize
from skwavelet.storage.store import load_chunk, read_chunk_record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments


def structures(n: int) -> list:
    """Rattled crystals of eight cells, which have FFT grids of their own."""
    made = []
    for i in range(n):
        atoms = bulk("Si", cubic=True, a=5.2 + 0.05 * (i % 8)).repeat((1, 1, 1 + i % 4))
        atoms.rattle(0.1, seed=i)
        made.append(atoms)
    return made


def complete(store: Path) -> dict[int, bytes]:
    """Return the bytes of all complete chunks, checked."""
    found = {}
    for path in sorted(store.glob("chunks/*.json")):
        number = int(path.stem)
        load_chunk(store, read_chunk_record(store, number))
        found[number] = path.with_suffix(".npy").read_bytes()
    return found


def main() -> None:
    options = arguments(__doc__, quick={"kills": 3}, kills=50, longest=2.0, seed=0)
    kills = options.kills
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store, source = directory / "store", directory / "x.traj"
        write(source, structures(40 * kills))
        command = [sys.executable, "-m", "skwavelet", "featurize", str(source), str(store),
                   "--quiet", "--chunk-size=2"]  # fmt: skip
        settings = ["--set", "order=1", "--set", "n_scales=2"]
        lost, killed, chunks = 0, 0, {}
        while killed < kills:
            child = subprocess.Popen(
                [*command, *settings, "--n-jobs", rng.choice("12")],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            n_before = len(list(store.glob("chunks/*")))
            while child.poll() is None and len(list(store.glob("chunks/*"))) == n_before:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, options.longest))
            if child.poll() is not None:
                shown = child.stdout.read()
                if child.returncode:
                    sys.exit(f"failed after {killed} kills: {shown}")
                print(f"complete after {killed} kills: use more structures for more")
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            killed += 1
            now = complete(store)
            lost += sum(now.get(number) != data for number, data in chunks.items())
            chunks = now
        subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
        finished = FeatureStore(store)
        reference = directory / "reference"
        reference.mkdir()
        shutil.copy(store / "plans.json", reference)
        expected = featurize(finished.load_transformer(), source, reference, chunk_size=2)
        same = np.array_equal(finished[:], expected[:]) and complete(store) == complete(reference)
        print(
            f"{killed} kills, {len(chunks)} of {len(complete(store))} chunks complete at the last; "
            f"chunks lost or changed: {lost}; bytes of an uninterrupted run: "
            f"{'the same' if same else 'DIFFERENT'}"
        )
        sys.exit(0 if same and not lost else 1)


if __name__ == "__main__":
    main()
