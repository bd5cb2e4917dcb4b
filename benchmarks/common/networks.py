"""Training networks for a given CPU time, and their errors."""

import time

import numpy as np
from sklearn.base import clone


def epochs_for(network, X, y, minutes, **labels):
    """Return the number of epochs that take so many minutes of CPU time.

    From the time that eight epochs of at most 100 of the structures take, once everything is
    compiled: two of them are over in a second, in which the speed of a core is chance.
    """
    rows = np.random.default_rng(0).permutation(len(X))[:100]
    part = {name: [values[i] for i in rows] for name, values in labels.items()}
    settings, times = network.get_params(), []
    for epochs in (1, 1, 9):
        network.set_params(max_epochs=epochs, checkpoint_path=None)
        start = time.process_time()
        network.fit([X[i] for i in rows], y[rows], **part)
        times.append(time.process_time() - start)
    network.set_params(**settings)
    epoch = (times[2] - times[1]) / 8 * sum(map(len, X)) / sum(len(X[i]) for i in rows)
    return max(1, round(60 * minutes / epoch))


def train_for(network, X, y, minutes, cache, **labels):
    """Fit a network for so many minutes of CPU time.

    The number of epochs is kept in the cache, and so is the state after every epoch: what was
    interrupted goes on where it was.

    Returns
    -------
    network : the fitted network
    """
    settings = (network, X, y, labels, minutes)

    def count():
        return epochs_for(network, X, y, minutes, **labels)

    epochs = cache.get("epochs", count, *settings)
    print(f"{epochs} epochs", flush=True)
    state = cache.path("network", count, *settings).with_suffix(".checkpoint")
    return network.set_params(max_epochs=epochs, checkpoint_path=state).fit(X, y, **labels)


def errors(test, energies, forces, total):
    """Return the errors of what a network predicts.

    Parameters
    ----------
    test : (structures, energies in eV/atom, forces in eV/Å)
    energies : ndarray of shape (n_structures,)
        Predicted, eV/atom.
    forces : ndarray of shape (n_atoms, 3)
        Predicted for all atoms of all structures, eV/Å.
    total : bool
        Whether errors are those of total energies.

    Returns
    -------
    dict
        Mean absolute errors ``energy`` (meV, or meV/atom) and ``force`` (meV/Å, of components), and
        the root mean square errors ``energy_rmse`` and ``force_rmse``.
    """
    off = {"energy": energies - test[1], "force": forces - np.concatenate(test[2])}
    if total:
        off["energy"] = off["energy"] * [len(atoms) for atoms in test[0]]
    found = {name: 1e3 * float(np.abs(values).mean()) for name, values in off.items()}
    for name, values in off.items():
        found[f"{name}_rmse"] = 1e3 * float(np.sqrt(np.mean(values**2)))
    return found


def measurement(network, train, test):
    """Return a function that trains a network on energies, and on forces unless they are None.

    That returns errors of total energies (meV) and of forces (meV/Å), and CPU seconds.
    """

    def measure():
        X, y, forces = train
        # What is compiled at first does not count.
        clone(network).set_params(max_epochs=1).fit(X[:20], y[:20], forces=forces[:20])
        start = time.process_time()
        network.fit(X, y, forces=forces)
        seconds = time.process_time() - start
        pulls = np.concatenate(network.predict_forces(test[0]))
        found = errors(test, network.predict(test[0]), pulls, total=True)
        return found["energy"], found["force"], seconds

    return measure
