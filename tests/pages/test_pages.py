"""Every page in every state of a run: no exception, the control drawn, nothing said that the findings do not carry."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from audit.catalogue import CATALOGUE, evidence_class
from audit.subjects.systems.kinds import SYSTEMS, system_class
from audit.views import methods
from tests.pages import shapes, synthetic
from tests.pages.conftest import APP, PAGES, TIMEOUT, Open, charts, texts

FORBIDDEN = re.compile(r"\b(deleted|compliant|compliance|is safe|certified)\b", re.IGNORECASE)
SHOWS_A_RUN = ("overview", "behaviour", "drift", "probes", "attacks", "examples", "playground", "live_attack")


def words(app: AppTest) -> str:
    """Everything that a page says, however it says it."""
    parts = [*app.text, *app.markdown, *app.caption, *app.title, *app.subheader, *app.html, *app.info, *app.warning]
    return "\n".join(str(part.value) for part in [*parts, *app.error])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("run", ["people", "gaps"])
def test_every_page_opens_on_every_run(open_page: Open, page: str, run: str) -> None:
    app = open_page(page, run=run)
    assert not app.exception
    assert not FORBIDDEN.search(words(app))
    first = next(iter(app.main.children.values()))
    assert first.type == "title"  # nothing stands above it, such as a string of the page's own code


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_folder_of_runs_says_what_to_do(open_page: Open, page: str, tmp_path: Path) -> None:
    app = open_page(page, runs=tmp_path / "nothing")
    assert not app.exception
    if page in SHOWS_A_RUN:
        known = app.selectbox(key="pick-run").options if "pick-run" in app.session_state else []
        assert known or "Start one on the page" in app.info[0].value


@pytest.fixture(scope="module")
def damaged_runs(made_up_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The complete run again, one finding of which is no JSON."""
    root = tmp_path_factory.mktemp("damaged")
    shutil.copytree(made_up_runs / "people", root / "people")
    (root / "people" / "findings" / "hides" / "probes.linear.json").write_text("{not json", encoding="utf-8")
    return root


@pytest.mark.parametrize("page", SHOWS_A_RUN)
def test_a_damaged_run_is_named_and_nothing_else_breaks(open_page: Open, page: str, damaged_runs: Path) -> None:
    app = open_page(page, runs=damaged_runs, run="people")
    assert not app.exception
    assert any("probes" in error.value for error in app.error)


@pytest.mark.parametrize("page", SHOWS_A_RUN)
def test_a_run_that_has_only_begun(open_page: Open, page: str, tmp_path: Path) -> None:
    run = synthetic.Run(tmp_path / "runs" / "new")
    run.write_plan(synthetic.plan(["hides"]))
    app = open_page(page, runs=tmp_path / "runs", run="new")
    assert not app.exception
    assert "not complete" in app.warning[0].value


def test_the_ladder_names_verdicts_in_words_and_shapes(open_page: Open) -> None:
    app = open_page("overview", run="people")
    ladder = next(element.value for element in app.html if "<table" in element.value)
    assert "Suppressed: hidden, not gone" in ladder
    assert "Present: still said" in ladder
    assert "No trace found by this audit" in ladder
    assert "●" in ladder and "○" in ladder
    assert "That does not rule out" in texts(app)


def test_a_link_restores_run_and_candidates(open_page: Open) -> None:
    app = open_page("probes", run="people", candidates=["untouched"])
    assert app.selectbox(key="pick-run").value == "people"
    assert app.multiselect(key="pick-candidates").value == ["untouched"]
    assert "untouched" in charts(app)[0]
    assert "hides" not in charts(app)[0]


def test_a_choice_is_written_into_the_url_and_kept_on_the_next_page(open_page: Open) -> None:
    app = open_page("overview", run="people")
    app.multiselect(key="pick-candidates").set_value(["untouched", "hides"]).run()
    assert app.query_params["candidates"] == ["untouched", "hides"]
    app.query_params.clear()  # what the browser does when a link of the navigation is followed
    app.switch_page("pages/attacks.py").run()
    assert not app.exception
    assert app.multiselect(key="pick-candidates").value == ["untouched", "hides"]
    assert app.query_params["run"] == "people"


