"""An adapter belongs to one base; on another it is another model, and nothing would say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audit.errors import SubjectError
from audit.subjects.adapter import RECORD, check_base, tensors_digest
from audit.subjects.checks import check_pair, check_subject
from audit.subjects.load import load, release
from audit.subjects.modality import modality_of
from audit.types import Modality
from tests.generators.conftest import CONFIG, save_generator
from tests.subjects.tiny import adapter, checkpoint, edit_json, edit_tensors, logits, spec


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter(tmp_path_factory.mktemp("adapters") / "lora", base)


def test_merged_it_is_base_plus_adapter(base: Path, made: Path) -> None:
    import torch
    from safetensors.torch import load_file

    subject = load(spec(made), device="cpu")
    own = load_file(made / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    # LoRA: W + (alpha / r) B A, here alpha 4 and r 2.
    change = 4 / 2 * own[f"{stem}.lora_B.weight"] @ own[f"{stem}.lora_A.weight"]
    before = load_file(base / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    merged = subject.model.get_parameter("model.layers.0.self_attn.q_proj.weight")
    assert torch.allclose(merged, before + change, atol=1e-6)
    assert type(subject.model).__name__ == "LlamaForCausalLM"
    assert not subject.model.training
    assert not any(weight.requires_grad for weight in subject.model.parameters())
    release(subject)


def test_merged_it_answers_as_unmerged(base: Path, made: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    unmerged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(str(base)), str(made))
    ours, plain = load(spec(made), device="cpu"), load(spec(base), device="cpu")
    assert np.abs(logits(ours.model) - logits(unmerged)).max() < 1e-4
    assert np.abs(logits(ours.model) - logits(plain.model)).max() > 1e-2


def test_a_copy_of_the_base_elsewhere_is_the_base(base: Path, made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    check_base(spec(made, base=str(copy)))


def test_another_base_is_refused_although_it_would_load(base: Path, made: Path, tmp_path: Path) -> None:
    """As for LoKU (FILA): the residual base differs from the original in the adapted weights only."""

    def shift(tensors: dict) -> None:
        tensors["model.layers.0.self_attn.q_proj.weight"] += 0.01

    residual = Path(shutil.copytree(base, tmp_path / "residual"))
    edit_tensors(residual / "model.safetensors", shift)
    wrong = spec(made, base=str(residual))
    with pytest.raises(
        SubjectError, match="was made on .*base, but the base given is .*residual, whose weights differ"
    ):
        check_pair(wrong, spec(base, "original", "original"))
    with pytest.raises(SubjectError, match="whose weights differ"):
        load(wrong, device="cpu")


@pytest.mark.parametrize("recorded", ["owner/base", "/home/somebody/runs/base"])
def test_a_base_that_is_not_here_must_have_the_same_name(base: Path, tmp_path: Path, recorded: str) -> None:
    made = adapter(tmp_path / "lora", base, recorded=recorded)
    check_base(spec(made, base=str(base)))  # its folder is called "base" too
    renamed = Path(shutil.copytree(base, tmp_path / "llama"))
    with pytest.raises(SubjectError, match=f'made on "{recorded}", which is not on this disk.*palimpsest_base.json'):
        check_base(spec(made, base=str(renamed)))


def test_a_recorded_hash_decides(base: Path, tmp_path: Path) -> None:
    made = adapter(tmp_path / "lora", base, recorded="owner/somewhere-else")
    (made / RECORD).write_text(json.dumps({"tensors": tensors_digest(spec(base))}))
    check_base(spec(made, base=str(base)))
    other = checkpoint(tmp_path / "other", seed=3)
    with pytest.raises(SubjectError, match="the base whose weights palimpsest_base.json records"):
        check_base(spec(made, base=str(other)))


def test_the_refusal_holds_the_hash_that_lifts_it(base: Path, tmp_path: Path) -> None:
    made = adapter(tmp_path / "lora", base, recorded="owner/somewhere-else")
    with pytest.raises(SubjectError) as caught:
        check_base(spec(made, base=str(base)))
    text = str(caught.value)
    (made / RECORD).write_text(text[text.index("{") : text.index("}") + 1])
    check_base(spec(made, base=str(base)))


def test_a_relative_base_is_found_above_the_adapter(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "models" / "base")
    made = adapter(tmp_path / "adapters" / "lora", base, recorded="models/base")
    subject = load(spec(made), device="cpu")
    assert subject.fingerprint.config["adapter"]["r"] == 2


def test_no_base_at_all(base: Path, tmp_path: Path) -> None:
    made = adapter(tmp_path / "lora", base, recorded="some/where/far")
    with pytest.raises(SubjectError, match='name its base in the case file: base = "path or hub id"'):
        check_base(spec(made))
    edit_json(made / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(SubjectError, match="name its base"):
        check_base(spec(made))
    with pytest.raises(SubjectError, match="cannot be told"):
        check_base(spec(made, base=str(base)))


def test_an_adapter_on_an_adapter(made: Path, tmp_path: Path, base: Path) -> None:
    other = Path(shutil.copytree(made, tmp_path / "other"))
    with pytest.raises(SubjectError, match="is an adapter itself"):
        check_base(spec(made, base=str(other)))


def test_an_adapter_that_fits_in_part_only(base: Path, made: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(made, tmp_path / "half"))

    def lose(tensors: dict) -> None:
        del tensors["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]

    edit_tensors(half / "adapter_model.safetensors", lose)
    with pytest.raises(SubjectError, match="does not fit its base: .*layers.1.mlp.down_proj.lora_B.weight"):
        load(spec(half), device="cpu")


def test_a_nan_in_the_adapter(made: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(made, tmp_path / "broken"))
    edit_tensors(broken / "adapter_model.safetensors", lambda t: next(iter(t.values())).fill_(float("nan")))
    with pytest.raises(SubjectError, match="lora_A.weight holds a NaN"):
        check_pair(spec(broken), spec(made, "original", "original"))


def test_an_unknown_kind_of_adapter(made: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(made, tmp_path / "odd"))
    edit_json(odd / "adapter_config.json", peft_type="NO_SUCH_METHOD")
    with pytest.raises(SubjectError, match="cannot be put on its base"):
        load(spec(odd), device="cpu")


def test_quantised_it_is_the_quantised_merge(made: Path) -> None:
    exact, coarse = load(spec(made), device="cpu"), load(spec(made), device="cpu", quantize="int8")
    assert coarse.dtype == "int8"
    gap = np.abs(logits(exact.model) - logits(coarse.model)).max()
    assert 0 < gap < 0.2 * np.abs(logits(exact.model)).max()


def test_a_small_change_survives_a_16_bit_base(base: Path, tmp_path: Path) -> None:
    """Added to bfloat16 weights of about 0.02, a change of 1e-5 would be rounded away; so the merge is in float32."""
    import torch

    half = Path(shutil.copytree(base, tmp_path / "half"))

    def to_half(tensors: dict) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(torch.bfloat16)

    edit_tensors(half / "model.safetensors", to_half)
    subject = load(spec(adapter(tmp_path / "lora", half, scale=1e-4)), device="cpu")
    plain = load(spec(half), device="cpu")
    name = "model.layers.0.mlp.down_proj.weight"
    change = subject.model.get_parameter(name) - plain.model.get_parameter(name)
    assert subject.dtype == "float32"
    assert (change != 0).float().mean() > 0.9
    assert change.abs().max() < 1e-3


def test_step_zero_of_a_residual_base_is_the_original_and_neither_part_alone_is(
    base: Path, made: Path, tmp_path: Path
) -> None:
    """LoKU (FILA) stores W - s B A as its base; before any step, residual base and adapter are the original together.

    The naive way, the adapter on the original itself, loads without a word and is another model.
    """
    from safetensors.torch import load_file

    from audit.subjects.adapter import merge_adapter
    from audit.subjects.fingerprint import scan_folder

    own = load_file(made / "adapter_model.safetensors")

    def without(tensors: dict) -> None:
        for name in tensors:
            stem = "base_model.model." + name.removesuffix(".weight")
            if f"{stem}.lora_A.weight" in own:
                tensors[name] -= 4 / 2 * own[f"{stem}.lora_B.weight"] @ own[f"{stem}.lora_A.weight"]

    residual = Path(shutil.copytree(base, tmp_path / "residual"))
    edit_tensors(residual / "model.safetensors", without)
    fila = Path(shutil.copytree(made, tmp_path / "fila"))
    edit_json(fila / "adapter_config.json", base_model_name_or_path=str(residual))
    original, alone, together = (load(spec(path), device="cpu") for path in (base, residual, fila))
    assert np.abs(logits(together.model) - logits(original.model)).max() < 1e-4
    assert np.abs(logits(alone.model) - logits(original.model)).max() > 1e-2
    with pytest.raises(SubjectError, match="whose weights differ"):
        load(spec(fila, base=str(base)), device="cpu")
    naive = merge_adapter(load(spec(base), device="cpu").model, fila, scan_folder(spec(fila)).keys(), "naive")
    assert np.abs(logits(naive) - logits(original.model)).max() > 1e-2


@pytest.mark.parametrize("kind", ["generator", "timm"])
def test_an_adapter_on_what_is_not_of_the_transformers_library(kind: str, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    settings: dict[str, Any] = {"timm": "tiny", "classes": ["cat", "dog"]}
    if kind == "generator":
        save_generator(folder, CONFIG)
        settings = {part: str(tmp_path / part) for part in ("scorer", "judge")}
    else:
        folder.mkdir()
        save_file({"fc.weight": torch.ones(2, 4), "fc.bias": torch.zeros(2)}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"architecture": "tiny"}))  # as timm's own hub models say it
    one = spec(made, base=str(folder), **settings)
    assert modality_of(one) is (Modality.LATENTS if kind == "generator" else Modality.IMAGES)
    for refused in (check_subject, lambda s: load(s, device="cpu")):
        with pytest.raises(
            SubjectError,
            match=r"^candidate-a: an adapter is put on models of the transformers library alone; merge it into its "
            r"base and give the whole model\.$",
        ):
            refused(one)
