"""Playground, live attack and tour on the models of the tiny lab, without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit import jobs
from audit.casefile import read_plan
from audit.live.attack import run_attack, watched
from audit.store import Run
from audit.thumbnails import data_uri, read_thumbnails, write_thumbnails
from tests.pages import synthetic
from tests.pages.conftest import Open, charts, texts


@pytest.fixture(scope="module")
def runs(tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny lab that has only begun: there are models, and no findings yet."""
    root = tmp_path_factory.mktemp("live")
    run = Run(root / "lab")
    run.write_plan(synthetic.plan(["last-block", "rmu"]))
    (root / "lab" / "progress.json").write_text(f'{{"state": "done", "case": "{tiny_lab / "case.toml"}"}}')
    return root


def test_an_item_is_put_to_every_model(open_page: Open, runs: Path) -> None:
    app = open_page("playground", runs=runs, run="lab", item="forget:0", candidates=["last-block"])
    assert not app.exception
    assert app.selectbox(key="asked-item").value == "forget:0"
    app.button(key="go").click().run()
    assert not app.exception
    said = texts(app)
    assert "✓ says the true answer" in said
    assert "= word for word as the original" in said or "⟦" in said or "≠" in said
    assert "original ranks it 1st" in said
    named = [str(element.value) for element in app.html if 'class="subject"' in str(element.value)]
    assert ["original" in named[0], "reference" in named[1], "last-block" in named[2]] == [True] * 3
    assert len([spec for spec in charts(app) if "heatmap" in spec]) == 1
    assert app.query_params["asked"] == "yes"
    app.button(key="add").click().run()
    assert not app.exception
    assert any("Download 1 as a corpus" in button.label for button in app.get("download_button"))


