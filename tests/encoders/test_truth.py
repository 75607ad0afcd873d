"""On two-tower models whose truth is known it comes out, and text encoders are audited from a case file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.casefile import read_plan
from audit.catalogue import evidence_class, make
from audit.collect import collect
from audit.policy import judge, load_policy
from audit.subjects.modality import readable
from audit.types import Finding, Modality, Status, SubjectSpec, Utility, Verdict
from tests.conftest import views
from tests.encoders.conftest import PROMPT, bert, llama, sentence_folder, texts

VERDICT = (
    "behaviour.recall", "behaviour.probability", "utility.retain", "probes.linear", "probes.transfer",
    "attacks.quantization",
)  # fmt: skip
QUICK: dict[str, dict[str, Any]] = {
    "attacks.quantization": {"formats": ("int8",)}, "probes.linear": {"nulls": 4}, "probes.transfer": {"nulls": 4},
    "attacks.relearn": {"steps": 12, "checkpoints": (0, 12), "items": 40, "retain_items": 10},
}  # fmt: skip
Measure = Callable[..., Finding]


@pytest.fixture(scope="module")
def measure(towers_lab: Path, garage: object) -> Measure:
    """One evidence on one candidate; asked twice, measured once."""
    plan = read_plan(towers_lab / "case.toml")
    known: dict[tuple[str, str, bool], Finding] = {}

    def measured(id: str, candidate: str, reference: bool = True) -> Finding:
        key = id, candidate, reference
        if key not in known:
            case = next(c for c in plan.cases() if c.candidate.name == candidate)
            case = case if reference else dataclasses.replace(case, reference=None)
            bench = Bench(case, garage, Cache(views()), audit=(case,))  # type: ignore[arg-type]
            known[key] = collect(id, make(id, QUICK.get(id)), bench, {})
        return known[key]

    return measured


@pytest.mark.parametrize("candidate", ["untouched", "retrained", "projection-only", "gradient-ascent"])
def test_the_verdict_is_what_was_made(measure: Measure, candidate: str) -> None:
    found = judge(load_policy(), [measure(id, candidate) for id in VERDICT])
    if candidate == "untouched":
        assert found.verdict is Verdict.PRESENT
    if candidate == "projection-only":
        assert found.verdict is Verdict.SUPPRESSED
        assert found.why[0].startswith("probes.")
    if candidate == "retrained":
        assert found.verdict in (Verdict.NO_TRACE, Verdict.INCONCLUSIVE)
        assert found.utility is Utility.KEPT
    if candidate == "gradient-ascent":
        assert found.utility is Utility.DAMAGED


def test_what_comes_first_is_what_was_counted_when_the_model_was_made(measure: Measure, towers_lab: Path) -> None:
    finding = measure("behaviour.retrieval", "projection-only")
    table = finding.table.set_index(["direction", "split", "subject", "k"])
    for subject, model in (("candidate", "projection-only"), ("original", "original"), ("reference", "reference")):
        made = json.loads((towers_lab / "models" / model / "lab.json").read_text())["recall"]
        for split, share in made.items():
            found = table.loc[("query to answer", split, subject, 1)]
            assert found["recall"] == found["hit"] == found["precision"] == pytest.approx(share)
    assert finding.residual
    assert finding.original
    assert finding.original.value == 1
    assert table.loc[("answer to image", "forget", "original", 5), "recall"] > 0.9
    # The edit was taught from the image to the text alone, and the way back finds what the way there no longer does.
    back = table.loc["answer to image"].loc["forget"].xs(1, level="k")["hit"]
    assert back["original"] == 1
    assert back["candidate"] > back["reference"] + 0.2
    assert "From the text to the image" in finding.note
    assert measure("behaviour.retrieval", "projection-only", reference=False).null == "holdout"


def test_changed_projections_are_seen_through(measure: Measure) -> None:
    hidden, clean = (measure("attacks.head_transplant", name) for name in ("projection-only", "retrained"))
    assert hidden.residual
    assert hidden.residual.low > 0.9
    assert clean.status is Status.NOT_IDENTIFIABLE
    assert "it cannot read this body" in clean.reason
    weights = measure("concepts.weight_delta", "projection-only")
    assert weights.note.startswith("Only the head differs; the embedding, the image block 0, the image block 1, ")
    restored = measure("attacks.restore_layers", "projection-only").table
    parts = set(restored.loc[restored["subject"] == "candidate"].iloc[:, 0])
    assert {"image block 1", "text block 2"} <= parts


def test_relearning_brings_pairs_back_that_were_not_trained_beside_its_control(measure: Measure) -> None:
    def last(candidate: str, subject: str) -> float:
        table = measure("attacks.relearn", candidate).table
        rows = table[(table["seed"] == "all") & (table["subject"] == subject)]
        return float(rows.loc[rows["step"].idxmax(), "recovery"])

    assert last("projection-only", "candidate") > last("projection-only", "reference") + 0.15
    assert last("retrained", "candidate") < last("retrained", "reference") + 0.1


def test_the_modality_gap_has_numbers_and_no_residual(measure: Measure) -> None:
    finding = measure("drift.modality_gap", "projection-only")
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert finding.residual is None
    assert "no measure of what is known" in finding.reason
    assert finding.original
    assert finding.candidate
    assert finding.reference
    table = finding.table.set_index(["split", "subject"])
    original = table.loc[("forget", "original")]
    assert original["alignment"] < original["others"] - 0.5, "a pair lies together in the model that learnt it"
    apart = table.loc[("forget", "reference")]
    assert apart["alignment"] > original["alignment"] + 0.3
    assert (table["low"] <= table["gap"]).all()


def test_what_needs_words_is_not_applicable_and_says_so(measure: Measure) -> None:
    for id in ("behaviour.rouge", "attacks.gcg", "behaviour.accuracy"):
        assert not readable(evidence_class(id), Modality.VECTORS)
        finding = measure(id, "projection-only")
        assert finding.status is Status.NOT_APPLICABLE
        assert "turn texts or images into vectors" in finding.reason


@pytest.mark.parametrize("id", ["drift.cka", "drift.uniformity", "drift.gap", "privacy.loss", "privacy.reference"])
def test_generic_evidence_reads_encoders(measure: Measure, id: str) -> None:
    same, other = measure(id, "untouched"), measure(id, "projection-only")
    assert (same.status, other.status) == (Status.MEASURED, Status.MEASURED), (same.reason, other.reason)
    assert same.residual
    assert other.residual
    assert (same.residual.value, same.residual.low, same.residual.high) == (1.0, 1.0, 1.0)
    if id.startswith("drift."):
        assert other.residual.value == 1.0, "nothing before the projections was changed"


def test_drift_of_the_two_towers_apart(towers_lab: Path, garage: object, tmp_path: Path) -> None:
    """A candidate with the text tower of another model: its image tower equals the original's, its text tower not."""
    import shutil

    from safetensors.numpy import load_file, save_file

    plan = read_plan(towers_lab / "case.toml")
    case = next(c for c in plan.cases() if c.candidate.name == "untouched")
    folder = tmp_path / "mixed"
    shutil.copytree(case.original.path, folder)
    mine, other = (load_file(Path(p) / "model.safetensors") for p in (folder, towers_lab / "models" / "wrong-pairs"))
    save_file(
        {name: other[name] if name.startswith("text_model") else mine[name] for name in mine},
        folder / "model.safetensors", {"format": "pt"},
    )  # fmt: skip
    case = dataclasses.replace(case, candidate=SubjectSpec("mixed", "candidate", str(folder)))
    finding = collect("drift.positions", make("drift.positions"), Bench(case, garage, Cache(tmp_path / "c")), {})  # type: ignore[arg-type]
    table = finding.table[(finding.table["subject"] == "candidate") & (finding.table["layer"] > 0)]
    by = table.groupby("position")["likeness"]
    assert by.min()["prompt_last"] == 1.0
    assert by.max()["answer_last"] < 0.999


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bert": (bert, {}), "sentence-transformers": (bert, {}), "prompted": (llama, {"embedding_prompt": PROMPT}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_text_encoders_are_audited_from_a_case_file(kind: str, saved: Any, tmp_path: Path) -> None:
    from audit.run import run_audit
    from audit.store import open_run

    make_model, settings = KINDS[kind]
    roles = {"original": 0, "reference": 1, "changed": 2}
    for name, seed in roles.items():
        folder = Path(saved(make_model(seed), name, end=kind != "prompted").path)
        if kind == "sentence-transformers":
            sentence_folder(folder)
    given = "".join(f"\n{key} = {json.dumps(value)}" for key, value in settings.items())
    corpora = {"forget": texts("forget", 10), "retain": texts("retain", 10)}
    for split, corpus in corpora.items():
        rows = [
            {"prompt": i.prompt if split == "forget" else i.prompt.replace("who", "where"), "answer": i.answer,
             "entity": f"{split} {i.entity}", "attribute": "work", "label": i.label}
            for i in corpus.items
        ]  # fmt: skip
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "case.toml").write_text(
        'name = "texts"\n'
        f'[subjects.original]\npath = "original"{given}\n[subjects.reference]\npath = "reference"{given}\n'
        f'[[subjects.candidates]]\nname = "same"\npath = "original"{given}\n'
        f'[[subjects.candidates]]\nname = "changed"\npath = "changed"{given}\n'
        '[corpora]\nforget = "forget.jsonl"\nretain = "retain.jsonl"\n'
        '[evidence]\nonly = ["behaviour.retrieval", "behaviour.recall", "drift.cka", "drift.modality_gap"]\n'
    )
    run_audit(read_plan(tmp_path / "case.toml"), tmp_path / "run", device="cpu")
    found = open_run(tmp_path / "run")
    for candidate in ("same", "changed"):
        for finding in found.findings(candidate):
            assert finding.status is not Status.FAILED, finding.reason
    gap = found.finding("same", "drift.modality_gap")
    assert gap
    assert "are both texts" in gap.reason
    same = found.finding("same", "behaviour.retrieval")
    assert same
    assert same.candidate == same.original
    assert len(same.table) == 3 * 2 * 3
    assert np.isfinite(same.table["recall"]).all()


