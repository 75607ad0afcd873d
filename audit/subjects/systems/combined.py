"""Several models that answer as one: their logits are combined at every token, each with its own cache.

It stands where a model stands: `layers.decoder` and `layers.unembed` find here what reads and what scores it, and
`generate` is its own. It shows no hidden states, for several models have no common ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Combine = Callable[[Sequence["Tensor"]], "Tensor"]
"""Logits of each model [..., vocabulary], float32 → the system's."""


class Combined:
    """Models, the base first, and how their logits become one."""

    shows_states = False

    def __init__(self, models: Sequence[PreTrainedModel], combine: Combine) -> None:
        self.models = tuple(models)
        self.combine = combine

    def __getattr__(self, name: str) -> Any:
        """All else (config, embeddings, parameters) is the base's."""
        return getattr(self.__dict__["models"][0], name)

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        """The system's own logits [rows, length, vocabulary] after each model's whole forward pass."""
        found = [model(**inputs).logits.float() for model in self.models]
        return SimpleNamespace(logits=self.combine([one.to(found[0].device) for one in found]))

    def get_decoder(self) -> Callable[..., SimpleNamespace]:
        """What reads: normed states of all models side by side, for `joint_unembed`."""
        from audit.activations.layers import decoder

        def read(**inputs: Any) -> SimpleNamespace:
            import torch

            found = [decoder(model)(**inputs).last_hidden_state for model in self.models]
            return SimpleNamespace(last_hidden_state=torch.cat([one.to(found[0].device) for one in found], -1))

        return read

    def joint_unembed(self, states: Tensor) -> Tensor:
        """States side by side [..., all widths] → the system's logits [..., vocabulary]."""
        from audit.activations.layers import unembed

        widths = [model.config.get_text_config().hidden_size for model in self.models]
        logits = []
        for model, part in zip(self.models, states.split(widths, -1), strict=True):
            weight = cast("Tensor", model.get_output_embeddings().weight)
            logits.append(unembed(model)(part.to(weight.device, weight.dtype)).to(states.device))
        return self.combine(logits)

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        max_new_tokens: int,
        pad_token_id: int,
        logits_processor: Sequence[Callable[[Tensor, Tensor], Tensor]] | None = None,
        **_options: Any,
    ) -> Tensor:
        """Left-padded prompts [rows, length] with their greedy continuation, as a model's own `generate` gives it.

        Every model keeps its own cache of what it has read.
        """
        import torch

        ids, mask = input_ids, attention_mask
        place = (mask.cumsum(1) - 1).clamp(min=0)
        going = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        caches: list[Any] = [None] * len(self.models)
        new = ids
        for _ in range(max_new_tokens):
            logits = []
            for k, model in enumerate(self.models):
                out = model(**_inputs(model, new, mask, place, caches[k]))
                caches[k] = out.past_key_values
                logits.append(out.logits[:, -1].float().to(ids.device))
            scores = self.combine(logits)
            for processor in logits_processor or ():
                scores = processor(ids, scores)
            token = torch.where(going, scores.argmax(-1), pad_token_id)
            ids = torch.cat([ids, token[:, None]], 1)
            going = going & ~torch.isin(token, torch.tensor(self._ends(), device=ids.device))
            if not going.any():
                break
            new, mask = token[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            place = place[:, -1:] + 1
        return ids

    def _ends(self) -> list[int]:
        config = self.models[0].generation_config
        named = config.eos_token_id if config is not None else None
        return [int(one) for one in (named if isinstance(named, list) else [named]) if one is not None]


def _inputs(model: PreTrainedModel, ids: Tensor, mask: Tensor, place: Tensor, cache: Any) -> dict[str, Any]:
    """What a forward pass is given; some architectures count the places themselves."""
    device = model.get_input_embeddings().weight.device
    inputs: dict[str, Any] = {
        "input_ids": ids.to(device), "attention_mask": mask.to(device), "past_key_values": cache, "use_cache": True,
    }  # fmt: skip
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = place.to(device)
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        inputs["logits_to_keep"] = 1
    return inputs
