"""The matrices that write an MLP's output, and the value vectors in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit.activations.mlp import mlp_outputs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def value_vectors(module: nn.Module) -> Tensor:
    """The value vectors of a projection, one per neuron [neurons, width], in float32; a view or a copy, never to edit.

    A Linear keeps them as columns, the Conv1D of GPT-2 as rows.
    """
    weight: Tensor = module.weight  # type: ignore[assignment]
    return (weight if type(module).__name__ == "Conv1D" else weight.T).float()


@contextmanager
def writing(
    model: PreTrainedModel, write: Mapping[int, Callable[[nn.Module, Tensor, Tensor], Tensor]]
) -> Iterator[None]:
    """While open, the MLP output of each named block is `write(module, neurons, output)`; no weight is touched.

    `neurons` are the activations that go into the projection [rows, length, neurons].
    """
    modules = mlp_outputs(model)

    def hook(change: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda module, args, output: change(module, args[0], output)

    handles = [modules[block].register_forward_hook(hook(change)) for block, change in write.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def reading(model: PreTrainedModel, read: Callable[[int, nn.Module, Tensor], Any]) -> Iterator[None]:
    """While open, `read(block, module, neurons)` is called for the MLP of every block."""
    modules = mlp_outputs(model)

    def hook(block: int) -> Callable[..., None]:
        return lambda module, args: read(block, module, args[0]) and None

    handles = [module.register_forward_pre_hook(hook(block)) for block, module in enumerate(modules)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
