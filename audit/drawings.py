"""What generators draw, kept in a run: the same latent side by side, the original's as the picture of the item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit import thumbnails
from audit.errors import AuditError, Cancelled, StoreError
from audit.files import write_atomically
from audit.types import SPLITS, Evidence, Modality

if TYPE_CHECKING:
    from audit.bench import Bench

FILE = "drawings.parquet"
MOST = 1000
"""Items of a corpus whose drawings are kept; the first of them."""


def write_drawings(run: Path, benches: Sequence[Bench], asked: Iterable[Evidence] = ()) -> None:
    """Write what every subject draws for every item; nothing where the subjects are no generators.

    Evidence that finds drawings (`drawings`) adds its own, under a name that says whose and how. A subject that cannot
    draw has none: the evidence that asks it says what is wrong.
    """
    if not benches or benches[0].modality is not Modality.LATENTS:
        return
    rows = [*_rows(benches), *(row for one in asked if hasattr(one, "drawings") for row in _found(benches, one))]
    frame = pd.DataFrame(rows, columns=["item", "subject", "png"])
    write_atomically(run / FILE, lambda temporary: frame.to_parquet(temporary, index=False))
    first = frame[frame["subject"] == "original"].assign(digest="")[["item", "digest", "png"]]
    write_atomically(run / thumbnails.FILE, lambda temporary: first.to_parquet(temporary, index=False))


def read_drawings(run: Path) -> dict[str, dict[str, bytes]]:
    """PNG of every subject's drawing by item and subject; empty for a run without generators."""
    path = run / FILE
    if not path.is_file():
        return {}
    found: dict[str, dict[str, bytes]] = {}
    for row in pd.read_parquet(path).itertuples(index=False):
        found.setdefault(str(row.item), {})[str(row.subject)] = row.png
    return found


def _found(benches: Sequence[Bench], evidence: Any) -> Iterator[tuple[str, str, bytes]]:
    """What an evidence found, each name once: the reference's is that of every case."""
    known: set[tuple[str, str]] = set()
    for bench in benches:
        try:
            for item, name, image in evidence.drawings(bench):
                if (item, name) not in known:
                    known.add((item, name))
                    yield item, name, thumbnails.png_of(image)
        except (Cancelled, StoreError):
            raise
        except AuditError:
            continue


def _rows(benches: Sequence[Bench]) -> Iterator[tuple[str, str, bytes]]:
    for number, bench in enumerate(benches):
        for role in bench.roles:
            if role != "candidate" and number:
                continue  # original and reference are those of every case
            name = bench.case.candidate.name if role == "candidate" else role
            for split in (split for split in SPLITS if bench.has(split)):
                try:
                    drawn = bench.drawn(role, split)[:MOST]
                except (Cancelled, StoreError):
                    raise
                except AuditError:
                    continue
                for item, image in zip(bench.corpus(split).items, drawn, strict=False):
                    yield item.id, name, thumbnails.png_of(image)
