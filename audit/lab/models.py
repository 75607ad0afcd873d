"""Small language models: making one, saving it, and knowing whether a saved one is finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audit.lab.scales import Scale

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

MARKER = "lab.json"
"""Written last into a model's folder. Its existence and its digest mean: finished, with these settings."""


def model_config(scale: Scale, tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    """The architecture of every model of a build."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=scale.width,
        intermediate_size=4 * scale.width,
        num_hidden_layers=scale.layers,
        num_attention_heads=scale.heads,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Three times the usual spread: so small a model then learns its facts in a quarter of the steps, and
        # settles them in its lower blocks.
        initializer_range=0.06,
    )


def random_model(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model that has learnt nothing, in float32; the same for the same seed."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def load_model(folder: Path) -> LlamaForCausalLM:
    """A finished model, its float16 weights widened to float32."""
    import torch
    from transformers import LlamaForCausalLM

    with quiet():
        model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's own progress bars: the lab reports progress itself."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model in float16 with its tokenizer, under another name until it is complete, without marker."""
    import torch

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with quiet():
        model.to(torch.float16).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def mark(folder: Path, digest: str, recall: dict[str, float]) -> None:
    """Declare a model finished, and note what it says of each split (0 to 1)."""
    write(folder / MARKER, json.dumps({"digest": digest, "recall": recall}, indent=2) + "\n")


def finished(folder: Path, digest: str) -> dict[str, float] | None:
    """The recall noted for a model that was made with exactly these settings; None if there is none."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return dict(marker["recall"]) if marker["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
