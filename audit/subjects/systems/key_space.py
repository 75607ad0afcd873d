"""A detector in the space of keys that makes a model abstain: Effective Skill Unlearning's KSD."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from audit.errors import suggest
from audit.subjects.systems.inside import Inside
from audit.subjects.systems.neuron_adjust import VARIANTS
from audit.subjects.systems.system import OUTPUTS, System
from audit.types import Access, SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from audit.subjects.load import Subject
    from audit.subjects.systems.statistics import Statistics

HELD = ("mean", "std", "k")
FORCED = 1000.0
"""By how much the token of the abstention lies above all others: its probability is 1 as float32 has it."""


@dataclass(frozen=True)
class KeySpace(System):
    """A prompt whose last token's key lies in a block's box of forget keys is answered with an abstention."""

    statistics: str = ""
    """A safetensors file: block.N with mean, std and k, the number of deviations that covers every forget key."""
    factor: float = 1.0
    """The box is factor * k deviations wide to each side (0.08 in the released code, 2 in its scripts)."""
    variant: str = "paper"
    """`paper`: the last token of the prompt decides; `released`: any token that is written afterwards does too."""
    answer: str = "I cannot answer that."
    """What is said instead."""

    title: ClassVar[str] = "a detector in key space"
    does: ClassVar[str] = "Where the key of the prompt's last token lies in a box of known ones, an abstention is said."
    papers: ClassVar[str] = (
        "Effective Skill Unlearning, Key Space Detection (arXiv:2503.21730), as published and as released"
    )
    access: ClassVar[frozenset[Access]] = OUTPUTS
    files: ClassVar[tuple[str, ...]] = ("statistics",)

    @property
    def detects(self) -> bool:
        """It looks at the prompt's key."""
        return True

    def fault(self) -> str:
        """No statistics, an unknown variant, no answer, or a factor out of its range."""
        if not self.statistics:
            return 'without statistics of its keys; give a safetensors file as "statistics".'
        if self.variant not in VARIANTS:
            return f'of the unknown variant "{self.variant}".{suggest(self.variant, VARIANTS)}'
        if not self.answer.strip():
            return 'that says nothing when it abstains; give the text as "answer".'
        return "" if self.factor >= 0 else "whose factor must be 0 or more."

    def check(self, spec: SubjectSpec) -> None:
        """Raise SubjectError when the statistics are not what is expected."""
        from audit.subjects.systems.statistics import check

        check(self.statistics, HELD, spec)

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base behind a door that may answer in its place."""
        from audit.activations.mlp import mlp_outputs
        from audit.subjects.systems.statistics import read

        boxes = read(self.statistics, base, mlp_outputs(base.model))
        said = [int(i) for i in base.tokenizer(self.answer, add_special_tokens=False)["input_ids"]]
        guarded: Any = Abstaining(base, boxes, self, said)
        return dataclasses.replace(base, model=cast("Any", guarded))

    def flags(self, subject: Subject, prompts: Sequence[str], template: str) -> list[bool]:
        """Which prompts end in a key within the box of a block."""
        import torch

        from audit.activations.encode import encode_prompt
        from audit.activations.generate import left_padded, planned
        from audit.activations.layers import decoder

        model: Any = subject.model
        ids = [encode_prompt(subject.tokenizer, prompt, template) for prompt in prompts]
        found = [False] * len(ids)
        with torch.inference_mode():
            for rows in planned(subject, [len(row) for row in ids], [0] * len(ids)):
                decoder(model.base)(**left_padded(subject, [ids[i] for i in rows]), use_cache=False)
                for i, inside in zip(rows, model.inside_box.tolist(), strict=True):
                    found[i] = inside
        return found


class Abstaining:
    """A model that says something else where its detector is set off; it stands where a model stands.

    What it reads goes on as the base's normed states and one more column: the token that is said in any case, or -1.
    """

    shows_states = False

    def __init__(self, base: Subject, boxes: Statistics, system: KeySpace, said: Sequence[int]) -> None:
        import torch

        from audit.activations.mlp import mlp_outputs
        from audit.subjects.systems.detectors import everything

        self.base: PreTrainedModel = base.model
        self.inside = Inside(base, everything)
        end = base.tokenizer.eos_token_id
        self.said = [*said, int(end)] if end is not None else list(said)
        self.every_token = system.variant == "released"
        self.inside_box = torch.zeros(0, dtype=torch.bool)
        modules = mlp_outputs(base.model)
        first = min(boxes, default=0)
        for block, held in boxes.items():
            modules[block - 1].register_forward_pre_hook(self._watching(held, system.factor, block == first))

    def __getattr__(self, name: str) -> Any:
        """All else is the base's."""
        return getattr(self.__dict__["base"], name)

    def _watching(self, held: dict[str, Tensor], factor: float, first: bool) -> Any:
        def before(module: Any, args: tuple[Tensor, ...]) -> None:
            import torch

            now = self.inside.now
            assert now is not None
            if first and now.prefill:
                self.inside_box = torch.zeros_like(now.flagged)
            if not now.prefill and not self.every_token:
                return
            reach = factor * held["k"] * held["std"]
            within = ((args[0].float() - held["mean"]).abs() <= reach).all(-1)  # [rows, length]
            at = now.written if self.every_token else now.last
            self.inside_box = self.inside_box | (within & at.to(within.device)).any(1).to(self.inside_box.device)

        return before

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        """The logits of the whole system [rows, length, vocabulary]."""
        logits = self.base(**inputs).logits.float()
        return SimpleNamespace(logits=_forced(logits, self._tokens(logits)))

    def get_decoder(self) -> Any:
        """What reads: normed states with the column of forced tokens, for `joint_unembed`."""
        from audit.activations.layers import decoder

        def read(**inputs: Any) -> SimpleNamespace:
            import torch

            states = decoder(self.base)(**inputs).last_hidden_state.float()
            return SimpleNamespace(last_hidden_state=torch.cat([states, self._tokens(states)[..., None]], -1))

        return read

    def joint_unembed(self, states: Tensor) -> Tensor:
        """States with the column [..., width + 1] → the system's logits [..., vocabulary]."""
        from audit.activations.layers import unembed

        weight = cast("Tensor", self.base.get_output_embeddings().weight)
        logits = unembed(self.base)(states[..., :-1].to(weight.device, weight.dtype)).float()
        return _forced(logits, states[..., -1].to(logits.device))

    def generate(self, input_ids: Tensor, max_new_tokens: int, pad_token_id: int, **options: Any) -> Tensor:
        """The base's continuation, or the abstention where the detector was set off."""
        import torch

        out = self.base.generate(  # type: ignore[operator]
            input_ids=input_ids, max_new_tokens=max_new_tokens, pad_token_id=pad_token_id, **options
        )
        begin, said = input_ids.shape[1], self.said[:max_new_tokens]
        width = max(out.shape[1], begin + len(said))
        found = torch.full((len(out), width), pad_token_id, device=out.device, dtype=out.dtype)
        found[:, : out.shape[1]] = out
        for row in self.inside_box.nonzero()[:, 0].tolist():
            found[row, begin:] = pad_token_id
            found[row, begin : begin + len(said)] = torch.tensor(said, device=out.device)
        return found

    def _tokens(self, like: Tensor) -> Tensor:
        """The token that is said after each position in any case, or -1 [rows, length]."""
        import torch

        now = self.inside.now
        assert now is not None
        found = torch.full(like.shape[:2], -1.0, device=like.device)
        for row in self.inside_box.nonzero()[:, 0].tolist():
            begin = int(now.last[row].nonzero()[-1])
            said = self.said[: found.shape[1] - begin]
            found[row, begin : begin + len(said)] = torch.tensor(said, device=like.device, dtype=torch.float32)
            found[row, begin + len(said) :] = float(self.said[-1])
        return found


def _forced(logits: Tensor, tokens: Tensor) -> Tensor:
    """Logits [..., vocabulary] with the token that is said in any case [...] far above all others."""
    import torch

    meant = tokens >= 0
    if not bool(meant.any()):
        return logits
    top = logits.amax(-1, keepdim=True) + FORCED
    index = tokens.clamp(min=0).long()[..., None]
    raised = logits.scatter(-1, index, top)
    return torch.where(meant[..., None], raised, logits)
