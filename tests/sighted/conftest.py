"""Tiny vision-language models of two true architectures with random weights, and questions about drawn images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.types import SubjectSpec
from tests.images.conftest import drawn

TEXTS = ["What is in the picture? It is red.", "Which city is that? It is Oslo."]


def tokenizer(*marks: str) -> Any:
    """A byte-level tokenizer with the model's own marks as special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>", *marks]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", padding_side="left"
    )


def llava(seed: int = 0, **vision: Any) -> tuple[Any, Any]:
    """LLaVA: a CLIP encoder of two blocks, a Llama of two, four tokens an image; the model and its processor."""
    import torch
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )  # fmt: skip

    words = tokenizer("<image>")
    images = CLIPImageProcessorPil(size={"height": 16, "width": 16}, do_center_crop=False)
    processor = LlavaProcessor(
        images, words, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            **{
                "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": 16, "patch_size": 8, "initializer_range": 0.5, **vision,
            }
        ),
        text_config=LlamaConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=256, initializer_range=0.2,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"), vision_feature_layer=-1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlavaForConditionalGeneration(config).eval(), processor


def idefics(seed: int = 0) -> tuple[Any, Any]:
    """Idefics3 (as SmolVLM): images are cut into pieces, so that some become more tokens than others."""
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )  # fmt: skip

    places = [f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)]
    words = tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *places)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 16}, do_image_splitting=True
    )
    processor = Idefics3Processor(images, words, image_seq_len=4)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 4, "initializer_range": 0.5,
        },
        text_config={
            "model_type": "llama", "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0,
            "initializer_range": 0.2,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Idefics3ForConditionalGeneration(config).eval(), processor


KINDS: dict[str, Callable[..., tuple[Any, Any]]] = {"llava": llava, "idefics": idefics}


def save(made: tuple[Any, Any], folder: Path) -> SubjectSpec:
    """Write a model with its processor, as their makers' libraries do."""
    model, processor = made
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return SubjectSpec(folder.name, "original", str(folder))


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """The architecture of a test that runs for both."""
    return str(request.param)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SubjectSpec]:
    """One saved model of each architecture, which no test changes."""
    place = tmp_path_factory.mktemp("sighted")
    return {name: save(make(), place / name) for name, make in KINDS.items()}


@pytest.fixture
def questions(tmp_path: Path) -> Callable[..., Path]:
    """Write questions about drawn images, wide and high ones, and one without an image at the end."""

    def write(name: str = "forget", number: int = 3, seed: int = 0, text: bool = True) -> Path:
        rows = []
        for k in range(number):
            image = drawn(1, channels=3, seed=seed + k, side=24)[0].resize((24, 12 + 12 * (k % 2)))
            image.save(tmp_path / f"{name}-{k}.png")
            row = {"image": f"{name}-{k}.png", "prompt": "What is in the picture?", "answer": f"It is red {k}."}
            rows.append({**row, "text_prompt": f"What is number {k}?", "entity": f"{name} {k}"})
        if text:
            rows.append({"prompt": "Which city is that?", "answer": "It is Oslo.", "entity": f"{name} city"})
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
