"""What a subject's entry in the case file may say besides its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from audit.errors import SubjectError, suggest
from audit.subjects.systems.kinds import KIND, split
from audit.subjects.systems.kinds import settings_of as system_settings
from audit.types import SubjectSpec

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class LoaderSettings:
    """The loader's settings of one subject."""

    base: str | None = None
    """Path or hub id of the model that an adapter sits on."""
    allow_pickle: bool = False
    """Read a `.bin` or `.pt` file, with `weights_only=True`, where no safetensors file is there."""
    dtype: str | None = None
    """Number format of the loaded weights; the default is float32 on a CPU and bfloat16 on a GPU."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    timm: str | None = None
    """The timm architecture whose state dict the folder holds, for an image classifier."""
    classes: tuple[str, ...] = ()
    """Names of an image classifier's classes in the order of its outputs; the default is what its config says."""
    embedding_prompt: str | None = None
    """What a text is put into before it is encoded, with {text} where it goes; makes an encoder of a language model."""
    pooling: str | None = None
    """How an encoder makes one vector of the states of a text's tokens; by default as its folder says, else mean."""
    temperature: float | None = None
    """What an encoder's similarities are divided by; the default is the model's own, or 0.05."""
    scorer: str | None = None
    """Path of the image classifier that says what a generator draws; the case file names it once for all subjects."""
    judge: str | None = None
    """Path of a second classifier, trained on its own, that decides what a search led by the scorer has found."""
    scorer_images: str | None = None
    """Real labelled images that scorer and judge are tested on."""


def loader_settings(spec: SubjectSpec) -> LoaderSettings:
    """The checked settings of a subject; raises SubjectError for an unknown one or one of another type."""
    return settings_from(spec.settings, spec.name)


def settings_from(values: Mapping[str, Any], name: str) -> LoaderSettings:
    """Checked settings from plain data, those of a system too; `name` is the subject's, for the message."""
    kind = values.get(KIND)
    values, system = split(values, name)
    known = [field.name for field in fields(LoaderSettings)]
    for key, value in values.items():
        if key not in known:
            options = [*known, KIND, *system_settings(kind)]
            raise SubjectError(f'Subject "{name}" has no setting "{key}".{suggest(key, options)}')
        if key == "classes":
            values = {**values, key: _names(value, name)}
            continue
        if key == "temperature":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise SubjectError(f'Setting "{key}" of subject "{name}" is {value!r}; expected a number above 0.')
            continue
        expected = "true or false" if key == "allow_pickle" else "a text"
        if not isinstance(value, bool if key == "allow_pickle" else str) or value == "":
            raise SubjectError(f'Setting "{key}" of subject "{name}" is {value!r}; expected {expected}.')
    dtype = values.get("dtype")
    if dtype is not None and dtype not in DTYPES:
        raise SubjectError(f'Setting "dtype" of subject "{name}" is "{dtype}".{suggest(dtype, DTYPES)}')
    if system is not None and (fault := system.fault()):
        raise SubjectError(f'Subject "{name}" is {system.title} {fault}')
    return LoaderSettings(**values)


def _names(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) < 2 or not all(isinstance(v, str) and v for v in value):
        raise SubjectError(f'Setting "classes" of subject "{name}" is {value!r:.80}; expected a list of names.')
    return tuple(value)
