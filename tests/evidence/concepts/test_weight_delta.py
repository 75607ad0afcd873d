"""Weight differences by hand, on files and on adapters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from audit.collect import collect
from audit.errors import NotApplicable
from audit.evidence.concepts._reading import in_order, place_of
from audit.evidence.concepts.weight_delta import WeightDelta, change, in_words, ranks_of
from audit.stats import conclude
from audit.types import Case, Corpus, Item, Role, Status, SubjectSpec
from tests.evidence.probes.planted import PlantedBench

NAMES = ["model.embed_tokens.weight", *(f"model.layers.{k}.mlp.up_proj.weight" for k in range(4)), "model.norm.weight"]


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), *[(4, 8)] * 4, (4,)]
    return {name: torch.randn(shape, generator=generator) for name, shape in zip(NAMES, shapes, strict=True)}


def edited(edit: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: edit.get(name, torch.clone)(tensor) for name, tensor in weights().items()}


def bench_on(
    folder: Path, candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor] | None
) -> PlantedBench:
    """A bench whose subjects are folders of safetensors."""
    specs = {}
    for role, tensors in (("original", weights()), ("candidate", candidate), ("reference", reference)):
        if tensors is not None:
            (folder / role).mkdir()
            save_file(dict(tensors), folder / role / "model.safetensors")
            specs[role] = SubjectSpec(role, role, str(folder / role))  # type: ignore[arg-type]
    corpora: Any = {"holdout": Corpus("holdout", (Item("holdout:0", "?", "!"),), "made")}
    case = Case("weights", 0, specs["original"], specs["candidate"], specs.get("reference"), corpora)
    return PlantedBench(case, {})


def other() -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in weights().items()}


def test_a_change_by_hand() -> None:
    # D = diag(3, 4): |D|_F^2 = 25, |W0|_F^2 = 100, two of four weights are identical. Singular values 4 and 3:
    # stable rank 25 / 16; effective rank exp(-(4/7 ln 4/7 + 3/7 ln 3/7)) = exp(0.6829) = 1.9797.
    old = torch.tensor([[5.0, 5.0], [5.0, 5.0]])
    new = old + torch.diag(torch.tensor([3.0, 4.0]))
    elements, identical, relative, largest, stable, effective = change(new, old, 9)
    assert (elements, identical, relative, largest) == (4.0, 0.5, 0.5, 4.0)
    assert stable == pytest.approx(25 / 16)
    assert effective == pytest.approx(1.9797, abs=1e-4)


def test_a_rank_one_change_has_rank_one_in_both_orientations() -> None:
    delta = torch.outer(torch.arange(1.0, 4.0), torch.arange(1.0, 6.0)).double()
    for matrix in (delta, delta.T):
        assert ranks_of(matrix) == pytest.approx((1.0, 1.0))


def test_no_change_is_exactly_zero_and_a_vector_or_a_large_matrix_has_no_rank() -> None:
    old = torch.randn(5, 7)
    assert change(old.clone(), old, 9) == (35.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert np.isnan(change(old + 1, old, rank_cap=4)[4:]).all()
    assert np.isnan(change(torch.ones(3), torch.zeros(3), 9)[4:]).all()


def test_number_formats_are_compared_in_the_wider_one() -> None:
    old = torch.tensor([1.0, 0.1])  # 1 is exact in bfloat16, 0.1 is not
    assert change(old.bfloat16(), old, 9)[1] == 0.5
    assert change(old.half(), old.half(), 9)[1] == 1.0
    # Minus zero equals zero, but not bit by bit.
    assert change(torch.tensor([-0.0, 1.0]), torch.tensor([0.0, 1.0]), 9)[1:4] == (0.5, 0.0, 0.0)


def test_a_tensor_longer_than_a_chunk_is_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    old = torch.randn(7, 5)
    new = old.clone()
    new[:, 0] += 1
    whole = change(new, old, 9)
    monkeypatch.setattr("audit.evidence.concepts.weight_delta.CHUNK", 4)
    assert change(new, old, 9) == pytest.approx(whole)
    assert whole[1] == 28 / 35


def test_other_shapes_are_refused() -> None:
    with pytest.raises(NotApplicable, match=r"\(2, 3\) and \(3, 2\)"):
        change(torch.ones(2, 3), torch.ones(3, 2), 9)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.layers.3.mlp.up_proj.weight", ("block 3", 3, "mlp.up_proj")),
        ("transformer.h.10.attn.c_attn.bias", ("block 10", 10, "attn.c_attn.bias")),
        ("gpt_neox.layers.0.input_layernorm.weight", ("block 0", 0, "input_layernorm")),
        ("model.embed_tokens.weight", ("embedding", None, "embed_tokens")),
        ("model.norm.weight", ("final norm", None, "norm")),
        ("lm_head.weight", ("head", None, "lm_head")),
        ("rotary.inv_freq", ("elsewhere", None, "rotary.inv_freq")),
    ],
)
def test_the_place_is_read_from_the_name(name: str, place: tuple[str, int | None, str]) -> None:
    assert place_of(name) == place


def test_parts_are_in_the_order_of_the_model() -> None:
    assert in_order({"head", "block 10", "final norm", "block 9", "embedding"}) == [
        "embedding", "block 9", "block 10", "final norm", "head",
    ]  # fmt: skip


def test_the_original_as_its_own_candidate_differs_in_nothing(tmp_path: Path) -> None:
    reading = WeightDelta().measure(bench_on(tmp_path, weights(), other()))
    own = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    assert set(own.identical) == {1.0}
    assert set(own.relative) == set(own.largest) == {0.0}
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)
    assert reading.note == "Every weight is bit-identical to the original: nothing was removed from the weights."


def test_a_change_of_the_last_block_is_named(tmp_path: Path) -> None:
    reading = WeightDelta().measure(bench_on(tmp_path, edited({NAMES[4]: lambda w: w + 1}), other()))
    assert reading.note == (
        "Only the last block differs; blocks 0 to 2, the embedding and the final norm are bit-identical."
    )
    # 24 + 4 * 32 + 4 = 156 weights, of which the 32 of one block changed.
    found = conclude(reading.panel)
    assert found.candidate.value == pytest.approx(124 / 156)
    assert found.candidate.low == found.candidate.high == found.candidate.value
    assert found.residual is not None
    assert found.residual.value == pytest.approx(124 / 156)
    table = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    assert table["where"].tolist() == ["embedding", "block 0", "block 1", "block 2", "block 3", "final norm"]


def test_an_edit_of_the_head_and_one_of_everything_are_told_apart(tmp_path: Path) -> None:
    reading = WeightDelta().measure(bench_on(tmp_path, weights(), other()))
    rows = [row for row in reading.rows if row.subject == "candidate"]
    head = rows[-1]._replace(where="head", layer=None, module="lm_head", identical=0.0)
    assert in_words([*rows, head]) == (
        "Only the head differs; blocks 0 to 3, the embedding and the final norm are bit-identical."
    )
    assert in_words([row._replace(identical=0.0) for row in [*rows, head]]).startswith(
        "Every part of the model differs"
    )


def test_other_changes_in_words(tmp_path: Path) -> None:
    def words(changed: list[str]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        bench = bench_on(folder, edited(dict.fromkeys(changed, lambda w: w * 2)), other())
        return WeightDelta().measure(bench).note

    assert words(NAMES) == "Every part of the model differs from the original; 0 % of all weights are bit-identical."
    assert words([NAMES[0], NAMES[2], NAMES[3]]) == (
        "Only blocks 1 and 2 and the embedding differ; blocks 0 and 3 and the final norm are bit-identical."
    )
    assert words([NAMES[0], *NAMES[2:]]) == (
        "Only blocks 1 to 3, the embedding and the final norm differ; block 0 is bit-identical."
    )
    assert in_words([]).startswith("Every weight")


def test_without_a_reference_the_floor_is_no_weight_unchanged(tmp_path: Path) -> None:
    finding = collect(
        "concepts.weight_delta", WeightDelta(), bench_on(tmp_path, edited({NAMES[4]: lambda w: w + 1}), None), {}
    )
    assert finding.status is Status.MEASURED
    assert finding.null == "chance"
    assert finding.candidate is not None
    assert finding.candidate.null == 0.0
    assert finding.items.empty  # tensors are no items


def test_an_adapter_is_merged_before_it_is_compared(tmp_path: Path) -> None:
    bench = bench_on(tmp_path, weights(), None)
    (tmp_path / "candidate" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))

    class Peft:
        def merge_and_unload(self) -> Any:
            return SimpleNamespace(state_dict=lambda: edited({NAMES[1]: lambda w: w + 1}))

    @contextmanager
    def private_model(role: Role) -> Any:
        plain = SimpleNamespace(state_dict=weights)
        yield SimpleNamespace(model=Peft() if role == "candidate" else plain)

    bench.private_model = private_model  # type: ignore[method-assign]
    assert WeightDelta().measure(bench).note.startswith("Only block 0 differs;")


def test_pickled_weights_are_compared_when_they_are_allowed(tmp_path: Path) -> None:
    bench = bench_on(tmp_path, weights(), None)
    folder = tmp_path / "candidate"
    (folder / "model.safetensors").unlink()
    torch.save(edited({NAMES[5]: lambda w: w + 1}), folder / "pytorch_model.bin")
    bench.case.candidate.settings["allow_pickle"] = True  # type: ignore[index]
    assert WeightDelta().measure(bench).note.startswith("Only the final norm differs;")


def test_subjects_without_a_common_tensor_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="share no tensor name"):
        WeightDelta().measure(bench_on(tmp_path, {"something": torch.ones(2)}, None))
