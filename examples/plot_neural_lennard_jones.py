"""
Forces in the loss: a Lennard-Jones dimer
=========================================

A network of three layers learns the energy of two atoms from inverse powers of their distance,
from energies alone and from energies and forces. It is tested inside the range of its training
distances and on the repulsive wall at 0.9 to 1.05, which one of the two training sets leaves out.

Figure 5.1 of X. Brumwell, *Wavelet scattering and graph representations for atomic structures*:
the loss (5.16) with p = 1 and with p = 0.5 for a Lennard-Jones dimer. Energies are in units of the
well's depth, distances in units of the diameter.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

POWERS = torch.arange(1, 13, dtype=torch.float64)


def lennard_jones(r):
    """Return energies and forces at distances r."""
    return 4 * (r**-12 - r**-6), 24 * (2 * r**-13 - r**-7)


def fit(distances, p, *, steps=500):
    """Train the network on the loss p (energy error)^2 + (1 - p) (force error)^2."""
    r = torch.tensor(distances, dtype=torch.float64).requires_grad_()
    energies, forces = (torch.tensor(values) for values in lennard_jones(distances))
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(12, 32), torch.nn.Softplus(),
        torch.nn.Linear(32, 32), torch.nn.Softplus(),
        torch.nn.Linear(32, 1),
    ).double()  # fmt: skip
    features = r.detach()[:, None] ** -POWERS
    mean, spread = features.mean(dim=0), features.std(dim=0)

    def model(r):
        energy = layers((r[:, None] ** -POWERS - mean) / spread)[:, 0]
        (slope,) = torch.autograd.grad(energy.sum(), r, create_graph=True)
        return energy, -slope

    optimizer = torch.optim.LBFGS(
        layers.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def loss():
        energy, force = model(r)
        value = p * (energy - energies).square().mean()
        value = value + (1 - p) * (force - forces).square().mean()
        optimizer.zero_grad()
        value.backward()
        return value

    optimizer.step(loss)

    def predict(distances):
        at = torch.tensor(distances, dtype=torch.float64).requires_grad_()
        return [values.detach().numpy() for values in model(at)]

    return predict


# %%
# Ten training distances, once with the repulsive wall ("full") and once without it ("cut"). Inside
# the training range both losses do well, and forces make the errors smaller still. Beyond it, on
# the wall that "cut" leaves out, forces matter most: they tell how the energy goes on.

WALL = np.linspace(0.9, 1.05, 100)
INSIDE = np.linspace(1.05, 2.5, 400)
ranges = {"full, 0.9 to 2.5": (0.9, 2.5), "cut, 1.05 to 2.5": (1.05, 2.5)}
fig, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
print("Mean absolute errors of energies and forces:\n")
print("| training | loss | 1.05 to 2.5 | | wall, 0.9 to 1.05 | |\n|---|---|---|---|---|---|")
distances = np.concatenate([WALL, INSIDE])
energies, forces = lennard_jones(distances)
parts = (slice(len(WALL), None), slice(len(WALL)))
for column, (title, (low, high)) in enumerate(ranges.items()):
    train = np.linspace(low, high, 10)
    above, below = axes[:, column]
    above.plot(distances, energies, "k", label="Lennard-Jones")
    below.plot(distances, forces, "k")
    above.plot(train, lennard_jones(train)[0], "ko", ms=4)
    for label, p in (("energies", 1.0), ("energies and forces", 0.5)):
        energy, force = fit(train, p)(distances)
        above.plot(distances, energy, "--", label=label)
        below.plot(distances, force, "--")
        errors = [
            f"{np.abs(values[part]).mean():.4f}"
            for part in parts
            for values in (energy - energies, force - forces)
        ]
        print(f"| {title} | {label} | {' | '.join(errors)} |")
    above.set(title=title, ylim=(-1.6, 7))
    below.set(xlabel="distance (diameters)", ylim=(-6, 60))
axes[0, 0].set_ylabel("energy (depths of the well)")
axes[1, 0].set_ylabel("force (depths / diameter)")
axes[0, 0].legend()
plt.show()
