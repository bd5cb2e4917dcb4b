"""The tree of paths: from a channel's density to orders zero, one and two (after figure 2.4)."""

import matplotlib.pyplot as plt

SCALES, DEGREES = (0, 1, 2), (0, 1, 2)

fig, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
ax.set_axis_off()
ax.set(xlim=(-2.6, 27), ylim=(-0.6, 2.5))
root = (13.0, 2.2)
first = [(l, j) for j in SCALES for l in DEGREES]
places = {path: (1.5 + 3 * k, 1.2) for k, path in enumerate(first)}
for (l, j), place in places.items():
    chosen = (l, j) == (1, 1)
    ax.plot(*zip(root, place, strict=True), color="0.6", lw=0.8, zorder=0)
    for k in range(sum(j2 >= j - 1 for j2 in SCALES) * len(DEGREES)):
        leaf = (place[0] - 1.2 + 0.3 * k, 0.0)
        ax.plot(*zip(place, leaf, strict=True), color="C3" if chosen else "0.85", lw=0.6, zorder=0)
        ax.plot(*leaf, "o", ms=3, color="C3" if chosen else "0.6")
    color = "C3" if chosen else "C0"
    ax.plot(*place, "o", ms=9, color=color)
    ax.annotate(
        f"l={l}, j={j}",
        place,
        (0, 9),
        textcoords="offset points",
        ha="center",
        size=7,
        bbox={"color": "w", "pad": 1},
    )
ax.plot(*root, "s", ms=11, color="k")
ax.annotate("ρ of a channel", root, (0, 11), textcoords="offset points", ha="center")
for height, text in ((2.2, "order 0\n$\\sum_k c(Z_k)^q$"), (1.2, "order 1"), (0.0, "order 2")):
    ax.annotate(text, (-2.5, height), va="center", ha="left", size=8)
ax.annotate(
    "every node: the integral of its map to the powers q = 1, 4/3, 5/3, 2",
    (13, -0.45),
    ha="center",
    size=8,
)
