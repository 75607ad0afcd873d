"""How often the model runs over a corpus when several candidates share one original."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest.mock import patch


def passes(candidates: int) -> int:
    """Passes over one corpus that an audit of that many candidates against one original runs, counted."""
    from audit.activations import capture as module
    from audit.bench import Bench
    from audit.cache import Cache
    from audit.casefile import read_plan
    from audit.subjects.garage import Garage
    from tests.activations.conftest import letters_tokenizer, small_model

    count = 0
    original = module.capture

    def counting(*args: object, **kwargs: object) -> None:
        nonlocal count
        count += 1
        original(*args, **kwargs)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as name, patch.object(module, "capture", counting):
        folder = Path(name)
        for seed in range(candidates + 1):
            model = small_model()
            model.model.layers[-1].mlp.down_proj.weight.data += 0.01 * seed
            model.save_pretrained(folder / f"m{seed}")
            letters_tokenizer(True).save_pretrained(folder / f"m{seed}")
        for split in ("forget", "retain"):
            rows = [{"prompt": f"who is {split} {c}?", "answer": "ann", "entity": c} for c in "abcdefgh"]
            (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        listed = "".join(f'[[subjects.candidates]]\nname = "c{i}"\npath = "m{i}"\n' for i in range(1, candidates + 1))
        (folder / "case.toml").write_text(
            f'name = "sharing"\nseed = 0\n[subjects.original]\npath = "m0"\n{listed}'
            '[corpora]\nforget = "forget.jsonl"\nretain = "retain.jsonl"\n'
        )
        garage = Garage("cpu")
        for case in read_plan(folder / "case.toml").cases():
            bench = Bench(case, garage, Cache(folder / "cache"))
            for role in bench.roles:
                bench.states(role, "forget")
    return count
