"""Activation patching: what is patched where, the score by hand, and subjects of known truth."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.activations.encode import Encoded
from audit.bench import Bench
from audit.collect import collect
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._answers import likelihoods
from audit.evidence.concepts._patch import patched, predicting
from audit.evidence.concepts.patching import Patching
from audit.stats import conclude
from audit.types import Status
from tests.activations.conftest import letters_tokenizer, small_model
from tests.evidence.concepts.edited import edited, tiny
from tests.evidence.probes.planted import PlantedBench, case_of, people

BenchOf = Callable[..., Bench]
ROWS = [Encoded((1, 5, 6, 9, 4), 3), Encoded((1, 7, 10), 2), Encoded((1, 7, 8, 11, 12, 5), 2)]


def subject_of(model: Any) -> Any:
    return SimpleNamespace(model=model, tokenizer=letters_tokenizer(True), device=torch.device("cpu"))


@pytest.mark.parametrize("name", ["llama", "neox", "gpt2"])
def test_its_own_states_change_not_one_bit(name: str) -> None:
    subject = subject_of(tiny(name))
    found = patched(subject, ROWS, predicting(subject, ROWS))
    assert found.shape == (3, 3)
    assert (found == found[0]).all()
    assert (likelihoods(subject, ROWS)[0] == found[0]).all()


def test_states_are_replaced_at_the_predicting_tokens_and_nowhere_else() -> None:
    body, donor = subject_of(small_model(initializer_range=0.3)), small_model(initializer_range=0.3)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in donor.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    found = patched(body, ROWS, predicting(subject_of(donor), ROWS))
    # By hand for row 0, prompt 1 5 6 and answer 9 4: tokens 2 and 3 predict it, after block 1 of 3.
    ids = torch.tensor([ROWS[0].ids])
    with torch.no_grad():
        theirs = donor(ids, output_hidden_states=True).hidden_states[1]
        layers = body.model.model.layers

        def put(module: Any, args: Any, output: Any) -> Any:
            output = output.clone()
            output[0, 2:4] = theirs[0, 2:4]
            return output

        handle = layers[0].register_forward_hook(put)
        logits = torch.log_softmax(body.model(ids).logits[0], -1)
        handle.remove()
    expected = (float(logits[2, 9]) + float(logits[3, 4])) / 2
    assert found[1, 0] == pytest.approx(expected, abs=1e-5)
    assert abs(found[1, 0] - found[0, 0]) > 1e-3
    # The last block: nothing of the original's comes after it but norm and unembedding.
    with torch.no_grad():
        seen: list[torch.Tensor] = []
        handle = donor.model.layers[2].register_forward_hook(lambda m, a, out: seen.append(out))
        donor(ids)
        handle.remove()
        logits = torch.log_softmax(body.model.lm_head(body.model.model.norm(seen[0]))[0], -1)
    assert found[3, 0] == pytest.approx((float(logits[2, 9]) + float(logits[3, 4])) / 2, abs=1e-5)
    assert (likelihoods(body, ROWS)[0] == found[0]).all()


def fixed(monkeypatch: pytest.MonkeyPatch, drops: dict[tuple[str, str], np.ndarray], items: int) -> Bench:
    """A bench on which patching costs what it is told: (role, split) -> [blocks, items]."""
    rng = np.random.default_rng(0)
    corpora: Any = {split: people(split, items, 4, rng) for split in ("forget", "retain")}
    monkeypatch.setattr(Patching, "_drops", lambda self, bench, role, split: np.asarray(drops[role, split], float))
    return PlantedBench(case_of(corpora), {})


def cost(candidate: list[list[float]], lost: list[list[float]]) -> dict[tuple[str, str], np.ndarray]:
    zero = np.zeros_like(np.asarray(lost))
    found = {("original", s): zero for s in ("forget", "retain")}
    found |= {("candidate", "retain"): zero, ("reference", "retain"): zero}
    return found | {("candidate", "forget"): np.asarray(candidate), ("reference", "forget"): np.asarray(lost)}


def test_the_score_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two blocks, three items. Item 0: d1 = 3 and 1, d2 = 1.5 and 2: ratios 0.5 and (clipped) 1, so
    # UDS = (3 * 0.5 + 1 * 1) / 4 = 0.625, score 0.375.
    # Item 1: block 0 is below the threshold 0.05 and does not count; d2 < 0 in block 1 clips to 0: score 1.
    # Item 2: no block carries it, so it is left out.
    lost = [[3.0, 0.04, 0.0], [1.0, 2.0, -1.0]]
    mine = [[1.5, 9.0, 5.0], [2.0, -1.0, 5.0]]
    reading = Patching().measure(fixed(monkeypatch, cost(mine, lost), 3))
    scores = reading.panel.candidate.scores
    assert scores is not None
    assert scores.values[0, :2] == pytest.approx([0.375, 1.0])
    assert np.asarray(scores.used)[0].tolist() == [True, True, False]
    assert reading.panel.candidate.value == pytest.approx((0.375 + 1.0) / 2)
    assert (reading.panel.original.value, reading.panel.reference.value) == (1.0, 0.0)
    assert "1 of 3 items are carried by no block" in reading.note
    table = pd.DataFrame(reading.rows).query("split == 'forget'").set_index(["subject", "layer"])
    # Block 1 carries only item 0 (kept 0.5), block 2 items 0 and 1 (kept 0 and 1).
    assert table.carries["candidate", 1] == pytest.approx(1 / 3)
    assert table.kept["candidate", 1] == 0.5
    assert table.kept["candidate", 2] == 0.5
    assert table["drop"]["candidate", 2] == pytest.approx(2.0)


def test_a_reference_that_takes_nothing_away_is_no_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotIdentifiable, match="does not work here"):
        Patching().measure(fixed(monkeypatch, cost([[0.0] * 6], [[0.01] * 6]), 6))


def test_subjects_of_known_truth(bench_of: BenchOf) -> None:
    same = conclude(Patching().measure(bench_of("untouched")).panel).residual
    assert same is not None
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    never = conclude(Patching().measure(bench_of("retrained")).panel).residual
    assert never is not None
    assert never.low < 0.1
    reading = Patching().measure(bench_of("last-block"))
    hidden = conclude(reading.panel).residual
    assert hidden is not None
    assert hidden.low > 0.5
    table = pd.DataFrame(reading.rows).query("subject == 'candidate' and split == 'forget'").set_index("layer")
    # Blocks 1 and 2 are the original's; what block 3 puts out no longer holds the answers.
    assert table["drop"].loc[[1, 2]].tolist() == [0.0, 0.0]
    assert table.kept.loc[[1, 2]].tolist() == [1.0, 1.0]
    assert table.kept[3] < 0.5


def test_states_of_known_use(bench_of: BenchOf) -> None:
    bench = bench_of("untouched")

    def silent(model: Any) -> None:
        """Nothing but the last token's embedding and what no MLP writes reaches any block's output."""
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
            layer.self_attn.o_proj.weight.zero_()

    def deaf(model: Any) -> None:
        """The states are the original's to the last block; only the unembedding says nothing."""
        model.model.norm.weight.zero_()

    erased = conclude(Patching().measure(edited(bench, candidate=silent)).panel).residual
    kept = conclude(Patching().measure(edited(bench, candidate=deaf)).panel).residual
    assert erased is not None
    assert erased.value < 0.2
    assert kept is not None
    assert kept.value == 1.0


def test_without_a_reference_there_is_no_number(bench_of: BenchOf) -> None:
    finding = collect("concepts.patching", Patching(), bench_of("last-block", reference=False), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "needs a reference" in finding.reason
    with pytest.raises(NotIdentifiable, match="no control"):
        Patching().measure(bench_of("last-block", reference=False, holdout=False))


def test_settings(bench_of: BenchOf) -> None:
    with pytest.raises(CaseError, match="threshold above 0"):
        Patching(threshold=0.0)
    table = pd.DataFrame(Patching(items=20).measure(bench_of("last-block")).rows)
    assert set(table["items"]) == {20}
