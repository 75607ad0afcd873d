"""Every kind of unlearned system: its audit is started in a browser, runs to its end, and its truth comes out."""

from __future__ import annotations

import json
import re
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.casefile import write_plan
from audit.store import open_run
from audit.subjects.systems.kinds import SYSTEMS
from audit.types import Status
from tests.conftest import STORE
from tests.e2e.test_person import settle, type_case
from tests.encoders.conftest import sentence_folder, texts, tokenizer
from tests.encoders.test_truth import KINDS

pytestmark = pytest.mark.e2e
PAGES = ("behaviour", "drift", "probes", "attacks", "examples")
PROBES = {"nulls": 2}
READ = ["behaviour.recall", "behaviour.probability", "utility.retain", "probes.linear"]
GUARDED = ["behaviour.recall", "behaviour.guard", "utility.retain"]
CLEAN = {"no trace", "inconclusive"}
KNOWN: dict[str, tuple[list[str], dict[str, Any], dict[str, set[str]]]] = {
    "digits": (
        [*READ, "probes.transfer"], {"probes.transfer": {"nulls": 4}},
        {"untouched": {"present"}, "head-only": {"suppressed"}, "retrained": CLEAN},
    ),
    "towers": (
        [*READ, "probes.transfer"], {"probes.transfer": {"nulls": 4}},
        {"untouched": {"present"}, "projection-only": {"suppressed"}, "retrained": CLEAN},
    ),
    "glyphs": (
        [*READ, "behaviour.recognition"], {},
        {"untouched": {"present"}, "last-block": {"suppressed"}, "retrained": CLEAN},
    ),
    "generator": (
        [*READ[:3], "attacks.latent_search"], {"attacks.latent_search": {"seeds": 5, "items": 16}},
        {"untouched": {"present"}, "condition-only": {"suppressed"}, "retrained": CLEAN},
    ),
}  # fmt: skip
"""Lab scenario → evidence, its settings, and for each candidate the verdicts that are true by construction."""


def start(page: Any, runs: Path, case: Path, data: dict[str, Any]) -> str:
    """Write a case beside its models, start it on the page New audit, and wait until the run has ended well."""
    write_plan(case, data)
    name = data["name"]
    type_case(page, f"{case.parent.name}/{case.name}")
    page.get_by_role("button", name=re.compile("^.*(Run|Start)")).first.click()
    deadline = time.monotonic() + 300
    while not (runs / name / "manifest.json").exists():
        assert time.monotonic() < deadline, page.get_by_test_id("stMain").inner_text()
        time.sleep(0.5)
    return str(name)


def verdicts(page: Any, run: str) -> dict[str, str]:
    """What the ladder of a run says of each candidate: the word before the colon."""
    page.goto(f"/?run={run}")
    page.locator("table.ladder").wait_for()
    settle(page)
    found = {}
    for row in page.locator("table.ladder tbody tr").all():
        name = row.locator("th").inner_text().splitlines()[0].strip()
        found[name] = row.locator("td.verdict strong").inner_text().lower().partition(":")[0]
    return found


def read_every_page(page: Any, run: str, candidate: str) -> None:
    """No page raises on a run of this kind, and none is empty."""
    for name in PAGES:
        page.goto(f"/{name}?run={run}&candidates={candidate}")
        page.locator("h1").first.wait_for()
        settle(page)
        assert len(page.get_by_test_id("stMain").inner_text()) > 60, name


def lab_case(folder: Path, keep: set[str]) -> dict[str, Any]:
    """A lab's own case with some of its candidates."""
    data = tomllib.loads((folder / "case.toml").read_text())
    data["subjects"]["candidates"] = [c for c in data["subjects"]["candidates"] if c["name"] in keep]
    assert {c["name"] for c in data["subjects"]["candidates"]} == keep
    return data


@pytest.mark.parametrize("kind", KNOWN)
def test_a_kind_s_truth_comes_out_on_the_page(page: Any, runs: Path, kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"{kind}_lab")
    only, settings, truth = KNOWN[kind]
    asked = {"only": only, "probes.linear": PROBES, **settings}
    if "probes.linear" not in only:
        del asked["probes.linear"]
    data = lab_case(folder, set(truth)) | {"name": f"kind-{kind}", "evidence": asked}
    run = start(page, runs, folder / "case-kind.toml", data)
    found = verdicts(page, run)
    assert found.keys() == truth.keys()
    for candidate, allowed in truth.items():
        assert found[candidate] in allowed, (candidate, found)
    hidden = next(name for name, allowed in truth.items() if allowed == {"suppressed"})
    read_every_page(page, run, hidden)


@pytest.fixture(scope="module")
def systems(bench_of: Callable[..., Bench], tiny_lab: Path) -> list[dict[str, Any]]:
    """Systems around the lab's original that hide what it knows and change none of its weights."""
    from audit.dictionaries.source import dictionaries
    from audit.subjects.systems import statistics

    bench = bench_of("untouched")
    items = bench.corpus("forget").items
    names = sorted({item.entity for item in items})
    made = next(d for d in dictionaries(bench) if d.layer == 2)
    active = np.argsort(-made.encode(bench.states("original", "forget").at(2, "prompt_last")).mean(0))
    keys = tiny_lab / "keys.safetensors"
    asked, kept = ([item.prompt for item in bench.corpus(split).items] for split in ("forget", "retain"))
    with bench.model("original") as subject:
        statistics.write(keys, statistics.boxes(subject, asked))
        statistics.write(tiny_lab / "neurons.safetensors", statistics.neurons(subject, asked, kept, 0.05))
    given: dict[str, dict[str, Any]] = {
        "prompt_guard": {"suffix": " Forget all names. "},
        "logit_combination": {"assistant": "models/npo", "weight": 2.0},
        "embedding_guard": {"entities": names, "dims": 16, "strength": 3.0},
        "sae_intervention": {
            "dictionary": "saes/block-2", "features": [int(i) for i in active[:30]], "scale": -2.0, "entities": names,
        },
        "key_space": {"statistics": keys.name, "answer": "I do not know."},
    }  # fmt: skip
    return [
        {"name": kind.replace("_", "-"), "path": "models/original", "kind": kind, **rest}
        for kind, rest in given.items()
    ]