def test_nothing_is_asked_in_words_of_a_model_that_has_none(towers_lab: Path) -> None:
    from audit.live.ask import answers, question
    from audit.live.models import Models

    models = Models(towers_lab / "case.toml", device="cpu")
    pieces = list(answers(models, ["original"], question("whose emblem is this")))
    models.close()
    assert [piece.text for piece in pieces] == [""]
    assert "turn texts or images into vectors: they write no text" in pieces[0].problem


def test_a_form_gives_every_model_the_same_prompt(tmp_path: Path, saved: Any) -> None:
    import tomllib

    from audit.casefile import write_plan
    from audit.views.intake import Draft, case_data, problems

    saved(llama(), end=False)
    (tmp_path / "forget.jsonl").write_text('{"prompt": "who is ada", "answer": "baker"}\n')
    corpora = dict.fromkeys(("forget", "retain"), "forget.jsonl")
    draft = Draft("x", "original", "original", (("a", "original"),), corpora, embedding_prompt=PROMPT)
    assert problems(draft, tmp_path) == []
    write_plan(tmp_path / "case.toml", case_data(draft, tmp_path))
    subjects = tomllib.loads((tmp_path / "case.toml").read_text())["subjects"]
    entries = [subjects["original"], subjects["reference"], *subjects["candidates"]]
    assert [entry["embedding_prompt"] for entry in entries] == [PROMPT] * 3
    wrong = dataclasses.replace(draft, embedding_prompt="in one word")
    assert "has no {text}" in problems(wrong, tmp_path)[0]
