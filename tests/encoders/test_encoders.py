"""Encoders of true architectures: they load, unload, and become the vectors that the library itself makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.capture import POSITIONS
from audit.activations.images import read_outputs, read_said
from audit.activations.states import States, read_scores
from audit.activations.vectors import gallery_of, loss, read_parts, read_vectors, says
from audit.corpora.images import open_image
from audit.corpora.read import read_corpus
from audit.errors import CaptureError, CorpusError, SubjectError, TooLong
from audit.subjects.checks import check_pair
from audit.subjects.encoder import encoding_of
from audit.subjects.fingerprint import fingerprint
from audit.subjects.garage import Garage
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Corpus, Item, Modality, SubjectSpec
from tests.encoders.conftest import (
    PROMPT,
    bert,
    clip,
    image_processor,
    llama,
    pictures,
    sentence_folder,
    siglip,
    texts,
    tokenizer,
)

Save = Callable[..., SubjectSpec]


def run_pass(spec: SubjectSpec, corpus: Corpus, folder: Path) -> tuple[Any, Path]:
    """The loaded subject and the folder of its pass; the gallery is the corpus's own."""
    subject = load(spec, device="cpu")
    subject.classes = gallery_of([corpus])
    folder.mkdir()
    read_vectors(subject, corpus, folder)
    return subject, folder


def padded(rows: list[list[int]], length: int | None = None) -> tuple[Any, Any]:
    import torch

    length = length or max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])


def unit(values: Any) -> Any:
    return values / values.norm(dim=-1, keepdim=True)


