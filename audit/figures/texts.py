"""What several models said to one question, under each other, as an HTML table; words that differ are marked.

Texts come from corpora and models and are not trusted: every one is escaped, and no attribute holds any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.figures.style import Look, escape
from audit.views.differences import parts


@dataclass(frozen=True)
class Line:
    """One text: who said it, what, and under which circumstances."""

    subject: str
    said: str | None
    """None: no text is stored, which is not the same as an empty one."""
    remark: str = ""


def said_html(truth: str, lines: Sequence[Line], looks: Mapping[str, Look]) -> str:
    """The true answer on top, then a row for each text; words that are not the true answer's are marked.

    The classes are styled by `assets/style.css`; a mark is underlined as well as tinted.
    """
    first = f'<tr class="truth"><th scope="row">true answer</th><td>{escape(truth)}</td></tr>'
    return f'<table class="said"><tbody>{first}{"".join(_row(truth, line, looks) for line in lines)}</tbody></table>'


def subject_html(name: str, looks: Mapping[str, Look]) -> str:
    """A model's name with its colour before it."""
    return f'<div class="subject">{_swatch(name, looks)}{escape(name)}</div>'


def _swatch(name: str, looks: Mapping[str, Look]) -> str:
    look = looks.get(name)
    return f'<span class="swatch" style="background:{look.colour}"></span>' if look else ""


def _row(truth: str, line: Line, looks: Mapping[str, Look]) -> str:
    said = line.said or ""
    words = "".join(_part(part.text, part.same) for part in parts(truth, said))
    nothing = "not stored" if line.said is None else "says nothing"
    text = words if said.strip() else f'<em class="nothing">{nothing}</em>'
    remark = f"<small>{escape(line.remark)}</small>" if line.remark else ""
    return f'<tr><th scope="row">{_swatch(line.subject, looks)}{escape(line.subject)}</th><td>{text}{remark}</td></tr>'


def _part(text: str, same: bool) -> str:
    """A stretch; the space at its end stays outside the mark."""
    if same or not text.strip():
        return escape(text)
    bare = text.rstrip()
    return f"<mark>{escape(bare)}</mark>{escape(text[len(bare) :])}"
