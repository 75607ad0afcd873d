"""Weights and states changed for a while: what an attack edits, and its way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit.activations.layers import decoder_layers

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def block_matrices(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Every linear layer inside the blocks, by the name of its weight; also the Conv1D of GPT-2."""
    inside = {id(module) for block in decoder_layers(model) for module in block.modules()}
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if id(module) in inside and getattr(getattr(module, "weight", None), "ndim", 0) == 2
    }


@contextmanager
def changed(model: PreTrainedModel, change: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """While open, each named parameter holds what `change` makes of it; afterwards the very same bits as before.

    The old values wait in main memory, so that a GPU holds one model and one tensor.
    """
    import torch

    parameters = dict(model.named_parameters())
    kept: dict[str, Tensor] = {}
    try:
        with torch.no_grad():
            for name, new in change.items():
                kept[name] = parameters[name].detach().to("cpu", copy=True)
                parameters[name].copy_(new(parameters[name].detach()))
        yield
    finally:
        with torch.no_grad():
            for name, old in kept.items():
                parameters[name].copy_(old)


@contextmanager
def outputs(model: PreTrainedModel, call: Mapping[int, Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """While open, `call[block]` sees the output of that block, from 1, and may give another in its place."""

    def hook(change: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
        def after(module: Any, args: Any, output: Any) -> Any:
            whole = isinstance(output, tuple)
            new = change(output[0] if whole else output)
            return None if new is None else (new, *output[1:]) if whole else new

        return after

    layers = decoder_layers(model)
    handles = []
    try:
        for block, change in call.items():
            handles.append(layers[block - 1].register_forward_hook(hook(change)))
        yield
    finally:
        for handle in handles:
            handle.remove()