@pytest.fixture(scope="module")
def sighted_runs(glyphs_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of vision-language models that has only begun: their pictures are kept first of all."""
    root = tmp_path_factory.mktemp("sighted")
    run = Run(root / "signs")
    run.write_plan(synthetic.plan(["last-block"]))
    case = glyphs_lab / "case.toml"
    (run.path / "progress.json").write_text(json.dumps({"state": "done", "case": str(case)}))
    write_thumbnails(run.path, read_plan(case).cases()[0].corpora)
    return root


def test_the_image_of_the_chosen_item_is_shown_and_asked_about(open_page: Open, sighted_runs: Path) -> None:
    app = open_page("playground", runs=sighted_runs, run="signs", item="forget:4", candidates=["last-block"])
    assert not app.exception
    kept = read_thumbnails(sighted_runs / "signs")
    [shown] = app.get("image")
    assert shown.proto.imgs[0].url == data_uri(kept["forget:4"])
    other = next(id for id in kept if kept[id] != kept["forget:4"])
    app.selectbox(key="asked-item").set_value(other).run()
    [shown] = app.get("image")
    assert shown.proto.imgs[0].url == data_uri(kept[other])
    app.button(key="go").click().run()
    assert not app.exception
    assert "✓ says the true answer" in texts(app), "the original was shown the image too"
    app.selectbox(key="asked-item").set_value("own").run()
    assert not app.get("image")


def test_other_settings_are_asked_anew_and_a_link_asks_by_itself(open_page: Open, runs: Path) -> None:
    query = {"run": "lab", "item": "own", "prompt": "Who is the baker?", "asked": "yes", "length": "5"}
    app = open_page("playground", runs=runs, candidates=["rmu"], **query)
    assert not app.exception
    assert app.text_area(key="prompt").value == "Who is the baker?"
    assert "Give the true answer" in "\n".join(str(caption.value) for caption in app.caption)
    app.number_input(key="length").set_value(7).run()
    assert any("Nothing was asked with these settings yet" in caption.value for caption in app.caption)


def test_a_hostile_question_and_its_answers_are_never_markup(open_page: Open, runs: Path) -> None:
    query = {"run": "lab", "item": "own", "prompt": synthetic.HOSTILE, "asked": "yes", "length": "3"}
    app = open_page("playground", runs=runs, candidates=["rmu"], answer="<i>x</i> [a](http://evil.example)", **query)
    assert not app.exception
    assert [spec for spec in charts(app) if "heatmap" in spec]
    for element in [*app.html, *app.markdown, *app.caption, *app.title, *app.subheader]:
        assert "evil.example" not in str(element.value)
    assert not any("<img" in spec or "<i>x" in spec for spec in charts(app))


def test_a_question_that_no_model_reads_gets_one_sentence(open_page: Open, runs: Path) -> None:
    query = {"run": "lab", "item": "own", "prompt": "word " * 300, "asked": "yes", "length": "3"}
    app = open_page("playground", runs=runs, candidates=["rmu"], answer="Oslo", **query)
    assert not app.exception
    shown = [str(element.value) for element in app.text]
    assert sum(text.startswith("The question needs ") for text in shown) == 3, shown  # original, reference, candidate
    assert all(text.endswith(" reads at most 256: shorten it.") for text in shown if text.startswith("The question"))
    assert not any("(nothing)" in text or "✗" in text for text in shown)


def test_an_empty_question_of_ones_own_asks_for_one(open_page: Open, runs: Path) -> None:
    app = open_page("playground", runs=runs, run="lab", item="own")
    assert not app.exception
    assert any("Type a question" in caption.value for caption in app.caption)


def test_a_live_attack_from_the_form_to_its_sentence(
    open_page: Open, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(arguments: list[str], case: Path, out: Path) -> None:
        assert arguments[0] == "attack" and " ".join(arguments).count("--candidate last-block") == 1
        assert "--steps 3" in " ".join(arguments) and "--facts 4" in " ".join(arguments)
        run_attack(case, "last-block", out, watched(3, 0.0, 4, 3), device="cpu")

    monkeypatch.setattr(jobs, "launch", launch)
    app = open_page("live_attack", runs=runs, run="lab", candidates=["last-block"], attack_steps="3", attack_facts="4")
    assert not app.exception
    assert app.number_input(key="attack-steps").value == 3
    app.button(key="attack-start").click().run()
    assert not app.exception
    said = texts(app)
    assert "After 3 steps last-block gives" in said and "reference, which never knew them" in said
    assert any("The attacker knows 4 facts" in caption.value for caption in app.caption)
    assert [spec for spec in charts(app) if "recall of facts not trained on" in spec]
    id = app.query_params["attack"]
    again = open_page("live_attack", runs=runs, run="lab", candidates=["last-block"], attack=id)
    assert "After 3 steps last-block gives" in texts(again)  # reloaded, or opened by somebody else
    gone = open_page("live_attack", runs=runs, run="lab", attack="../lab")
    assert not gone.exception and "not here any more" in gone.warning[-1].value


def test_a_refused_attack_is_one_sentence(open_page: Open, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = runs / ".attacks"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "progress.json").write_text('{"state": "running"}')
    monkeypatch.setattr("audit.live.folders.AT_ONCE", 0)
    app = open_page("live_attack", runs=runs, run="lab", candidates=["rmu"])
    app.button(key="attack-start").click().run()
    assert not app.exception
    assert any("attacks are running" in error.value for error in app.error)


def test_the_tour_goes_through_the_pages(open_page: Open) -> None:
    for number, page in enumerate(("overview", "behaviour", "probes", "attacks", "overview"), start=1):
        app = open_page(page, run="people", tour=str(number))
        assert not app.exception
        assert f"Tour, step {number} of 5" in texts(app)
    for wrong in ("6", "²"):
        app = open_page("overview", run="people", tour=wrong)
        assert not app.exception and "Tour, step" not in texts(app)
    assert "Tour, step" not in texts(open_page("overview", run="people"))


def test_a_guard_is_turned_off_beside_itself(open_page: Open, runs: Path, tiny_lab: Path, tmp_path: Path) -> None:
    text = (tiny_lab / "case.toml").read_text().replace('"models/', f'"{tiny_lab}/models/')
    for name in ("forget", "retain", "holdout"):
        text = text.replace(f'"{name}.jsonl"', f'"{tiny_lab / name}.jsonl"')
    begin, end = text.index("[[subjects.candidates]]"), text.index("[corpora]")
    folder = f'path = "{tiny_lab / "models" / "original"}"'
    entries = (
        f'[[subjects.candidates]]\nname = "told"\n{folder}\nkind = "prompt_guard"\nprefix = "Say nothing. "\n'
        f'[[subjects.candidates]]\nname = "uld"\n{folder}\nkind = "logit_combination"\n'
        f'assistant = "{tiny_lab / "models" / "reference"}"\n'
    )
    case = tmp_path / "case.toml"
    case.write_text(text[:begin] + entries + text[end:].split("[[dictionaries]]")[0])
    run = Run(runs / "guarded")
    run.write_plan(synthetic.plan(["told", "uld"]))
    (runs / "guarded" / "progress.json").write_text(f'{{"state": "done", "case": "{case}"}}')
    app = open_page("playground", runs=runs, run="guarded", item="forget:0")
    assert not app.exception
    app.toggle(key="guard-off").set_value(True).run()
    app.button(key="go").click().run()
    assert not app.exception
    named = [str(element.value) for element in app.html if 'class="subject"' in str(element.value)]
    shown = ["told", "told (guard off)", "uld", "uld (guard off)"]
    assert len(named) == 6 and all(name in html for name, html in zip(shown, named[2:], strict=True))
    assert any("uld is a combination of logits" in caption.value for caption in app.caption)
    plain = open_page("playground", runs=runs, run="lab", item="forget:0")
    assert not [toggle for toggle in plain.toggle if toggle.key == "guard-off"]
