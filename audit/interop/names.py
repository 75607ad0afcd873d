"""What a folder's name says: model, role, method and hyper-parameters, by the conventions of OpenUnlearning and others.

tofu_Llama-3.2-1B-Instruct_full                          the model before anything was forgotten
tofu_Llama-3.2-1B-Instruct_retain90                      trained without the forget set
unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_lr1e-05_beta0.5_alpha1_epoch10
muse_Llama-2-7b-hf_News_target, muse_Llama-2-7b-hf_News_retrain
ft_epoch5_lr1e-05_llama2-7b_retain99_wd0.01              TOFU's own
npo_lr1e5_b01_a5_ep5                                     the depth score's table
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from audit.types import RESERVED

LONGEST = 64
LONGEST_PART = 100
"""So that an id of two such parts is still a file's name."""
INNER = re.compile(r"evals?(_.*)?|eval_results|ds_size\d+|checkpoint-\d+|temp|saves|forget|temperature=.*|results?")
"""Folders that hold results of the model that the folder above is named after."""
PARAMETERS = {
    "lr": "lr", "beta": "beta", "b": "beta", "alpha": "alpha", "a": "alpha", "epoch": "epochs", "ep": "epochs",
    "layer": "layer", "l": "layer", "scoeff": "steering_coefficient", "s": "steering_coefficient", "d": "delta",
    "gamma": "gamma", "g": "gamma", "wd": "weight_decay", "rank": "rank", "r": "rank", "seed": "seed",
}  # fmt: skip
PARAMETER = re.compile(r"([a-z]+)(\d+(?:\.\d+)?(?:e-?\d+)?)")
ROLES = (("reference", re.compile(r"retain\d*|retrain(ed)?")), ("original", re.compile(r"full|target")))


@dataclass(frozen=True)
class ModelName:
    """What a name gives away; empty where it says nothing."""

    text: str
    benchmark: str = ""
    model: str = ""
    split: str = ""
    method: str = ""
    role: str = "candidate"
    """candidate, original (full, target) or reference (retain90, retrain)."""
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(name: str) -> ModelName:
    """Read a folder's name or a hub id; never fails, it only finds less."""
    text = name.rsplit("/", 1)[-1]
    found: dict[str, str] = {}
    parameters: dict[str, str] = {}
    rest = []
    role = "candidate"
    for part in text.split("_"):
        parameter = PARAMETER.fullmatch(part)
        if part.lower() in ("tofu", "muse", "wmdp", "rwku"):
            found.setdefault("benchmark", part.lower())
        elif part in ("unlearn", "pos", "neg", "ft", "eval"):
            continue
        elif re.fullmatch(r"forget\d+|News|Books", part):
            found["split"] = part
        elif re.search(r"llama|qwen|phi|gemma|mistral|zephyr|olmo|pythia|gpt|deepseek", part, re.I):
            found["model"] = part
        elif parameter and parameter[1] in PARAMETERS:
            parameters[PARAMETERS[parameter[1]]] = parameter[2]
        else:
            role = next((role for role, pattern in ROLES if pattern.fullmatch(part)), role)
            rest.append(part)
    method = "_".join(rest)
    return ModelName(text, found.get("benchmark", ""), found.get("model", ""), found.get("split", ""),
                     method, role, parameters)  # fmt: skip


def named_by(folder: PurePath, root: PurePath) -> str:
    """The name of the model whose results lie in a folder: the innermost folder that is not one of INNER.

    What an inner folder adds (`evals_forget10`, `checkpoint-60`) is kept, since it tells two results apart.
    """
    parts = [part for part in folder.parts if part not in (folder.anchor, "")]
    added: list[str] = []
    while len(parts) > 1 and INNER.fullmatch(parts[-1]):
        inner = parts.pop()
        if re.fullmatch(r"checkpoint-\d+|evals_.+", inner):
            added.insert(0, inner)
    return " ".join([parts[-1] if parts else root.name or "results", *added])


def home(folder: Path) -> Path:
    """The folder that the model is named after: what lies in one of INNER belongs to the folder above."""
    while len(folder.parts) > 2 and INNER.fullmatch(folder.name):
        folder = folder.parent
    return folder


def plain(name: str) -> str:
    """A name from inside a file as a part of a finding's id: no character and no dots that could lead elsewhere."""
    name = re.sub(r"\.{2,}", "_", re.sub(r"[^\w.+-]", "_", name))
    return name[:LONGEST_PART].strip(".") or "_"


def short(name: str, taken: Mapping[str, str], within: str = "") -> str:
    """A name that can be a folder's, at most 64 characters, and not yet taken (by casefold); `within` stands first."""
    name = name.rsplit("/", 1)[-1] if "/" in name else name
    name = re.sub(r"^(unlearn_)(tofu_|muse_)?", "", name)
    name = f"{within}-{name}" if within else name
    name = re.sub(r"[^\w .+()-]+", "-", name).strip("-. ") or "results"
    if len(name) > LONGEST:
        head = LONGEST // 2 - 1
        name = f"{name[:head].rstrip()}--{name[-(LONGEST - head - 2) :].lstrip()}"
    unique, number = name, 1
    while unique.casefold() in taken or unique.casefold() in RESERVED:
        number += 1
        unique = f"{name[: LONGEST - 5].rstrip()} ({number})"
    return unique
