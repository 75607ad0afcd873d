"""Statistics of neurons that a system was made with: a safetensors file, `block.N.NAME` for each block N from 1.

The released code of Effective Skill Unlearning pickles them; a pickled file can run code when it is read, so it is
converted first. Means and standard deviations are stored as what they are, never a variance under another name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit.errors import AuditError
from audit.subjects.systems.system import refuse
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from audit.subjects.load import Subject

KEY = re.compile(r"block\.([1-9]\d*)\.(\w+)")
Statistics = dict[int, dict[str, "Tensor"]]
"""Block (from 1) → tensors by name."""


def check(path: str, names: Sequence[str], spec: SubjectSpec) -> None:
    """Raise SubjectError unless a file holds just these tensors for some blocks that the model has; none is read."""
    from audit.subjects.checks import config_of_model
    from audit.subjects.weights import header

    if Path(path).suffix != ".safetensors":
        raise refuse(
            spec, f"its statistics {path} are no safetensors file; a pickled one is never read, convert it first."
        )
    try:
        tensors = header(Path(path))
    except AuditError as error:
        raise refuse(spec, str(error)) from error
    found: dict[int, dict[str, int]] = {}
    for tensor in tensors:
        match = KEY.fullmatch(tensor.name)
        if match is None or match[2] not in names:
            raise refuse(
                spec, f'its statistics hold "{tensor.name}"; expected block.N with {", ".join(names)} for each block.'
            )
        found.setdefault(int(match[1]), {})[match[2]] = tensor.numbers
    if not found:
        raise refuse(spec, f"its statistics {path} are of no block at all.")
    for block, held in found.items():
        lacking = [name for name in names if name not in held]
        if lacking:
            raise refuse(spec, f"its statistics lack block.{block}.{lacking[0]}.")
        sizes = {name: size for name, size in held.items() if name != "k"}
        if len(set(sizes.values())) > 1:
            raise refuse(spec, f"its statistics of block {block} have different lengths: {sizes}.")
    blocks = config_of_model(spec).get("num_hidden_layers")
    if blocks and found and max(found) > blocks:
        raise refuse(spec, f"its statistics are of block {max(found)}, but the model has {blocks}.")


def read(path: str, subject: Subject, modules: Sequence[nn.Module]) -> Statistics:
    """The statistics on the devices of the blocks' modules, in float32."""
    from safetensors.torch import load_file

    found: Statistics = {}
    for key, tensor in load_file(path).items():
        match = KEY.fullmatch(key)
        assert match is not None
        block = int(match[1])
        where = next(modules[block - 1].parameters()).device
        found.setdefault(block, {})[match[2]] = tensor.to(where) if match[2] == "neurons" else tensor.float().to(where)
    return found


def write(path: Path, statistics: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Write statistics as the file that a case file names."""
    from safetensors.torch import save_file

    flat = {f"block.{block}.{name}": t.contiguous() for block, held in statistics.items() for name, t in held.items()}
    save_file(flat, str(path))


def keys_of(subject: Subject, prompts: Sequence[str], template: str, last: bool) -> dict[int, Tensor]:
    """What goes into the output projection of every block's MLP: at the last token of each prompt, or at all of them.

    [prompts or tokens, neurons] by block, float32 on the CPU.
    """
    import torch

    from audit.activations.encode import encode_prompt
    from audit.activations.layers import decoder
    from audit.activations.mlp import mlp_outputs

    seen: dict[int, list[Tensor]] = {}
    modules = mlp_outputs(subject.model)

    def keep(block: int) -> object:
        def hook(module: object, args: tuple[Tensor, ...]) -> None:
            seen.setdefault(block, []).append(args[0][0, -1:] if last else args[0][0])

        return hook

    handles = [m.register_forward_pre_hook(keep(block)) for block, m in enumerate(modules, 1)]  # type: ignore[arg-type]
    try:
        with torch.inference_mode():
            for prompt in prompts:
                ids = torch.tensor([encode_prompt(subject.tokenizer, prompt, template)], device=subject.device)
                decoder(subject.model)(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {block: torch.cat(found).float().cpu().clone() for block, found in seen.items()}


def boxes(subject: Subject, prompts: Sequence[str], template: str = "plain") -> Statistics:
    """The box of each block around the keys of prompts to forget: mean, standard deviation, and the smallest k.

    With k standard deviations to each side the box holds every key; the released code finds k by bisection to 1e-5.
    """
    found: Statistics = {}
    for block, keys in keys_of(subject, prompts, template, last=True).items():
        mean, std = keys.mean(0), keys.std(0)
        reach = ((keys - mean).abs() / std.clamp(min=1e-12)).max()
        found[block] = {"mean": mean, "std": std, "k": reach.reshape(1)}
    return found


def neurons(
    subject: Subject, forget: Sequence[str], retain: Sequence[str], share: float, template: str = "plain"
) -> Statistics:
    """The `share` of each block's neurons whose mean rises most on forget, with both means and deviations."""
    mine, others = (keys_of(subject, prompts, template, last=False) for prompts in (forget, retain))
    found: Statistics = {}
    for block, keys in mine.items():
        rises = keys.mean(0) - others[block].mean(0)
        chosen = rises.topk(max(1, int(share * len(rises)))).indices
        found[block] = {
            "neurons": chosen,
            "mean_forget": keys.mean(0)[chosen], "std_forget": keys.std(0)[chosen],
            "mean_retain": others[block].mean(0)[chosen], "std_retain": others[block].std(0)[chosen],
        }  # fmt: skip
    return found
