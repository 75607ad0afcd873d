"""Dictionaries of features for the original of a build, made as an audit makes them, and kept beside the models."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.lab.train import Progress

FOLDER = "saes"
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"features": 256, "k": 8, "steps": 200},
    "small": {"features": 1024, "k": 8, "steps": 1500},
}
"""By scale; apart from `Scale`, because no model depends on them."""


def add_dictionaries(case: Path, sizes: Mapping[str, int], progress: Progress) -> list[str]:
    """Train one for a middle and one for a late block of the case's original; paths from the case file's folder.

    `sizes` are the settings of the evidence that trains one. What is there already is taken over as long as they and
    the original are the same.
    """
    from audit.bench import Bench
    from audit.cache import Cache
    from audit.casefile import read_plan
    from audit.dictionaries.source import dictionaries
    from audit.subjects.fingerprint import fingerprint
    from audit.subjects.garage import Garage

    plan = read_plan(case)
    folder = case.parent / FOLDER
    mark = folder / "made-from.txt"
    wanted = f"{fingerprint(plan.original).id} {dict(sizes)}\n"
    if not mark.is_file() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="palimpsest-") as place:
            cache = Cache(Path(place))
            bench = Bench(plan.cases()[0], Garage("cpu"), cache, progress)
            for made in dictionaries(bench, **sizes):
                shutil.copytree(next(cache.root.glob(f"*/{made.digest}")), folder / f"block-{made.layer}")
        mark.write_text(wanted)
    return sorted(f"{FOLDER}/{path.name}" for path in folder.glob("block-*"))
