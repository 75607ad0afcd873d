"""Where the MLP of each block keeps its projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.activations.layers import decoder_layers
from audit.errors import NotApplicable, SubjectError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

NAMES = (
    "mlp.down_proj",  # Llama, Mistral, Qwen, Gemma, OLMo
    "mlp.dense_4h_to_h",  # GPT-NeoX, Pythia, Falcon
    "mlp.c_proj",  # GPT-2, GPT-Neo
    "mlp.fc_out",  # GPT-J
    "mlp.fc2",  # Phi
    "fc2",  # OPT
)
GATES = ("mlp.gate_proj", "mlp.dense_h_to_4h", "mlp.c_fc", "mlp.fc_in", "mlp.fc1", "fc1")
"""What the activation function reads, in the order of NAMES."""


def mlp_outputs(model: PreTrainedModel) -> list[nn.Module]:
    """The output projection of the MLP of every block, in order.

    Raises NotApplicable for a model whose MLPs are built in another way (a mixture of experts, say).
    """
    return _projections(model, NAMES, "output projection", ", so there are no value vectors to look at")


def mlp_gates(model: PreTrainedModel) -> list[nn.Module]:
    """The projection before the activation function of the MLP of every block, in order; raises as `mlp_outputs`."""
    return _projections(model, GATES, "projection before its activation", "")


def _projections(model: PreTrainedModel, names: tuple[str, ...], what: str, so: str) -> list[nn.Module]:
    try:
        blocks = decoder_layers(model)
    except SubjectError as error:
        raise NotApplicable(str(error)) from error
    found = []
    for number, block in enumerate(blocks):
        modules = dict(block.named_modules())
        name = next((name for name in names if getattr(modules.get(name), "weight", None) is not None), None)
        if name is None:
            raise NotApplicable(
                f"Block {number} of {type(model).__name__} has no MLP {what} under any of the names "
                f"{', '.join(names)}{so}."
            )
        found.append(modules[name])
    return found