def test_another_run_drops_the_candidates_of_the_last_one(open_page: Open, tmp_path: Path) -> None:
    said = ("behaviour.recall", "utility.retain")
    synthetic.build(tmp_path / "runs" / "one", ["hides", "untouched"], only=said)
    synthetic.build(tmp_path / "runs" / "two", ["like-retrained"], only=said)
    app = open_page("overview", runs=tmp_path / "runs", run="one", candidates=["hides"])
    app.selectbox(key="pick-run").set_value("two").run()
    assert not app.exception
    assert app.multiselect(key="pick-candidates").value == ["like-retrained"]


@pytest.mark.parametrize("query", [{"run": "no-such-run"}, {"run": "people", "candidates": "nobody"}])
def test_a_link_to_something_that_is_not_there_falls_back(open_page: Open, query: dict[str, str]) -> None:
    app = open_page("overview", **query)
    assert not app.exception
    assert app.multiselect(key="pick-candidates").value


@pytest.fixture(scope="module")
def hostile_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every question is markup."""
    root = tmp_path_factory.mktemp("hostile")
    with shapes.registered():
        synthetic.build(root / "hostile", ["hides", "untouched"], prompt=synthetic.HOSTILE)
    return root


@pytest.mark.parametrize("page", ["overview", "drift"])
def test_text_of_a_corpus_is_never_markup(open_page: Open, page: str, hostile_runs: Path) -> None:
    app = open_page(page, runs=hostile_runs, run="hostile", item="forget:0")
    assert not app.exception
    for element in [*app.html, *app.markdown, *app.caption, *app.title, *app.subheader]:
        assert "evil.example" not in str(element.value)
    for spec in charts(app):
        assert "<img" not in spec and "\\u003cimg" not in spec
    if page == "drift":
        assert any("&lt;img" in spec for spec in charts(app))


@pytest.mark.parametrize("page", ["behaviour", "examples", "attacks"])
def test_texts_beside_each_other_are_escaped(open_page: Open, page: str, hostile_runs: Path) -> None:
    given = {"candidates": ["hides"], "item": "forget:0", "attack": shapes.TEXTS}
    app = open_page(page, runs=hostile_runs, run="hostile", **given)
    assert not app.exception
    tables = [str(element.value) for element in app.html if 'class="said"' in str(element.value)]
    assert tables
    assert any("&lt;img src=x" in table for table in tables) or page == "behaviour"
    assert not any("<img" in table for table in tables)
    for element in [*app.markdown, *app.title, *app.subheader]:
        assert "evil.example" not in str(element.value)
    assert not any("](http" in str(element.value) for element in app.caption)  # its brackets are escaped


def test_the_scoreboard_and_the_curve_of_a_membership_attack(open_page: Open) -> None:
    app = open_page("behaviour", run="people", candidates=["hides", "untouched"])
    assert not app.exception
    board = next(element.value for element in app.html if 'class="board"' in str(element.value))
    for word in ("Recall", "Retained recall", "Made-up membership", "higher: more is known", "untouched", "●", "○"):
        assert word in board
    curve = next(json.loads(spec) for spec in charts(app) if "false alarms" in spec)
    assert {"guessing", "original", "reference", "hides", "untouched"} <= {trace["name"] for trace in curve["data"]}
    assert any("Area under the curve" in caption.value for caption in app.caption)
    app.multiselect(key="answers-of").set_value(["forget:3"]).run()
    assert not app.exception
    assert "What is the job of person 1?" in texts(app)


def test_only_what_came_back_and_then_the_next_item(open_page: Open) -> None:
    app = open_page("examples", run="people", candidates=["hides"])
    app.toggle(key="came-back").set_value(True).run()
    assert not app.exception
    assert "by chance, with candidate and reference exchanged: 0" in texts(app)
    assert "hides no longer says it, but it came back" in texts(app)
    assert f"of {20 - 2}" in texts(app)  # the original never said one of twenty, and `hides` still says one
    app.button(key="next").click().run()
    assert "2 of" in texts(app) and app.query_params["item"] != "forget:0"
    assert any('class="said"' in str(element.value) for element in app.html)


def test_an_item_in_the_link_opens_even_when_it_is_filtered_out(open_page: Open) -> None:
    app = open_page("examples", run="people", item="retain:3", find="nobody")
    app.text_input(key="find").set_value("nobody").run()
    assert not app.exception
    assert "No item fits." in texts(app) and "retain:3: not among the 0 that fit" in texts(app)


def test_an_attack_and_its_candidate_stand_in_the_link(open_page: Open) -> None:
    query = {"attack": shapes.TEXTS, "attack_on": "untouched"}
    app = open_page("attacks", run="people", candidates=["hides"], **query)
    assert not app.exception
    assert (app.selectbox(key="attack").value, app.selectbox(key="attack-on").value) == (shapes.TEXTS, "untouched")
    app.selectbox(key="attack-on").set_value("hides").run()
    assert not app.exception
    assert "hides: 13 items that it no longer says came back" in texts(app)
    assert any("Surely" in str(element.value) for element in app.html)


def test_a_reason_that_quotes_data_is_shown_as_it_is(open_page: Open) -> None:
    app = open_page("probes", run="gaps", candidates=["hides"])
    assert synthetic.HOSTILE in texts(app)
    assert "not applicable" in texts(app)
    assert not any("evil.example" in str(element.value) for element in [*app.html, *app.markdown, *app.caption])


@pytest.mark.parametrize(
    ("page", "candidate", "status"),
    [
        ("probes", "hides", "not applicable"),
        ("attacks", "hides", "not identifiable"),
        ("drift", "untouched", "failed"),
        ("drift", "untouched", "not measured in this run"),
    ],
)
def test_a_missing_number_is_said_to_be_missing(open_page: Open, page: str, candidate: str, status: str) -> None:
    app = open_page(page, run="gaps", candidates=[candidate])
    assert status in texts(app)


def test_original_reference_and_chance_are_drawn_with_the_probe(open_page: Open) -> None:
    app = open_page("probes", run="people")
    names = {trace.get("name") for trace in json.loads(charts(app)[1])["data"]}
    assert {"original", "reference", "chance", "hides", "like-retrained"} <= names
    app.segmented_control(key="floor").set_value("shuffled").run()
    assert not app.exception
    assert "shuffled" in {trace.get("name") for trace in json.loads(charts(app)[1])["data"]}


def test_maps_say_how_many_points_they_draw_and_how_far_to_trust_them(open_page: Open) -> None:
    app = open_page("drift", run="people", candidates=["hides"])
    assert any("120 points are drawn" in caption.value for caption in app.caption)
    titles = [note["text"] for note in json.loads(charts(app)[1])["layout"]["annotations"]]
    assert len(titles) == 3
    assert all("trustworthiness 0.91" in title for title in titles)
    app.segmented_control(key="map").set_value("umap").run()
    assert not app.exception


def test_the_item_in_the_link_opens_its_card(open_page: Open) -> None:
    app = open_page("overview", run="people", item="forget:3")
    assert not app.exception
    assert "What is the job of person 1?" in texts(app)


def test_no_figure_offers_an_upload(open_page: Open) -> None:
    for page in SHOWS_A_RUN:
        for element in open_page(page, run="people").get("plotly_chart"):
            config = json.loads(element.proto.config)
            assert config["showSendToCloud"] is False
            assert config["displaylogo"] is False


def test_methods_describe_the_whole_catalogue(open_page: Open) -> None:
    app = open_page("methods")
    cards = _cards(app)
    assert [card["Id in case files and on the command line"] for card in cards if "Formula" in card] == [
        id for ids in methods.by_place().values() for id in ids
    ]
    for id in CATALOGUE:
        assert methods.facts(id) in cards
    page = html.unescape(" ".join(str(element.value) for element in app.html))
    for id in CATALOGUE:
        for setting in methods.settings(id):
            assert f">{setting.name}</th><td>{setting.default}</td><td>{setting.meaning}<" in page


def test_methods_list_every_kind_of_system_with_the_papers_it_covers(open_page: Open) -> None:
    app = open_page("methods")
    labels = html.unescape(" ".join(str(element.value) for element in app.html))
    told = {card["Kind in case files"]: card for card in _cards(app) if "Kind in case files" in card}
    assert set(told) == set(SYSTEMS)
    for kind in SYSTEMS:
        assert system_class(kind).papers in labels
        assert told[kind]["How it works"] == system_class(kind).does


def _cards(app: AppTest) -> list[dict[str, str]]:
    """The lists of terms on a page, as a browser would show their texts."""
    lists = [part for element in app.html for part in str(element.value).split('<dl class="facts">')[1:]]
    pairs = [re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.DOTALL) for text in lists]
    return [{html.unescape(name): html.unescape(words) for name, words in found} for found in pairs]


@pytest.mark.parametrize("page", sorted(path.name for path in (APP.parent / "pages").glob("[!_]*.py")))
def test_a_page_that_is_asked_for_first_still_goes_through_the_router(
    page: str, made_up_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamlit runs a file of `pages/` by itself when a fresh server is asked for it; sign-in must hold even then."""
    monkeypatch.setenv("PALIMPSEST_RUNS", str(made_up_runs))
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT)
    app.secrets["auth"] = {"redirect_uri": "http://localhost/x", "cookie_secret": "x"}
    app.user = {"is_logged_in": False}
    app.switch_page(f"pages/{page}").run()
    assert "Sign in to see the audits." in texts(app)
    assert [title.value for title in app.title] == ["Palimpsest"]
    assert not charts(app)


