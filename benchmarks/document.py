"""Puts measured figures into docs/benchmarks.md, each between its own markers; all else in it is written by people.

    <!-- figures: NAME -->
    what was measured, replaced whole
    <!-- end -->
"""

import re
import sys

import bench

PATH = bench.ROOT / "docs" / "benchmarks.md"


def put(name, text):
    """Replaces the figures of this name."""
    old = PATH.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- figures: {re.escape(name)} -->\n).*?(<!-- end -->\n)", re.DOTALL)
    new, count = pattern.subn(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", old)
    if count != 1:
        sys.exit(f"{PATH} has {count} places for the figures of {name}, between `<!-- figures: {name} -->` and `<!-- end -->`")
    PATH.write_text(new, encoding="utf-8")
    print(f"{PATH.relative_to(bench.ROOT)}: the figures of {name} are new", file=sys.stderr)