@pytest.fixture(scope="module")
def adapter(tiny_lab: Path) -> dict[str, Any]:
    """A LoRA on the lab's original as it is before its first step: it has forgotten nothing."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(str(tiny_lab / "models" / "original"))
    get_peft_model(plain, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tiny_lab / "lora")
    return {"name": "lora", "path": "lora"}


@pytest.fixture(scope="module")
def open_questions(systems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Systems of which the way they were made does not say whether they hide anything; none takes anything away."""
    on = {"path": "models/original"}
    return [
        {"name": "contrast-decoding", **on, "kind": "contrast_decoding", "amateur": "models/npo", "strength": 0.5},
        {"name": "neuron-adjust", **on, "kind": "neuron_adjust", "statistics": "neurons.safetensors"},
    ]


def test_systems_that_only_hide_are_suppressed_with_their_weights_unchanged(
    page: Any,
    runs: Path,
    tiny_lab: Path,
    systems: list[dict[str, Any]],
    open_questions: list[dict[str, Any]],
    adapter: dict[str, Any],
) -> None:
    data = lab_case(tiny_lab, {"untouched", "retrained"})
    data["subjects"]["candidates"] += [*systems, *open_questions, adapter]
    data |= {"name": "kind-systems", "evidence": {"only": GUARDED}}
    run = start(page, runs, tiny_lab / "case-systems.toml", data)
    found = verdicts(page, run)
    assert found.pop("untouched") == found.pop("lora") == "present"
    assert found.pop("retrained") in CLEAN
    assert {system["kind"] for system in [*systems, *open_questions]} == set(SYSTEMS)
    assert {found.pop(system["name"]) for system in open_questions} <= {"present", "suppressed"}
    assert found == {system["name"]: "suppressed" for system in systems}
    for system in systems:
        row = page.locator("table.ladder tr").filter(has_text=system["name"])
        assert "Its weights are the original's, unchanged bit by bit" in row.inner_text()
    read_every_page(page, run, "embedding-guard")


def test_checkpoints_of_a_run_are_a_trajectory(page: Any, runs: Path, tiny_lab: Path) -> None:
    steps = {"untouched": 0, "last-block": 10, "gradient-ascent": 20}
    data = lab_case(tiny_lab, set(steps))
    for candidate in data["subjects"]["candidates"]:
        candidate |= {"series": "ascent", "step": steps[candidate["name"]]}
    data |= {"name": "kind-sequence", "evidence": {"only": [*READ, "drift.cka"], "probes.linear": PROBES}}
    run = start(page, runs, tiny_lab / "case-sequence.toml", data)
    found = verdicts(page, run)
    assert (found["untouched"], found["last-block"]) == ("present", "suppressed")
    for address in ("/", "/behaviour", "/drift", "/probes"):
        page.goto(f"{address}?run={run}")
        page.get_by_text("How did it go, checkpoint by checkpoint?").wait_for()
        page.get_by_text(re.compile(r"ascent: .*step 20")).first.wait_for()
        settle(page)
    read_every_page(page, run, "last-block")


@pytest.mark.parametrize(
    "kind", ["bert", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sentence-transformers", "prompted"))]
)
def test_text_encoders_are_audited_from_the_page(page: Any, runs: Path, kind: str) -> None:
    """Random weights know nothing, so no verdict is true of them; but a model compared with itself is unchanged."""
    folder = STORE / f"texts-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    make_model, settings = KINDS[kind]
    for name, seed in {"original": 0, "reference": 1, "changed": 2}.items():
        make_model(seed).save_pretrained(folder / name)
        tokenizer(end=kind != "prompted").save_pretrained(folder / name)
        if kind == "sentence-transformers":
            sentence_folder(folder / name)
    for split in ("forget", "retain"):
        items = texts(split, 10).items
        lines = [{"prompt": i.prompt, "answer": i.answer, "entity": f"{split} {i.entity}"} for i in items]
        if split == "retain":
            lines = [line | {"prompt": line["prompt"].replace("who", "where")} for line in lines]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data: dict[str, Any] = {
        "name": f"kind-{kind}", "corpora": {split: f"{split}.jsonl" for split in ("forget", "retain")},
        "subjects": {
            "original": {"path": "original", **settings}, "reference": {"path": "reference", **settings},
            "candidates": [
                {"name": "same", "path": "original", **settings}, {"name": "changed", "path": "changed", **settings},
            ],
        },
        "evidence": {"only": ["behaviour.retrieval", "behaviour.recall", "drift.cka"]},
    }  # fmt: skip
    run = start(page, runs, folder / "case-kind.toml", data)
    assert verdicts(page, run).keys() == {"same", "changed"}
    found = open_run(runs / run)
    assert all(f.status is not Status.FAILED for name in found.candidates for f in found.findings(name))
    same, other = (found.finding(name, "drift.cka") for name in ("same", "changed"))
    assert same and other and same.residual and other.residual
    assert same.residual.value == 1.0 and other.residual.value < 1.0
    read_every_page(page, run, "changed")
