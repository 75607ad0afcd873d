"""Texts that are longer than a model reads: one sentence in place of a number, and batches whose memory is bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.activations import generate
from audit.activations.batch import Batch
from audit.activations.capture import TOKEN_BUDGET
from audit.activations.continuations import continues
from audit.activations.encode import encode_item, question
from audit.activations.generate import Sampling, plan_answers, samples, says
from audit.bench import Bench
from audit.casefile import read_plan
from audit.errors import NotApplicable, TooLong
from audit.evidence.concepts import _answers
from audit.evidence.concepts._selection import attributions
from audit.run import run_audit
from audit.store import open_run
from audit.subjects.load import Subject
from audit.types import Item, Split, Status
from tests.test_run import case_with

BenchOf = Callable[..., Bench]
READS = 256


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("forget", ["behaviour.recall", "behaviour.probability", "attacks.prompts", "concepts.value_vectors"]),
        ("retain", ["utility.retain", "drift.cka"]),
        ("holdout", ["behaviour.recall", "behaviour.probability"]),
    ],
)
def test_an_item_that_no_model_reads_is_named_by_all_evidence(
    tiny_lab: Path, tmp_path: Path, split: Split, ids: list[str]
) -> None:
    path = case_with(tiny_lab, tmp_path, "last-block")
    lines = (tiny_lab / f"{split}.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps(first | {"prompt": "Who? " * 2000 + first["prompt"]})
    (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    text = path.read_text().replace(str(tiny_lab / f"{split}.jsonl"), f"{split}.jsonl")
    if split == "holdout":  # it is read where no reference is given
        text = text.replace(f'[subjects.reference]\npath = "{tiny_lab}/models/reference"\n', "")
    path.write_text(text)
    outcome = run_audit(read_plan(path), tmp_path / "run", only=ids, device="cpu")
    found = open_run(tmp_path / "run").findings("last-block")
    assert {finding.id for finding in found} == set(ids) and len(outcome.failed) == len(ids)
    for finding in found:
        assert finding.status is Status.FAILED and finding.residual is None
        start, _, end = finding.reason.partition(" tokens, but ")
        assert start.startswith(f"Item {split}:0 needs ") and int(start.split()[-1]) > 4000
        assert end.endswith(f" reads at most {READS}: shorten it."), finding.reason


def long_item(subject: Subject, item: Item, tokens: int) -> Item:
    """The item with words before its prompt, so that both together have this many tokens."""

    def length(times: int) -> int:
        row = encode_item(subject.tokenizer, Item("x", "the " * times + item.prompt, item.answer), "plain")
        return len(row)

    times = 1 + (tokens - length(1)) // (length(2) - length(1))
    assert length(times) == tokens
    prompt = "the " * times + item.prompt
    return Item(item.id, prompt, item.answer, entity=item.entity, attribute=item.attribute)


class Watched:
    """Notes prompts [rows, length] and tokens that may follow, of every batch that is generated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[tuple[int, int, int]] = []
        real = generate.generated

        def generated(subject: Subject, inputs: dict[str, Any], budget: int, *more: Any) -> list[list[int]]:
            self.batches.append((*inputs["input_ids"].shape, budget))
            return real(subject, inputs, budget, *more)

        monkeypatch.setattr(generate, "generated", generated)
        monkeypatch.setattr("audit.activations.continuations.generated", generated)


def test_no_answer_is_led_past_what_the_model_reads(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, watched = bench_of("last-block"), Watched(monkeypatch)
    items = list(bench.corpus("forget").items[:5])
    with bench.model("original") as subject:
        full = long_item(subject, items[0], READS)
        nearly = long_item(subject, items[1], READS - 4)
        asked = [full, *items[2:], nearly]
        together = says(subject, asked, "plain")
        alone = [says(subject, [item], "plain")[0] for item in asked]
        drawn = samples(subject, asked, "plain", 2, Sampling(3))
        continues(subject, [question(subject.tokenizer, i.prompt, "plain") for i in asked], [50] * len(asked))
        assert together[1:4] == alone[1:4] == says(subject, items[2:], "plain")
        assert drawn[1:4] == samples(subject, items[2:], "plain", 2, Sampling(3))
        assert all(length + budget <= READS for _, length, budget in watched.batches), watched.batches
        assert max(length + budget for _, length, budget in watched.batches) == READS  # an answer was cut there
        over = Item("forget:7", f"the the the {full.prompt}", full.answer)
        with pytest.raises(TooLong, match=r"^Item forget:7 needs 25\d tokens, but .* reads at most 256: shorten it"):
            says(subject, [over], "plain")
        # What an attack makes of an item that the model reads is no fault of the corpus.
        with pytest.raises(NotApplicable, match="The prompt that is made of item"):
            says(subject, [full], "plain", [f"Please answer this, as well as you can. {full.prompt}"])
        with pytest.raises(TooLong, match="with the first token after it needs 257"):
            continues(subject, [tuple(range(3, READS + 3))], [5])


def test_batches_of_answers_are_planned_by_hand() -> None:
    # Four rows of one budget, by length; 2 x (9 + 10) = 38 is within any memory, and 9 + 10 within 19 tokens.
    assert plan_answers([9, 3, 5, 4], [10] * 4, 19) == [[1, 3, 2, 0]]
    # A row with less room answers apart: with the others' budget it would be led to 12 + 10 = 22 tokens.
    assert plan_answers([12, 3, 5], [7, 10, 10], 19) == [[0], [1, 2]]
    # Nor does one with less room hold up others: 16 + 3 = 19 and 17 + 2 = 19, together 17 + 3 = 20.
    assert plan_answers([16, 17], [3, 2], 19) == [[1], [0]]
    assert plan_answers([16, 17], [3, 2], None) == [[1, 0]]
    many = plan_answers([40] * 130, [20] * 130, None)
    assert [len(rows) for rows in many] == [generate.BATCH, generate.BATCH, 2]
    # Rows of 4,000 + 96 tokens: four are 16,384, a fifth would be too many; one that is longer goes alone.
    assert [len(rows) for rows in plan_answers([4000] * 9 + [50_000], [96] * 10, None)] == [4, 4, 1, 1]
    assert plan_answers([], [], 19) == []


def test_long_items_are_read_and_asked_a_few_at_a_time(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, watched = bench_of("last-block"), Watched(monkeypatch)
    sizes: list[int] = []
    whole = Batch.__init__

    def noted(self: Batch, *arguments: Any) -> None:
        whole(self, *arguments)
        sizes.append(self.ids.numel())

    monkeypatch.setattr(Batch, "__init__", noted)
    monkeypatch.setattr(generate, "TOKENS", 2048)
    with bench.model("original") as subject:
        items = [long_item(subject, item, 230) for item in bench.corpus("forget").items[:20]]
        rows = _answers.first_tokens(subject, items, "plain")
        places = [i for some, _ in attributions(subject, rows, [None] * len(rows)) for i in some]
        says(subject, items, "plain")
    budget = TOKEN_BUDGET["cpu"]
    assert sorted(places) == list(range(20)) and len(sizes) >= 20 * 220 // budget
    assert max(sizes) <= budget and sum(sizes) >= 20 * 220
    assert len(watched.batches) >= 3 and all(n * (length + more) <= 2048 for n, length, more in watched.batches)
