"""How deep one sees into a subject, and in words why no deeper."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from audit.subjects.systems.kinds import base_spec, system_of
from audit.types import Access, SubjectSpec


def hidden_from(spec: SubjectSpec, needs: Set[Access], original: SubjectSpec) -> str:
    """Why an evidence with such needs does not apply to a subject, in a sentence or two; empty where it does."""
    system = system_of(spec)
    if system is None or needs <= system.access:
        return ""
    lacking = " and ".join(str(level) for level in Access if level in needs - system.access)
    seen = ", ".join(str(level) for level in Access if level in system.access)
    name = Path(spec.path).name
    return (
        f"{spec.name} is {system.title} on {name}: of it one sees {seen}, and this needs {lacking}. "
        f"{same_weights(spec, original)} To look into them, give {name} as a candidate of its own."
    )


def same_weights(spec: SubjectSpec, original: SubjectSpec) -> str:
    """Whether the weights under a system are the original's, as a sentence."""
    from audit.subjects.fingerprint import fingerprint

    mine, theirs = fingerprint(base_spec(spec)).tensors, fingerprint(original).tensors
    if mine == theirs:
        return "Its weights are the original's, unchanged bit by bit: nothing was taken out of them."
    changed = sum(mine.get(name) != digest for name, digest in theirs.items())
    return f"{changed} of the {len(theirs)} weight tensors under it differ from the original's."
