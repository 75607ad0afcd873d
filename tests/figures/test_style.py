"""Colours that everybody can tell apart, and text that stays text."""

from __future__ import annotations

import pytest

from audit.figures import style
from audit.figures.style import CONFIG, HUES, INK, escape, faded, looks, percent

PAGES = {"light": "#FCFAF5", "dark": "#1B1A17"}


def luminance(colour: str) -> float:
    """WCAG 2 relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_subject_stands_out_from_the_page(mode: str) -> None:
    for name, look in looks([f"c{i}" for i in range(8)], mode).items():
        assert contrast(look.colour, PAGES[mode]) >= 3.0, name


def test_the_page_colours_are_those_of_the_theme() -> None:
    import tomllib
    from pathlib import Path

    theme = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())["theme"]
    for mode, colour in PAGES.items():
        assert theme[mode]["backgroundColor"] == colour
        assert theme[mode]["textColor"] == INK[mode]


def test_a_candidate_keeps_its_look_whoever_else_is_drawn() -> None:
    assert looks(["a", "b"])["a"] == looks(["a", "b", "c"])["a"]
    assert looks(["a", "b"])["b"].colour == HUES[1]


def test_no_two_of_twenty_candidates_look_alike() -> None:
    everyone = looks([f"c{i}" for i in range(20)])
    assert len({(look.colour, look.symbol, look.dash) for look in everyone.values()}) == 23


def test_only_the_original_changes_with_the_mode() -> None:
    light, dark = looks(["a"], "light"), looks(["a"], "dark")
    assert light["original"] != dark["original"]
    assert light["a"] == dark["a"] and light["reference"] == dark["reference"]


def test_a_second_reference_is_the_thinner_of_two_dashed_lines() -> None:
    first, second = (looks([])[name] for name in ("reference", "second reference"))
    assert first.colour == second.colour and first.dash == second.dash == "dash"
    assert second.width < first.width and second.symbol != first.symbol


def test_text_is_escaped_for_plotly() -> None:
    assert escape('<b>&amp; "x"') == '&lt;b&gt;&amp;amp; "x"'


@pytest.mark.parametrize(
    ("value", "words"), [(0.814, "81"), (0.0, "0"), (-0.034, "−3"), (-0.004, "0"), (1.0, "100"), (1.234, "123")]
)
def test_percent(value: float, words: str) -> None:
    assert percent(value) == f"{words}\u202f%"


def test_faded() -> None:
    assert faded("#D55E00", 0.16) == "rgba(213,94,0,0.16)"


def test_figures_never_offer_an_upload() -> None:
    assert CONFIG["showSendToCloud"] is False
    assert CONFIG["plotlyServerURL"] == ""
    assert CONFIG["displaylogo"] is False


def test_marks_of_direction_are_seen_and_turn_nothing() -> None:
    assert style.visible("a\u202edlrow\u202c \u0645") == "a⟨U+202E⟩dlrow⟨U+202C⟩ \u0645"
    assert style.escape("<b>\u2066") == "&lt;b&gt;⟨U+2066⟩"
