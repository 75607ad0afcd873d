"""A bench on the tiny lab one of whose subjects was edited by hand, so that what was done to it is known."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from audit.bench import Bench
from audit.types import Role


class Edited(Bench):
    """The real bench without a cache of its own; `edits` change a copy of a role's model each time it is lent."""

    edits: dict[str, Callable[[Any], None]]

    @contextmanager
    def model(self, role: Role, **settings: Any) -> Iterator[Any]:  # type: ignore[override]
        with super().model(role, **settings) as subject:
            if role in self.edits:
                subject = dataclasses.replace(subject, model=copy.deepcopy(subject.model))
                with torch.no_grad():
                    self.edits[role](subject.model)
            yield subject

    def remember(self, name: str, roles: Any, inputs: Any, compute: Callable[[], Any], corpora: Any = None) -> Any:
        if set(roles) & set(self.edits):
            return dict(compute())
        return super().remember(name, roles, inputs, compute, corpora)


def edited(bench: Bench, **edits: Callable[[Any], None]) -> Bench:
    """A copy of a bench with edited subjects: `edited(bench, candidate=zero)`."""
    made = copy.copy(bench)
    made.__class__ = Edited
    made.edits = edits  # type: ignore[attr-defined]
    return made


SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32}


def tiny(name: str) -> Any:
    """A model of two blocks and 32 neurons of one of five architectures, random weights."""
    import transformers as t

    two = {"num_hidden_layers": 2, "num_attention_heads": 2}
    configs: dict[str, Callable[[], Any]] = {
        "llama": lambda: t.LlamaConfig(**SMALL, **two, num_key_value_heads=2),
        "neox": lambda: t.GPTNeoXConfig(**SMALL, **two),
        "gpt2": lambda: t.GPT2Config(
            vocab_size=40, n_embd=16, n_inner=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2
        ),
        "opt": lambda: t.OPTConfig(vocab_size=40, hidden_size=16, ffn_dim=32, word_embed_proj_dim=16, **two),
        "phi": lambda: t.PhiConfig(**SMALL, **two),
    }
    return t.AutoModelForCausalLM.from_config(configs[name]()).eval()
