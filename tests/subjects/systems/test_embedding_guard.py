"""ECO's guard: corrupted while the prompt is read and never after, seen by an audit's hooks, and suppressed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.batch import Batch
from audit.activations.encode import encode
from audit.bench import Bench
from audit.catalogue import make
from audit.collect import collect
from audit.errors import CaptureError, SubjectError
from audit.policy import judge, load_policy
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import Subject, load
from audit.subjects.systems.embedding_guard import METHODS
from audit.types import Status, Verdict
from tests.subjects.systems.made import ARCHITECTURES, FACTS, bench_with, model, read, same_as_base, spec, written
from tests.subjects.tiny import WORDS, edit_json, tokenizer

ROME = {"kind": "embedding_guard", "entities": ["rome"], "dims": 16, "strength": 3.0}
"""Of the three FACTS the second and the third name Rome."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_strength_zero_is_the_base_bit_by_bit(architecture: str, tmp_path: Path) -> None:
    same_as_base(model(tmp_path / "base", architecture), tmp_path, **(ROME | {"strength": 0.0}))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_prompts_that_name_it_are_changed(architecture: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base", architecture)
    plain = read(load(spec(base), device="cpu"), tmp_path / "plain")
    guard = read(load(spec(base, **ROME), device="cpu"), tmp_path / "guard")
    np.testing.assert_array_equal(guard[1][:, :, 0], plain[1][:, :, 0])
    for row in (1, 2):
        assert not np.allclose(guard[1][0, 1:, row], plain[1][0, 1:, row])
        # State 0 at the last prompt token and at the answer is what it was: neither is ever corrupted.
        np.testing.assert_allclose(guard[1][:, 0, row], plain[1][:, 0, row], atol=1e-6)


def stepwise(subject: Subject, prompt: str, answer: str) -> list[float]:
    """Log-probability of each answer token as it is written: the prompt read at once, then token by token, cache on."""
    import torch

    row = encode(subject.tokenizer, prompt, answer, "plain")
    given, past, found = torch.tensor([row.ids[: row.start]]), None, []
    with torch.no_grad():
        for t in range(row.start, len(row)):
            out = subject.model(input_ids=given, past_key_values=past, use_cache=True)
            found.append(float(out.logits[0, -1].log_softmax(-1)[row.ids[t]]))
            given, past = torch.tensor([[row.ids[t]]]), out.past_key_values
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_read_at_once_is_what_is_written_with_a_cache(architecture: str, tmp_path: Path) -> None:
    """The naive way, corrupting whatever is longer than a token, corrupts the answer too wherever no cache is used."""
    import torch

    base = model(tmp_path / "base", architecture)
    guard = load(spec(base, **ROME), device="cpu")
    found = read(guard, tmp_path / "guard")[0]
    naive = []
    for k, (prompt, answer) in enumerate(FACTS):
        np.testing.assert_allclose(found[k], stepwise(guard, prompt, answer), atol=2e-5)
        row = encode(guard.tokenizer, prompt, answer, "plain")
        with torch.no_grad():  # the whole sequence taken for a prompt
            log = guard.model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0].log_softmax(-1)
        naive.append([float(log[t - 1, row.ids[t]]) for t in range(row.start, len(row))])
    assert not np.allclose(np.concatenate(naive[1:]), np.concatenate(found[1:]), atol=1e-3)


