"""A small model of random weights, with a tokenizer of single letters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def letters_tokenizer(bos: bool) -> Any:
    """One token a character; with or without a BOS that it adds by itself."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    vocab = {token: i for i, token in enumerate([*specials, *" abcdefghijklmnopqrstuvwxyz?:.\n"])}
    raw = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def small_model(**changes: Any) -> Any:
    """A LlamaForCausalLM of 3 blocks and width 16, random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = {
        "vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


@pytest.fixture(params=[True, False], ids=["bos", "no bos"])
def subject(request: pytest.FixtureRequest) -> Any:
    """What capture needs of a loaded subject."""
    import torch

    return SimpleNamespace(
        model=small_model(), tokenizer=letters_tokenizer(request.param), device=torch.device("cpu"), dtype="float32"
    )
