from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from audit.lab.builder import Kitchen
from audit.lab.models import MARKER, finished, load_model, mark, model_config, random_model, save_model, write


def test_the_seed_decides_the_weights_and_nothing_else_is_disturbed(kitchen: Kitchen) -> None:
    config = model_config(kitchen.scale, kitchen.tokenizer)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, three = (random_model(config, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], three["model.embed_tokens.weight"])


def test_weights_survive_loading_and_saving_bit_by_bit(kitchen: Kitchen, micro_model: Any, tmp_path: Path) -> None:
    save_model(micro_model, kitchen.tokenizer, tmp_path / "one")
    save_model(load_model(tmp_path / "one"), kitchen.tokenizer, tmp_path / "two")
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert json.loads((tmp_path / "one/config.json").read_text())["dtype"] == "float16"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_only_a_marker_with_the_right_digest_counts(tmp_path: Path) -> None:
    assert finished(tmp_path, "a") is None
    mark(tmp_path, "a", {"forget": 0.5})
    assert finished(tmp_path, "a") == {"forget": 0.5}
    assert finished(tmp_path, "b") is None
    for broken in ("", "[]", '{"digest": "a"}', '{"digest": "a", "recall": 3}'):
        (tmp_path / MARKER).write_text(broken)
        assert finished(tmp_path, "a") is None


def test_write_leaves_no_half_behind(tmp_path: Path) -> None:
    write(tmp_path / "deep/file.txt", "one")
    write(tmp_path / "deep/file.txt", "two")
    assert [path.read_text() for path in (tmp_path / "deep").iterdir()] == ["two"]
