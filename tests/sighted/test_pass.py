"""Vision-language models of two true architectures: they load, unload, and are read with the image in the prompt."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.capture import POSITIONS, run_batch
from audit.activations.encode import encode, encode_item, encode_prompt, question
from audit.activations.eyes import shown_to
from audit.activations.generate import generated, left_padded, says
from audit.activations.layers import decoder
from audit.activations.reading import read_corpus as read_pass
from audit.activations.states import States, read_scores
from audit.corpora.images import open_image
from audit.corpora.read import read_corpus
from audit.errors import CaptureError, CorpusError, NotApplicable
from audit.subjects.garage import Garage
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Corpus, Item, Modality, SubjectSpec

Models = dict[str, SubjectSpec]
Write = Callable[..., Path]


@pytest.fixture
def corpus(questions: Write) -> Corpus:
    return read_corpus(str(questions()), "forget", base=Path())


def own(subject: SubjectSpec, item: Item) -> tuple[Any, Any, int]:
    """What the model library itself makes of an item: its output, and how many of the ids belong to the prompt."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(subject.path).eval()
    processor = AutoProcessor.from_pretrained(subject.path)
    text = f"<image>\n{item.prompt}" if item.image else item.prompt
    images = [open_image(item.image).convert("RGB")] if item.image else None
    start = processor(text=[text], images=images)["input_ids"]
    given = processor(text=[f"{text} {item.answer}"], images=images, return_tensors="pt")
    with torch.inference_mode():
        return model(**given, output_hidden_states=True), given["input_ids"][0], len(start[0])


def test_the_pass_is_what_the_library_computes(kind: str, models: Models, corpus: Corpus, tmp_path: Path) -> None:
    import torch

    spec = models[kind]
    assert modality_of(spec) is Modality.IMAGE_TEXT is corpus.modality
    garage = Garage("cpu")
    with garage.lend(spec) as subject:
        read_pass(subject, corpus, "plain", tmp_path)
    garage.clear()
    assert not garage._loaded
    found = States(tmp_path, np.arange(4), [i.id for i in corpus.items], corpus.entities, np.zeros(4))
    assert found.layers == 3
    for k, item in enumerate(corpus.items):
        out, ids, start = own(spec, item)
        logs = out.logits[0].log_softmax(-1)
        wanted = [float(logs[p - 1, ids[p]]) for p in range(start, len(ids))]
        assert read_scores(tmp_path)["mean_logprob"][k] == pytest.approx(np.mean(wanted), abs=1e-5)
        for layer in range(2):  # the library's last state is normed, ours is not
            state = out.hidden_states[layer][0]
            for position, value in zip(
                POSITIONS, (state[start - 1], state[start:].mean(0), state[len(ids) - 1]), strict=True
            ):
                np.testing.assert_allclose(found.at(layer, position)[k], value, atol=1e-5)
    assert torch.is_grad_enabled()


def test_batched_equals_one_by_one(kind: str, models: Models, corpus: Corpus) -> None:
    """Images of unlike size and a text without image in one batch, whichever side is filled up."""
    subject = load(models[kind], device="cpu")
    rows = [encode_item(subject.tokenizer, item, "plain") for item in corpus.items]
    assert len({len(row) for row in rows}) > 1
    for padding in ("right", "left"):
        together = run_batch(subject, rows, padding)  # type: ignore[arg-type]
        begin = 0
        for k, row in enumerate(rows):
            alone = run_batch(subject, [row])
            np.testing.assert_allclose(together[0][:, :, k], alone[0][:, :, 0], atol=1e-5)
            end = begin + len(row) - row.start
            np.testing.assert_allclose(together[1][begin:end]["logprob"], alone[1]["logprob"], atol=1e-5)
            begin = end


def test_answers_are_what_the_library_generates_batched_or_not(kind: str, models: Models, corpus: Corpus) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    subject = load(models[kind], device="cpu")
    asked = [question(subject.tokenizer, item.prompt, "plain", item.image) for item in corpus.items]
    together = generated(subject, left_padded(subject, asked), 6)
    model = AutoModelForImageTextToText.from_pretrained(models[kind].path).eval()
    processor = AutoProcessor.from_pretrained(models[kind].path)
    for item, said in zip(corpus.items, together, strict=True):
        text = f"<image>\n{item.prompt}" if item.image else item.prompt
        images = [open_image(item.image).convert("RGB")] if item.image else None
        given = processor(text=[text], images=images, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**given, max_new_tokens=6, do_sample=False)[0, given["input_ids"].shape[1] :]
        assert ids.tolist() == said[: len(ids)]
    swapped = dataclasses.replace(corpus.items[0], image=corpus.items[1].image)
    both = says(subject, [corpus.items[0], swapped], "plain")
    assert both[0] != both[1], "the image has a say"


