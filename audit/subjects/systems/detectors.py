"""Which prompts a system means: all of them, those that name something, or those that a classifier picks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import read_object
from audit.subjects.systems.inside import Detector
from audit.subjects.tokens import load_tokenizer

if TYPE_CHECKING:
    from audit.subjects.load import Subject

BATCH = 64
PICKS = "ForSequenceClassification"


def everything(rows: Sequence[Sequence[int]]) -> list[bool]:
    """Every prompt is meant."""
    return [True] * len(rows)


def naming(subject: Subject, names: Sequence[str]) -> Detector:
    """Prompts in whose text one of the names stands, whatever its case and spaces."""
    wanted = [_plain(name) for name in names]

    def detect(rows: Sequence[Sequence[int]]) -> list[bool]:
        texts = [_plain(text) for text in prompts_of(subject, rows)]
        return [any(name in text for name in wanted) for text in texts]

    return detect


def picked(subject: Subject, folder: str, label: int, threshold: float) -> Detector:
    """Prompts to which a classifier gives the label with at least the threshold's probability."""
    import torch
    from transformers import AutoModelForSequenceClassification

    name = f"{subject.spec.name} (classifier)"
    tokenizer = load_tokenizer(Path(folder), name)
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises torch's, its own and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(f"{name}: {folder} cannot be loaded ({line[:300]}).") from error
    model = model.eval().requires_grad_(False).to(subject.device)

    def detect(rows: Sequence[Sequence[int]]) -> list[bool]:
        texts, found = prompts_of(subject, rows), []
        for begin in range(0, len(texts), BATCH):
            inputs = tokenizer(texts[begin : begin + BATCH], padding=True, truncation=True, return_tensors="pt")
            given = {k: v.to(subject.device) for k, v in inputs.items() if k in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                shares = model(**given).logits.float().softmax(-1)[:, label]
            found += (shares >= threshold).tolist()
        return found

    return detect


def check_classifier(name: str, folder: str, label: int) -> None:
    """Raise SubjectError unless a folder holds a classifier of texts that has the label."""
    config = read_object(Path(folder) / "config.json", f"{name} (classifier)")
    kinds = [str(one) for one in config.get("architectures") or ()]
    if "auto_map" in config or not any(kind.endswith(PICKS) for kind in kinds):
        raise SubjectError(
            f"{name}: {folder} is no classifier of prompts ({', '.join(kinds) or 'no architecture'}); expected a "
            f"transformers model whose architecture ends in {PICKS}."
        )
    count = len(config.get("id2label") or {}) or 2
    if not 0 <= label < count:
        raise SubjectError(f"{name}: its classifier has {count} labels, 0 to {count - 1}; there is no label {label}.")
    if not any(Path(folder).glob("*.safetensors")):
        raise SubjectError(f"{name}: {folder} holds no safetensors file; save the classifier with save_pretrained.")


def prompts_of(subject: Subject, rows: Sequence[Sequence[int]]) -> list[str]:
    """The prompts as text."""
    return [str(subject.tokenizer.decode(list(row), skip_special_tokens=True)) for row in rows]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