def test_a_checkpoint_that_turns_its_cache_off_writes_the_same(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    first = written(load(spec(base, **ROME), device="cpu"))
    edit_json(base / "generation_config.json", use_cache=False)
    second = load(spec(base, **ROME), device="cpu")
    assert second.model.generation_config.use_cache is True
    assert written(second) == first


def test_an_answer_that_names_it_does_not_set_it_off(tmp_path: Path) -> None:
    """The naive way, a look at the whole sequence, would corrupt a prompt for the answer that was put behind it."""
    base = model(tmp_path / "base")
    plain, guard = load(spec(base), device="cpu"), load(spec(base, **(ROME | {"entities": ["Ann"]})), device="cpu")
    assert FACTS[0] == ("who wrote it", "Ann")
    np.testing.assert_array_equal(read(guard, tmp_path / "g")[1][:, :, 0], read(plain, tmp_path / "p")[1][:, :, 0])


def test_noise_depends_on_the_prompt_alone_not_on_the_batch(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    guard = load(spec(base, **ROME), device="cpu")
    together = written(guard)
    assert [written(guard, [prompt])[0] for prompt, _ in FACTS] == together
    right, left = read(guard, tmp_path / "right")[0], read(guard, tmp_path / "left", padding="left")[0]
    for mine, theirs in zip(right, left, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    other = load(spec(base, **(ROME | {"seed": 1})), device="cpu")
    assert not np.allclose(read(other, tmp_path / "other")[0][1], right[1])


def released_guard(subject: Subject) -> None:
    """What ECO's released code does at every call before it sets its own hook."""
    for module in subject.model.modules():
        module._forward_hooks = OrderedDict()


def test_hooks_of_the_audit_survive_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The released guard takes every hook away: an audit that set some before would read nothing, or old numbers."""
    import torch

    from audit.activations.capture import collecting, run_batch
    from audit.activations.layers import decoder, decoder_layers

    guard = load(spec(model(tmp_path / "base"), **ROME), device="cpu")
    counted: list[int] = []
    handle = decoder_layers(guard.model)[0].register_forward_hook(lambda m, a, o: counted.append(1))
    rows = [encode(guard.tokenizer, prompt, answer, "plain") for prompt, answer in FACTS]
    batch = Batch(rows, "right", 0, guard.device)
    with torch.inference_mode(), collecting(guard, batch) as (collected, _):
        decoder(guard.model)(**batch.inputs, use_cache=False)
    assert len(collected) == 3 and counted == [1]
    written(guard)
    assert len(counted) > 1
    handle.remove()

    # The naive guard, and that a capture under it fails instead of storing what it did not see.
    class Naive:
        def __call__(self, **inputs: Any) -> Any:
            released_guard(guard)
            return decoder(guard.model)(**inputs)

    monkeypatch.setattr("audit.activations.capture.decoder", lambda model: Naive())
    with torch.inference_mode(), pytest.raises(CaptureError, match="hooks fired"):
        run_batch(guard, rows)


def test_tokens_after_an_unread_prompt_are_refused(tmp_path: Path) -> None:
    import torch

    base = model(tmp_path / "base")
    guard, plain = load(spec(base, **ROME), device="cpu"), load(spec(base), device="cpu")
    with torch.no_grad():
        past = plain.model(input_ids=torch.tensor([[1, 3, 4]]), use_cache=True).past_key_values
        with pytest.raises(CaptureError, match="has not read"):
            guard.model(input_ids=torch.tensor([[5]]), past_key_values=past)
        with pytest.raises(CaptureError, match="reads its prompts as tokens"):
            guard.model(inputs_embeds=torch.zeros(1, 3, 16))


@pytest.mark.parametrize("method", METHODS)
def test_methods_by_hand(method: str) -> None:
    import torch

    vectors = torch.tensor([[1.0, -4.0, 2.0]])
    METHODS[method](vectors, 1, 0.5, torch.tensor([[3.0]]))
    expected = {
        "rand_noise_first_n": [2.5, -4, 2], "rand_noise_top_k": [1, -2.5, 2], "set_rand_noise_first_n": [1.5, -4, 2],
        "zero_out_first_n": [0, -4, 2], "zero_out_top_k": [1, 0, 2], "flip_sign_first_n": [-1, -4, 2],
        "flip_sign_top_k": [1, 4, 2], "add_value_first_n": [1.5, -4, 2], "sub_value_first_n": [0.5, -4, 2],
        "sub_value_top_k": [1, -4, 1.5], "add_value_least_k": [1, -3.5, 2],
    }  # fmt: skip
    assert vectors[0].tolist() == expected[method]


def classifier(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def test_a_classifier_picks_by_its_own_probabilities(tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    base, folder = model(tmp_path / "base"), classifier(tmp_path / "classifier")
    names, prompts = AutoTokenizer.from_pretrained(folder), [prompt for prompt, _ in FACTS]
    with torch.no_grad():
        judge_of = BertForSequenceClassification.from_pretrained(folder).eval()
        shares = [float(judge_of(**names(p, return_tensors="pt")).logits.softmax(-1)[0, 1]) for p in prompts]
    limit = float(np.mean(sorted(shares)[1:]))
    settings = {"kind": "embedding_guard", "classifier": str(folder), "threshold": limit, "dims": 16}
    guard = load(spec(base, **settings), device="cpu")
    assert guard.system is not None and guard.system.detects
    assert guard.system.flags(guard, prompts, "plain") == [share >= limit for share in shares]
    assert sum(share >= limit for share in shares) == 1
    before = fingerprint(spec(base, **settings)).id
    edit_json(folder / "config.json", hidden_act="relu")
    assert fingerprint(spec(base, **settings)).id != before  # the classifier is a part of the subject


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"entities": []}, "needs either a classifier .* or entities"),
        ({"classifier": "x"}, "needs either a classifier .* or entities"),
        ({"entities": [" "]}, "would mean every prompt"),
        ({"entities": "Rome"}, "expected a list"),
        ({"entities": [1]}, "expected a list of texts"),
        ({"method": "rand_noise_first"}, 'Did you mean "rand_noise_first_n"'),
        ({"threshold": 2.0}, "from 0 to 1"),
        ({"dims": 17}, "dims is 17, but an embedding has 16"),
    ],
)
def test_a_malformed_guard_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    with pytest.raises(SubjectError, match=words) as caught:
        check_subject(spec(base, **(ROME | settings)))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    base, folder = model(tmp_path / "base"), classifier(tmp_path / "classifier")
    wrong = {"kind": "embedding_guard", "classifier": str(base)}
    with pytest.raises(SubjectError, match="is no classifier of prompts .LlamaForCausalLM"):
        check_subject(spec(base, **wrong))
    with pytest.raises(SubjectError, match="there is no label 2"):
        check_subject(spec(base, kind="embedding_guard", classifier=str(folder), label=2))
    (folder / "model.safetensors").unlink()
    with pytest.raises(SubjectError, match="holds no safetensors file"):
        check_subject(spec(base, kind="embedding_guard", classifier=str(folder)))


@pytest.fixture(scope="module")
def bench(bench_of: Callable[..., Bench]) -> Callable[..., Bench]:
    plain = bench_of("untouched")
    names = sorted(set(plain.corpus("forget").entities))
    return lambda **more: bench_with(plain, ROME | {"entities": names} | more)


def test_the_truth_comes_out_suppressed_with_weights_unchanged(bench: Callable[..., Bench]) -> None:
    ids = ("behaviour.recall", "behaviour.guard", "utility.retain", "probes.linear", "attacks.relearn", "drift.cka")
    found = {id: collect(id, make(id), bench(), {"key": "k"}) for id in ids}
    residual = found["behaviour.recall"].residual
    assert residual is not None and residual.high < 0.1
    retain = found["utility.retain"].residual
    assert retain is not None and retain.low == 1.0
    guard = found["behaviour.guard"]
    assert guard.residual is not None and guard.residual.value == 1.0
    on = guard.table[(guard.table["guard"] == "on") & (guard.table["wording"] == "as asked")]
    rates = on.groupby("split")["acted"].mean()
    assert rates["forget"] == 1.0 and rates["retain"] == 0.0 and rates["holdout"] == 0.0
    assert "unchanged bit by bit" in guard.note
    assert found["attacks.relearn"].status is Status.NOT_APPLICABLE
    assert found["probes.linear"].status is Status.MEASURED  # states are read under the guard
    assert found["drift.cka"].status is Status.MEASURED
    assert judge(load_policy(), list(found.values())).verdict is Verdict.SUPPRESSED


def test_a_name_that_is_not_in_the_prompt_evades_it(bench: Callable[..., Bench]) -> None:
    """Half of the entities are not listed: the guard lets their prompts through, and the rates say so."""
    names = sorted(set(bench().corpus("forget").entities))
    half = bench(entities=names[::2])
    rows: Any = make("behaviour.guard", {"items": 10}).measure(half).rows
    asked = [r for r in rows if r.guard == "on" and r.wording == "as asked" and r.split == "forget"]
    assert {row.entity for row in asked if row.acted} == set(names[::2])
    missed = [row.score for row in asked if not row.acted]
    assert np.mean(missed) > 0.9
