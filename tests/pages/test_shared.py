"""What pages share, without opening one."""

from __future__ import annotations

from typing import Any

from audit.policy import load_policy
from pages.shared import show
from tests.pages import synthetic


class Shown:
    """As much of a view as a sentence needs: findings of two candidates, of which one is drawn."""

    findings = {
        name: {"behaviour.recall": synthetic.found("behaviour.recall", name)} for name in ("hides", "untouched")
    }
    shown = ["hides"]
    policy = load_policy()
    running = False


def test_the_alternative_text_says_what_is_found_in_what_is_drawn() -> None:
    view: Any = Shown()
    drawn = show.alt(view, "behaviour.recall", "Bars.")
    assert drawn.startswith("Bars. hides: recall finds") and "untouched" not in drawn
    both = show.alt(view, "behaviour.recall", "Bars.", list(view.findings))
    assert "untouched still says it" in both
