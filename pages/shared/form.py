"""Settings of evidence as form fields, drawn from the dataclass fields, so that a new evidence needs no form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from audit.catalogue import evidence_class, make
from audit.errors import AuditError
from audit.subjects.systems.kinds import system_class
from audit.views import systems
from audit.views.methods import Setting, settings


def evidence_form(ids: Sequence[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Fields for the settings of each evidence: what differs from its default, and a sentence for each wrong one."""
    changed: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    ids = [id for id in ids if settings(id)]
    if not ids:
        return changed, wrong
    with st.expander("Settings (the defaults are meant to be left alone)", icon=":material/tune:"):
        opened = st.multiselect(
            "Change the settings of", ids, format_func=lambda id: evidence_class(id).title, key="set-of",
            placeholder="none: the defaults are used",
        )  # fmt: skip
        boxes = {id: st.container(border=True) for id in opened}
    for id, box in boxes.items():
        with box:
            st.text(evidence_class(id).title)
            values = {setting.name: _field(id, setting) for setting in settings(id)}
        different = {s.name: values[s.name] for s in settings(id) if values[s.name] != s.default}
        if different:
            changed[id] = different
        try:
            make(id, different)
        except AuditError as error:
            wrong.append(str(error))
    return changed, wrong


def system_form(name: str, kind: str) -> dict[str, Any]:
    """Fields for the settings of a candidate that is a system; what a case file says of it."""
    with st.container(border=True):
        st.text(f"{name or 'A candidate without a name'}: {systems.options()[kind]}")
        st.caption(system_class(kind).does)
        values = {}
        columns = st.columns(2)
        for place, setting in enumerate(systems.settings(kind)):
            with columns[place % 2]:
                value = _field(f"system-{name}-{kind}", setting, least=None)
            if isinstance(value, tuple) and systems.takes_texts(kind, setting.name):
                value = tuple(map(str, value))
            values[setting.name] = value
    return systems.entry(kind, values)


def _field(id: str, setting: Setting, least: int | None = 0) -> Any:
    """A field for a setting of the type of its default."""
    common: dict[str, Any] = {"key": f"set-{id}-{setting.name}", "help": setting.meaning or None}
    label, default = setting.name.replace("_", " "), setting.default
    if isinstance(default, bool):
        return st.toggle(label, value=default, **common)
    if isinstance(default, int):
        return st.number_input(label, min_value=least, value=default, step=1, **common)
    if isinstance(default, float):
        lowest = None if least is None else float(least)
        return st.number_input(label, min_value=lowest, value=default, format="%g", **common)
    if isinstance(default, tuple):
        return _listed(
            st.text_input(f"{label} (separated by commas)", value=", ".join(map(str, default)), **common), default
        )
    return st.text_input(label, value=str(default), **common)


def _listed(text: str, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was typed as a tuple; numbers where the default holds such, or nothing tells otherwise."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(isinstance(value, float) for value in default):
        try:
            return tuple(float(part) for part in parts)
        except ValueError:
            return tuple(parts)
    if all(isinstance(value, int) for value in default) and all(part.lstrip("-").isdigit() for part in parts):
        return tuple(int(part) for part in parts)
    return tuple(parts)
