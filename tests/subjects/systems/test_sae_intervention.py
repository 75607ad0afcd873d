"""Scaled features: the error term stays, redundancy keeps answers, and what an audit says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.catalogue import make
from audit.collect import collect
from audit.errors import SubjectError
from audit.policy import judge, load_policy
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.types import Verdict
from tests.subjects.systems.made import ARCHITECTURES, FACTS, bench_with, model, read, same_as_base, spec, written
from tests.subjects.tiny import edit_json


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ReLU autoencoder of 32 features for the output of the first block of width 16."""
    import torch

    from audit.dictionaries.train import quiet_import

    quiet_import()
    from sae_lens import StandardSAE, StandardSAEConfig

    torch.manual_seed(0)
    config = StandardSAEConfig(d_in=16, d_sae=32)
    config.metadata.hook_name = "blocks.0.hook_resid_post"
    made = StandardSAE(config)
    for weight in made.parameters():
        weight.data.normal_(0.0, 0.3)
    folder = tmp_path_factory.mktemp("dictionary")
    made.save_model(str(folder))
    return folder


def intervention(dictionary: Path | str, **more: Any) -> dict[str, Any]:
    return {"kind": "sae_intervention", "dictionary": str(dictionary), "features": [1, 5, 9], "scale": -2.0, **more}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scale_one_is_the_base_bit_by_bit(architecture: str, dictionary: Path, tmp_path: Path) -> None:
    """The naive way, decoding what was encoded, would leave the reconstruction's error out."""
    same_as_base(model(tmp_path / "base", architecture), tmp_path, **intervention(dictionary, scale=1.0))


def test_what_is_added_to_the_block_by_hand(dictionary: Path, tmp_path: Path) -> None:
    import torch

    from audit.dictionaries.source import load_sae
    from audit.types import DictionarySpec

    base = model(tmp_path / "base")
    before = read(load(spec(base), device="cpu"), tmp_path / "plain")[1]
    after = read(load(spec(base, **intervention(dictionary)), device="cpu"), tmp_path / "system")[1]
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    sae, states = (
        load_sae(DictionarySpec(1, str(dictionary))),
        torch.from_numpy(before[0, 1]),
    )  # at the last prompt token
    with torch.no_grad():
        active = sae.encode(states)[:, [1, 5, 9]]
        expected = states + (-2.0 - 1.0) * active @ sae.W_dec[[1, 5, 9]]
    assert float(active.max()) > 0
    np.testing.assert_allclose(after[0, 1], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2])
def test_only_while_the_prompt_names_it_also_at_tokens_written_later(
    architecture: str, dictionary: Path, tmp_path: Path
) -> None:
    base = model(tmp_path / "base", architecture)
    always = load(spec(base, **intervention(dictionary, scale=-20.0)), device="cpu")
    named = load(spec(base, **intervention(dictionary, scale=-20.0, entities=["rome"])), device="cpu")
    plain = load(spec(base), device="cpu")
    assert [("Rome" in prompt) for prompt, _ in FACTS] == [False, True, True]
    assert written(named) == [written(plain)[0], *written(always)[1:]]
    assert written(always) != written(plain)
    assert named.system is not None and named.system.flags(named, ["in Rome", "in"], "plain") == [True, False]
    assert always.system is not None and not always.system.detects


def test_dictionary_features_scale_layer_and_names_are_the_subject(dictionary: Path, tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    changes: list[dict[str, Any]] = [{}, {"features": [1, 5]}, {"scale": 0.0}, {"layer": 2}, {"entities": ["Rome"]}]
    ids = [fingerprint(spec(base, **intervention(dictionary, **change))).id for change in changes]
    assert len(set(ids)) == len(changes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dictionary": ""}, "without a dictionary"),
        ({"features": []}, "names no feature"),
        ({"features": [1, 1]}, "each feature once"),
        ({"features": ["1"]}, "expected a list of whole numbers"),
        ({"features": [32]}, "has 32 features; there is no feature 32"),
        ({"layer": 3}, "works at block 3, but the model has 2"),
        ({"entities": [""]}, "would mean every prompt"),
        ({"dictionary": "nowhere"}, "cannot be read"),
    ],
)
def test_a_malformed_intervention_is_one_sentence(
    settings: dict[str, Any], words: str, dictionary: Path, tmp_path: Path
) -> None:
    base = model(tmp_path / "base")
    with pytest.raises(SubjectError, match=words) as caught:
        check_subject(spec(base, **(intervention(dictionary) | settings)))
    assert "\n" not in str(caught.value)


def test_a_dictionary_of_another_model_is_refused(dictionary: Path, tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "cfg.json").write_text((dictionary / "cfg.json").read_text())
    with pytest.raises(SubjectError, match="holds no sae_weights"):
        check_subject(spec(base, **intervention(copy)))
    (copy / "sae_weights.safetensors").write_bytes((dictionary / "sae_weights.safetensors").read_bytes())
    edit_json(copy / "cfg.json", d_in=64)
    with pytest.raises(SubjectError, match="reads states of width 64, but the model's have 16"):
        check_subject(spec(base, **intervention(copy)))
    config = json.loads((dictionary / "cfg.json").read_text())
    metadata = {**config["metadata"], "hook_name": "blocks.0.attn.hook_z"}
    (copy / "cfg.json").write_text(json.dumps(config | {"metadata": metadata}))
    with pytest.raises(SubjectError, match="give that block as layer"):
        check_subject(spec(base, **intervention(copy)))


@pytest.fixture(scope="module")
def bench(bench_of: Callable[..., Bench], tiny_lab: Path) -> Callable[..., Bench]:
    """The lab's dictionary for block 2: the features most active on what is to be forgotten, while a name is asked."""
    from audit.dictionaries.source import dictionaries

    plain = bench_of("untouched")
    made = next(d for d in dictionaries(plain) if d.layer == 2)
    active = made.encode(plain.states("original", "forget").at(2, "prompt_last")).mean(0)
    order = [int(i) for i in np.argsort(-active)]
    names = sorted(set(plain.corpus("forget").entities))
    folder = tiny_lab / "saes" / "block-2"

    def bench(number: int, scale: float) -> Bench:
        return bench_with(plain, intervention(folder, features=order[:number], scale=scale, entities=names))

    return bench


def test_the_truth_comes_out_suppressed_with_weights_unchanged(bench: Callable[..., Bench]) -> None:
    ids = ("behaviour.recall", "behaviour.guard", "utility.retain", "probes.linear")
    found = {id: collect(id, make(id), bench(30, -2.0), {"key": "k"}) for id in ids}
    residual, retain = found["behaviour.recall"].residual, found["utility.retain"].residual
    assert residual is not None and residual.high < 0.1
    assert retain is not None and retain.low == 1.0
    guard = found["behaviour.guard"]
    assert guard.residual is not None and guard.residual.value == 1.0
    assert "unchanged bit by bit" in guard.note
    assert judge(load_policy(), list(found.values())).verdict is Verdict.SUPPRESSED


def test_taking_ten_features_away_does_not_forget(bench: Callable[..., Bench]) -> None:
    """Features are redundant: an audit that took their absence for forgetting would be wrong about most answers."""
    finding = collect("behaviour.recall", make("behaviour.recall"), bench(10, 0.0), {"key": "k"})
    assert finding.residual is not None and finding.residual.low > 0.5
