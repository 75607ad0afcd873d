"""The matrices that write an MLP's output, and the value vectors in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit.activations.layers import decoder_layers
from audit.errors import NotApplicable, SubjectError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

NAMES = (
    "mlp.down_proj",  # Llama, Mistral, Qwen, Gemma, OLMo
    "mlp.dense_4h_to_h",  # GPT-NeoX, Pythia, Falcon
    "mlp.c_proj",  # GPT-2, GPT-Neo
    "mlp.fc_out",  # GPT-J
    "mlp.fc2",  # Phi
    "fc2",  # OPT
)


def mlp_outputs(model: PreTrainedModel) -> list[nn.Module]:
    """The output projection of the MLP of every block, in order.

    Raises NotApplicable for a model whose MLPs are built in another way (a mixture of experts, say).
    """
    try:
        blocks = decoder_layers(model)
    except SubjectError as error:
        raise NotApplicable(str(error)) from error
    found = []
    for number, block in enumerate(blocks):
        modules = dict(block.named_modules())
        name = next((name for name in NAMES if getattr(modules.get(name), "weight", None) is not None), None)
        if name is None:
            raise NotApplicable(
                f"Block {number} of {type(model).__name__} has no MLP output projection under any of the names "
                f"{', '.join(NAMES)}, so there are no value vectors to look at."
            )
        found.append(modules[name])
    return found


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
