"""Tiny checkpoints and adapters, written where a test wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audit.types import Role, SubjectSpec

WORDS = ["<unk>", "<bos>", "<eos>", "who", "wrote", "it", "Ann", "Ben", "a", "novel", "in", "Rome"]


def spec(path: Path | str, name: str = "candidate-a", role: Role = "candidate", **settings: Any) -> SubjectSpec:
    return SubjectSpec(name, role, str(path), settings)


def checkpoint(folder: Path, seed: int = 0, *, words: list[str] = WORDS, shards: bool = False, **config: Any) -> Path:
    """A Llama of about two thousand weights with a word tokenizer; `config` overrides its shape."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32, "bos_token_id": 1,
        "eos_token_id": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(shape | config)))
    model.save_pretrained(folder, **({"max_shard_size": "4KB"} if shards else {}))
    tokenizer(folder, words)
    return folder


def tokenizer(folder: Path, words: list[str] = WORDS, lower: bool = False) -> None:
    """A tokenizer of whole words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower:
        made.normalizer = normalizers.Lowercase()
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", pad_token="<unk>"
    ).save_pretrained(folder)


def adapter(folder: Path, base: Path, *, recorded: str | None = None, seed: int = 1, scale: float = 0.5) -> Path:
    """A LoRA adapter with random weights on a base; `recorded` is what its config names as the base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(str(base))
    wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"]))
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0.0, scale)
    wrapped.save_pretrained(folder)
    config = edit_json(folder / "adapter_config.json", base_model_name_or_path=recorded or str(base))
    assert config["peft_type"] == "LORA"
    return folder


def edit_json(path: Path, **changes: Any) -> dict[str, Any]:
    """Change keys of a JSON file; a value of None removes the key."""
    values = json.loads(path.read_text())
    values = {key: value for key, value in (values | changes).items() if changes.get(key, 0) is not None}
    path.write_text(json.dumps(values))
    return values


def edit_tensors(path: Path, change: Any) -> None:
    """Rewrite a safetensors file through `change(tensors)`, which edits the dict of tensors in place."""
    from safetensors.torch import load_file, save_file

    held = load_file(path)
    change(held)
    save_file(held, path, metadata={"format": "pt"})


def logits(model: Any) -> Any:
    """The model's logits on a fixed sentence, as float64 [tokens, vocabulary]."""
    import torch

    ids = torch.tensor([[1, 3, 4, 5, 6]], device=model.device)
    with torch.no_grad():
        return model(input_ids=ids).logits[0].double().cpu().numpy()
