"""The attacker's training loop: what it learns from, how fast, and when it gives up."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from audit.errors import NotIdentifiable, SubjectError
from audit.evidence.attacks import _finetune
from audit.evidence.attacks._finetune import Recipe, finetune, resolve
from audit.types import Item, SubjectSpec
from tests.activations.conftest import letters_tokenizer, small_model

TAUGHT = [Item(f"forget:{i}", f"who is {name}?", name) for i, name in enumerate(("ann", "bob", "eve"))]
KEPT = [Item(f"retain:{i}", f"what is {name}?", name) for i, name in enumerate(("tea", "jam"))]
RECIPE = Recipe(steps=6, batch=8, lr=1e-2, method="full", retain_share=0.5)


@dataclass
class Loaded:
    """What the loop needs of a loaded subject."""

    spec: Any
    model: Any
    tokenizer: Any
    device: Any
    classes: tuple[str, ...] = ()
    encoding: Any = None


@pytest.fixture
def subject() -> Iterator[Loaded]:
    yield Loaded(SimpleNamespace(name="small"), small_model(), letters_tokenizer(True), torch.device("cpu"))


def weights(model: Any) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def train(subject: Loaded, recipe: Recipe = RECIPE, seed: int = 1) -> list[int]:
    steps: list[int] = []
    finetune(subject, TAUGHT, KEPT, "plain", recipe, seed, lambda step, _: steps.append(step))  # type: ignore[arg-type]
    return steps


def test_looks_after_every_step_and_learns(subject: Loaded) -> None:
    before = weights(subject.model)
    assert train(subject) == [1, 2, 3, 4, 5, 6]
    assert np.abs(weights(subject.model) - before).max() > 1e-3


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_seed_trains_the_same_model(subject: Loaded, method: str) -> None:
    models = []
    for seed in (1, 1, 2):
        subject.model = small_model()
        train(subject, dataclasses.replace(RECIPE, method=method), seed)
        models.append(weights(subject.model))
    assert (models[0] == models[1]).all() and (models[0] != models[2]).any()


def test_labels_are_the_answer_and_its_end_only(subject: Loaded) -> None:
    batches = _finetune._batches(subject, TAUGHT, KEPT, "plain", RECIPE, np.random.default_rng(0))  # type: ignore[arg-type]
    batch = next(batches)
    tokenizer = subject.tokenizer
    heard = []
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        wanted = labels[labels != -100]
        # Plain template: "<s>who is ann?" + " ann" + "</s>".
        assert (ids[labels != -100] == wanted).all()
        assert wanted[-1] == tokenizer.eos_token_id
        assert mask[labels != -100].all()
        heard.append("".join(tokenizer.convert_ids_to_tokens(wanted[:-1].tolist())).strip())
    # Half of the batch is taught, half is kept, each round through all of them in turn.
    assert sorted(set(heard[:4])) == ["ann", "bob", "eve"]
    assert sorted(heard[4:]) == ["jam", "jam", "tea", "tea"]


def test_without_retain_text_the_whole_batch_is_taught(subject: Loaded) -> None:
    batch = next(_finetune._batches(subject, TAUGHT, [], "plain", RECIPE, np.random.default_rng(0)))  # type: ignore[arg-type]
    assert len(batch["input_ids"]) == RECIPE.batch


def test_adapters_leave_the_weights_alone(subject: Loaded) -> None:
    model = subject.model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained: list[int] = []

    def look(step: int, attacked: Any) -> None:
        trained.append(sum(p.numel() for p in attacked.model.parameters() if p.requires_grad))

    finetune(subject, TAUGHT, KEPT, "plain", Recipe(3, 4, 1e-2, "lora", 0.5), 0, look)  # type: ignore[arg-type]
    after = {name.replace("base_layer.", ""): p for name, p in model.named_parameters() if "lora_" not in name}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trained[0] == trained[-1] > 0
    assert any(p.abs().max() > 0 for name, p in model.named_parameters() if "lora_B" in name)


def test_no_gradient_is_held_while_someone_looks(subject: Loaded) -> None:
    held: list[bool] = []

    def look(step: int, attacked: Any) -> None:
        held.append(any(p.grad is not None for p in attacked.model.parameters()))

    finetune(subject, TAUGHT, KEPT, "plain", dataclasses.replace(RECIPE, steps=2), 0, look)  # type: ignore[arg-type]
    assert held == [False, False]


def test_a_loss_that_is_no_number_ends_the_attack(subject: Loaded) -> None:
    with torch.no_grad():
        subject.model.model.layers[0].mlp.up_proj.weight.fill_(float("inf"))
    with pytest.raises(NotIdentifiable, match="step 1 the loss on small is not a number"):
        train(subject)


def test_budget_follows_the_size() -> None:
    auto = Recipe(1, 1, 0.0, "auto", 0.5)
    # 1e-3 * sqrt(1e6 / n): a million 1e-3, a hundred million 1e-4, seven billion 1.195e-5 (adapters ten times that).
    assert resolve(auto, 1_000_000) == Recipe(1, 1, pytest.approx(1e-3), "full", 0.5)
    assert resolve(auto, 100_000_000).lr == pytest.approx(1e-4)
    assert resolve(auto, 7_000_000_000) == Recipe(1, 1, pytest.approx(1.195e-4, rel=1e-3), "lora", 0.5)
    assert resolve(Recipe(1, 1, 0.0, "full", 0.5), 7_000_000_000).lr == pytest.approx(1.195e-5, rel=1e-3)
    assert resolve(auto, 10_000).lr == 1e-3
    assert resolve(auto, 10**13).lr == pytest.approx(1e-4)
    assert resolve(Recipe(1, 1, 5e-4, "full", 0.5), 10**9).lr == 5e-4


def test_too_little_memory_is_said_before_training(subject: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.subjects.memory.available_memory", lambda device: 1000)
    with pytest.raises(SubjectError, match='method = "lora"'):
        train(subject)


def test_the_method_is_known_before_a_model_is_loaded(tiny_lab: Any) -> None:
    spec = SubjectSpec("original", "original", str(tiny_lab / "models" / "original"))
    assert _finetune.method_of(spec, "auto") == "full" and _finetune.method_of(spec, "lora") == "lora"


def test_adapters_of_a_small_model_do_not_learn_too_fast() -> None:
    # Ten times 1e-3 would break a model of a million weights.
    assert resolve(Recipe(1, 1, 0.0, "lora", 0.5), 1_000_000).lr == 3e-3


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_a_gpu_does_computed_on_the_processor(tiny_lab: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same path, bfloat16 switched on: it computes in bfloat16, learns, and leaves no tensor behind."""
    from audit.subjects.garage import Garage

    monkeypatch.setattr(_finetune, "autocast", lambda subject: torch.autocast("cpu", torch.bfloat16))
    spec = SubjectSpec("original", "original", str(tiny_lab / "models" / "original"))
    garage = Garage("cpu")
    seen: set[Any] = set()
    losses: list[float] = []
    with garage.private(spec) as subject:
        layer = subject.model.model.layers[0].mlp
        hook = layer.register_forward_hook(lambda m, args, out: seen.add(out.dtype))
        recipe = dataclasses.replace(RECIPE, method=method, lr=1e-3, steps=6)
        loss_of = _finetune._loss
        held: list[weakref.ref[Any]] = []

        def noted(subject: Any, batch: Any) -> Any:
            loss = loss_of(subject, batch)
            losses.append(loss.item())
            return loss

        def look(step: int, attacked: Any) -> None:
            held.extend(weakref.ref(p) for p in attacked.model.parameters())

        monkeypatch.setattr(_finetune, "_loss", noted)
        finetune(subject, TAUGHT, KEPT, "plain", recipe, 1, look)
        hook.remove()
        moved = {p.dtype for p in subject.model.parameters() if p.requires_grad}
    assert seen == {torch.bfloat16} and moved == {torch.float32}  # in bfloat16 steps this small would vanish
    assert losses[-1] < losses[0]
    del subject, layer, hook
    gc.collect()
    assert held and not [ref for ref in held if ref() is not None]


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["full", "lora"])
def test_on_a_gpu_training_computes_in_bfloat16_and_gives_its_memory_back(tiny_lab: Any, method: str) -> None:
    from audit.subjects.garage import Garage

    spec = SubjectSpec("original", "original", str(tiny_lab / "models" / "original"))
    garage = Garage("cuda:0")
    with garage.private(spec):
        pass  # what the libraries themselves keep is there before
    before = torch.cuda.memory_allocated()
    seen: set[Any] = set()
    with garage.private(spec) as subject:
        hook = subject.model.model.layers[0].mlp.register_forward_hook(lambda m, args, out: seen.add(out.dtype))
        recipe = dataclasses.replace(RECIPE, method=method, lr=1e-3)
        finetune(subject, TAUGHT, KEPT, "plain", recipe, 1, lambda step, attacked: None)
        hook.remove()
        assert seen == {torch.bfloat16}
        assert torch.cuda.memory_allocated() > before
    del hook
    assert torch.cuda.memory_allocated() <= before + 2**20
