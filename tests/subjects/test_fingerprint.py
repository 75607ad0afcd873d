"""The hashes that name a subject: what changes them, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit.errors import SubjectError
from audit.subjects.fingerprint import ADAPTER_PREFIX, fingerprint
from tests.subjects.tiny import adapter, checkpoint, edit_json, edit_tensors, spec, tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "original")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


def test_a_copy_elsewhere_under_another_name_is_the_same(model: Path, copy: Path) -> None:
    assert fingerprint(spec(model, "a", "original")) == fingerprint(spec(copy, "b"))


def test_one_bit_of_one_tensor_changes_that_tensor_and_the_id(model: Path, copy: Path) -> None:
    import torch

    def flip(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"].view(torch.int32)[0, 0] ^= 1

    edit_tensors(copy / "model.safetensors", flip)
    before, after = fingerprint(spec(model)), fingerprint(spec(copy))
    assert before.id != after.id
    changed = {name for name in before.tensors if before.tensors[name] != after.tensors[name]}
    assert changed == {"model.layers.1.mlp.up_proj.weight"}


def test_shards_have_the_same_tensors(model: Path, tmp_path: Path) -> None:
    sharded = checkpoint(tmp_path / "sharded", shards=True)
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert fingerprint(spec(sharded)) == fingerprint(spec(model))


@pytest.mark.parametrize("key", ["transformers_version", "dtype", "use_cache", "_name_or_path"])
def test_cosmetic_keys_do_not_count(model: Path, copy: Path, key: str) -> None:
    edit_json(copy / "config.json", **{key: "something else"})
    assert fingerprint(spec(copy)).id == fingerprint(spec(model)).id


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "rms_norm_eps", 0.5), ("config.json", "num_attention_heads", 4),
        ("generation_config.json", "eos_token_id", 5), ("tokenizer_config.json", "bos_token", "a"),
    ],
)  # fmt: skip
def test_what_changes_the_answers_counts(model: Path, copy: Path, file: str, key: str, value: object) -> None:
    edit_json(copy / file, **{key: value})
    assert fingerprint(spec(copy)).id != fingerprint(spec(model)).id


def test_number_format_and_tokenizer_count(model: Path, copy: Path) -> None:
    assert fingerprint(spec(model, dtype="float16")).id != fingerprint(spec(model)).id
    tokenizer(copy, lower=True)
    before, after = fingerprint(spec(model)), fingerprint(spec(copy))
    assert before.tokenizer != after.tokenizer
    assert before.id != after.id
    assert before.tensors == after.tensors


def test_an_adapter_is_its_base_and_its_own_tensors(model: Path, tmp_path: Path) -> None:
    import json

    one = fingerprint(spec(adapter(tmp_path / "one", model, seed=1)))
    two = fingerprint(spec(adapter(tmp_path / "two", model, seed=2)))
    base = fingerprint(spec(model))
    assert len({one.id, two.id, base.id}) == 3
    own = {name for name in one.tensors if name.startswith(ADAPTER_PREFIX)}
    assert len(own) == 8  # two layers, two modules, A and B
    assert {name: digest for name, digest in one.tensors.items() if name not in own} == base.tensors
    assert one.tokenizer == base.tokenizer
    other_base = checkpoint(tmp_path / "other", seed=5)
    moved = Path(shutil.copytree(tmp_path / "one", tmp_path / "moved"))
    edit_json(moved / "adapter_config.json", base_model_name_or_path=str(other_base))
    assert fingerprint(spec(moved)).id != one.id
    alpha = Path(shutil.copytree(tmp_path / "one", tmp_path / "alpha"))
    edit_json(alpha / "adapter_config.json", lora_alpha=8)
    assert fingerprint(spec(alpha)).id != one.id
    assert json.dumps(dict(one.config))  # it can be stored


def test_reading_it_again_reads_no_weights(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.subjects import weights

    first = fingerprint(spec(model))
    monkeypatch.setattr(weights, "_scan_tensor", lambda *_: pytest.fail("the weights were read again"))
    assert fingerprint(spec(model, "another name")) == first


def test_pickled_weights_have_the_hashes_of_safetensors(model: Path, copy: Path) -> None:
    import torch
    from safetensors.torch import load_file

    held = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(held, copy / "pytorch_model.bin")
    assert fingerprint(spec(copy, allow_pickle=True)) == fingerprint(spec(model))
    with pytest.raises(SubjectError, match="allow_pickle = true"):
        fingerprint(spec(copy))


def test_real_data_have_a_fingerprint(shared: Path) -> None:
    found = fingerprint(spec(shared / "data" / "models" / "stories260K", "stories", "original"))
    assert len(found.tensors) == 47
    assert found.config["hidden_size"] == 64
