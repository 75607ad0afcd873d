"""Results of other tools on the pages: imported from the form, shown on the overview."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.interop.importer import import_results
from tests.interop.conftest import write
from tests.pages.conftest import Open, texts


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One small EVAL file whose aggregate contradicts its items, and a damaged one."""
    items = {str(i): {"score": 0.5} for i in range(120)}
    data = {"exact_memorization": {"agg_value": 0.9, "value_by_index": items}, "forget_quality": {"agg_value": None}}
    write(tmp_path / "saves" / "tofu_X_NPO" / "TOFU_EVAL.json", data)
    write(tmp_path / "saves" / "cut" / "TOFU_EVAL.json", '{"exact_mem')
    return tmp_path / "saves"


@pytest.mark.parametrize("page", ["overview", "drift", "probes", "attacks", "sae_features", "concept_vectors"])
def test_every_page_opens_on_an_imported_run(open_page: Open, results: Path, tmp_path: Path, page: str) -> None:
    import_results([results], tmp_path / "runs" / "imported")
    app = open_page(page, runs=tmp_path / "runs", run="imported")
    assert not app.exception
    if page == "overview":
        assert "Of 1 candidate: 1 stays inconclusive." in texts(app)
        assert "1 differ from what their own items give. 1 metrics hold no number." in texts(app)
        table = next(frame.value for frame in app.dataframe if "in the file" in frame.value.columns)
        assert table["recomputed"].iloc[0] == 0.5 and table["in the file"].iloc[0] == 0.9


def test_the_form_imports_and_leads_to_the_run(
    open_page: Open, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tmp_path))
    app = open_page("new_audit", runs=tmp_path / "runs", new_how="Import results")
    assert not app.exception and app.button(key="new-import").disabled
    app.text_area(key="new-results").set_value("/etc\nnowhere").run()
    told = " ".join(error.value for error in app.error)
    assert "outside of" in told and "nothing at" in told and app.button(key="new-import").disabled
    app.text_area(key="new-results").set_value("saves").run()
    assert not app.error and not app.button(key="new-import").disabled
    app.button(key="new-import").click().run()
    assert not app.exception
    assert (tmp_path / "runs" / "imported-saves" / "manifest.json").is_file()
    assert any("Left out" in error.value and "cut" in error.value for error in app.error)
    assert app.query_params["run"] == "imported-saves"
    assert [link.proto.label for link in app.get("page_link")] == ["Open what was imported"]
