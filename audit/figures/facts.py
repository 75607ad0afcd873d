"""Names and what is said of them, as an HTML list of definitions: one element where a page would need dozens.

Every text is escaped; no script, no external resource.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit.figures.style import escape


def facts_html(facts: Mapping[str, str]) -> str:
    """A list of terms with their descriptions; its class is styled by `assets/style.css`."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in facts.items())
    return f'<dl class="facts">{items}</dl>'
