"""Draw which parts of the package import which: ``python docs/contributing/architecture.py``.

It reads the imports of the sources and writes ``architecture.svg`` beside this file. A part stands
above everything that it imports, and arrows point down to what is imported. Arrows that a chain of
others implies are left out, as are those to ``_utils``, which all may import. Imports that happen
inside functions only are dashed. Imports in a circle cannot be drawn: that is an error.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "skwavelet"
FILE = Path(__file__).with_name("architecture.svg")
SHARED = "_utils"
WIDTH, BOX, HEIGHT, GAP = 960, 148, 34, 84


def imports(root=ROOT):
    """Return {part: {imported part: whether at the top of a module}}."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        part = file.relative_to(root).parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        targets = found.setdefault(part, {})
        tree = ast.parse(file.read_text(encoding="utf-8"))
        late = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            for name in imported(node):
                target = part_of(name, root)
                if target and target != part:
                    targets[target] = targets.get(target, False) or node not in late
    return found


def imported(node):
    """Return the dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def part_of(name, root=ROOT):
    """Return the part of the package that an imported name belongs to, None if it is elsewhere."""
    package, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if package != root.name or not part:
        return None
    return part if (root / part).is_dir() or (root / f"{part}.py").exists() else None


def levels(graph):
    """Return the height of every part: one above the highest that it imports."""
    height = {}
    for part in TopologicalSorter(graph).static_order():
        height[part] = 1 + max((height[target] for target in graph[part]), default=-1)
    return height


def without_shortcuts(graph):
    """Return the graph without the arrows that a chain of others implies."""

    def below(part):
        return {part}.union(*(below(target) for target in graph[part]))

    return {
        part: {
            target: top
            for target, top in targets.items()
            if not any(target in below(other) for other in targets if other != target)
        }
        for part, targets in graph.items()
    }


def drawing(graph):
    """Return the graph as the text of an SVG."""
    graph = {
        part: {target: top for target, top in targets.items() if target != SHARED}
        for part, targets in graph.items()
        if part != SHARED
    }
    height = levels(graph)
    arrows = without_shortcuts(graph)
    rows = [sorted(p for p in height if height[p] == h) for h in range(max(height.values()) + 1)]
    bottom = len(rows) * GAP
    x = {}
    for row in rows:
        # Above what they import, as far as there is room.
        row.sort(
            key=lambda part: (sum(x[t] for t in arrows[part]) / (len(arrows[part]) or 1), part)
        )
        for number, part in enumerate(row):
            x[part] = round(WIDTH * (number + 0.5) / len(row))
    y = {part: bottom - GAP * (h + 1) + 20 for part, h in height.items()}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" '
        'font-family="sans-serif" font-size="15" text-anchor="middle">',
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 8 4 0 8z" fill="#555"/></marker>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for part in sorted(arrows):
        for target, top in sorted(arrows[part].items()):
            dashes = "" if top else ' stroke-dasharray="5 4"'
            lines.append(
                f'<path d="M{x[part]} {y[part] + HEIGHT} {x[target]} {y[target]}" stroke="#555"'
                f'{dashes} marker-end="url(#tip)"/>'
            )
    boxes = [(x[part], y[part], BOX, part) for part in sorted(arrows)]
    for middle, top, width, name in [*boxes, (WIDTH // 2, bottom - 10, WIDTH - 40, SHARED)]:
        lines.append(
            f'<rect x="{middle - width // 2}" y="{top}" width="{width}" height="{HEIGHT}" rx="5" '
            f'fill="#eef3f8" stroke="#356"/><text x="{middle}" y="{top + 22}">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    FILE.write_text(drawing(imports()), encoding="utf-8")
