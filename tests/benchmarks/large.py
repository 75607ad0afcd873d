"""A large run for measuring pages: the shipped demo's findings resampled to twenty candidates and a full map.

Test data only: numbers are those of other candidates, items are copies with other ids, places are jittered.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "assets" / "demo" / "run"
MAP = "drift.map"
CANDIDATES, POINTS = 20, 100_000
DRAWN = 4
"""Maps beside each other where nothing else is asked for: original, reference, two candidates."""
LAYERS = 2


def build(out: Path, candidates: int = CANDIDATES, points: int = POINTS, seed: int = 0) -> Path:
    """Write a run folder with so many candidates and so many points on the map that a page shows first."""
    rng = np.random.default_rng(seed)
    plan = json.loads((DEMO / "case.json").read_text(encoding="utf-8"))
    sources = [subject["name"] for subject in plan["candidates"]]
    drawn = [sources[i % len(sources)] for i in range(candidates)]
    names = [f"{name}-{i // len(sources)}" if i >= len(sources) else name for i, name in enumerate(drawn)]
    subjects = {subject["name"]: subject for subject in plan["candidates"]}
    plan |= {"name": "Test data: resampled", "candidates": [
        {**subjects[source], "name": name} for source, name in zip(drawn, names, strict=True)
    ]}  # fmt: skip
    for source, name in zip(drawn, names, strict=True):
        folder = out / "findings" / name
        shutil.copytree(DEMO / "findings" / source, folder, copy_function=shutil.copyfile)
        table = pd.read_parquet(folder / f"{MAP}.parquet")
        resampled(table, points // DRAWN, rng).to_parquet(folder / f"{MAP}.parquet", index=False)
    (out / "case.json").write_text(json.dumps(plan), encoding="utf-8")
    (out / "manifest.json").write_text(json.dumps({"schema": 1, "files": {}}), encoding="utf-8")
    return out


def resampled(table: pd.DataFrame, items: int, rng: np.random.Generator) -> pd.DataFrame:
    """A map's table with so many items: copies of its own under new ids, each a little beside its source."""
    table = table[table["layer"].isin(sorted(set(table["layer"]))[-LAYERS:])]
    times = -(-items // table["item"].nunique())
    copies: list[pd.DataFrame] = [
        table.assign(item=table["item"] + f"-{i}" if i else table["item"]) for i in range(times)
    ]
    large = pd.concat(copies, ignore_index=True)
    kept: Any = large["item"].drop_duplicates().iloc[:items]
    large = large[large["item"].isin(set(kept))].reset_index(drop=True)
    for axis in ("x", "y"):
        spread = float(table[axis].std())
        large[axis] += rng.normal(0, spread / 20, len(large))
    return large
