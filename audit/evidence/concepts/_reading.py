"""Weights of a subject by tensor name, one tensor in memory at a time where its files allow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from audit.subjects.files import folder_of, is_adapter, tensors, weight_files

if TYPE_CHECKING:
    from torch import Tensor

    from audit.bench import Bench
    from audit.types import Role, SubjectSpec

Weights = Mapping[str, "Callable[[], Tensor]"]
"""Tensor name → reading it."""

BLOCK = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.(.+)$")
TOWERS = {"vision_model.": "image ", "text_model.": "text "}
"""What a two-tower model calls its towers, and what their blocks are called here."""
SEES = re.compile(r"(?:^|\.)(?:vision_tower|vision_model|visual|vision_encoder|vision_embed_tokens)\.(?!merger)")
PROJECTS = re.compile(r"(?:^|\.)(?:multi_modal_projector|connector|modality_projection|merger|mm_projector)\.")
ENDS = (
    ("embedding", r"embed_tokens|wte|wpe|embed_in|embeddings"),
    ("head", r"lm_head|embed_out|_projection"),
    ("final norm", r"norm|ln_f"),
)


@contextmanager
def weights_of(bench: Bench, role: Role, beside: Role) -> Iterator[tuple[Weights, Weights]]:
    """The weights of two subjects under the same names.

    From their safetensors, tensor by tensor; when one of them is an adapter both are loaded, with the adapter merged
    into a copy, because only that says what the adapter does to each weight.
    """
    specs = bench.case.subject(role), bench.case.subject(beside)
    with ExitStack() as stack:
        if any(is_adapter(folder_of(spec)) for spec in specs):
            yield _merged(bench, role, stack), _merged(bench, beside, stack)
        else:
            yield _stored(specs[0], stack), _stored(specs[1], stack)


def _stored(spec: SubjectSpec, stack: ExitStack) -> Weights:
    from safetensors import safe_open

    folder = folder_of(spec)
    paths = weight_files(folder, spec)
    if any(path.suffix != ".safetensors" for path in paths):
        return {name: tensor.cpu for name, tensor in tensors(folder, spec)}
    found: dict[str, Callable[[], Tensor]] = {}
    for path in paths:
        file = stack.enter_context(safe_open(path, framework="pt"))
        for name in file.keys():  # noqa: SIM118  a safetensors file is not a dict
            found[name] = partial(file.get_tensor, name)
    return found


def _merged(bench: Bench, role: Role, stack: ExitStack) -> Weights:
    subject = stack.enter_context(bench.private_model(role))
    model = subject.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return {name: tensor.cpu for name, tensor in model.state_dict().items()}


def place_of(name: str) -> tuple[str, int | None, str]:
    """Where a tensor sits, read from its name: the part of the model, its block or None, and the module.

    >>> place_of("model.layers.3.mlp.up_proj.weight")
    ('block 3', 3, 'mlp.up_proj')
    """
    inside = BLOCK.search(name)
    # A vision encoder has blocks of its own, which are none of the language model's.
    if SEES.search(name) and not name.startswith(tuple(TOWERS)):
        module = inside[2] if inside else name.removeprefix("model.")
        return (f"vision block {inside[1]}" if inside else "vision encoder"), None, module.removesuffix(".weight")
    if PROJECTS.search(name):
        return "projector", None, name.removesuffix(".weight").removeprefix("model.")
    if inside:
        tower = next((words for name_, words in TOWERS.items() if name.startswith(name_)), "")
        return f"{tower}block {inside[1]}", int(inside[1]), inside[2].removesuffix(".weight")
    module = name.removesuffix(".weight").removeprefix("model.").removeprefix("transformer.")
    for place, pattern in ENDS:
        if re.search(pattern, name):
            return place, None, module
    return "elsewhere", None, module


def in_order(places: set[str]) -> list[str]:
    """Parts of a model from input to output."""
    first = {
        "vision encoder": -(10**6), "projector": -2, "embedding": -1, "final norm": 10**6, "head": 10**6 + 1,
        "elsewhere": 10**6 + 2,
    }  # fmt: skip
    later = {"text": 10**5, "vision": first["vision encoder"] + 1}
    """A text tower's blocks come after those of the image tower, a vision encoder's before the language model's."""
    return sorted(places, key=lambda p: first[p] if p in first else int(p.split()[-1]) + later.get(p.split()[0], 0))
