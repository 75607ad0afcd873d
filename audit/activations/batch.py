"""One batch of token sequences: padded ids, where each position lies, and what is read off at the answer tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.encode import Encoded
from audit.activations.eyes import TYPES, shown_to

if TYPE_CHECKING:
    from torch import Tensor

TOKEN = np.dtype(
    [("id", np.int32), ("logprob", np.float32), ("top1", np.bool_), ("mean", np.float32), ("deviation", np.float32)]
)
"""One answer token: its id, its log-probability in nats, whether it is the argmax, and the mean and standard deviation
of the log-probability of a token drawn from the model's own distribution there (Min-K++ reads a token against them)."""
NO_END = np.array((-1, np.nan, False, np.nan, np.nan), TOKEN)
"""What stands for the end-of-text token of a tokenizer that has none: no token, and no number."""


class Batch:
    """Padded token ids of some sequences, and where their positions lie."""

    def __init__(self, rows: Sequence[Encoded], padding: str, pad_id: int, device: Any) -> None:
        import torch

        length = max(len(row) for row in rows)
        ids = torch.full((len(rows), length), pad_id)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        shift = [0 if padding == "right" else length - len(row) for row in rows]
        for i, row in enumerate(rows):
            ids[i, shift[i] : shift[i] + len(row)] = torch.tensor(row.ids)
            mask[i, shift[i] : shift[i] + len(row)] = 1
        self.ids = ids.to(device)
        self.rows = rows
        self.shift = shift
        self.inputs: dict[str, Any] = {"input_ids": self.ids}
        if padding == "left":
            # Causal models never look right, so padding on the right needs no mask and keeps the fast attention path.
            self.inputs["attention_mask"] = mask.to(device)
            self.inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0).to(device)
        self.inputs |= shown_to([row.shown for row in rows], self.ids)
        if TYPES in self.inputs:  # such models place the pieces of an image in height and width by themselves
            self.inputs.pop("position_ids", None)
        self.index = torch.arange(len(rows), device=device)
        self.prompt_last = torch.tensor([s + r.start - 1 for s, r in zip(shift, rows, strict=True)], device=device)
        # Guards inside a model look at the prompt alone; they find its end on the ids themselves.
        self.ids.prompt_last = self.prompt_last  # type: ignore[attr-defined]
        self.answer_last = torch.tensor([s + len(r) - 1 for s, r in zip(shift, rows, strict=True)], device=device)
        self.ids.text_last = self.answer_last  # type: ignore[attr-defined]
        steps = torch.arange(length, device=device)
        inside = (steps > self.prompt_last[:, None]) & (steps <= self.answer_last[:, None])
        self.first = min(s + r.start for s, r in zip(shift, rows, strict=True))
        self.inside = inside[:, self.first :]
        self.mean_weights = self.inside / self.inside.sum(1, keepdim=True)

    def pick(self, hidden: Tensor) -> Tensor:
        """Hidden states [rows, length, width] → the wanted positions [positions, rows, width], in float32."""
        import torch

        weights = self.mean_weights.to(hidden.device, hidden.dtype)
        mean = torch.bmm(weights[:, None], hidden[:, self.first :])[:, 0]
        return torch.stack([hidden[self.index, self.prompt_last], mean, hidden[self.index, self.answer_last]]).float()

    def answer_tokens(self, hidden: Tensor, unembed: Callable[[Tensor], Tensor], block: int) -> np.ndarray:
        """Normed states [rows, length, width] → one TOKEN record for each answer token, row by row, `block` at once."""
        row, step = self.inside.nonzero(as_tuple=True)
        step = step + self.first
        return records(hidden[row, step - 1], self.ids[row, step], unembed, block)

    def end_tokens(
        self, hidden: Tensor, unembed: Callable[[Tensor], Tensor], block: int, end: int | None
    ) -> np.ndarray:
        """Normed states [rows, length, width] → one TOKEN record a row: the end-of-text token after its answer.

        It is predicted at the answer's last position, so no sequence is a token longer for it. Without an end token
        every record is NO_END.
        """
        import torch

        if end is None:
            return np.full(len(self.rows), NO_END, TOKEN)
        return records(hidden[self.index, self.answer_last], torch.full_like(self.index, end), unembed, block)

    def whole(self, hidden: Tensor, rows: Sequence[int]) -> Tensor:
        """Hidden states [rows, length, width] → every token of some rows, one row after the other [tokens, width]."""
        import torch

        parts = [hidden[i, self.shift[i] : self.shift[i] + len(self.rows[i])] for i in rows]
        return torch.cat(parts).float() if parts else hidden[:0, 0].float()


def records(states: Tensor, targets: Tensor, unembed: Callable[[Tensor], Tensor], block: int) -> np.ndarray:
    """Normed states [tokens, width] and the token that each predicts [tokens] → TOKEN records, `block` at once."""
    import torch

    logprobs, hits, means, deviations = [], [], [], []
    for begin in range(0, len(targets), block):
        logits = unembed(states[begin : begin + block]).float()
        wanted = targets[begin : begin + block]
        hits.append(logits.argmax(1) == wanted)
        every = logits.sub_(torch.logsumexp(logits, dim=1, keepdim=True))
        logprobs.append(every.gather(1, wanted[:, None])[:, 0])
        shares = every.exp()
        # Where a share is 0 in float32 its log-probability does not count, also when it is minus infinity.
        expected = torch.nan_to_num(every, neginf=0.0).mul_(shares)
        means.append(expected.sum(1))
        spread = torch.nan_to_num(every.sub_(means[-1][:, None]), neginf=0.0).square_().mul_(shares)
        deviations.append(spread.sum(1).sqrt())
    records = np.empty(len(targets), TOKEN)
    records["id"] = targets.cpu().numpy()
    records["logprob"] = torch.cat(logprobs).float().cpu().numpy()
    records["top1"] = torch.cat(hits).cpu().numpy()
    records["mean"] = torch.cat(means).float().cpu().numpy()
    records["deviation"] = torch.cat(deviations).float().cpu().numpy()
    return records
