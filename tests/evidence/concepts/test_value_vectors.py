"""Value vectors: every architecture, the hand-worked score, and edits whose place is known."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.activations.encode import Encoded
from audit.activations.mlp import mlp_outputs
from audit.bench import Bench
from audit.collect import collect
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.concepts._given import named_vectors, read_concept_vectors
from audit.evidence.concepts._likeness import compare, jaccard, kinship
from audit.evidence.concepts._mlp import value_vectors, writing
from audit.evidence.concepts._selection import Chosen, attributions, choose
from audit.evidence.concepts.value_vectors import ValueVectors
from audit.stats import conclude
from audit.types import Status
from tests.activations.conftest import letters_tokenizer, small_model
from tests.evidence.concepts.edited import SMALL, edited, tiny

BenchOf = Callable[..., Bench]


@pytest.mark.parametrize("name", ["llama", "neox", "gpt2", "opt", "phi"])
def test_neurons_times_value_vectors_are_the_mlps_output(name: str) -> None:
    model = tiny(name)
    seen: list[tuple[Any, Any, Any]] = []

    def write(module: Any, neurons: Any, output: Any) -> Any:
        seen.append((module, neurons, output))
        return output

    with writing(model, {0: write, 1: write}), torch.no_grad():
        model(torch.tensor([[5, 6, 7]]))
    assert len(seen) == 2
    for module, neurons, output in seen:
        vectors = value_vectors(module)
        assert vectors.shape == (32, 16)
        bias = 0 if module.bias is None else module.bias
        torch.testing.assert_close((neurons @ vectors + bias).reshape(-1, 16), output.reshape(-1, 16))


def test_experts_have_no_single_output_projection() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(**SMALL, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    with pytest.raises(NotApplicable, match="no MLP output projection"):
        mlp_outputs(MixtralForCausalLM(config))


def test_noise_by_a_hook_is_noise_in_the_column_and_goes_away() -> None:
    model, ids = small_model(), torch.tensor([[5, 6, 7, 8]])
    delta = torch.randn(16)
    with torch.inference_mode():
        before = model(ids).logits
        with writing(model, {1: lambda module, neurons, output: output + neurons[..., [3]] @ delta[None]}):
            hooked = model(ids).logits
        assert torch.equal(model(ids).logits, before)
        model.model.layers[1].mlp.down_proj.weight[:, 3] += delta
        torch.testing.assert_close(model(ids).logits, hooked)
        assert not torch.allclose(hooked, before)


def test_attributions_add_up_to_what_the_mlp_writes_towards_the_answer() -> None:
    subject: Any = SimpleNamespace(
        model=small_model(initializer_range=0.3), tokenizer=letters_tokenizer(True), device=torch.device("cpu")
    )
    rows = [Encoded((1, 5, 6, 9), 3), Encoded((1, 7, 8, 5, 10), 4), Encoded((1, 11, 9), 2)]
    head = subject.model.lm_head.weight.detach()
    # Group x is compared with its own mean, (9 and 10); y, whose answers all begin alike, with the mean of all three.
    towards = [(head[9] - head[10]) / 2, (head[10] - head[9]) / 2, (head[9] - head[10]) / 3]
    found = {
        int(row): [block[k] for block in blocks]
        for places, blocks in attributions(subject, rows, ["x", "x", "y"])
        for k, row in enumerate(places)
    }
    written: dict[int, Any] = {}

    def write(block: int) -> Callable[[Any, Any, Any], Any]:
        return lambda module, neurons, output: written.setdefault(block, output)

    for i, row in enumerate(rows):
        written.clear()
        with writing(subject.model, {block: write(block) for block in range(3)}), torch.no_grad():
            subject.model(torch.tensor([row.ids]))
        for block in range(3):
            assert found[i][block].shape == (32,)
            expected = float(written[block][0, row.start - 1] @ towards[i])
            assert float(found[i][block].sum()) == pytest.approx(expected, rel=1e-3)


def test_shares_and_score_by_hand() -> None:
    # Writes 2, -1 and 2 towards the answer: the negative one does not carry it, the others half each.
    # Cosines 1, 0.3 and 0 then give 0.5 * 1 + 0.5 * 0 = 0.5.
    carried = np.array([[2.0, -1.0, 2.0], [-1.0, -2.0, -3.0]])
    chosen = Chosen(np.zeros((2, 3, 2), np.int64), carried, np.array([True, False]))
    assert chosen.shares.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert float((chosen.shares[0] * [1.0, 0.3, 0.0]).sum()) == 0.5


def test_jaccard_by_hand() -> None:
    # {1, 2, 3} and {3, 4, 5} share one of five tokens; the same set in another order shares all.
    found = jaccard(np.array([[1, 2, 3], [1, 2, 3]]), np.array([[3, 4, 5], [3, 1, 2]]))
    assert found.tolist() == [0.2, 1.0]


def zero(pairs: list[tuple[int, int]]) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        for block, neuron in pairs:
            model.model.layers[block].mlp.down_proj.weight[:, neuron] = 0.0

    return edit


def test_zeroing_the_chosen_vectors_is_seen_and_zeroing_others_is_not(bench_of: BenchOf) -> None:
    bench, evidence = bench_of("untouched"), ValueVectors(count=20)
    pools = choose(bench, "forget", 20, 1000).pools.reshape(-1, 2).tolist()
    chosen = sorted({(block, neuron) for block, neuron in pools})
    others = [(block, n) for block in range(3) for n in range(256) if (block, n) not in chosen][:: len(chosen)]
    for pairs, value in ((chosen, 0.0), (others, 1.0)):
        residual = conclude(evidence.measure(edited(bench, candidate=zero(pairs))).panel).residual
        assert residual is not None
        assert residual.value == pytest.approx(value, abs=0.05)


def test_a_scaled_vector_has_the_same_direction_and_another_length(bench_of: BenchOf) -> None:
    def half(model: Any) -> None:
        for layer in model.model.layers:
            layer.mlp.down_proj.weight *= 0.5

    bench = edited(bench_of("untouched"), candidate=half)
    found = compare(bench, "candidate", choose(bench, "forget", 5, 1000))
    assert found["cosine"] == pytest.approx(1.0)
    assert found["length"] == pytest.approx(0.5)
    assert (found["jaccard"] == 1.0).all()


def test_subjects_of_known_truth(bench_of: BenchOf) -> None:
    same = conclude(ValueVectors().measure(bench_of("untouched")).panel)
    assert same.residual is not None
    assert (same.residual.value, same.residual.low, same.residual.high) == (1.0, 1.0, 1.0)
    never = conclude(ValueVectors().measure(bench_of("retrained")).panel).residual
    assert never is not None
    assert never.value == pytest.approx(0.0, abs=0.1)
    assert never.low < 0.1
    reading = ValueVectors().measure(bench_of("last-block"))
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert residual.low > 0.8
    table = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    assert set(table.layer) == {0, 1, 2}
    assert set(table.query("layer < 2").cosine) == set(table.query("layer < 2").jaccard) == {1.0}
    assert table.query("layer == 2").cosine.max() < 1.0


def test_noise_in_the_chosen_vectors_costs_the_original_more(bench_of: BenchOf) -> None:
    table = pd.DataFrame(ValueVectors().measure(bench_of("last-block")).rows)
    own = table.query("subject == 'original'")
    assert (own["drop"] > 2 * own.drop_others).all()
    assert own["drop"].nunique() == 2  # one number for each pool
    assert table.query("subject != 'original'")["drop"].isna().all()
    assert table.groupby(["subject", "chosen_on"]).share.sum().to_numpy() == pytest.approx(1.0)


def test_vectors_that_do_nothing_are_not_read(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    with bench.model("original") as subject:
        from audit.evidence.concepts._answers import first_tokens

        items = bench.corpus("forget").items
        rows = first_tokens(subject, items, "plain")
        with torch.inference_mode():
            parts = [found[2].abs().sum(0) for _, found in attributions(subject, rows, [i.attribute for i in items])]
    weakest = torch.stack(parts).sum(0).argsort()[:5].tolist()
    evidence = ValueVectors(vectors=tuple(f"2:{neuron}" for neuron in weakest))
    with pytest.raises(NotIdentifiable, match=r"does not work here.* nats and in as many others"):
        evidence.measure(bench)


def test_given_vectors_are_shown_once(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    pairs = sorted({tuple(pair) for pair in choose(bench, "forget", 10, 1000).pools.reshape(-1, 2).tolist()})
    reading = ValueVectors(vectors=tuple(f"{block}:{neuron}" for block, neuron in pairs)).measure(bench)
    table = pd.DataFrame(reading.rows)
    assert set(table.chosen_on) == {"given"}
    assert len(table) == 3 * len(pairs)


def test_without_a_reference_there_is_a_table_and_no_residual(bench_of: BenchOf) -> None:
    bench = bench_of("last-block", reference=False)
    finding = collect("concepts.value_vectors", ValueVectors(), bench, {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert finding.residual is None
    assert len(finding.table) == 200
    assert "without a reference there is no residual" in finding.note
    with pytest.raises(NotIdentifiable, match="no control"):
        ValueVectors().measure(bench_of("last-block", reference=False, holdout=False))


def test_settings_that_cannot_work_say_so(bench_of: BenchOf) -> None:
    for wrong in ("23", "a:1", "1:-2"):
        with pytest.raises(CaseError, match="block and neuron"):
            ValueVectors(vectors=(wrong,))
    with pytest.raises(CaseError, match="at least 1"):
        ValueVectors(count=0)
    with pytest.raises(CaseError, match="not by both"):
        ValueVectors(vectors=("1:2",), file="a.json")
    with pytest.raises(CaseError, match="has no file"):
        ValueVectors(concept="Poland")
    for beyond in ("3:0", "0:256"):
        with pytest.raises(CaseError, match="3 blocks of 256 neurons"):
            ValueVectors(vectors=(beyond,)).measure(bench_of("untouched"))


def test_files_of_conceptvectors_are_read(shared: Path) -> None:
    found = read_concept_vectors(shared / "data" / "conceptvectors" / "llama2-7b_concepts_dev.json")
    assert len(found) == 10
    assert found["Poland"] == ["23:743"]
    olmo = read_concept_vectors(shared / "data" / "conceptvectors" / "olmo-7b_concepts_dev.json")
    assert olmo["World War II"] == ["27:5294"]
    ValueVectors(vectors=tuple(name for names in olmo.values() for name in names))


def test_a_concept_with_two_vectors_and_files_that_are_something_else(tmp_path: Path) -> None:
    file = tmp_path / "concepts.json"
    file.write_text('[{"Concept": "a", "Layer": 1, "Dim": 2}, {"Concept": "a", "Layer": 3, "Dim": 4}]')
    assert read_concept_vectors(file) == {"a": ["1:2", "3:4"]}
    wrong = {
        "[]": "no list", "{}": "no list", '[{"Concept": "a"}]': "has Layer None", "no json": "cannot be read",
        '[{"Concept": "a", "Layer": null, "Dim": 1}]': "has Layer None", "[3]": "names no Concept",
        '[{"Concept": "a", "Layer": 1.5, "Dim": 1}]': "has Layer 1.5", '[{"Layer": 1, "Dim": 1}]': "names no Concept",
        '[{"Concept": "a", "Layer": 1, "Dim": -1}]': "has Dim -1",
        '[{"Concept": "a", "Layer": 1, "Dim": "2"}]': "has Dim '2'",
    }  # fmt: skip
    for text, words in wrong.items():
        file.write_text(text)
        with pytest.raises(CaseError, match=words):
            read_concept_vectors(file)
    with pytest.raises(CaseError, match="cannot be read"):
        read_concept_vectors(tmp_path / "absent.json")


def test_a_concept_of_a_file_is_what_naming_its_vectors_is(bench_of: BenchOf, shared: Path, tmp_path: Path) -> None:
    olmo = str(shared / "data" / "conceptvectors" / "olmo-7b_concepts_dev.json")
    assert named_vectors(olmo, "World War II") == ("27:5294",)
    assert len(named_vectors(olmo)) == 18
    with pytest.raises(CaseError, match='Did you mean "World War II"'):
        ValueVectors(file=olmo, concept="World War I").check_files()
    bench = bench_of("last-block")
    with pytest.raises(CaseError, match="no value vector 27:5294: it has 3 blocks of 256 neurons"):
        ValueVectors(file=olmo, concept="World War II").measure(bench)
    pairs = sorted({tuple(pair) for pair in choose(bench, "forget", 10, 1000).pools.reshape(-1, 2).tolist()})
    made = tmp_path / "own.json"
    made.write_text(json.dumps([{"Concept": "forgotten", "Layer": block, "Dim": dim} for block, dim in pairs]))
    by_file = ValueVectors(file=str(made), concept="forgotten").measure(bench)
    by_name = ValueVectors(vectors=tuple(f"{block}:{dim}" for block, dim in pairs)).measure(bench)
    assert by_file.rows == by_name.rows
    assert by_file.note == by_name.note


def test_a_reference_from_another_start_is_told_in_the_note(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    assert kinship(bench, "original", [0, 1, 2]) == pytest.approx(1.0)
    assert kinship(bench, "reference", [0, 1, 2]) == pytest.approx(0.0, abs=0.05)
    note = ValueVectors().measure(bench).note
    assert "trained from another start" in note
    assert re.search(r"chosen or not, to the original's is -?0\.0\d", note)
    # The same start: the original itself, but for noise in every matrix, takes the reference's place.
    bench.case = dataclasses.replace(bench.case, reference=dataclasses.replace(bench.case.original, role="reference"))
    near = edited(bench, reference=noise)
    assert 0.5 < kinship(near, "reference", [0, 1, 2]) < 1.0
    assert "another start" not in ValueVectors().measure(near).note


def noise(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in model.model.layers:
        weight = layer.mlp.down_proj.weight
        weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=generator)


def test_another_unembedding_alone_moves_no_vector_but_the_words_it_is_read_by(bench_of: BenchOf) -> None:
    """Under each model's own unembedding alone, an edit of the head would look like other value vectors."""

    def other_head(model: Any) -> None:
        weight = model.lm_head.weight
        order = torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))
        model.lm_head.weight = torch.nn.Parameter(weight[order].clone())  # the tied embedding stays as it was

    rows: Any = ValueVectors(count=10).measure(edited(bench_of("untouched"), candidate=other_head)).rows
    mine = [row for row in rows if row.subject == "candidate"]
    assert all(row.cosine == 1.0 and row.l2 == 0.0 and row.jaccard == 1.0 for row in mine)
    assert np.mean([row.jaccard_own for row in mine]) < 0.3
