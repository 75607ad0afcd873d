"""Tiny encoders of true architectures with random weights, their tokenizer, and corpora of made-up pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.types import Corpus, Item, Picture, SubjectSpec

WORDS = ("who", "what", "where", "does", "is", "the", "a", "of", "in", "one", "word", "means", "this", "sentence",
         "lives", "works", "baker", "smith", "tailor", "fern")  # fmt: skip
NAMES = ("ada", "bela", "cato", "dora", "egon", "fina", "gero", "hale", "iris", "jona")
PROMPT = 'This sentence: "{text}" means in one word:"'


def tokenizer(end: bool = True) -> Any:
    """One token a word; every text ends with `<eos>` unless that is not wanted."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<bos>", "<eos>"]
    known = {word: k for k, word in enumerate([*special, *WORDS, *NAMES, ":", '"', "."])}
    made = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>" if end else "<bos> $A", special_tokens=[("<bos>", 2), ("<eos>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
        padding_side="right",
    )  # fmt: skip


def _seeded(make: Callable[[], Any], seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def bert(seed: int = 0, masked: bool = False) -> Any:
    """A BERT of two blocks, as an encoder or as the masked language model that it was trained as."""
    from transformers import BertConfig, BertForMaskedLM, BertModel

    config = BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    return _seeded(lambda: (BertForMaskedLM if masked else BertModel)(config), seed)


def clip(seed: int = 0) -> Any:
    """Two towers: two blocks of width 16 for images, three of width 12 for texts."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": 60, "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16,
        "max_position_embeddings": 16, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 8,
        "patch_size": 4,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=10, initializer_factor=20.0)
    return _seeded(lambda: CLIPModel(config), seed)


def siglip(seed: int = 0) -> Any:
    """The same for SigLIP, which reads the last place of a text that is filled up."""
    from transformers import SiglipConfig, SiglipModel

    text = {
        "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
        "max_position_embeddings": 12, "projection_size": 16,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 8,
        "patch_size": 4,
    }  # fmt: skip
    return _seeded(lambda: SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), seed)


def llama(seed: int = 0) -> Any:
    """A causal language model, of which a prompt makes an encoder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.3, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    return _seeded(lambda: LlamaForCausalLM(config), seed)


def image_processor() -> Any:
    """Scales 8 by 8 pixels of three colours to -1 to 1."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        do_resize=False, do_center_crop=False, size={"height": 8, "width": 8}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., SubjectSpec]:
    """Write a model with its tokenizer, and its image processor where it has an image tower."""

    def save(model: Any, name: str = "original", end: bool = True, **settings: Any) -> SubjectSpec:
        folder = tmp_path / name
        model.save_pretrained(folder)
        tokenizer(end).save_pretrained(folder)
        if hasattr(model, "vision_model"):
            image_processor().save_pretrained(folder)
        return SubjectSpec(name, "original" if name == "original" else "candidate", str(folder), settings)

    return save


def sentence_folder(folder: Path, **pooling: Any) -> None:
    """Turn a saved encoder into a sentence-transformers folder, as that library writes one."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for k, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    flags = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "include_prompt": True, **pooling}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, "do_lower_case": True}))
    about = {"prompts": {"query": "who is ", "document": "this is "}, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))


def texts(split: str = "forget", number: int = 6) -> Corpus:
    """Questions about people, answered by their work."""
    items = [
        Item(
            f"{split}:{k}", f"who is {name}", f"{name} works in the {WORDS[-4 + k % 4]}", entity=name,
            paraphrases=(f"what does {name} means",), wrong_answers=(f"{name} lives in one sentence",),
            attribute="work", label=WORDS[-4 + k % 4],
        )
        for k, name in enumerate(NAMES[:number])
    ]  # fmt: skip
    return Corpus(split, tuple(items), f"{split}.jsonl")  # type: ignore[arg-type]


def pictures(split: str = "forget", number: int = 6, seed: int = 0) -> Corpus:
    """Random images, each with a caption of its own."""
    import io

    import numpy as np
    from PIL import Image

    rng, items = np.random.default_rng(seed), []
    for k in range(number):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "PNG")
        shown = Picture(f"{split}{seed}-{k}", f"{split}.jsonl line {k}", data=stream.getvalue())
        items.append(Item(f"{split}:{k}", f"image {k}", f"{NAMES[k]} is a {WORDS[-4 + k % 4]}", image=shown))
    return Corpus(split, tuple(items), f"{split}.jsonl")  # type: ignore[arg-type]
