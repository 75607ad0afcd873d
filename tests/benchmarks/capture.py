"""The one pass against the bare forward pass and against three other ways of doing the same job.

The job: hidden states of all layers at three positions and the log-probability of every answer token, for every
sequence. Each way runs several times in turn and its fastest time counts, so that a busy machine hurts all alike.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from audit.activations.capture import TOKEN_BUDGET, Batch, capture, plan_batches
from audit.activations.encode import Encoded

ROUNDS = 3


def subject(vocabulary: int, width: int = 512, layers: int = 12, device: str = "cpu") -> Any:
    """A Llama of random weights with what capture needs of a subject."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 3, num_hidden_layers=layers,
        num_attention_heads=width // 64, num_key_value_heads=width // 64, max_position_embeddings=512,
    )  # fmt: skip
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return SimpleNamespace(
        model=LlamaForCausalLM(config).eval().to(device, dtype), tokenizer=SimpleNamespace(pad_token_id=0),
        device=torch.device(device), dtype=str(dtype).removeprefix("torch."),
    )  # fmt: skip


def corpus(number: int, vocabulary: int) -> list[Encoded]:
    """Sequences of 12 to 96 tokens, a quarter of each the answer."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(12, 97, number)
    return [Encoded(tuple(rng.integers(3, vocabulary, n).tolist()), int(n - max(2, n // 4))) for n in lengths]


def batches(sequences: list[Encoded], device: Any) -> list[Batch]:
    """The very batches that capture cuts."""
    plan = plan_batches(sequences, TOKEN_BUDGET[device.type])
    return [Batch([sequences[i] for i in plan.order[a:b]], "right", 0, device) for a, b in plan.batches]


def bare(s: Any, cut: list[Batch]) -> None:
    """The forward pass alone, below the head, over the same batches."""
    import torch

    with torch.inference_mode():
        for batch in cut:
            s.model.model(**batch.inputs, use_cache=False)


def bare_with_logits(s: Any, cut: list[Batch]) -> None:
    """The forward pass with logits at every position over the same batches."""
    import torch

    with torch.inference_mode():
        for batch in cut:
            s.model(**batch.inputs, use_cache=False)


def naive(s: Any, sequences: list[Encoded], rows: int = 16) -> None:
    """What a plain loop does: batches in corpus order, logits at every position."""
    import torch

    with torch.inference_mode():
        for begin in range(0, len(sequences), rows):
            batch = Batch(sequences[begin : begin + rows], "right", 0, s.device)
            s.model(**batch.inputs, use_cache=False)


def _keep(states: list[Any], batch: Batch, logits: Any) -> None:
    """The part of the job that comes after any way of getting at the states."""
    import torch

    torch.stack([batch.pick(state) for state in states], 1).float().cpu().numpy()
    row, step = batch.inside.nonzero(as_tuple=True)
    step = step + batch.first
    torch.log_softmax(logits[row, step - 1].float(), -1).gather(1, batch.ids[row, step][:, None]).cpu().numpy()


def hidden_states(s: Any, cut: list[Batch]) -> None:
    """transformers' own `output_hidden_states`."""
    import torch

    with torch.inference_mode():
        for batch in cut:
            out = s.model(**batch.inputs, use_cache=False, output_hidden_states=True)
            _keep(list(out.hidden_states), batch, out.logits)


def transformer_lens(s: Any) -> Callable[[Any, list[Batch]], None]:
    """TransformerLens' `run_with_cache`, residual stream of all blocks only."""
    import torch
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    c = s.model.config
    config = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_ctx=c.max_position_embeddings,
        d_head=c.hidden_size // c.num_attention_heads, n_heads=c.num_attention_heads, d_mlp=c.intermediate_size,
        d_vocab=c.vocab_size, act_fn="silu", gated_mlp=True, normalization_type="RMS",
        positional_embedding_type="rotary", rotary_dim=c.hidden_size // c.num_attention_heads, final_rms=True,
        device=str(s.device),
    )  # fmt: skip
    model = HookedTransformer(config).eval()

    def run(s: Any, cut: list[Batch]) -> None:
        wanted = {f"blocks.{i}.hook_resid_post" for i in range(c.num_hidden_layers)} | {"blocks.0.hook_resid_pre"}
        with torch.inference_mode():
            for batch in cut:
                logits, cache = model.run_with_cache(batch.ids, names_filter=lambda name: name in wanted)
                _keep([cache[name] for name in sorted(wanted)], batch, logits)

    return run


