"""Which kinds of system there are, and what the entry of one in a case file says.

A new kind is one file beside this one and one line here; the case file, the form, the methods page and the README
follow.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, cast

from audit.errors import SubjectError, suggest
from audit.subjects.systems.system import EVERYTHING, System
from audit.types import Access, SubjectSpec

SYSTEMS: dict[str, str] = {
    "prompt_guard": "PromptGuard",
    "logit_combination": "LogitCombination",
    "contrast_decoding": "ContrastDecoding",
    "embedding_guard": "EmbeddingGuard",
    "sae_intervention": "SaeIntervention",
}
KIND = "kind"
"""The key of a subject's entry that names its kind."""


def system_class(kind: str) -> type[System]:
    """The class of a kind; SubjectError with a suggestion for an unknown one."""
    if kind not in SYSTEMS:
        raise SubjectError(f'There is no kind of system "{kind}".{suggest(kind, SYSTEMS)}')
    module = importlib.import_module(f"audit.subjects.systems.{kind}")
    return cast("type[System]", getattr(module, SYSTEMS[kind]))


def split(values: Mapping[str, Any], name: str) -> tuple[dict[str, Any], System | None]:
    """A subject's settings → those of its loader, and the system that they describe, if any.

    Raises SubjectError, which names the subject, for an unknown kind or a value of another type than its setting's.
    """
    if KIND not in values:
        return dict(values), None
    kind = values[KIND]
    if not isinstance(kind, str) or kind not in SYSTEMS:
        known = suggest(str(kind), SYSTEMS)
        raise SubjectError(f'Setting "kind" of subject "{name}" is {kind!r:.60}; there is no such kind.{known}')
    cls = system_class(kind)
    own = {field.name: field for field in fields(cls)}
    given = {key: _value(cls, own[key], value, name) for key, value in values.items() if key in own}
    return {key: value for key, value in values.items() if key not in own and key != KIND}, cls(**given)


def settings_of(kind: str | None) -> list[str]:
    """The names of a kind's own settings."""
    return [field.name for field in fields(system_class(kind))] if kind in SYSTEMS else []


def system_of(spec: SubjectSpec) -> System | None:
    """The system that a subject is, or None for a plain model."""
    return split(spec.settings, spec.name)[1]


def access_of(spec: SubjectSpec) -> frozenset[Access]:
    """How deep one sees into a subject; nothing of it is loaded."""
    system = system_of(spec)
    return system.access if system else EVERYTHING


def base_spec(spec: SubjectSpec) -> SubjectSpec:
    """The model that a system is built on, as a subject of its own; a plain model is its own base."""
    loader, system = split(spec.settings, spec.name)
    return SubjectSpec(f"{spec.name} (base)", spec.role, spec.path, loader) if system else spec


def _value(cls: type[System], field: Field[Any], value: Any, name: str) -> Any:
    """What TOML and a form can hold for a setting, as the setting's type."""
    default: Any = field.default
    kind = type(default)
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        inner = int if "int" in str(field.type) else str
        if all(type(one) is inner for one in value):
            return tuple(value)
        raise SubjectError(
            f'Setting "{field.name}" of subject "{name}" is {list(value)!r:.80}; expected a list of '
            f"{'whole numbers' if inner is int else 'texts'}."
        )
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise SubjectError(
            f'Setting "{field.name}" of subject "{name}" is {value!r:.80}; expected {WORDS.get(kind, "a list")}.'
        )
    return value


WORDS = {str: "a text", float: "a number", int: "a whole number", bool: "true or false"}
