"""Plots of cost against size, as SVG that reads well in a diff: both axes logarithmic, a line per contender.

    [(size, cost), …] by name ─► lines ─► an SVG file of text
"""

import html
import math

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 120, 40, 50
COLOURS = ["#1b6ca8", "#c8553d", "#588157", "#6d597a"]


def decades(values):
    """The powers of ten around some values, at least one decade apart."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def short(power):
    """A power of ten as people write it on an axis."""
    value = 10.0**power
    for unit, name in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def save(path, title, across, up, lines):
    """Writes a plot: `lines` has points by name, `across` and `up` are the titles of the axes."""
    points = [point for line in lines.values() for point in line]
    (x_low, x_high), (y_low, y_high) = decades([x for x, _ in points]), decades([y for _, y in points])
    x_of = lambda x: LEFT + (math.log10(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
    y_of = lambda y: HEIGHT - BOTTOM - (math.log10(y) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
    text = lambda x, y, words, more="": f'<text x="{x:.1f}" y="{y:.1f}" {more}>{html.escape(words)}</text>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 20, title, 'text-anchor="middle" font-size="14"'),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across, 'text-anchor="middle"'),
        text(0, 0, up, f'text-anchor="middle" transform="translate(16,{(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'),
    ]
    for power in range(x_low, x_high + 1):
        x = x_of(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 16, short(power), 'text-anchor="middle"'))
    for power in range(y_low, y_high + 1):
        y = y_of(10.0**power)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, short(power), 'text-anchor="end"'))
    for colour, (name, line) in zip(COLOURS, lines.items()):
        path_points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        parts.append(text(x_of(line[-1][0]) + 8, y_of(line[-1][1]) + 4, name, f'fill="{colour}"'))
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
