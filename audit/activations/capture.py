"""The one forward pass that feeds all evidence.

For every sequence it keeps the hidden states of all layers at three positions and the log-probability of every answer
token. Batches are sorted by length, the unembedding is applied to answer positions only, and each batch goes to disk
as soon as it is computed: peak memory is a batch, not a corpus.

State 0 is the input of the first block; state i is the output of block i, before the final norm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from audit.activations.encode import Encoded
from audit.activations.layers import decoder, decoder_layers, final_norm, unembed
from audit.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

POSITIONS = ("prompt_last", "answer_mean", "answer_last")
TOKEN_BUDGET = {"cpu": 2048, "cuda": 16384}
"""Padded tokens of one batch. On a CPU small batches stay in the cache of the processor."""
LOGIT_BUDGET = 2**27
"""Numbers in one block of logits (0.5 GiB as float32)."""


@dataclass(frozen=True)
class Plan:
    """How a pass is cut into batches: rows of the sorted order, and that order."""

    order: tuple[int, ...]
    batches: tuple[tuple[int, int], ...]


def plan_batches(sequences: Sequence[Encoded], token_budget: int) -> Plan:
    """Sort by length and fill batches up to a number of padded tokens (a longer sequence goes alone)."""
    order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), i))
    batches: list[tuple[int, int]] = []
    begin = 0
    for end in range(1, len(order) + 1):
        full = end < len(order) and (end + 1 - begin) * len(sequences[order[end]]) > token_budget
        if full or end == len(order):
            batches.append((begin, end))
            begin = end
    return Plan(tuple(order), tuple(batches))


def capture(
    subject: Subject,
    sequences: Sequence[Encoded],
    folder: Path,
    *,
    padding: Literal["left", "right"] = "right",
    token_budget: int | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Run the pass and write `states.bin`, `tokens.bin` and `layout.json` into a folder.

    A folder that holds a broken-off pass of the same sequences is taken up at the batch where it stopped.
    Raises CaptureError when a hook did not fire, a state is not finite, or the head that is applied here does not
    give the model's own logits.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_batches(sequences, token_budget or TOKEN_BUDGET[subject.device.type])
    layers = decoder_layers(subject.model)
    width = subject.model.config.get_text_config().hidden_size
    shape = (len(POSITIONS), len(layers) + 1, len(sequences), width)
    layout = {"shape": shape, "order": plan.order, "positions": POSITIONS, "batches": len(plan.batches)}
    done = _resume(folder, layout)
    answers = np.cumsum([0, *(len(sequences[i]) - sequences[i].start for i in plan.order)])
    with torch.inference_mode(), open(folder / "states.bin", "r+b") as file:
        check_head(subject, sequences[plan.order[0]])
        for number, (begin, end) in enumerate(plan.batches):
            if number < done:
                continue
            rows = [sequences[i] for i in plan.order[begin:end]]
            states, tokens = run_batch(subject, rows, padding)
            _write(file.fileno(), states, shape, begin)
            with open(folder / "tokens.bin", "r+b") as record:
                record.seek(TOKEN.itemsize * int(answers[begin]))
                record.write(tokens.tobytes())
            _note(folder / "done.json", number + 1)
            progress((number + 1) / len(plan.batches))


def run_batch(
    subject: Subject, rows: Sequence[Encoded], padding: Literal["left", "right"] = "right"
) -> tuple[np.ndarray, np.ndarray]:
    """One batch → states [positions, layers+1, rows, width] float32 and answer tokens (one record each, see TOKEN)."""
    batch = Batch(rows, padding, _pad_id(subject), subject.device)
    with collecting(subject, batch) as collected:
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
    expected = len(decoder_layers(subject.model)) + 1
    if len(collected) != expected:
        raise CaptureError(
            f"{len(collected)} of {expected} hooks fired: something in the model removes or skips hooks, "
            "so its hidden states cannot be trusted."
        )
    import torch

    states = torch.stack([collected[i] for i in range(expected)], dim=1).float().cpu().numpy()
    if not np.isfinite(states).all():
        raise CaptureError("A hidden state is not a finite number: the model overflows in this number format.")
    vocabulary = subject.model.get_output_embeddings().weight.shape[0]
    return states, batch.answer_tokens(hidden, unembed(subject.model), max(1, LOGIT_BUDGET // vocabulary))


@contextmanager
def collecting(subject: Subject, batch: Batch) -> Iterator[dict[int, Tensor]]:
    """Hooks that keep the wanted positions of every block [positions, rows, width]; removed on leaving."""
    collected: dict[int, Tensor] = {}
    layers = decoder_layers(subject.model)

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        collected[0] = batch.pick(args[0] if args else kwargs["hidden_states"])

    def after(index: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            collected[index] = batch.pick(output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [layer.register_forward_hook(after(i + 1)) for i, layer in enumerate(layers)]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


TOKEN = np.dtype([("id", np.int32), ("logprob", np.float32), ("top1", np.bool_)])


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
        self.index = torch.arange(len(rows), device=device)
        self.prompt_last = torch.tensor([s + r.start - 1 for s, r in zip(shift, rows, strict=True)], device=device)
        self.answer_last = torch.tensor([s + len(r) - 1 for s, r in zip(shift, rows, strict=True)], device=device)
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
        import torch

        row, step = self.inside.nonzero(as_tuple=True)
        step = step + self.first
        states, targets = hidden[row, step - 1], self.ids[row, step]
        logprobs, hits = [], []
        for begin in range(0, len(targets), block):
            logits = unembed(states[begin : begin + block])
            wanted = targets[begin : begin + block]
            chosen = logits.gather(1, wanted[:, None])[:, 0]
            logprobs.append(chosen - torch.logsumexp(logits, dim=1))
            hits.append(logits.argmax(1) == wanted)
        records = np.empty(len(targets), TOKEN)
        records["id"] = targets.cpu().numpy()
        records["logprob"] = torch.cat(logprobs).float().cpu().numpy()
        records["top1"] = torch.cat(hits).cpu().numpy()
        return records


def check_head(subject: Subject, row: Encoded) -> None:
    """Assert on one sequence that norm and unembedding as applied here give the model's own logits."""
    batch = Batch([row], "right", _pad_id(subject), subject.device)
    own = subject.model(**batch.inputs, use_cache=False).logits[0].float()
    seen: list[Tensor] = []
    last = decoder_layers(subject.model)[-1]
    handle = last.register_forward_hook(lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out))
    try:
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
    finally:
        handle.remove()
    project = unembed(subject.model)
    if not seen:
        raise CaptureError("None of the hooks fired: something in the model removes hooks, so it cannot be read.")
    # Half-precision models round their logits; a wrong norm or a missing scale is off by far more than that.
    tolerance = (1e-3 if subject.dtype == "float32" else 3e-2) * float(own.abs().max())
    for what, states in (("unembedding", hidden), ("final norm", final_norm(subject.model)(seen[0]))):
        difference = float((project(states)[0].float() - own).abs().max())
        if not difference <= tolerance:  # also when it is NaN
            raise CaptureError(
                f"The {what} of {type(subject.model).__name__} is applied differently by the model itself (logits "
                f"differ by {difference:.3g}); this architecture is not supported yet."
            )


def _pad_id(subject: Subject) -> int:
    pad = subject.tokenizer.pad_token_id
    return int(pad) if pad is not None else 0


def _resume(folder: Path, layout: dict[str, Any]) -> int:
    """Prepare the files and tell how many batches of this very pass are on disk already."""
    text = json.dumps(layout)
    try:
        if (folder / "layout.json").read_text() == text:
            return int(json.loads((folder / "done.json").read_text()))
    except (OSError, ValueError):
        pass
    for name in ("done.json", "tokens.bin"):
        (folder / name).unlink(missing_ok=True)
    (folder / "tokens.bin").touch()
    with open(folder / "states.bin", "wb") as file:
        file.truncate(int(np.prod(layout["shape"])) * 4)
    (folder / "layout.json").write_text(text)
    return 0


def _write(descriptor: int, states: np.ndarray, shape: tuple[int, ...], begin: int) -> None:
    """Write the rows of one batch where they belong; plain writes, so that memory does not grow with the file."""
    positions, layers, rows, width = shape
    for position in range(positions):
        for layer in range(layers):
            offset = ((position * layers + layer) * rows + begin) * width * 4
            os.pwrite(descriptor, np.ascontiguousarray(states[position, layer]).data, offset)


def _note(path: Path, value: int) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)
