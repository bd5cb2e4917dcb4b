"""Threads for one large structure: same bits, limits, errors, and nothing left to compile."""

import sys
import threading
import time

import numba
import numpy as np
import pytest
from helpers.small_structures import CELLS
from joblib import Parallel, delayed
from numba.core.dispatcher import Dispatcher

from skwavelet import AngularFeatures, PointInvariants, PointScattering
from skwavelet._utils.threads import LIMITS, at_most, in_turn, n_threads, threads, threads_for
from skwavelet.structures import cell_list
from skwavelet.structures.cell_list import PairFinder
from skwavelet.structures.checks import check_structures

SECOND = {"n": 1, "max_l": 1, "order": 2, "n_scales": 2, "scale_step": 1.0}
KINDS = {
    "first order": PointScattering(n_scales=2, max_l=1),
    "second order": PointScattering(**SECOND),
    "invariants": PointInvariants((3, 2), n=2, n_scales=2, reach=4.2),
    "gaussian angles": AngularFeatures(n_radial=3, n_angular=4, reach=4.2),
    "legendre angles": AngularFeatures(n_radial=3, n_angular=4, reach=4.2, angles="legendre"),
}


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_the_same_for_any_number_of_threads(kind, monkeypatch):
    monkeypatch.setattr(cell_list, "PAIRS", 256)
    monkeypatch.setattr("skwavelet.representations.angular.evaluator.PAIRS", 256)
    atoms = CELLS["triclinic"]() * (3, 2, 2)
    atoms.rattle(0.05, seed=0)
    transformer = KINDS[kind].fit([atoms])
    cotangent = np.random.default_rng(0).normal(size=(1, transformer.n_features_out_))
    at_work = set()
    find = cell_list.fill_pairs

    def spy(*arguments):
        at_work.add(threading.get_ident())
        return find(*arguments)

    monkeypatch.setattr(cell_list, "fill_pairs", spy)

    def results(n_jobs):
        transformer.set_params(n_jobs=n_jobs)
        ((values, gradient, strain),) = transformer.value_and_vjp([atoms], cotangent)
        (by_atom,) = transformer.transform_atoms([atoms])
        return [transformer.transform([atoms]), values, gradient, strain, by_atom]

    expected = results(1)
    assert at_work == {threading.get_ident()}
    for n_jobs in (2, 5):
        for part, one in zip(results(n_jobs), expected, strict=True):
            assert part.tobytes() == one.tobytes()
    assert len(at_work) > 2


def test_how_many_threads(monkeypatch):
    assert threads_for(None) == 1
    assert threads_for(3) == 3
    with at_most(2), at_most(None):
        assert threads_for(3) == 2
        assert threads_for(1) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(3) == 2
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert threads_for(3) == 1


def test_jobs_of_joblib_have_one_thread_each():
    jobs = Parallel(n_jobs=2, backend="threading")(delayed(threads_for)(4) for _ in range(4))
    assert jobs == [1] * 4


def test_threads_of_the_caller_have_none_of_ours():
    seen = []
    with threads(2):
        assert n_threads() == 2
        other = threading.Thread(target=lambda: seen.append(n_threads()))
        other.start()
        other.join()
    assert seen == [1]
    assert n_threads() == 1


def test_results_come_in_turn_and_few_wait():
    started = []

    def work(number):
        started.append(number)
        time.sleep(0.002 * (number % 3))
        return number

    with threads(3):
        for place, number in enumerate(in_turn(work, range(40))):
            assert number == place
            assert len(started) <= place + 1 + 6


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_errors_end_the_work(problem):
    started = []

    def work(number):
        started.append(number)
        if number == 5:
            raise problem("five")
        return number

    with threads(2), pytest.raises(problem, match="five"):
        list(in_turn(work, range(100)))
    assert len(started) < 20


def test_an_interrupted_caller_ends_the_work():
    started = []

    def interrupted():
        with threads(2):
            for number in in_turn(started.append, range(100)):
                if len(started) > 3:
                    raise KeyboardInterrupt(number)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(started) < 20


@pytest.mark.parametrize("name", CELLS)
def test_atoms_around_are_numbered_centres_first(name):
    (structure,) = check_structures([CELLS[name]()])
    finder = PairFinder(structure, np.unique(structure.numbers), 4.0, "float64", room=128)
    for pairs in finder.blocks():
        n_atoms = pairs.atoms.stop - pairs.atoms.start
        np.testing.assert_array_equal(pairs.around[pairs.local], pairs.neighbors)
        np.testing.assert_array_equal(
            pairs.around[:n_atoms], np.arange(pairs.atoms.start, pairs.atoms.stop)
        )
        assert len(np.unique(pairs.around)) == len(pairs.around)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["values", "vjp"])
def test_nothing_is_left_to_compile_after_prepare(kind, method):
    """Workers would compile at the same time what is compiled once before they start."""
    atoms = CELLS["triclinic"]()
    evaluator = KINDS[kind].fit([atoms])._evaluator
    evaluator.prepare(method)
    before = n_compiled()
    (structure,) = check_structures([atoms])
    arguments = () if method == "values" else (np.ones(len(evaluator.columns[0])),)
    getattr(evaluator, method)(structure, *arguments)
    assert n_compiled() == before


def n_compiled():
    modules = [m for name, m in list(sys.modules.items()) if name.endswith("kernels")]
    kernels = {k for m in modules for k in vars(m).values() if isinstance(k, Dispatcher)}
    return sum(len(kernel.overloads) for kernel in kernels)
