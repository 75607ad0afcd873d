"""Where a model keeps its blocks, its final norm and its unembedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

TOWERS = ("vision_model", "text_model")
"""What a two-tower model calls its towers."""
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm")


def shows_states(model: PreTrainedModel) -> bool:
    """Whether there is one run of hidden states to be read; several models that answer as one have none."""
    return getattr(model, "shows_states", True) is not False


def decoder(model: PreTrainedModel) -> nn.Module:
    """The part of a causal language model below its head; a PEFT wrapper is looked through.

    Of a model that reads images it is all of that: token ids and pixels in, states out.
    """
    inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model if sees(inner) else language(model)  # type: ignore[no-any-return]


def language(model: PreTrainedModel) -> nn.Module:
    """The language model itself, below its head; of a model that reads images the part that reads text."""
    inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.get_decoder() if hasattr(inner, "get_decoder") else inner.base_model  # type: ignore[no-any-return]


def sees(model: Any) -> bool:
    """Whether a model reads images besides text."""
    return getattr(model.config, "vision_config", None) is not None and hasattr(model, "get_image_features")


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks, in order; raises SubjectError for a model whose blocks cannot be told.

    Of two towers first those of the image tower, then those of the text tower.
    """
    from torch import nn

    inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    towers = [getattr(inner, name, None) for name in TOWERS]
    if all(tower is not None for tower in towers):
        return nn.ModuleList([block for tower in towers for block in decoder_layers(tower)])  # type: ignore[arg-type]
    config = model.config.get_text_config()
    count = config.num_hidden_layers
    for module in language(model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise SubjectError(f"{type(model).__name__} has no list of {count} blocks; its hidden states cannot be read.")


def dictionary_layers(blocks: int) -> tuple[int, ...]:
    """The middle and a late block, counted from 1, whose outputs a dictionary of features is made for.

    Never the last: its output is read by the unembedding alone.
    """
    return tuple(sorted({max(1, min(blocks - 1, -(-share * blocks // 4))) for share in (2, 3)}))


def final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm between the last block and the unembedding; raises SubjectError when there is none to be found."""
    for name in FINAL_NORMS:
        module = getattr(language(model), name, None)
        if module is not None:
            return module  # type: ignore[no-any-return]
    raise SubjectError(f"{type(model).__name__} has no final norm under any of the names {', '.join(FINAL_NORMS)}.")


def unembed(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """Normed states [..., width] → logits [..., vocab], with the scale and the soft cap that some models apply."""
    import torch

    if not shows_states(model):
        return model.joint_unembed  # type: ignore[no-any-return, operator]
    linear = model.get_output_embeddings()
    if linear is None:
        raise SubjectError(f"{type(model).__name__} has no unembedding; only causal language models can be audited.")
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    multiplier = getattr(config, "logit_scale", None) or 1.0
    divisor = getattr(config, "logits_scaling", None) or 1.0

    def apply(states: torch.Tensor) -> torch.Tensor:
        logits = linear(states).float() * multiplier / divisor
        return torch.tanh(logits / cap) * cap if cap else logits

    return apply


def head(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """States of any block [..., width], before the final norm → logits [..., vocab]: the head projection."""
    norm, project = final_norm(model), unembed(model)
    reference = next(norm.parameters(), None)

    def apply(states: Tensor) -> Tensor:
        if reference is not None:
            states = states.to(reference.device, reference.dtype)
        return project(norm(states))

    return apply