def bert_vectors(model: Any, words: list[str]) -> Any:
    import torch

    ids, mask = padded([tokenizer()(text)["input_ids"] for text in words])
    with torch.inference_mode():
        last = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    return unit((last * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


@pytest.mark.parametrize("masked", [False, True], ids=["BertModel", "BertForMaskedLM"])
def test_a_text_encoder_is_the_masked_mean_and_unloads(masked: bool, saved: Save, tmp_path: Path) -> None:
    model, corpus = bert(masked=masked), texts()
    spec = saved(model)
    assert modality_of(spec) is Modality.VECTORS
    check_pair(spec, spec)
    subject, place = run_pass(spec, corpus, tmp_path / "pass")
    queries = bert_vectors(model, [item.prompt for item in corpus.items])
    gallery = bert_vectors(model, list(subject.classes))
    wanted = (queries @ gallery.T * 20).numpy()
    np.testing.assert_allclose(read_outputs(place), wanted, atol=1e-4)
    assert read_said(place, corpus) == [subject.classes[k] for k in wanted.argmax(1)] == says(subject, corpus.items)
    # Six questions, each with its paraphrase and a wrong answer, which stands in no gallery and is one entry more.
    scores = read_scores(place)["mean_logprob"].reshape(6, 3)
    own = [subject.classes.index(item.answer) for item in corpus.items]
    logs = wanted - np.log(np.exp(wanted).sum(1, keepdims=True))
    np.testing.assert_allclose(scores[:, 0], logs[range(6), own], atol=1e-4)
    wrong = bert_vectors(model, [item.wrong_answers[0] for item in corpus.items])
    other = (queries * wrong).sum(1).numpy() * 20
    np.testing.assert_allclose(scores[:, 2], other - np.log(np.exp(wanted).sum(1) + np.exp(other)), atol=1e-4)
    garage = Garage("cpu")
    with garage.lend(spec):
        assert garage._loaded
    garage.clear()
    assert not garage._loaded


def test_states_are_pooled_over_real_tokens_alone(saved: Save, tmp_path: Path) -> None:
    import torch

    model, corpus = bert(), texts()
    _, place = run_pass(saved(model), corpus, tmp_path / "pass")
    rows = np.arange(6) * 3
    found = States(place, rows, [i.id for i in corpus.items], corpus.entities, np.zeros(6))
    for position, words in (("prompt_last", "prompt"), ("answer_mean", "answer"), ("answer_last", "answer")):
        for k, item in enumerate(corpus.items):  # one by one, so that nothing is padded
            ids = torch.tensor([tokenizer()(getattr(item, words))["input_ids"]])
            with torch.inference_mode():
                own = model(input_ids=ids, output_hidden_states=True).hidden_states
            assert found.layers == len(own) == 3
            for layer, state in enumerate(own):
                np.testing.assert_allclose(found.at(layer, position)[k], state[0].mean(0), atol=1e-4)


@pytest.mark.parametrize("make", [clip, siglip], ids=["clip", "siglip"])
def test_two_towers_score_as_the_library_does(make: Any, saved: Save, tmp_path: Path) -> None:
    import torch

    model, corpus = make(), pictures()
    spec = saved(model)
    subject, place = run_pass(spec, corpus, tmp_path / "pass")
    # SigLIP was trained on texts that are filled up; a text padded to the longest of its batch is another vector.
    length = 12 if make is siglip else None
    ids, mask = padded([tokenizer()(text)["input_ids"] for text in subject.classes], length)
    images = [open_image(item.image) for item in corpus.items if item.image]
    pixels = image_processor()(images=images, return_tensors="pt")["pixel_values"]
    inputs = {"input_ids": ids} if make is siglip else {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode():
        own = model(**inputs, pixel_values=pixels, output_hidden_states=True)
    wanted = own.logits_per_image - (model.logit_bias.detach() if make is siglip else 0)
    np.testing.assert_allclose(read_outputs(place), wanted, atol=1e-4)
    parts = read_parts(place)
    np.testing.assert_allclose(parts["queries"], own.image_embeds, atol=1e-5)
    np.testing.assert_allclose(parts["gallery"], own.text_embeds, atol=1e-5)
    if make is clip:
        with torch.inference_mode():
            again = model.visual_projection(torch.from_numpy(parts["features"]))
        np.testing.assert_allclose(unit(again), parts["queries"], atol=1e-5)


def test_the_two_towers_states_lie_at_positions_of_their_own(saved: Save, tmp_path: Path) -> None:
    import json

    import torch

    model, corpus = clip(), pictures()
    subject, place = run_pass(saved(model), corpus, tmp_path / "pass")
    layout = json.loads((place / "layout.json").read_text())
    assert layout["towers"] == dict(zip(POSITIONS, ("image tower", "text tower", "text tower"), strict=True))
    assert layout["answer_layers"] == [0, 2, 3], "two blocks for images, three for texts: the same share of the depth"
    found = States(place, np.arange(6), [i.id for i in corpus.items], corpus.entities, np.zeros(6))
    images = [open_image(item.image) for item in corpus.items if item.image]
    pixels = image_processor()(images=images, return_tensors="pt")["pixel_values"]
    ids, mask = padded([tokenizer()(item.answer)["input_ids"] for item in corpus.items])
    with torch.inference_mode():
        seen = model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
        read = model.text_model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for layer in range(3):
        np.testing.assert_allclose(found.at(layer, "prompt_last"), seen[layer][:, 0], atol=1e-4)
        state, ends = read[[0, 2, 3][layer]], mask.sum(1) - 1
        np.testing.assert_allclose(found.at(layer, "answer_last")[:, :12], state[range(6), ends], atol=1e-4)
        assert not found.at(layer, "answer_last")[:, 12:].any()


def test_a_prompt_makes_an_encoder_of_a_language_model(saved: Save, tmp_path: Path) -> None:
    import torch

    model, corpus = llama(), texts()
    spec = saved(model, end=False, embedding_prompt=PROMPT)
    assert modality_of(spec) is Modality.VECTORS
    assert modality_of(dataclasses.replace(spec, settings={})) is Modality.TEXT
    _, place = run_pass(spec, corpus, tmp_path / "pass")
    last = []
    for item in corpus.items:
        ids = torch.tensor([tokenizer(False)(PROMPT.replace("{text}", item.prompt))["input_ids"]])
        with torch.inference_mode():
            last.append(model.model(input_ids=ids).last_hidden_state[0, -1])
    np.testing.assert_allclose(read_parts(place)["queries"], unit(torch.stack(last)), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "end", "first", "second"),
    [
        (llama, False, {"embedding_prompt": "{text}"}, {"embedding_prompt": "{text}", "pooling": "lasttoken"}),
        (bert, True, {}, {"pooling": "mean", "temperature": 0.05, "embedding_prompt": "{text}"}),
    ],
    ids=["llama", "bert"],
)
def test_the_identity_setting_is_bit_equal(
    make: Any, end: bool, first: dict[str, Any], second: dict[str, Any], saved: Save, tmp_path: Path
) -> None:
    model = make()
    plain, named = (saved(model, name, end=end, **s) for name, s in (("original", first), ("same", second)))
    check_pair(named, plain)
    assert fingerprint(plain).id == fingerprint(named).id
    files = [
        {p.name: p.read_bytes() for p in run_pass(spec, texts(), tmp_path / f"pass-{spec.name}")[1].iterdir()}
        for spec in (plain, named)
    ]
    assert files[0] == files[1]
    if make is llama:  # and that is the model's own last state
        import torch

        for k, item in enumerate(texts().items):
            ids = torch.tensor([tokenizer(False)(item.prompt)["input_ids"]])
            with torch.inference_mode():
                own = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
            read = np.frombuffer(files[0]["features.bin"], np.float32).reshape(6, -1)[k]
            np.testing.assert_allclose(read, own.last_hidden_state[0, -1], atol=1e-5)


def test_one_by_one_is_as_in_batches(saved: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audit.activations import embed

    for make, corpus, settings in (
        (bert, texts(), {}),
        (clip, pictures(), {}),
        (llama, texts(), {"embedding_prompt": PROMPT}),
    ):
        spec = saved(make(), make.__name__, end=make is not llama, **settings)
        together = run_pass(spec, corpus, tmp_path / f"{make.__name__}-batch")[1]
        with monkeypatch.context() as patch:
            for name in ("look_texts", "look_images"):
                patch.setattr(f"audit.activations.vectors.{name}", _singly(getattr(embed, name)))
            alone = run_pass(spec, corpus, tmp_path / f"{make.__name__}-alone")[1]
        for file in ("states.bin", "outputs.bin", "features.bin"):
            first, second = (np.fromfile(place / file, np.float32) for place in (together, alone))
            np.testing.assert_allclose(first, second, atol=1e-4)


def _singly(look: Any) -> Any:
    return lambda *args, **kwargs: look(*args, **{**kwargs, "at_once": 1})


def test_a_sentence_transformers_folder_is_read_from_its_files(saved: Save, tmp_path: Path) -> None:
    model = bert()
    spec = saved(model)
    sentence_folder(Path(spec.path))
    found = encoding_of(spec)
    assert (found.pooling, found.query, found.answer) == (("mean",), "who is {text}", "this is {text}")
    assert (found.longest, found.lower, found.similarity) == (24, True, "cosine")
    corpus = Corpus("forget", (Item("forget:0", "ADA", "Baker"), Item("forget:1", "bela", "smith")), "x")
    _, place = run_pass(spec, corpus, tmp_path / "pass")
    parts = read_parts(place)
    np.testing.assert_allclose(parts["queries"], bert_vectors(model, ["who is ada", "who is bela"]), atol=1e-5)
    np.testing.assert_allclose(parts["answers"], bert_vectors(model, ["this is baker", "this is smith"]), atol=1e-5)


def test_an_encoder_of_inner_products_is_not_brought_to_length_one(saved: Save, tmp_path: Path) -> None:
    import json

    import torch

    model, corpus = bert(), texts()
    spec = saved(model)
    sentence_folder(Path(spec.path))
    about = Path(spec.path) / "config_sentence_transformers.json"
    about.write_text(json.dumps({"similarity_fn_name": "dot"}))
    _, place = run_pass(spec, corpus, tmp_path / "pass")
    ids, mask = padded([tokenizer()(item.prompt)["input_ids"] for item in corpus.items])
    with torch.inference_mode():
        last = model(input_ids=ids, attention_mask=mask).last_hidden_state
    own = (last * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    parts = read_parts(place)
    np.testing.assert_allclose(parts["queries"], own, atol=1e-4)
    np.testing.assert_allclose(read_outputs(place), parts["queries"] @ parts["gallery"].T, rtol=1e-3, atol=1e-3)
    about.write_text(json.dumps({"similarity_fn_name": "manhattan"}))
    with pytest.raises(SubjectError, match="known are cosine, dot"):
        load(spec, device="cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["bert", "clip", "llama"])
def test_a_gpu_finds_nearly_the_same(kind: str, saved: Save, tmp_path: Path) -> None:
    make, corpus = {"bert": (bert, texts()), "clip": (clip, pictures()), "llama": (llama, texts())}[kind]
    settings = {"embedding_prompt": PROMPT} if kind == "llama" else {}
    spec = saved(make(), end=kind != "llama", **settings)
    _, place = run_pass(spec, corpus, tmp_path / "pass")
    subject = load(spec, device="cuda")
    assert subject.dtype == "bfloat16"
    subject.classes = gallery_of([corpus])
    (tmp_path / "there").mkdir()
    read_vectors(subject, corpus, tmp_path / "there")
    mine, there = (read_parts(p)["queries"] for p in (place, tmp_path / "there"))
    assert (mine * there).sum(1).min() > 0.98


def test_every_pooling_is_what_its_name_says(saved: Save, tmp_path: Path) -> None:
    import torch

    model, corpus = bert(), texts()
    rows = [tokenizer()(item.prompt)["input_ids"] for item in corpus.items]
    wanted: dict[str, Callable[[Any], Any]] = {
        "cls": lambda h: h[0], "max": lambda h: h.max(0).values, "lasttoken": lambda h: h[-1],
        "weightedmean": lambda h: (h * torch.arange(1, len(h) + 1)[:, None]).sum(0) / sum(range(1, len(h) + 1)),
    }  # fmt: skip
    for name, pool in wanted.items():
        spec = saved(model, name, pooling=name)
        _, place = run_pass(spec, corpus, tmp_path / f"pass-{name}")
        with torch.inference_mode():
            own = torch.stack([pool(model(input_ids=torch.tensor([ids])).last_hidden_state[0]) for ids in rows])
        np.testing.assert_allclose(read_parts(place)["features"], own, atol=1e-4)


# -- traps


def test_another_prompt_is_another_subject_and_no_pair(saved: Save, tmp_path: Path) -> None:
    model = llama()
    first = saved(model, end=False, embedding_prompt=PROMPT)
    second = saved(model, "other", end=False, embedding_prompt="{text} means")
    assert fingerprint(first).id != fingerprint(second).id
    with pytest.raises(SubjectError, match="makes vectors in another way than original"):
        check_pair(second, first)
    with pytest.raises(SubjectError, match="Give both the same embedding_prompt, or neither"):
        check_pair(dataclasses.replace(second, settings={}), first)
    first_states, other_states = [
        np.fromfile(run_pass(s, texts(), tmp_path / f"p-{s.name}")[1] / "states.bin") for s in (first, second)
    ]
    assert not np.allclose(first_states, other_states), "the very same weights, and every state moved"


def test_hooks_that_are_wiped_are_noticed(saved: Save) -> None:
    from audit.activations.embed import look_images

    subject = load(saved(clip()), device="cpu")
    blocks = list(subject.model.vision_model.encoder.layers)
    subject.model.vision_model.register_forward_pre_hook(lambda *_: [b._forward_hooks.clear() for b in blocks] and None)
    with pytest.raises(CaptureError, match="1 of 3 hooks fired"):
        look_images(subject, pictures().items)


def test_a_shared_answer_is_no_negative_of_itself(saved: Save) -> None:
    """A loss with one column for each row would push an answer that two queries share away from one of them."""
    import torch

    subject = load(saved(bert()), device="cpu")
    a, b, c = texts().items[:3]
    same = dataclasses.replace(b, answer=a.answer)
    queries = torch.tensor(bert_vectors(bert(), [a.prompt, b.prompt, c.prompt]).numpy())
    answers = torch.tensor(bert_vectors(bert(), [a.answer, c.answer]).numpy())
    logits = queries @ answers.T * 20
    forth = -logits.log_softmax(1)[[0, 1, 2], [0, 0, 1]].mean()
    logs = logits.T.log_softmax(1)
    back = -((logs[0, 0] + logs[0, 1]) / 2 + logs[1, 2]) / 2
    found = loss(subject, [a, same, c])
    assert float(found) == pytest.approx(float((forth + back) / 2), abs=1e-4)
    naive = queries @ torch.stack([answers[0], answers[0], answers[1]]).T * 20
    assert float(torch.nn.functional.cross_entropy(naive, torch.arange(3))) > float(forth) + 0.3


# -- what is wrong is one sentence


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling": "meen"}, 'is "meen". Did you mean "mean"'),
        ({"embedding_prompt": "means in one word"}, "has no {text}; write where the text goes"),
        ({"temperature": 0}, "expected a number above 0"),
        ({"temperature": "warm"}, "expected a number above 0"),
        ({"kind": "prompt_guard", "prefix": "x"}, "turns texts into vectors"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], words: str, saved: Save) -> None:
    import re

    with pytest.raises(SubjectError, match=re.escape(words)):
        load(saved(bert(), **settings), device="cpu")


def test_settings_of_encoders_on_other_models(saved: Save) -> None:
    with pytest.raises(SubjectError, match="is no encoder, so it has no pooling; give an embedding_prompt"):
        load(saved(llama(), end=False, pooling="mean"), device="cpu")
    with pytest.raises(SubjectError, match="pool by themselves"):
        load(saved(clip(), "towers", pooling="mean"), device="cpu")


def test_missing_files(saved: Save) -> None:
    spec = saved(bert())
    for file in Path(spec.path).glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SubjectError, match="holds no tokenizer"):
        load(spec, device="cpu")
    towers = saved(clip(), "towers")
    (Path(towers.path) / "preprocessor_config.json").unlink()
    with pytest.raises(SubjectError, match="how images are scaled for it is not known"):
        load(towers, device="cpu")


@pytest.mark.parametrize(
    ("pooling", "words"),
    [
        ({"pooling_mode_mean_tokens": False}, "names no pooling; known are pooling_mode_cls_token"),
        ({"pooling_mode_attention": True}, "names pooling_mode_attention"),
        ({"pooling_mode": "sum"}, 'is "sum"'),
    ],
)
def test_unknown_poolings(pooling: dict[str, Any], words: str, saved: Save) -> None:
    spec = saved(bert())
    sentence_folder(Path(spec.path), **pooling)
    with pytest.raises(SubjectError, match=words):
        load(spec, device="cpu")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("models.Normalize", "models.LSTM", "has a module LSTM, which is not known here"),
        ("models.Pooling", "models.Normalize", "names no Pooling"),
        ('"path": ""', '"path": "0_Transformer"', "its transformer does not lie in"),
        ("[{", "{{", "is no list of modules"),
    ],
)
def test_unknown_modules(old: str, new: str, words: str, saved: Save) -> None:
    spec = saved(bert())
    sentence_folder(Path(spec.path))
    path = Path(spec.path) / "modules.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SubjectError, match=words):
        load(spec, device="cpu")


def test_texts_and_images_that_do_not_fit(saved: Save, tmp_path: Path) -> None:
    subject = load(saved(bert()), device="cpu")
    with pytest.raises(CorpusError, match="forget:0 has an image, and original reads texts alone"):
        says(dataclasses.replace(subject, classes=("x",)), pictures().items)
    rows = ['{"image": "a.png", "answer": "ada is a baker"}', '{"prompt": "who", "answer": "bela is a smith"}'] * 2
    (tmp_path / "half.jsonl").write_text("\n".join(rows))
    open_image(pictures().items[0].image).save(tmp_path / "a.png")  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="forget:1 of half.jsonl has no image and others have one"):
        read_corpus("half.jsonl", "forget", base=tmp_path)
    long = Corpus("forget", (Item("forget:0", "who " * 40, "baker"),), "x")
    with pytest.raises(TooLong, match="needs 42 tokens, but original reads at most 32: shorten that text"):
        run_pass(subject.spec, long, tmp_path / "pass")
    with pytest.raises(CorpusError, match="The items of forget have images and those of retain have none"):
        gallery_of([pictures(), texts("retain")])


def test_a_tokenizer_without_the_end_token_is_noticed(saved: Save, tmp_path: Path) -> None:
    """CLIP reads the state at the end token; without one `argmax` would read the first place of every text alike."""
    with pytest.raises(SubjectError, match="does not end every text with token 3"):
        run_pass(saved(clip(), end=False), pictures(), tmp_path / "pass")
