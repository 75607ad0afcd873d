"""Adapters on encoders and classifiers, and linear layers behind the pooling of an encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.images import read_outputs
from audit.activations.vectors import read_parts
from audit.errors import SubjectError
from audit.subjects.checks import check_pair
from audit.subjects.encoder import encoding_of
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Modality, SubjectSpec
from tests.encoders.conftest import PROMPT, bert, clip, llama, pictures, sentence_folder, texts
from tests.encoders.test_encoders import bert_vectors, run_pass, unit
from tests.images.conftest import vit

Save = Callable[..., SubjectSpec]
TARGETS: dict[str, list[str]] = {
    "bert": ["query", "dense"], "masked": ["query", "dense"], "clip": ["q_proj", "visual_projection"],
    "llama": ["q_proj", "down_proj"], "vit": ["q_proj"],
}  # fmt: skip


def lora(base: SubjectSpec, folder: Path, model: Any, targets: list[str], scale: float, **settings: Any) -> SubjectSpec:
    """An adapter on a model that was saved as `base`; a scale of 0 changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model

    model.name_or_path = base.path
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=targets))
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(0.0, scale) if scale else weight.data.zero_()
    wrapped.save_pretrained(str(folder))
    return SubjectSpec(folder.name, "candidate", str(folder), settings)


def made(kind: str) -> Any:
    return {"bert": bert, "masked": lambda: bert(masked=True), "clip": clip, "llama": llama, "vit": vit}[kind]()


def encoder(kind: str, saved: Save) -> SubjectSpec:
    settings = {"embedding_prompt": PROMPT} if kind == "llama" else {}
    return saved(made(kind), end=kind != "llama", **settings)


@pytest.mark.parametrize("kind", ["bert", "masked", "clip", "llama"])
def test_an_adapter_of_zeros_is_its_base_bit_by_bit_and_another_is_what_its_maker_computes(
    kind: str, saved: Save, tmp_path: Path
) -> None:
    base, corpus = encoder(kind, saved), pictures() if kind == "clip" else texts()
    settings = dict(base.settings)
    zero = lora(base, tmp_path / "zero", made(kind), TARGETS[kind], 0.0, **settings)
    moved = lora(base, tmp_path / "moved", whole := made(kind), TARGETS[kind], 0.5, **settings)
    for one in (zero, moved):
        assert modality_of(one) is Modality.VECTORS
        assert encoding_of(one) == encoding_of(base)
        check_pair(one, base)
    assert len({fingerprint(one).id for one in (base, zero, moved)}) == 3
    found = {one.name: run_pass(one, corpus, tmp_path / f"pass-{one.name}") for one in (base, zero, moved)}
    files = {name: {p.name: p.read_bytes() for p in place.iterdir()} for name, (_, place) in found.items()}
    assert files["original"] == files["zero"]
    assert not np.allclose(read_outputs(found["original"][1]), read_outputs(found["moved"][1]), atol=1e-3)
    if kind in ("bert", "masked"):  # `whole` still has the adapter beside its weights: it was never merged
        wanted = bert_vectors(whole, [item.prompt for item in corpus.items])
        np.testing.assert_allclose(read_parts(found["moved"][1])["queries"], wanted, atol=1e-5)
    assert not any("lora" in name for name, _ in found["moved"][0].model.named_parameters())


def test_an_adapter_beside_the_modules_of_its_encoder(saved: Save, tmp_path: Path) -> None:
    """sentence-transformers writes its modules beside the adapter, and they say how texts are pooled."""
    base = saved(bert())
    made_on = lora(base, tmp_path / "sentences", bert(), TARGETS["bert"], 0.5)
    sentence_folder(Path(made_on.path), pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    assert encoding_of(made_on).pooling == ("cls",)
    with pytest.raises(SubjectError, match="makes vectors in another way than original"):
        check_pair(made_on, base)
    # Where the base has them, they hold for the adapter too.
    sentence_folder(Path(base.path))
    other = lora(base, tmp_path / "plain", bert(), TARGETS["bert"], 0.5)
    check_pair(other, base)
    assert encoding_of(other).lower


def test_what_does_not_fit_is_one_sentence(saved: Save, tmp_path: Path) -> None:
    base = saved(bert())
    made_on = lora(base, tmp_path / "lora", bert(), TARGETS["bert"], 0.5)
    other = saved(llama(), "other", end=False)
    wrong = SubjectSpec("lora", "candidate", made_on.path, {"base": other.path})
    with pytest.raises(SubjectError, match="whose weights differ. On another base it is another model"):
        check_pair(wrong, base)
    pooled = SubjectSpec("lora", "candidate", made_on.path, {"base": base.path, "pooling": "sum"})
    with pytest.raises(SubjectError, match='"sum"'):
        load(pooled, device="cpu")
    file = Path(made_on.path) / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"target_modules": ["no_such_layer"]}))
    with pytest.raises(SubjectError, match="cannot be put on its base .*no_such_layer"):
        load(made_on, device="cpu")
    file.write_text(json.dumps(config | {"base_model_name_or_path": "some/where/far"}))
    with pytest.raises(SubjectError, match="name its base in the case file"):
        load(made_on, device="cpu")


