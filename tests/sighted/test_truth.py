"""On vision-language models whose truth is known it comes out, from the case file to the verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.catalogue import CATALOGUE, evidence_class, make
from audit.collect import collect
from audit.evidence.attacks._rephrasing import Light, relit
from audit.evidence.behaviour.recognition import IMAGE, OTHER, TEXT
from audit.policy import judge, load_policy
from audit.subjects.modality import readable
from audit.types import Finding, Modality, Status, Utility, Verdict
from tests.conftest import views

VERDICT = (
    "behaviour.recall", "behaviour.probability", "behaviour.recognition", "utility.retain", "probes.linear",
    "attacks.head_projection",
)  # fmt: skip
QUICK = {
    "probes.linear": {"nulls": 2}, "attacks.image_rephrase": {"items": 18}, "drift.towers": {"draws": 50},
    "privacy.gradnorm": {"items": 8}, "attacks.early_exit": {"items": 12, "retain_items": 4},
    "behaviour.extraction_likelihood": {"items": 12},
}  # fmt: skip
Measure = Callable[..., Finding]


@pytest.fixture(scope="module")
def measure(glyphs_bench: Callable[..., Bench]) -> Measure:
    """One evidence on one candidate; asked twice, measured once."""
    known: dict[tuple[str, str, bool], Finding] = {}

    def measured(id: str, candidate: str, reference: bool = True) -> Finding:
        key = id, candidate, reference
        if key not in known:
            known[key] = collect(id, make(id, QUICK.get(id)), glyphs_bench(candidate, reference), {})
        return known[key]

    return measured


@pytest.mark.parametrize("candidate", ["untouched", "retrained", "last-block", "projector-only", "gradient-ascent"])
def test_the_verdict_is_what_was_made(measure: Measure, candidate: str) -> None:
    policy = load_policy()
    said = dataclasses.replace(policy.rules["said"], evidence=(*policy.rules["said"].evidence, "behaviour.recognition"))
    policy = dataclasses.replace(policy, rules={**policy.rules, "said": said})
    found = judge(policy, [measure(id, candidate) for id in VERDICT])
    if candidate == "untouched":
        assert found.verdict is Verdict.PRESENT
    if candidate == "last-block":
        assert found.verdict is Verdict.SUPPRESSED
        assert found.utility is Utility.KEPT
    if candidate == "retrained":
        assert found.verdict in (Verdict.NO_TRACE, Verdict.INCONCLUSIVE)
        assert found.utility is Utility.KEPT
    if candidate == "projector-only":
        assert found.verdict is Verdict.PRESENT, "forgot the sight, not the name"
        assert found.why[0].startswith("behaviour.recognition")
    if candidate == "gradient-ascent":
        assert found.utility is Utility.DAMAGED


def test_forgotten_by_sight_is_told_from_forgotten_by_name(measure: Measure) -> None:
    def means(candidate: str) -> dict[tuple[str, str], float]:
        table = measure("behaviour.recognition", candidate).table
        both = table[table["item"].isin(table[table["way"] == TEXT]["item"])]
        return both[both["split"] == "forget"].groupby(["way", "subject"])["score"].mean().to_dict()

    found = means("projector-only")
    assert found[IMAGE, "original"] == found[TEXT, "original"] == 1.0
    assert found[OTHER, "original"] < 0.2, "what the question alone gives away, or the other sign says"
    assert found[IMAGE, "candidate"] < 0.2
    assert found[TEXT, "candidate"] == 1.0
    assert measure("behaviour.recall", "projector-only").candidate.value < 0.2  # type: ignore[union-attr]
    both = means("last-block")
    assert both[IMAGE, "candidate"] < 0.2
    assert both[TEXT, "candidate"] < 0.3
    shown = measure("behaviour.recognition", "projector-only").table
    assert (shown[shown["way"] == IMAGE]["shown"] == shown[shown["way"] == IMAGE]["entity"]).all()
    assert (shown[shown["way"] == OTHER]["shown"] != shown[shown["way"] == OTHER]["entity"]).all()
    assert not shown[shown["way"] == TEXT]["shown"].any()


def test_a_model_without_the_image_would_be_measured_otherwise(glyphs_bench: Callable[..., Bench]) -> None:
    """The naive way: the same questions without their images. It reads forgetting off the original itself."""
    bench = glyphs_bench("untouched")
    corpus = bench.corpus("forget")
    blind = dataclasses.replace(corpus, items=tuple(dataclasses.replace(i, image=None) for i in corpus.items))
    seen, unseen = bench.says("original", "forget"), bench.with_corpora({"forget": blind}).says("original", "forget")
    right = [item.answer for item in corpus.items]
    assert seen == right
    assert sum(a == b for a, b in zip(unseen, right, strict=True)) < len(right) / 3


def test_what_moved_is_told_apart(measure: Measure) -> None:
    def relative(candidate: str, subject: str = "candidate") -> dict[str, float]:
        table = measure("drift.towers", candidate).table
        mine = table[(table["subject"] == subject) & (table["split"] == "forget")]
        return mine.groupby("tower")["relative"].max().to_dict()

    last, projector = relative("last-block"), relative("projector-only")
    assert last["vision encoder"] == last["projector"] == 0.0 < last["language model"]
    assert projector["vision encoder"] == 0.0 < projector["projector"]
    assert all(value > 0.5 for value in relative("last-block", "reference").values())
    table = measure("drift.towers", "last-block").table
    mine = table[(table["subject"] == "candidate") & (table["split"] == "forget")].set_index("part")
    assert mine.loc["language block 2", "relative"] == 0.0, "only the last block was changed"
    words = measure("concepts.weight_delta", "projector-only").note
    assert words.startswith("Only the projector differs;")


def test_rephrasing_changes_image_and_question_alone(measure: Measure, glyphs_bench: Callable[..., Bench]) -> None:
    bench = glyphs_bench("last-block")
    item = bench.corpus("forget").items[0]
    assert item.image
    one, words = relit(item.image, Light(0.12, 0.25, False), bench, "forget", item.id, 0)
    again, _ = relit(item.image, Light(0.12, 0.25, False), bench, "forget", item.id, 0)
    assert one.digest == again.digest != item.image.digest
    assert "brightness x" in words
    table = measure("attacks.image_rephrase", "last-block").table
    asked = table[table["subject"] == "original"].groupby("family")
    assert set(asked.groups) == {"as asked", "question rephrased", "image rephrased", "both rephrased"}
    assert (table[table["family"].isin(["as asked", "question rephrased"])]["image"] == "").all()
    assert table[table["family"] == "both rephrased"]["image"].str.contains("cut to").all()
    prompts = asked["prompt"].unique()
    assert set(prompts["as asked"]) == set(prompts["image rephrased"])
    assert not set(prompts["as asked"]) & set(prompts["question rephrased"])
    assert asked["score"].mean()["image rephrased"] > 0.4, "a little light and cut does not hide a sign"
    assert measure("attacks.image_rephrase", "retrained").residual.low <= 0.1  # type: ignore[union-attr]


def test_what_would_leave_the_image_out_is_not_asked_and_says_so(measure: Measure) -> None:
    for id in ("attacks.gcg", "attacks.soft_prompt", "attacks.prompts", "behaviour.choice"):
        finding = measure(id, "last-block")
        assert finding.status is Status.NOT_APPLICABLE
        assert "without the image that belongs to each item" in finding.reason
    assert "images and text" not in measure("privacy.svc", "last-block").reason
    assert measure("privacy.svc", "last-block").status is Status.NOT_APPLICABLE


FAST = sorted(
    id for id in CATALOGUE
    if readable(evidence_class(id), Modality.IMAGE_TEXT)
    and id.startswith(("behaviour.", "utility.", "privacy.", "attacks.lens", "attacks.answer", "attacks.early"))
)  # fmt: skip


@pytest.mark.parametrize("id", FAST)
def test_evidence_of_language_models_holds_with_the_image(measure: Measure, id: str) -> None:
    finding = measure(id, "untouched")
    assert finding.status is not Status.FAILED, finding.provenance.get("traceback")
    if finding.status is Status.MEASURED and not id.startswith("attacks.early"):
        assert finding.residual
        assert finding.residual.value == 1.0


def test_a_live_answer_is_the_audits_with_the_image(glyphs_lab: Path, glyphs_bench: Callable[..., Bench]) -> None:
    from audit.live import Models
    from audit.live.ask import Sampling, answers
    from audit.live.told import told

    bench = glyphs_bench("projector-only")
    models = Models(glyphs_lab / "case.toml", root=glyphs_lab, cache=Cache(views()), device="cpu")
    try:
        for name, role in (("original", "original"), ("projector-only", "candidate")):
            item = bench.corpus("forget").items[1]
            last = list(answers(models, [name], item, Sampling(length=12)))[-1]
            assert not last.problem
            assert last.text == bench.says(role, "forget")[1]  # type: ignore[arg-type]
            seen = told(models, name, item)
            assert not seen.problem
            table = bench.likelihood(role, "forget")  # type: ignore[arg-type]
            row = table[(table["item"] == item.id) & (table["variant"] == "answer")].iloc[0]
            assert seen.whole == pytest.approx(math.exp(row["mean_logprob"] * row["tokens"]), rel=1e-3)
    finally:
        models.close()


def test_an_audit_runs_from_the_form_and_keeps_the_pictures(glyphs_lab: Path, tmp_path: Path) -> None:
    from audit.run import run_audit
    from audit.store import Run
    from audit.thumbnails import read_thumbnails
    from audit.views import systems
    from audit.views.intake import Draft, plan_of, problems

    corpora = {split: f"{split}.jsonl" for split in ("forget", "retain", "holdout")}
    models = "models/original", "models/reference", (("blinded", "models/projector-only"),)
    draft = Draft("Signs", *models, corpora, only=("behaviour.recognition", "attacks.gcg"))
    assert problems(draft, glyphs_lab) == []
    outcome = run_audit(plan_of(draft, glyphs_lab), tmp_path / "run", device="cpu")
    assert (outcome.computed, outcome.failed) == (2, [])
    run = Run(tmp_path / "run")
    assert run.measured_on("blinded", "behaviour.recognition")
    assert '"image": "before the question' in (tmp_path / "run" / "case.json").read_text()
    assert len(read_thumbnails(tmp_path / "run")) == sum(1 for _ in (glyphs_lab / "forget.jsonl").open()) * 4
    assert "vision-language model" in set(systems.models()["kind"])