def test_an_image_is_never_left_out_on_the_way(kind: str, models: Models, corpus: Corpus) -> None:
    """Three doors: a prompt that says nothing of its image, tokens without pixels, and a model that reads texts."""
    import torch

    subject, item = load(models[kind], device="cpu"), corpus.items[0]
    for naive in (
        lambda: encode(subject.tokenizer, item.prompt, item.answer, "plain"),
        lambda: encode_prompt(subject.tokenizer, item.prompt, "plain"),
    ):
        with pytest.raises(NotApplicable, match="without the image that belongs to each"):
            naive()
    row = question(subject.tokenizer, item.prompt, "plain", item.image)
    ids = torch.tensor([row.ids])
    with torch.inference_mode():
        with pytest.raises(CaptureError, match="an image that was left out on the way"):
            decoder(subject.model)(input_ids=ids, use_cache=False)
        with pytest.raises(CaptureError, match="an image that was left out on the way"):
            subject.model.generate(input_ids=ids, max_new_tokens=2)
        decoder(subject.model)(input_ids=ids, **shown_to([row.shown], ids), use_cache=False)
    with pytest.raises(NotApplicable, match="a language model that reads texts alone cannot see it"):
        encode_item(subject.tokenizer.plain, item, "plain")  # type: ignore[attr-defined]


def test_where_the_image_stands(models: Models, corpus: Corpus) -> None:
    subject, item = load(models["llava"], device="cpu"), corpus.items[0]
    image = subject.tokenizer.convert_tokens_to_ids("<image>")

    def places(prompt: str, template: str) -> list[int]:
        ids = question(subject.tokenizer, prompt, template, item.image).ids
        return [k for k, token in enumerate(ids) if token == image]

    assert places("What?", "plain") == [1, 2, 3, 4], "after the beginning of the text"
    assert places("What?", "qa") == [1, 2, 3, 4]
    marked = places("What is <image> then?", "plain")
    assert len(marked) == 4
    assert marked[0] > 1, "where the question marks it"
    with pytest.raises(Exception, match="marks 2 places for images"):
        places("<image> or <image>?", "plain")
    with pytest.raises(Exception, match="no chat template that takes an image"):
        places("What?", "chat")
    subject.tokenizer.eyes.processor.chat_template = (  # type: ignore[attr-defined]
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} SAYS:"
    )
    chat = question(subject.tokenizer, "What?", "chat", item.image)
    words = subject.tokenizer.decode(chat.ids)
    assert words.replace(" ", "") == "USER:" + "<image>" * 4 + "What?SAYS:"


def test_two_images_with_the_same_question_are_two_questions(models: Models, questions: Write) -> None:
    """What is remembered of one must not be taken for the other, nor one thought to give the other away."""
    from audit.bench import Bench
    from audit.evidence.attacks._facts import facts_of
    from audit.types import Case

    one, other = (read_corpus(str(questions(f"about-{seed}", seed=seed)), "forget", base=Path()) for seed in (0, 50))
    assert one.digest != other.digest
    assert [i.prompt for i in one.items] == [i.prompt for i in other.items]
    assert one.items[0].asked != other.items[0].asked
    prompts = [facts_of([dataclasses.replace(corpus.items[0], entity=None)]) for corpus in (one, other)]
    assert not prompts[0] & prompts[1]
    garage, said = Garage("cpu"), []
    for corpus in (one, other):
        case = Case("c", 0, models["llava"], models["llava"], None, {"forget": corpus})
        said.append(Bench(case, garage).says("original", "forget"))
    assert said[0][:3] != said[1][:3], "the second is not what was remembered of the first"
    assert said[0][3] == said[1][3], "the text alone is the same"


def test_what_is_wrong_with_an_image_is_one_sentence(questions: Write, tmp_path: Path) -> None:
    path = questions()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    whole = (tmp_path / "forget-1.png").read_bytes()
    (tmp_path / "forget-1.png").write_bytes(whole[:80])
    with pytest.raises(CorpusError, match=r"forget\.jsonl, line 2: the image cannot be decoded"):
        read_corpus(str(path), "forget", base=Path())
    (tmp_path / "forget-1.png").write_bytes(whole)
    item = read_corpus(str(path), "forget", base=Path()).items[1]
    (tmp_path / "forget-1.png").write_bytes((tmp_path / "forget-0.png").read_bytes())
    with pytest.raises(CorpusError, match="the image has changed since the corpus was read"):
        open_image(item.image)  # type: ignore[arg-type]
    (tmp_path / "forget-1.png").unlink()
    with pytest.raises(CorpusError, match="line 2: there is no image forget-1.png"):
        read_corpus(str(path), "forget", base=Path())
    (tmp_path / "forget-1.png").write_bytes(whole)
    del rows[0]["answer"]
    rows[0]["label"] = "red"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CorpusError, match="has no image and others have one"):
        read_corpus(str(path), "forget", base=Path())