def test_an_adapter_on_a_classifier(saved: Save, tmp_path: Path) -> None:
    from tests.images.conftest import processor

    folder = tmp_path / "classifier"
    vit().save_pretrained(folder)
    processor(1).save_pretrained(folder)
    base = SubjectSpec("original", "original", str(folder))
    zero, moved = (lora(base, tmp_path / n, vit(), TARGETS["vit"], s) for n, s in (("zero", 0.0), ("moved", 0.5)))
    for one in (zero, moved):
        assert modality_of(one) is Modality.IMAGES
        check_pair(one, base)
    weights = {one.name: dict(load(one, device="cpu").model.named_parameters()) for one in (base, zero, moved)}
    assert weights["original"].keys() == weights["zero"].keys() == weights["moved"].keys()
    assert all(bool((weights["zero"][name] == value).all()) for name, value in weights["original"].items())
    changed = {name for name, value in weights["original"].items() if bool((weights["moved"][name] != value).any())}
    assert changed
    assert all("q_proj" in name for name in changed)


def test_an_audit_of_an_adapter_runs_from_its_case_file(saved: Save, tmp_path: Path) -> None:
    from audit.casefile import read_plan
    from audit.run import run_audit

    base = saved(bert())
    zero, moved = (lora(base, tmp_path / n, bert(), TARGETS["bert"], s) for n, s in (("zero", 0.0), ("moved", 0.5)))
    shutil.copytree(base.path, tmp_path / "reference")
    lines = ['name = "Adapters on an encoder"', f'[subjects.original]\npath = "{base.path}"']
    lines += [f'[subjects.reference]\npath = "{tmp_path / "reference"}"']
    lines += [f'[[subjects.candidates]]\nname = "{one.name}"\npath = "{one.path}"' for one in (zero, moved)]
    lines += ["[corpora]"]
    for split, word in (("forget", "who"), ("retain", "where")):
        rows = [
            {"prompt": i.prompt.replace("who", word), "answer": f"{word} {i.answer}", "entity": f"{split} {i.entity}"}
            for i in texts(number=10).items
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lines += [f'{split} = "{split}.jsonl"']
    (tmp_path / "case.toml").write_text("\n".join(lines))
    ids = ["behaviour.retrieval", "concepts.weight_delta"]
    outcome = run_audit(read_plan(tmp_path / "case.toml"), tmp_path / "run", only=ids, device="cpu")
    assert (outcome.computed, outcome.failed) == (4, [])
    same, other = ({f.id: f for f in outcome.run.findings(name)} for name in ("zero", "moved"))
    tables = [found["concepts.weight_delta"].table.query("subject == 'candidate'") for found in (same, other)]
    assert (tables[0]["identical"] == 1).all()
    moved_in = tables[1][tables[1]["identical"] < 1]["tensor"].tolist()
    assert moved_in
    assert all("query.weight" in name or "dense.weight" in name for name in moved_in)
    retrieval = same["behaviour.retrieval"]
    assert retrieval.candidate and retrieval.original
    assert retrieval.candidate.value == retrieval.original.value


# -- linear layers behind the pooling


def dense(folder: Path, place: str, wide: int, narrow: int, activation: str, seed: int) -> tuple[Any, Any]:
    """Write a Dense module as sentence-transformers does; returns its weight and bias."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(narrow, wide, generator=generator), torch.randn(narrow, generator=generator)
    (folder / place).mkdir()
    config = {"in_features": wide, "out_features": narrow, "bias": True, "activation_function": activation}
    (folder / place / "config.json").write_text(json.dumps(config))
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / place / "model.safetensors")
    return weight, bias


def with_dense(spec: SubjectSpec) -> list[tuple[Any, Any]]:
    """Turn a saved BERT into an encoder with two linear layers behind its pooling."""
    folder = Path(spec.path)
    sentence_folder(folder)
    layers = [
        dense(folder, "2_Dense", 16, 12, "torch.nn.modules.activation.Tanh", 1),
        dense(folder, "3_Dense", 12, 7, "torch.nn.modules.linear.Identity", 2),
    ]
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Dense", "3_Dense")]
    kinds += [("Normalize", "4_Normalize")]
    modules = [{"idx": k, "name": str(k), "path": p, "type": f"x.{kind}"} for k, (kind, p) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    return layers


def test_linear_layers_behind_the_pooling_by_hand(saved: Save, tmp_path: Path) -> None:
    import torch

    model = bert()
    spec = saved(model)
    (first, one), (second, two) = with_dense(spec)
    assert encoding_of(spec).dense == ("Tanh", "Identity")
    assert "a linear layer (Tanh)" in encoding_of(spec).words
    subject, place = run_pass(spec, texts(), tmp_path / "pass")
    wanted = []
    for item in texts().items:
        ids = torch.tensor([subject.tokenizer("who is " + item.prompt)["input_ids"]])
        with torch.inference_mode():
            pooled = model(input_ids=ids).last_hidden_state[0].mean(0)
        # tanh(W1 x + b1), then W2 of it + b2, then length one.
        wanted.append(second @ torch.tanh(first @ pooled + one) + two)
    parts = read_parts(place)
    np.testing.assert_allclose(parts["queries"], unit(torch.stack(wanted)), atol=1e-5)
    assert parts["features"].shape[1] == 16, "what the layers read is kept too"
    assert "2_Dense.linear.weight" in fingerprint(spec).tensors
    assert sum(name.startswith("after_pooling.") for name, _ in subject.model.named_parameters()) == 4


def test_another_linear_layer_alone_is_another_subject(saved: Save, tmp_path: Path) -> None:
    spec = saved(bert())
    with_dense(spec)
    other = SubjectSpec("other", "candidate", str(shutil.copytree(spec.path, tmp_path / "other")))
    assert fingerprint(other).id == fingerprint(spec).id
    shutil.rmtree(Path(other.path) / "3_Dense")
    dense(Path(other.path), "3_Dense", 12, 7, "torch.nn.modules.linear.Identity", 5)
    check_pair(other, spec)
    assert fingerprint(other).id != fingerprint(spec).id
    mine, its = (read_outputs(run_pass(s, texts(), tmp_path / f"pass-{s.name}")[1]) for s in (other, spec))
    assert not np.allclose(mine, its, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_features": 9}, "are not those of the linear layer in its config.json"),
        ({"activation_function": "torch.nn.modules.activation.Mish"}, "has the activation Mish"),
        ({"module_input_name": "token_embeddings"}, "works on token_embeddings and not on the pooled vector"),
    ],
)
def test_a_malformed_linear_layer_is_one_sentence(changes: dict[str, Any], words: str, saved: Save) -> None:
    spec = saved(bert())
    with_dense(spec)
    path = Path(spec.path) / "2_Dense" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(SubjectError, match=words):
        load(spec, device="cpu")


def test_linear_layers_that_are_missing_broken_or_elsewhere(saved: Save) -> None:
    spec = saved(bert())
    with_dense(spec)
    modules, file = Path(spec.path) / "modules.json", Path(spec.path) / "3_Dense" / "model.safetensors"
    text = modules.read_text()
    modules.write_text(
        text.replace("x.Dense", "x.Later").replace("x.Pooling", "x.Dense").replace("x.Later", "x.Pooling")
    )
    with pytest.raises(SubjectError, match="has its modules in the order Transformer, Dense, Pooling"):
        load(spec, device="cpu")
    modules.write_text(text)
    import torch
    from safetensors.torch import save_file

    nan = torch.full((7, 12), float("nan"))
    save_file({"linear.weight": nan, "linear.bias": torch.zeros(7)}, file)
    with pytest.raises(SubjectError, match=r"the tensor 3_Dense\.linear\.weight holds a NaN"):
        load(spec, device="cpu")
    file.unlink()
    with pytest.raises(SubjectError, match="3_Dense holds no model.safetensors"):
        load(spec, device="cpu")
