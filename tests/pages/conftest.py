"""Pages on a made-up run, without a browser and without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.shared import opening, pace
from tests.pages import shapes, synthetic

APP = Path(__file__).parent.parent.parent / "app.py"
PAGES = (
    "overview", "behaviour", "drift", "probes", "sae_features", "concept_vectors", "attacks", "examples", "report",
    "review", "methods", "new_audit", "playground", "live_attack", "compare",
)  # fmt: skip
TIMEOUT = 180
Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def made_up_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: `people`, complete, and `gaps`, with every way of having no number."""
    root = tmp_path_factory.mktemp("runs")
    with shapes.registered():
        synthetic.copied(root / "people")
        synthetic.with_every_status(root / "gaps")
    return root


@pytest.fixture
def open_page(made_up_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a page as a browser would: `open_page("drift", run="people", candidates=["hides"])`."""

    def opened(page: str = "overview", runs: Path = made_up_runs, **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=TIMEOUT)
        with monkeypatch.context() as before:  # the router must run once before a page of its menu can be asked for
            before.setattr(opening, "known_runs", dict)  # and its first page need not draw a whole audit for that
            app.run()
        monkeypatch.setenv("PALIMPSEST_RUNS", str(runs))
        for key, value in query.items():
            app.query_params[key.replace("_", "-")] = value
        app.switch_page(f"pages/{page}.py").run()
        return app

    monkeypatch.setattr(pace, "LOADING", 0)  # no browser has to draw anything
    monkeypatch.setattr(pace, "FIRST", ())
    monkeypatch.setattr(pace, "LATER", ())
    with shapes.registered():
        yield opened


def texts(app: AppTest) -> str:
    """Every word on a page that is shown as plain text."""
    return "\n".join(str(element.value) for element in app.text)


def charts(app: AppTest) -> list[str]:
    """The JSON of every figure on a page."""
    return [element.proto.spec for element in app.get("plotly_chart")]