def test_signed_in_people_see_the_audits(made_up_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_RUNS", str(made_up_runs))
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT)
    app.secrets["auth"] = {"redirect_uri": "http://localhost/x", "cookie_secret": "x"}
    app.user = {"is_logged_in": True, "sub": "r1", "email": "reviewer@example.org"}
    with shapes.registered():
        app.run()
    assert not app.exception
    assert charts(app)


@pytest.mark.parametrize("id", list(CATALOGUE))
def test_the_made_up_tables_have_the_columns_of_the_real_ones(id: str) -> None:
    row = next(iter(synthetic.rows_of(id)("hides", "")))
    assert set(row) == set(evidence_class(id).row._fields)  # type: ignore[attr-defined]


def test_a_layer_that_the_other_map_lacks_is_replaced(open_page: Open) -> None:
    app = open_page("drift", run="people")
    app.select_slider(key="map-layer").set_value(1).run()
    assert not app.exception
    app.segmented_control(key="map").set_value("umap").run()
    assert not app.exception
    assert app.select_slider(key="map-layer").value in (2, 4)


def test_evidence_of_another_version_is_left_out(open_page: Open, tmp_path: Path) -> None:
    said = ("behaviour.recall", "utility.retain", "probes.linear")
    run = synthetic.build(tmp_path / "runs" / "old", ["hides"], only=said)
    run.write_plan({**synthetic.plan(["hides"]), "evidence": ["probes.linear", "probes.of_the_future"]})
    for page in SHOWS_A_RUN:
        assert not open_page(page, runs=tmp_path / "runs", run="old").exception


