"""The one forward pass that feeds all evidence.

For every sequence it keeps the hidden states of all layers at three positions and the log-probability of every answer
token and of the end-of-text token after the answer; for chosen sequences also the states of every token at a few
layers (`Whole`). Batches are sorted by length, the unembedding is applied to answer positions only, and each batch goes
to disk as soon as it is computed: peak memory is a batch, not a corpus.

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

from audit.activations.batch import TOKEN, Batch
from audit.activations.encode import Encoded
from audit.activations.layers import decoder, decoder_layers, final_norm, shows_states, unembed
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
class Whole:
    """Sequences of which every token is kept, and the layers at which: what a dictionary of features is read from."""

    rows: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()


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
    whole: Whole = Whole(),
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Run the pass and write `states.bin`, `tokens.bin`, `ends.bin`, `whole.bin` and `layout.json` into a folder.

    A folder that holds a broken-off pass of the same sequences is taken up at the batch where it stopped.
    Raises CaptureError when a hook did not fire, a state is not finite, or the head that is applied here does not
    give the model's own logits.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_batches(sequences, token_budget or TOKEN_BUDGET[subject.device.type])
    if not shows_states(subject.model):
        whole = Whole()
    width = subject.model.config.get_text_config().hidden_size
    shape = (len(POSITIONS), _states(subject), len(sequences), width)
    kept = set(whole.rows)
    written = [i for i in plan.order if i in kept]
    begins = np.cumsum([0, *(len(sequences[i]) if i in kept else 0 for i in plan.order)])
    layout = {
        "shape": shape, "order": plan.order, "positions": POSITIONS, "batches": len(plan.batches),
        "whole": {"layers": whole.layers, "rows": written, "ids": [sequences[i].ids for i in written]},
    }  # fmt: skip
    done = _resume(folder, layout)
    answers = np.cumsum([0, *(len(sequences[i]) - sequences[i].start for i in plan.order)])
    with torch.inference_mode(), open(folder / "states.bin", "r+b") as file:
        check_head(subject, sequences[plan.order[0]])
        for number, (begin, end) in enumerate(plan.batches):
            if number < done:
                continue
            rows = [sequences[i] for i in plan.order[begin:end]]
            chosen = [k for k, i in enumerate(plan.order[begin:end]) if i in kept]
            states, tokens, ends, all_tokens = run_batch(subject, rows, padding, chosen, whole.layers)
            _write(file.fileno(), states, shape, begin)
            _write_whole(folder / "whole.bin", all_tokens, int(begins[-1]), int(begins[begin]))
            with open(folder / "tokens.bin", "r+b") as record:
                record.seek(TOKEN.itemsize * int(answers[begin]))
                record.write(tokens.tobytes())
            with open(folder / "ends.bin", "r+b") as record:
                record.seek(TOKEN.itemsize * begin)
                record.write(ends.tobytes())
            _note(folder / "done.json", number + 1)
            progress((number + 1) / len(plan.batches))


def run_batch(
    subject: Subject,
    rows: Sequence[Encoded],
    padding: Literal["left", "right"] = "right",
    whole: Sequence[int] = (),
    whole_layers: Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One batch → its states, its answer tokens, the end token after each, and every token of the rows in `whole`.

    States [positions, layers + 1, rows, width] float32; answer and end tokens one record each (see TOKEN); whole rows
    [whole layers, tokens, width] float32.
    """
    batch = Batch(rows, padding, _pad_id(subject), subject.device)
    with collecting(subject, batch, whole, whole_layers) as (collected, tokens):
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
    expected = _states(subject)
    if len(collected) != expected:
        raise CaptureError(
            f"{len(collected)} of {expected} hooks fired: something in the model removes or skips hooks, "
            "so its hidden states cannot be trusted."
        )
    import torch

    if collected:
        states = torch.stack([collected[i] for i in range(expected)], dim=1).float().cpu().numpy()
    else:
        states = np.empty((len(POSITIONS), 0, len(rows), 0), np.float32)
    if not np.isfinite(states).all():
        raise CaptureError("A hidden state is not a finite number: the model overflows in this number format.")
    vocabulary = subject.model.get_output_embeddings().weight.shape[0]
    project, block = unembed(subject.model), max(1, LOGIT_BUDGET // vocabulary)
    answers = batch.answer_tokens(hidden, project, block)
    ends = batch.end_tokens(hidden, project, block, _end_id(subject, vocabulary))
    kept = [tokens[layer].cpu().numpy() for layer in whole_layers]
    whole_states = np.stack(kept) if kept else np.empty((0, 0, states.shape[-1]), np.float32)
    return states, answers, ends, whole_states


@contextmanager
def collecting(
    subject: Subject, batch: Batch, whole: Sequence[int] = (), whole_layers: Sequence[int] = ()
) -> Iterator[tuple[dict[int, Tensor], dict[int, Tensor]]]:
    """Hooks that keep the wanted positions of every block [positions, rows, width], and whole rows of some blocks.

    Removed on leaving.
    """
    collected: dict[int, Tensor] = {}
    tokens: dict[int, Tensor] = {}
    if not shows_states(subject.model):
        yield collected, tokens
        return
    layers = decoder_layers(subject.model)

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        collected[0] = batch.pick(args[0] if args else kwargs["hidden_states"])

    def after(index: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            collected[index] = batch.pick(hidden)
            if index in whole_layers:
                tokens[index] = batch.whole(hidden, whole)

        return hook

    handles = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [layer.register_forward_hook(after(i + 1)) for i, layer in enumerate(layers)]
    try:
        yield collected, tokens
    finally:
        for handle in handles:
            handle.remove()


def check_head(subject: Subject, row: Encoded) -> None:
    """Assert on one sequence that norm and unembedding as applied here give the model's own logits."""
    batch = Batch([row], "right", _pad_id(subject), subject.device)
    own = subject.model(**batch.inputs, use_cache=False).logits[0].float()
    if not shows_states(subject.model):
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
        _same_logits(subject, own, "unembedding", hidden)
        return
    seen: list[Tensor] = []
    last = decoder_layers(subject.model)[-1]
    handle = last.register_forward_hook(lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out))
    try:
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
    finally:
        handle.remove()
    if not seen:
        raise CaptureError("None of the hooks fired: something in the model removes hooks, so it cannot be read.")
    for what, states in (("unembedding", hidden), ("final norm", final_norm(subject.model)(seen[0]))):
        _same_logits(subject, own, what, states)


def _same_logits(subject: Subject, own: Tensor, what: str, states: Tensor) -> None:
    """Raise CaptureError unless normed states [1, length, width] give the model's own logits [length, vocabulary]."""
    # Half-precision models round their logits; a wrong norm or a missing scale is off by far more than that.
    tolerance = (1e-3 if subject.dtype == "float32" else 3e-2) * float(own.abs().max())
    difference = float((unembed(subject.model)(states)[0].float() - own).abs().max())
    if not difference <= tolerance:  # also when it is NaN
        raise CaptureError(
            f"The {what} of {type(subject.model).__name__} is applied differently by the model itself (logits "
            f"differ by {difference:.3g}); this architecture is not supported yet."
        )


def _states(subject: Subject) -> int:
    """How many hidden states a pass keeps of each position: blocks and one more, or none where none is shown."""
    return len(decoder_layers(subject.model)) + 1 if shows_states(subject.model) else 0


def _pad_id(subject: Subject) -> int:
    pad = subject.tokenizer.pad_token_id
    return int(pad) if pad is not None else 0


def _end_id(subject: Subject, vocabulary: int) -> int | None:
    """The tokenizer's end-of-text token, where it has one that the model can write."""
    end = subject.tokenizer.eos_token_id
    return int(end) if end is not None and 0 <= end < vocabulary else None


def _resume(folder: Path, layout: dict[str, Any]) -> int:
    """Prepare the files and tell how many batches of this very pass are on disk already."""
    text = json.dumps(layout)
    try:
        if (folder / "layout.json").read_text() == text:
            return int(json.loads((folder / "done.json").read_text()))
    except (OSError, ValueError):
        pass
    for name in ("done.json", "tokens.bin", "ends.bin"):
        (folder / name).unlink(missing_ok=True)
    (folder / "tokens.bin").touch()
    (folder / "ends.bin").touch()
    (folder / "whole.bin").touch()
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


def _write_whole(path: Path, tokens: np.ndarray, total: int, begin: int) -> None:
    """Write whole rows of one batch [layers, tokens, width] at their place in [layers, total, width]."""
    layers, count, width = tokens.shape
    if not count:
        return
    with open(path, "r+b") as file:
        for layer in range(layers):
            offset = (layer * total + begin) * width * 4
            os.pwrite(file.fileno(), np.ascontiguousarray(tokens[layer]).data, offset)


def _note(path: Path, value: int) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)
