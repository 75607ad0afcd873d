"""MLP output projections of one subject at work in the body of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from audit.activations.mlp import mlp_outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Projection = tuple["Tensor", "Tensor | None"]
"""Weight and bias of one MLP output projection."""
Writes = Mapping[int, "Callable[[nn.Module, Tensor, Tensor], Tensor]"]


def projections(model: PreTrainedModel) -> list[Projection]:
    """The output projection of every block, on the CPU; never to edit."""
    return [
        (module.weight.detach().cpu(), None if module.bias is None else module.bias.detach().cpu())  # type: ignore
        for module in mlp_outputs(model)
    ]


def whole(donor: Mapping[int, Projection]) -> Writes:
    """For `writing`: the donor's projections instead of the body's own, block by block."""
    return {block: _instead(weight, bias) for block, (weight, bias) in donor.items()}


def columns(donor: list[Projection], pool: NDArray) -> Writes:
    """For `writing`: only these value vectors (block and neuron [vectors, 2]) are the donor's."""
    wanted = {int(block): pool[pool[:, 0] == block, 1] for block in set(pool[:, 0].tolist())}
    return {block: _only(donor[block][0], neurons) for block, neurons in wanted.items()}


def _instead(weight: Tensor, bias: Tensor | None) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def write(module: nn.Module, neurons: Tensor, output: Tensor) -> Tensor:
        return _project(module, neurons, weight, bias)

    return write


def _only(weight: Tensor, neurons: NDArray) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def write(module: nn.Module, activations: Tensor, output: Tensor) -> Tensor:
        import torch

        mixed: Tensor = module.weight.detach().clone()  # type: ignore[operator]
        places = torch.as_tensor(neurons, device=mixed.device)
        donor = weight.to(mixed.device, mixed.dtype)
        if _by_rows(module):
            mixed[places] = donor[places]
        else:
            mixed[:, places] = donor[:, places]
        return _project(module, activations, mixed, module.bias)  # type: ignore[arg-type]

    return write


def _project(module: nn.Module, neurons: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What the module would do with another weight and bias, by the very operation that it uses itself."""
    import torch

    weight = weight.to(neurons.device, neurons.dtype)
    bias = None if bias is None else bias.to(neurons.device, neurons.dtype)
    if _by_rows(module) and bias is not None:
        flat = torch.addmm(bias, neurons.reshape(-1, neurons.shape[-1]), weight)
        return flat.reshape(*neurons.shape[:-1], weight.shape[1])
    return torch.nn.functional.linear(neurons, weight, bias)


def _by_rows(module: nn.Module) -> bool:
    """Whether this is the Conv1D of GPT-2, which keeps value vectors as rows."""
    return type(module).__name__ == "Conv1D"
