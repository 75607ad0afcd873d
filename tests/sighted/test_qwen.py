"""Qwen2-VL and Qwen2.5-VL: images of any size become tokens that have a place in height and width."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.capture import run_batch
from audit.activations.encode import encode_item, question
from audit.activations.generate import generated, left_padded
from audit.activations.reading import read_corpus as read_pass
from audit.activations.states import States, read_scores
from audit.bench import Bench
from audit.corpora.images import open_image
from audit.corpora.read import read_corpus
from audit.errors import MissingDependency
from audit.evidence.attacks._lens import first_token_ranks
from audit.subjects import sighted
from audit.subjects.garage import Garage
from audit.subjects.load import load
from audit.subjects.modality import modality_of
from audit.types import Case, Corpus, Item, Modality, SubjectSpec
from tests.sighted.conftest import tokenizer

MARKS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
BEFORE, AFTER = "<|vision_start|>", "<|vision_end|>"
IMAGES = {
    "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2, "merge_size": 2,
    "min_pixels": 256, "max_pixels": 1024, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip


def qwen(kind: str, folder: Path) -> SubjectSpec:
    """A tiny model with random weights, saved with the files that its makers' folders hold."""
    import torch
    import transformers

    words = tokenizer(*MARKS)
    image, video, start, end = words.convert_tokens_to_ids(MARKS)
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "in_channels": 3}
    vision |= {"temporal_patch_size": 2, "initializer_range": 0.5}
    if kind == "Qwen2VL":
        vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24, "window_size": 16}
        vision |= {"fullatt_block_indexes": [1]}
    text = {
        "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        vision_config=vision, text_config=text, image_token_id=image, video_token_id=video,
        vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)
    about = IMAGES | {"processor_class": f"{kind}Processor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return SubjectSpec(folder.name, "original", str(folder))


@pytest.fixture(scope="module", params=["Qwen2VL", "Qwen2_5_VL"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SubjectSpec:
    return qwen(request.param, tmp_path_factory.mktemp("qwen") / request.param)


@pytest.fixture
def corpus(questions: Callable[..., Path]) -> Corpus:
    return read_corpus(str(questions()), "forget", base=Path())


def own(spec: SubjectSpec, item: Item, answer: bool = True) -> tuple[Any, dict[str, Any], int]:
    """The library's model, what it is given of an item, and how many of the ids belong to the prompt."""
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(spec.path).eval()
    processor = sighted.load_processor(Path(spec.path), spec.name)
    text = f"{BEFORE}<|image_pad|>{AFTER}\n{item.prompt}" if item.image else item.prompt
    images = [open_image(item.image).convert("RGB")] if item.image else None
    start = processor(text=[text], images=images)["input_ids"]
    given = processor(text=[f"{text} {item.answer}" if answer else text], images=images, return_tensors="pt")
    return model, given, len(start[0])


def test_the_pass_is_what_the_library_computes(model: SubjectSpec, corpus: Corpus, tmp_path: Path) -> None:
    import torch

    assert modality_of(model) is Modality.IMAGE_TEXT
    garage = Garage("cpu")
    with garage.lend(model) as subject:
        read_pass(subject, corpus, "plain", tmp_path)
    garage.clear()
    found = States(tmp_path, np.arange(4), [i.id for i in corpus.items], corpus.entities, np.zeros(4))
    for k, item in enumerate(corpus.items):
        library, given, start = own(model, item)
        with torch.inference_mode():
            out = library(**given, output_hidden_states=True)
        ids, logs = given["input_ids"][0], out.logits[0].log_softmax(-1)
        wanted = [float(logs[p - 1, ids[p]]) for p in range(start, len(ids))]
        assert read_scores(tmp_path)["mean_logprob"][k] == pytest.approx(np.mean(wanted), abs=1e-5)
        for layer in range(2):
            state = out.hidden_states[layer][0]
            np.testing.assert_allclose(found.at(layer, "prompt_last")[k], state[start - 1], atol=1e-5)


def test_filled_up_on_either_side_it_is_as_one_by_one(model: SubjectSpec, corpus: Corpus) -> None:
    """The naive way, one number for the place of every token, moves the pieces of an image into a line."""
    subject = load(model, device="cpu")
    rows = [encode_item(subject.tokenizer, item, "plain") for item in corpus.items]
    alone = [run_batch(subject, [row])[0][:, :, 0] for row in rows]
    assert len({len(row) for row in rows}) > 1
    for padding in ("right", "left"):
        together = run_batch(subject, rows, padding)[0]  # type: ignore[arg-type]
        for k, one in enumerate(alone):
            np.testing.assert_allclose(together[:, :, k], one, atol=1e-5)


def test_answers_are_the_library_s_and_the_image_has_a_say(model: SubjectSpec, corpus: Corpus) -> None:
    import torch

    subject = load(model, device="cpu")
    asked = [question(subject.tokenizer, item.prompt, "plain", item.image) for item in corpus.items]
    together = generated(subject, left_padded(subject, asked), 6)
    for item, said in zip(corpus.items, together, strict=True):
        library, given, start = own(model, item, answer=False)
        with torch.inference_mode():
            ids = library.generate(**given, max_new_tokens=6, do_sample=False)[0, start:].tolist()
        assert ids == said[: len(ids)]
    swapped = dataclasses.replace(corpus.items[0], image=corpus.items[2].image)
    mine, other = (encode_item(subject.tokenizer, item, "plain") for item in (corpus.items[0], swapped))
    assert not np.allclose(run_batch(subject, [mine])[0], run_batch(subject, [other])[0], atol=1e-3)


def test_the_head_projection_reads_its_blocks(model: SubjectSpec, corpus: Corpus) -> None:
    bench = Bench(Case("c", 0, model, model, None, {"forget": corpus}), Garage("cpu"))
    ranks = first_token_ranks(bench, "candidate", "forget")
    assert ranks.shape == (2, 4)
    for k, item in enumerate(corpus.items):
        library, given, start = own(model, item)
        logits = library(**given).logits[0, start - 1]
        assert ranks[-1, k] == int((logits >= logits[given["input_ids"][0, start]]).sum())


def test_what_is_no_processor_of_images_still_says_what_is_missing(
    model: SubjectSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoProcessor

    def lacking(*arguments: Any, **options: Any) -> Any:
        raise ImportError("needs the Torchvision library")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", lacking)
    monkeypatch.setattr(sighted, "_without_videos", lambda folder: None)
    with pytest.raises(MissingDependency, match="needs a library that is not installed"):
        load(model, device="cpu")
