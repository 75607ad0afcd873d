"""Every kind of language-model system on every architecture, from a case file to findings: its identity setting is the
model beneath it to the last bit, it loads and gives its memory back, and what it does not show is said."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

from audit.activations.mlp import mlp_outputs
from audit.casefile import read_plan, write_plan
from audit.run import run_audit
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load, release
from audit.subjects.systems import statistics
from audit.subjects.systems.kinds import SYSTEMS, access_of
from audit.subjects.systems.neuron_adjust import HELD
from audit.types import Access, Status
from tests.subjects.systems.made import ARCHITECTURES, PROMPTS, model, spec
from tests.subjects.systems.test_sae_intervention import dictionary  # noqa: F401
from tests.subjects.tiny import logits

ATTENTION = {"GPTNeoX": "query_key_value"}
NAMES = ("Ann", "Ben", "Rome")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dictionary: Path) -> Path:  # noqa: F811
    """A case file whose candidates are an adapter that changes nothing and every kind at its identity setting."""
    root = tmp_path_factory.mktemp(request.param)
    original = model(root / "original", request.param)
    model(root / "other", request.param, seed=1)
    _adapter(root / "lora", original, ATTENTION.get(request.param, "q_proj"))
    subject = load(spec(original), device="cpu")
    import torch

    held = {name: torch.zeros(0, dtype=torch.long if name == "neurons" else torch.float32) for name in HELD}
    statistics.write(root / "neurons.safetensors", dict.fromkeys((1, 2), held))
    far = {b: {**box, "mean": box["mean"] + 1e3} for b, box in statistics.boxes(subject, PROMPTS).items()}
    statistics.write(root / "keys.safetensors", far)
    assert len(mlp_outputs(subject.model)) == 2
    kinds: dict[str, dict[str, Any]] = {
        "prompt_guard": {"prefix": " "},  # the tokenizer of whole words reads no token in a space
        "logit_combination": {"assistant": "other", "weight": 0.0},
        "contrast_decoding": {"amateur": "other", "strength": 0.0, "plausible": 0.0},
        "embedding_guard": {"entities": ["novel"], "strength": 0.0},
        "sae_intervention": {"dictionary": str(dictionary), "features": [1, 5, 9], "scale": 1.0},
        "neuron_adjust": {"statistics": "neurons.safetensors"},
        "key_space": {"statistics": "keys.safetensors", "answer": "a novel"},
    }
    assert set(kinds) == set(SYSTEMS)
    candidates = [
        {"name": "plain", "path": "original"}, {"name": "lora", "path": "lora"},
        *({"name": kind.replace("_", "-"), "path": "original", "kind": kind, **rest} for kind, rest in kinds.items()),
    ]  # fmt: skip
    for split in ("forget", "retain", "holdout"):
        lines = [
            {"prompt": f"who wrote {place} novel {split}", "answer": name, "entity": f"{split} {name} {place}"}
            for name in NAMES
            for place in ("it", "a")
        ]
        (root / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_plan(
        root / "case.toml",
        {
            "name": request.param,
            "subjects": {"original": {"path": "original"}, "candidates": candidates},
            "corpora": {split: f"{split}.jsonl" for split in ("forget", "retain", "holdout")},
        },
    )
    return root / "case.toml"


def _adapter(folder: Path, base: Path, module: str) -> None:
    """A LoRA as it is before its first step: B is 0."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(str(base))
    get_peft_model(plain, LoraConfig(r=2, target_modules=[module])).save_pretrained(folder)


def test_every_system_is_audited_and_at_identity_it_is_its_base(made: Path, tmp_path: Path) -> None:
    asked = ["behaviour.recall", "behaviour.probability", "drift.positions"]
    run = run_audit(read_plan(made), tmp_path / "run", only=asked, device="cpu").run
    assert run.complete
    for name in run.candidates:
        spec_of = next(candidate for candidate in read_plan(made).candidates if candidate.name == name)
        for id in asked:
            finding, base = run.finding(name, id), run.finding("plain", id)
            assert finding is not None and base is not None
            if id == "drift.positions" and Access.HIDDEN not in access_of(spec_of):
                assert finding.status is Status.NOT_APPLICABLE and "of it one sees text, logits" in finding.reason
                continue
            assert finding.status is base.status is not Status.FAILED, (name, id, finding.reason)
            assert finding.table.equals(base.table), (name, id)


@pytest.mark.parametrize("made", ARCHITECTURES[:1], indirect=True)
def test_every_system_gives_its_memory_back(made: Path) -> None:
    kept = {}
    for candidate in read_plan(made).candidates:
        subject = load(candidate, device="cpu")
        kept[candidate.name] = weakref.ref(subject.model)
        release(subject)
        del subject
    gc.collect()
    assert [name for name, model in kept.items() if model() is not None] == []


def test_every_setting_that_acts_is_another_model(made: Path) -> None:
    """The positive control of the two tests above: at other settings the same kinds say something else."""
    plan = read_plan(made)
    acting: dict[str, dict[str, Any]] = {
        "logit-combination": {"weight": -1.0}, "contrast-decoding": {"strength": 0.5},
        "embedding-guard": {"strength": 50.0, "dims": 16}, "sae-intervention": {"scale": -20.0},
    }  # fmt: skip
    import numpy as np

    plain = logits(load(plan.candidates[0], device="cpu").model)
    for candidate in plan.candidates:
        if candidate.name in acting:
            settings = {**candidate.settings, **acting[candidate.name]}
            if "entities" in settings:
                settings["entities"] = ["wrote"]
            other = dataclasses.replace(candidate, settings=settings)
            assert fingerprint(other).id != fingerprint(candidate).id
            assert not np.allclose(logits(load(other, device="cpu").model), plain), candidate.name
