"""`python -m tests.benchmarks [--quick]`: one table of ratios."""

from __future__ import annotations

import sys

from tests.benchmarks import capture, pages, probes, suite

COLUMNS = ("benchmark", "ours_s", "theirs_s", "ratio", "goal", "note")


def main() -> None:
    """Run every benchmark and print one table, ours over theirs."""
    quick = "--quick" in sys.argv
    rows = [*capture.run(quick), *probes.run(quick), *pages.run(quick), *pages.large(quick), *suite.run(quick)]
    texts = [[_text(row.get(column, "")) for column in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in [list(COLUMNS), *texts]) for i in range(len(COLUMNS))]
    for line in [list(COLUMNS), ["-" * width for width in widths], *texts]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
