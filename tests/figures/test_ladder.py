"""The ladder as HTML: words and shapes, bars in the right place, nothing unescaped."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from audit.figures.ladder import ladder_html
from audit.figures.style import looks
from audit.policy import Judgement, Rung
from audit.types import Residual, Utility, Verdict
from audit.views.ladder import LadderRow, Step

FOUND = Step("stored", "found", "still stored", Residual(0.6, 0.3, 0.9), "Linear probe", 0.25)
MISSING = Step("recoverable", "unexamined", "not examined", None, "", 0.25)


def row(name: str = "a", verdict: Verdict = Verdict.SUPPRESSED, sentence: str = "It hides it.") -> LadderRow:
    judgement = Judgement(verdict, Utility.KEPT, (), (), sentence, {"stored": Rung("found")})
    return LadderRow(name, judgement, (FOUND, MISSING), gaps=2)


def test_a_rung_has_shape_word_number_interval_and_source() -> None:
    html = ladder_html([row()], looks(["a"]))
    for part in ("●", "still stored", "60\u202f%", "(30\u202f% to 90\u202f%)", "Linear probe", "2 without a number"):
        assert part in html


def test_the_bar_runs_from_never_learned_to_a_fifth_above_the_original() -> None:
    html = ladder_html([row()], looks(["a"]))
    # 0.3 / 1.2 = 25 %, (0.9 - 0.3) / 1.2 = 50 %, the limit 0.25 / 1.2 = 20.8 %, the original 1 / 1.2 = 83.3 %
    assert 'class="interval" style="left:25.0%;width:50.0%' in html
    assert 'class="limit" style="left:20.8%' in html
    assert 'class="end" style="left:83.3%' in html


def test_what_was_not_examined_has_no_bar_and_no_number() -> None:
    cell = re.search(r'<td class="rung unexamined">(.*?)</td>', ladder_html([row()], looks(["a"])))
    assert cell is not None
    assert "∅" in cell[1] and "not examined" in cell[1]
    assert "%" not in cell[1]


def test_no_trace_is_worded_with_its_scope() -> None:
    html = ladder_html([row(verdict=Verdict.NO_TRACE, sentence="see what they are blind to")], looks(["a"]))
    assert "No trace found by this audit" in html and "blind to" in html


@pytest.mark.parametrize("place", ["name", "sentence"])
def test_texts_are_escaped(place: str) -> None:
    hostile = "<script>alert(1)</script>"
    given = row(**{place: hostile})
    html = ladder_html([given], looks([given.name]))
    assert "<script" not in html and "&lt;script&gt;" in html


def test_what_a_guard_leaves_of_the_weights_is_said_beside_the_verdict() -> None:
    given = replace(row(sentence="It hides it."), beneath="Its weights are <the original's>.")
    html = ladder_html([given], looks([given.name]))
    assert "<span>It hides it. Its weights are &lt;the original" in html