def test_a_draft_of_a_policy_shows_whom_it_would_change(open_page: Open) -> None:
    app = open_page("report", run="people")
    assert "says the same as the policy in force" in texts(app)
    draft = app.text_area(key="policy-draft").value
    app.text_area(key="policy-draft").set_value(draft.replace("limit = 0.1", "limit = 1.0")).run()
    assert not app.exception
    assert "hides" in next(line for line in texts(app).splitlines() if line.startswith("The draft would change"))
    app.text_area(key="policy-draft").set_value("[said").run()
    assert not app.exception
    assert "cannot be read as a policy" in app.error[0].value


@pytest.mark.parametrize("page", ["overview", "probes", "attacks", "drift"])
def test_checkpoints_are_drawn_over_their_steps(open_page: Open, made_up_runs: Path, tmp_path: Path, page: str) -> None:
    shutil.copytree(made_up_runs / "people", tmp_path / "people")
    path = tmp_path / "people" / "case.json"
    plan = json.loads(path.read_text())
    for step, candidate in enumerate(reversed(plan["candidates"])):
        candidate |= {"series": "one run", "step": 10 * step}
    path.write_text(json.dumps(plan))
    app = open_page(page, runs=tmp_path, run="people")
    assert not app.exception
    assert "one run: " in texts(app)
    assert any("left of the original" in chart for chart in charts(app))