def nnsight(s: Any) -> Callable[[Any, list[Batch]], None]:
    """nnsight's `trace`, saving the output of every block."""
    import torch
    from nnsight import NNsight

    wrapped = NNsight(s.model)

    def run(s: Any, cut: list[Batch]) -> None:
        with torch.inference_mode():
            for batch in cut:
                with wrapped.trace(input_ids=batch.ids, use_cache=False):
                    states = [].save()  # type: ignore[attr-defined]
                    for layer in wrapped.model.layers:
                        states.append(layer.output)
                    out = wrapped.output.save()
                _keep([x[0] if isinstance(x, tuple) else x for x in states], batch, out.logits)

    return run


def fastest(ways: dict[str, Callable[[], None]], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of the fastest round of each way, run in turn."""
    best = dict.fromkeys(ways, float("inf"))
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table: ours over theirs."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    number = 48 if quick else 192
    rows = [*_four_ways(number, device), *_large_vocabulary(number, device)]
    return [*rows, _memory(20 if quick else 100), _captures()]


def _four_ways(number: int, device: str) -> list[dict[str, Any]]:
    s = subject(8000, device=device)
    sequences = corpus(number, 8000)
    cut = batches(sequences, s.device)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], None]] = {
            "ours": lambda: capture(s, sequences, Path(tempfile.mkdtemp(dir=folder))),
            "bare forward": lambda: bare(s, cut),
            "bare forward with logits": lambda: bare_with_logits(s, cut),
            "output_hidden_states": lambda: hidden_states(s, cut),
        }
        notes = {}
        for name, build in (("TransformerLens run_with_cache", transformer_lens), ("nnsight trace", nnsight)):
            try:
                other = build(s)
                other(s, cut[:1])
                ways[name] = lambda other=other: other(s, cut)  # type: ignore[misc]
            except Exception as error:
                notes[name] = f"could not run: {type(error).__name__}: {error}"[:90]
        best = fastest(ways)
    ours = best.pop("ours")
    goals = {"bare forward": "<= 1.15"}
    rows = [_row(f"capture / {name}", ours, other, goals.get(name, "< 1"), device) for name, other in best.items()]
    return rows + [{"benchmark": f"capture / {name}", "note": note} for name, note in notes.items()]


def _large_vocabulary(number: int, device: str) -> list[dict[str, Any]]:
    s = subject(128_000, width=256, layers=6, device=device)
    sequences = corpus(number, 128_000)
    with tempfile.TemporaryDirectory() as folder:
        best = fastest(
            {
                "ours": lambda: capture(s, sequences, Path(tempfile.mkdtemp(dir=folder))),
                "naive": lambda: naive(s, sequences),
            }
        )
    return [_row("capture / naive forward, 128,000 tokens", best["ours"], best["naive"], "<= 0.8", device)]


def _memory(number: int) -> dict[str, Any]:
    """Peak memory of a process that captures n sequences, and of one that captures ten times as many."""
    peaks = []
    for n in (number, number * 10):
        code = f"from tests.benchmarks.capture import peak; print(peak({n}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    note = f"{peaks[0]:.0f} MiB for {number} sequences, {peaks[1]:.0f} MiB for {number * 10}"
    return {"benchmark": "peak memory, corpus x 10", "ratio": peaks[1] / peaks[0], "goal": "<= 1.05", "note": note}


def peak(number: int) -> float:
    """Peak resident memory in MiB of capturing `number` sequences in this process."""
    import torch

    torch.set_num_threads(2)
    s = subject(8000, width=256, layers=8)
    with tempfile.TemporaryDirectory() as folder:
        capture(s, corpus(number, 8000), Path(folder))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _captures() -> dict[str, Any]:
    """Passes that an audit of three candidates runs for one corpus."""
    from tests.benchmarks.sharing import passes

    count = passes(candidates=3)
    return {"benchmark": "passes for 3 candidates", "ratio": count / 6, "goal": "4 of 6", "note": f"{count} passes"}


def _row(name: str, ours: float, theirs: float, goal: str, device: str) -> dict[str, Any]:
    return {
        "benchmark": name, "ours_s": ours, "theirs_s": theirs, "ratio": ours / theirs, "goal": goal,
        "note": device,
    }  # fmt: skip
