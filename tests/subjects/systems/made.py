"""Small random models of true architectures, and what tests of systems compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.activations.capture import capture
from audit.activations.encode import encode
from audit.activations.states import States, read_tokens
from audit.bench import Bench
from audit.subjects.load import Subject, load
from audit.types import SubjectSpec
from tests.subjects.tiny import WORDS, tokenizer

ARCHITECTURES = ("Llama", "GPTNeoX", "Qwen3", "Gemma3")
FACTS = [("who wrote it", "Ann"), ("who wrote a novel in Rome", "Ben Ann"), ("it in Rome", "a novel")]


def model(folder: Path, architecture: str = "Llama", seed: int = 0, blocks: int = 2, **changes: Any) -> Path:
    """A checkpoint of two blocks and width 16 with random weights, large enough to prefer some tokens."""
    import torch
    import transformers

    text = "Text" if architecture == "Gemma3" else ""
    config = getattr(transformers, f"{architecture}{text}Config")
    shape: dict[str, Any] = {
        "vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": blocks,
        "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0, "initializer_range": 0.4,
    }  # fmt: skip
    if architecture != "GPTNeoX":
        shape |= {"num_key_value_heads": 1, "head_dim": 8}
    torch.manual_seed(seed)
    made = getattr(transformers, f"{architecture}ForCausalLM")(config(**(shape | changes)))
    made.save_pretrained(folder)
    tokenizer(folder)
    return folder


def spec(folder: Path, **settings: Any) -> SubjectSpec:
    return SubjectSpec("system", "candidate", str(folder), settings)


def read(subject: Subject, folder: Path, padding: Any = "right") -> tuple[list[Any], Any]:
    """Log-probabilities of the answers' tokens, and all states where the subject shows them."""
    rows = [encode(subject.tokenizer, prompt, answer, "plain") for prompt, answer in FACTS]
    capture(subject, rows, folder, padding=padding)
    tokens = read_tokens(folder, [len(row) - row.start for row in rows])
    names = [str(i) for i in range(len(rows))]
    import numpy as np

    states = States(folder, np.arange(len(rows)), names, names, np.zeros(len(rows), int))
    return [t["logprob"] for t in tokens], states.array if states.layers else None


def same_as_base(base: Path, tmp_path: Path, **settings: Any) -> Subject:
    """Load a system whose settings change nothing; what it captures and writes must be the base's, bit by bit."""
    import numpy as np

    plain, system = load(spec(base), device="cpu"), load(spec(base, **settings), device="cpu")
    logprobs, states = read(plain, tmp_path / "plain")
    found, seen = read(system, tmp_path / "system")
    for mine, theirs in zip(found, logprobs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if seen is not None:
        np.testing.assert_array_equal(seen, states)
    assert written(system) == written(plain)
    return system


PROMPTS = [prompt for prompt, _ in FACTS]


def written(subject: Subject, prompts: Sequence[str] = PROMPTS, budget: int = 6) -> list[list[int]]:
    """Greedy continuations as token ids."""
    from audit.activations.continuations import continues
    from audit.activations.encode import encode_prompt

    return continues(subject, [encode_prompt(subject.tokenizer, p, "plain") for p in prompts], [budget] * len(prompts))


def bench_with(bench: Bench, settings: dict[str, Any], path: str | None = None, name: str = "system") -> Bench:
    """The lab's bench with a system as candidate: on the original, or on another model of the lab."""
    original = Path(bench.case.original.path)
    folder = original if path is None else original.parent / path
    candidate = SubjectSpec(name, "candidate", str(folder), settings)
    case = dataclasses.replace(bench.case, candidate=candidate)
    return Bench(case, bench._garage, bench.cache, audit=[case])
