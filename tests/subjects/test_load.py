"""Loading, quantising and releasing."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.errors import CaseError, SubjectError
from audit.subjects.load import load, release, resolve_device
from audit.subjects.memory import MARGIN, available_memory, memory_estimate
from tests.subjects.tiny import adapter, checkpoint, edit_json, edit_tensors, logits, spec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "original")


def test_a_subject_is_ready_to_be_read(model: Path) -> None:
    subject = load(spec(model), device="cpu")
    assert (subject.device.type, subject.dtype) == ("cpu", "float32")
    assert not subject.model.training
    assert not any(weight.requires_grad for weight in subject.model.parameters())
    assert subject.tokenizer("who wrote it")["input_ids"] == [3, 4, 5]


def test_it_is_the_model_in_the_file(model: Path) -> None:
    from safetensors.torch import load_file

    subject = load(spec(model), device="cpu")
    held = load_file(model / "model.safetensors")
    assert {name: value.equal(held[name]) for name, value in subject.model.state_dict().items()} == dict.fromkeys(
        held, True
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_number_format_of_its_own(model: Path, dtype: str) -> None:
    subject = load(spec(model, dtype=dtype), device="cpu")
    assert subject.dtype == dtype
    assert str(subject.model.lm_head.weight.dtype) == f"torch.{dtype}"


def test_a_16_bit_checkpoint_is_float32_on_a_cpu(model: Path, tmp_path: Path) -> None:
    import torch

    copy = Path(shutil.copytree(model, tmp_path / "copy"))

    def to_half(tensors: dict) -> None:
        for name in tensors:
            tensors[name] = tensors[name].half()

    edit_tensors(copy / "model.safetensors", to_half)
    edit_json(copy / "config.json", dtype="float16")
    assert load(spec(copy), device="cpu").model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize(("quantize", "kind"), [("int8", "Linear8bitLt"), ("nf4", "Linear4bit")])
def test_quantised_on_a_cpu(model: Path, quantize: Any, kind: str) -> None:
    exact, coarse = load(spec(model), device="cpu"), load(spec(model), device="cpu", quantize=quantize)
    assert coarse.dtype == quantize
    assert type(coarse.model.model.layers[0].mlp.up_proj).__name__ == kind
    gap = np.abs(logits(exact.model) - logits(coarse.model)).max()
    assert 0 < gap < 0.3 * np.abs(logits(exact.model)).max()


def test_shards_load(model: Path, tmp_path: Path) -> None:
    sharded = load(spec(checkpoint(tmp_path / "sharded", shards=True)), device="cpu")
    assert np.array_equal(logits(sharded.model), logits(load(spec(model), device="cpu").model))


def test_pickled_weights_load_as_the_same_model(model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    torch.save({"state_dict": load_file(copy / "model.safetensors")}, copy / "weights.pt")
    (copy / "model.safetensors").unlink()
    pickled = load(spec(copy, allow_pickle=True), device="cpu")
    assert np.array_equal(logits(pickled.model), logits(load(spec(model), device="cpu").model))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), "up_proj.weight.*would be random"),
        (lambda t: t.update(extra=t["lm_head.weight"].clone()), "extra is in the file, but the model"),
        (lambda t: t.update({"lm_head.weight": t["lm_head.weight"][:5].clone()}), "lm_head.weight|cannot be loaded"),
    ],
)
def test_weights_that_do_not_belong_to_the_config(model: Path, tmp_path: Path, change: Any, words: str) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    edit_tensors(copy / "model.safetensors", change)
    with pytest.raises(SubjectError, match=words):
        load(spec(copy), device="cpu")


def test_fewer_layers_than_the_file_holds(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    edit_json(copy / "config.json", num_hidden_layers=1)
    with pytest.raises(SubjectError, match=r"layers\.1\..* does not use it"):
        load(spec(copy), device="cpu")


def test_an_architecture_that_nobody_knows(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    edit_json(copy / "config.json", model_type="no-such-model")
    with pytest.raises(SubjectError, match="cannot be loaded"):
        load(spec(copy), device="cpu")


def test_tied_embeddings_load(tmp_path: Path) -> None:
    load(spec(checkpoint(tmp_path / "tied", tie_word_embeddings=True)), device="cpu")


def test_release_gives_the_model_back(model: Path) -> None:
    subject = load(spec(model), device="cpu")
    gone = weakref.ref(subject.model)
    release(subject)
    gc.collect()
    assert gone() is None


def test_a_model_of_others_loads(shared: Path) -> None:
    subject = load(spec(shared / "data" / "models" / "stories260K", "stories", "original"), device="cpu")
    ids = subject.tokenizer("Once upon a time", return_tensors="pt")
    said = subject.tokenizer.decode(subject.model.generate(**ids, max_new_tokens=12, do_sample=False)[0])
    assert "there was" in said


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "mps", "CPU", "cuda:99999"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(CaseError):
        resolve_device(device)


def test_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(CaseError, match="no GPU"):
        resolve_device("cuda")


def test_devices_with_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(d) for d in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(CaseError, match="cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_the_estimate_is_numbers_times_width(model: Path, tmp_path: Path) -> None:
    # Embedding and head 2 x 12 x 16, a layer 4 x 16 x 16 + 3 x 16 x 32 + 2 x 16, two layers, final norm 16.
    numbers = 2 * 12 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 16
    assert memory_estimate(spec(model), "cpu") == int(MARGIN * 4 * numbers)
    assert memory_estimate(spec(model), "cuda") == int(MARGIN * 2 * numbers)
    assert memory_estimate(spec(model, dtype="float16"), "cpu") == int(MARGIN * 2 * numbers)
    # LoRA of rank 2 on q_proj (16, 16) and down_proj (16, 32) of two layers, always merged in float32.
    own = 2 * 2 * ((16 + 16) + (16 + 32))
    assert memory_estimate(spec(adapter(tmp_path / "lora", model)), "cuda") == int(MARGIN * 4 * (numbers + own))


def test_free_memory_is_what_the_system_says() -> None:
    free = available_memory("cpu")
    assert 2**20 < free < 2**50


def test_a_container_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.subjects import memory

    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert available_memory("cpu") == 1_000_000 - 400_000 + 50_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory("cpu") > 2**20


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_on_a_gpu(model: Path, tmp_path: Path, device: str) -> None:
    import torch

    subject = load(spec(model), device=device)
    assert (subject.device.type, subject.dtype) == ("cuda", "bfloat16")
    exact = load(spec(model, dtype="float32"), device=device)
    assert np.abs(logits(exact.model) - logits(load(spec(model), device="cpu").model)).max() < 1e-3
    merged = load(spec(adapter(tmp_path / "lora", model)), device=device)
    assert (merged.device.type, merged.dtype) == ("cuda", "float32")
    quantised = load(spec(model), device=device, quantize="nf4")
    assert np.isfinite(logits(quantised.model)).all()
    assert available_memory(resolve_device(device)) > 2**30
    before = torch.cuda.memory_allocated()
    for one in (subject, exact, merged, quantised):
        release(one)
    assert torch.cuda.memory_allocated() < before
