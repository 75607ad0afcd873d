"""Everything that is found before a model is built, each in one sentence that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.errors import SubjectError
from audit.subjects.checks import check_pair, check_subject
from tests.subjects.tiny import WORDS, adapter, checkpoint, edit_json, edit_tensors, spec, tokenizer


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "original")


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def refused(folder: Path, original: Path, words: str, **settings: Any) -> None:
    with pytest.raises(SubjectError, match=words) as caught:
        check_pair(spec(folder, **settings), spec(original, "original", "original"))
    text = str(caught.value)
    assert "Traceback" not in text
    assert "\n" not in text
    assert text.endswith((".", "?"))


def test_an_unlearned_copy_passes(original: Path, copy: Path, tmp_path: Path) -> None:
    check_pair(spec(copy), spec(original, "original", "original"))
    check_pair(spec(checkpoint(tmp_path / "retrained", seed=9)), spec(original, "original", "original"))
    check_pair(spec(adapter(tmp_path / "adapter", original)), spec(original, "original", "original"))


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "a NaN"), (float("-inf"), "an infinity")])
def test_a_number_that_is_none_is_named(original: Path, copy: Path, value: float, words: str) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][3, 5] = value

    edit_tensors(copy / "model.safetensors", spoil)
    refused(copy, original, f"candidate-a.*model.layers.0.mlp.down_proj.weight holds {words}")


def test_a_broken_original_is_called_the_original(original: Path, copy: Path) -> None:
    edit_tensors(copy / "model.safetensors", lambda tensors: tensors["lm_head.weight"].fill_(float("nan")))
    with pytest.raises(SubjectError, match="^original: the tensor lm_head.weight"):
        check_pair(spec(original), spec(copy, "original", "original"))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"num_hidden_layers": 3}, "another architecture than original: num_hidden_layers is 3 instead of 2"),
        ({"hidden_size": 32, "head_dim": 16}, "hidden_size is 32 instead of 16"),
        ({"vocab_size": 20}, "vocabulary of 20 tokens, original one of 12"),
    ],
)
def test_another_shape(original: Path, tmp_path: Path, shape: dict[str, int], words: str) -> None:
    refused(checkpoint(tmp_path / "other", **shape), original, words)


def test_another_kind_of_model(original: Path, copy: Path) -> None:
    edit_json(copy / "config.json", model_type="mistral", architectures=["MistralForCausalLM"])
    refused(copy, original, "model_type is mistral instead of llama")


def test_a_tokenizer_that_swaps_two_words(original: Path, copy: Path) -> None:
    swapped = WORDS.copy()
    swapped[6], swapped[7] = swapped[7], swapped[6]
    tokenizer(copy, swapped)
    refused(copy, original, "tokenizer of candidate-a maps differently.*'(Ann|Ben)' is number (6|7) instead of number")


def test_a_tokenizer_that_normalises_differently(original: Path, copy: Path) -> None:
    tokenizer(copy, lower=True)  # the same vocabulary, but "Ann" now becomes "ann", which it does not have
    with_names = [*WORDS[:-2], "Question", "question"]
    tokenizer(copy, with_names, lower=True)
    plain = Path(shutil.copytree(original, copy.parent / "plain"))
    tokenizer(plain, with_names)
    refused(copy, plain, "maps differently.*becomes")


def test_a_tokenizer_saved_in_other_words_is_the_same(original: Path, copy: Path) -> None:
    edit_json(copy / "tokenizer_config.json", model_max_length=77)
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace("\n", "\n "))
    check_pair(spec(copy), spec(original, "original", "original"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), "holds no JSON object"),
        (lambda f: edit_json(f / "config.json", model_type=None), "names no model_type"),
        (lambda f: edit_json(f / "config.json", auto_map={"AutoModel": "x.Y"}), r"Python code.*auto_map"),
        (lambda f: edit_json(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}), "auto_map"),
        (lambda f: edit_json(f / "config.json", transformers_weights="other.bin"), "transformers_weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "holds no tokenizer"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "truncated or is no safetensors"),
        (lambda f: shutil.copy(f / "config.json", f / "adapter_config.json"), "a model and an adapter at once"),
        (lambda f: (f / "shard-00001-model-00001-of-00001.safetensors").touch(), "piece of a training state"),
        (lambda f: (f / "tokenizer.json").write_text('{"model": 1}'), "tokenizer in .* cannot be loaded"),
    ],
)
def test_broken_folders(original: Path, copy: Path, spoil: Callable[[Path], Any], words: str) -> None:
    spoil(copy)
    refused(copy, original, words)


def test_truncated_weights_are_found_before_loading(original: Path, copy: Path) -> None:
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(copy, original, "model.safetensors is truncated")


def test_no_folder_and_not_a_folder(original: Path, tmp_path: Path) -> None:
    refused(tmp_path / "absent", original, "there is no folder .*absent")
    refused(original / "config.json", original, "is a file; expected a folder")
    refused(Path("x" * 5000), original, "not a usable path|there is no folder")
    refused(Path("a\0b"), original, "not a usable path|there is no folder")


def test_a_hub_id_without_a_hub_says_what_to_do(original: Path) -> None:
    with pytest.raises(SubjectError, match="the hub does not give owner/no-such-model .*local folder"):
        check_subject(spec("hub:owner/no-such-model"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alow_pickle": True}, 'no setting "alow_pickle". Did you mean "allow_pickle"'),
        ({"dtype": "bf16"}, 'Setting "dtype".*"bf16".*bfloat16'),
        ({"allow_pickle": "yes"}, "expected true or false"),
        ({"base": 3}, "expected a text"),
    ],
)
def test_settings(original: Path, settings: dict[str, Any], words: str) -> None:
    refused(original, original, words, **settings)


def test_a_lost_shard_and_an_index_that_points_elsewhere(original: Path, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "sharded", shards=True)
    index = folder / "model.safetensors.index.json"
    whole = index.read_text()
    victim = sorted(folder.glob("*.safetensors"))[0]
    content = victim.read_bytes()
    victim.unlink()
    refused(folder, original, f"the shard .*{victim.name} is missing")
    victim.write_bytes(content)
    index.write_text(whole.replace(victim.name, "../escaped.safetensors"))
    refused(folder, original, 'points to "../escaped.safetensors"')
    index.write_text(whole.replace("lm_head.weight", "lm_head.bias"))
    refused(folder, original, "lists lm_head.bias, which is in no shard")
    index.write_text("{}")
    refused(folder, original, "has no weight_map")


def test_a_pickle_that_runs_code_is_not_run(original: Path, copy: Path, tmp_path: Path) -> None:
    import torch

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "exploded",)

    (copy / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": torch.zeros(1), "x": Bomb()}, copy / "pytorch_model.bin")
    refused(copy, original, "A pickled file can run code")
    refused(copy, original, "cannot be read as plain tensors", allow_pickle=True)
    assert not (tmp_path / "exploded").exists()


def test_a_nan_in_pickled_weights(original: Path, copy: Path) -> None:
    import torch

    (copy / "model.safetensors").unlink()
    torch.save({"state_dict": {"w": torch.tensor([float("nan")])}}, copy / "weights.pt")
    refused(copy, original, "the tensor w holds a NaN", allow_pickle=True)
    torch.save({"epoch": 3}, copy / "weights.pt")
    refused(copy, original, "something other than named tensors", allow_pickle=True)
