"""Every evidence in the catalogue keeps the contract of `audit.types.Evidence`."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.catalogue import CATALOGUE, evidence_class, make, settings_of
from audit.collect import collect
from audit.errors import CaseError
from audit.subjects.modality import readable
from audit.types import BOTH, PLACES, Access, Chart, Finding, Modality, Status
from tests.evidence.sae.quick import QUICK as SMALL

ROOT = Path(__file__).parent.parent.parent
EVERY = pytest.mark.parametrize("id", CATALOGUE)
FORBIDDEN = re.compile(r"\b(deleted|compliant|compliance|safe|proves?)\b", re.IGNORECASE)


def test_every_file_is_listed_and_every_line_has_a_file() -> None:
    files = {
        f"{path.parent.name}.{path.stem}"
        for path in (ROOT / "audit" / "evidence").glob("*/*.py")
        if not path.stem.startswith("_")
    }
    assert files == set(CATALOGUE)


@EVERY
def test_the_card_is_complete(id: str) -> None:
    cls = evidence_class(id)
    assert cls.question.endswith("?")
    for text in (cls.title, cls.question, cls.blind_to, cls.formula, cls.source):
        assert text.strip() == text
        assert len(text) > 3
        assert not FORBIDDEN.search(text), text
    assert cls.blind_to.endswith(".")
    assert cls.place in PLACES
    assert cls.needs
    assert all(isinstance(access, Access) for access in cls.needs)
    assert cls.cost > 0
    assert cls.__doc__
    assert (importlib.import_module(cls.__module__).__doc__ or "").strip()


@EVERY
def test_columns_say_what_they_mean_and_the_chart_uses_them(id: str) -> None:
    cls: Any = evidence_class(id)
    hints = get_type_hints(cls.row, include_extras=True)
    assert tuple(hints) == cls.row._fields
    for name, hint in hints.items():
        meanings = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, str)]
        assert meanings, f"column {name} of {id} has no meaning"
        assert meanings[0]
    assert isinstance(cls.chart, Chart)
    chart = cls.chart
    for column in (chart.x, chart.y, chart.color, chart.low, chart.high, chart.null, chart.facet, *chart.hover):
        assert column is None or column in hints, f"the chart of {id} names {column}"


@EVERY
def test_settings_are_plain_and_become_form_flags_and_key(id: str) -> None:
    cls: Any = evidence_class(id)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    for field in dataclasses.fields(cls):
        assert isinstance(field.default, (bool, int, float, str, tuple)), f"{id}.{field.name} has no plain default"
    assert make(id, settings_of(cls)) == cls()
    with pytest.raises(CaseError, match="has no setting"):
        make(id, {"no_such_setting": 1})


@EVERY
def test_nothing_heavy_is_imported_at_the_top(id: str) -> None:
    source = Path(importlib.import_module(f"audit.evidence.{id}").__file__ or "").read_text()
    top = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name.split(".")[0] for node in top for alias in node.names if isinstance(node, ast.Import)}
    names |= {(node.module or "").split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
    assert not names & {"torch", "transformers", "streamlit", "plotly", "sklearn", "umap", "scipy"}


@pytest.fixture(scope="module")
def findings(bench_of: Callable[..., Bench]) -> Callable[[str, str, bool], Finding]:
    """Each evidence measured once per candidate and kind of null, on the tiny lab."""
    known: dict[tuple[str, str, bool], Finding] = {}

    def measure(id: str, candidate: str, reference: bool = True) -> Finding:
        key = (id, candidate, reference)
        if key not in known:
            known[key] = collect(id, make(id, QUICK.get(id)), bench_of(candidate, reference=reference), {"key": "k"})
        return known[key]

    return measure


QUICK: dict[str, dict[str, Any]] = {
    # Short of what takes long and has tests of its own: training and AlignedUMAP.
    "attacks.relearn": {"steps": 6, "checkpoints": (0, 6), "retain_items": 20},
    **{
        f"attacks.relearn_{kind}": {"steps": 4, "checkpoints": (0, 4), "items": 24, "retain_items": 12}
        for kind in ("lora", "related", "benign")
    },
    "attacks.quantization": {"formats": ("int8",)},
    "attacks.early_exit": {"items": 24, "retain_items": 8},
    "attacks.direction_ablation": {"items": 24, "retain_items": 8},
    "attacks.pruning": {"items": 24, "retain_items": 8, "forget_shares": (0.03,)},
    "attacks.weight_noise": {"items": 24, "retain_items": 8, "scales": (0.1,)},
    "attacks.contrast_decoding": {"items": 24, "retain_items": 8, "steps": 2, "strengths": (1.0,)},
    "attacks.restore_layers": {"items": 24, "retain_items": 8},
    # The lab's answers are single words, which by default are no passages.
    "behaviour.verbatim": {"shortest": 1, "tokens": 12},
    "behaviour.extraction_likelihood": {"items": 40},
    "attacks.sampling": {"samples": 8, "k": 2, "items": 20},
    "attacks.prompts": {"families": ("affirmed", "other wording", "worked examples"), "items": 20},
    "attacks.in_context": {"items": 20},
    "attacks.soft_prompt": {"items": 30, "steps": 12},
    "attacks.gcg": {"steps": 3, "candidates": 4, "tokens": 4, "batch": 4, "items": 20},
    "drift.map": {"points": 60, "umap": False},
    "probes.mdl": {"nulls": 2},
    "probes.in_cluster": {"nulls": 2},
    "probes.few_shot": {"episodes": 5},
    "probes.subspace": {"nulls": 3},
    "probes.transfer": {"nulls": 3},
    "privacy.gradnorm": {"items": 20},
    **{id: SMALL for id in CATALOGUE if id.startswith("sae.")},
}


@EVERY
@pytest.mark.parametrize("reference", [True, False], ids=["reference", "holdout"])
def test_every_answer_is_a_number_with_interval_null_and_n_or_says_why(
    id: str, reference: bool, findings: Callable[[str, str, bool], Finding]
) -> None:
    finding = findings(id, "last-block", reference)
    assert finding.status is not Status.FAILED, (finding.reason, finding.provenance.get("traceback"))
    if finding.status is not Status.MEASURED:
        assert len(finding.reason) > 20
        return
    assert finding.residual is not None
    for estimate in (finding.original, finding.candidate):
        assert estimate is not None
        assert estimate.low <= estimate.value <= estimate.high
        assert math.isfinite(estimate.null)
        assert estimate.n >= 5
    assert finding.residual.low <= finding.residual.value <= finding.residual.high
    assert len(finding.table)
    assert set(finding.table["subject"]) <= {"original", "candidate", "reference"}  # no second reference was given


@EVERY
def test_the_original_as_its_own_candidate_shows_no_change(id: str, findings: Callable[..., Finding]) -> None:
    finding = findings(id, "untouched")
    if finding.status is Status.NOT_IDENTIFIABLE:
        # An instrument may not work on models this small; then both sides of it must still be the very same.
        assert "does not work here" in finding.reason
        assert id in ATTACKED or finding.candidate == finding.original
        return
    if id in NO_MATERIAL:
        assert finding.status is Status.NOT_APPLICABLE
        return
    assert finding.status is Status.MEASURED, finding.reason
    assert finding.residual is not None
    if id in ATTACKED:  # an attack changes the candidate, and the original is taken before it
        assert finding.residual.value > 0.25
    else:
        assert (finding.residual.value, finding.residual.low, finding.residual.high) == (1.0, 1.0, 1.0)


# What costs a minute to do again is done again in its own test, not here.
TRAINED = {id for id in CATALOGUE if id.startswith("attacks.relearn")} | {"attacks.contrast_decoding"}
# So is what only reads the pass and the answers that probability and recall compute again.
READERS = {
    "behaviour.rouge", "behaviour.truth_ratio", "behaviour.forget_quality", "behaviour.extraction_strength",
    "behaviour.memorization", "behaviour.familiarity", "behaviour.refusal", "behaviour.fluency",
    "utility.model_utility",
}  # fmt: skip
SEARCHED = {"attacks.soft_prompt", "attacks.gcg"}
RETOLD = {*TRAINED, *SEARCHED, "drift.map", *READERS, *(id for id in CATALOGUE if id.startswith("sae."))}
# The lab's answers are single words, which have no beginning to give; its own test asks for sentences.
# Its candidates are plain models, under which there is no other one.
ONLY_IMAGES = {id for id in CATALOGUE if not readable(evidence_class(id), Modality.TEXT)}
NO_MATERIAL = {"attacks.prefix", "behaviour.guard", *ONLY_IMAGES}
ATTACKED = {
    *TRAINED, "attacks.quantization", "attacks.head_projection", "attacks.early_exit", "attacks.direction_ablation",
    "attacks.pruning", "attacks.weight_noise", "attacks.restore_layers", "attacks.prompts", "attacks.soft_prompt",
    "attacks.gcg",
}  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache of its own: all that is kept in it was computed a second time, each pass once for all evidence."""
    return Cache(tmp_path_factory.mktemp("elsewhere"))


@EVERY
def test_the_same_case_gives_the_same_answer(
    id: str, findings: Callable[..., Finding], elsewhere: Cache, bench_of: Any
) -> None:
    first = findings(id, "last-block")
    fresh = bench_of("last-block")
    if id not in RETOLD:
        fresh.cache = elsewhere
    second = collect(id, make(id, QUICK.get(id)), fresh, {"key": "k"})
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.residual == second.residual


@EVERY
def test_without_any_control_there_is_no_number(id: str, bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("last-block", reference=False, holdout=False)
    finding = collect(id, make(id, QUICK.get(id)), bench, {"key": "k"})
    if evidence_class(id).place == "utility":
        assert finding.status is Status.MEASURED  # what was to be kept is read against zero
    else:
        assert finding.status in (Status.NOT_IDENTIFIABLE, Status.NOT_APPLICABLE)
        assert finding.residual is None


@EVERY
def test_a_crash_is_a_status_and_never_a_value(id: str, bench_of: Callable[..., Bench], monkeypatch: Any) -> None:
    evidence = make(id)
    monkeypatch.setattr(type(evidence), "measure", lambda self, bench: 1 / 0)
    monkeypatch.setattr(type(evidence), "reads", BOTH, raising=False)
    finding = collect(id, evidence, bench_of("last-block"), {"key": "k"})
    assert finding.status is Status.FAILED
    assert "ZeroDivisionError" in finding.reason
    assert finding.residual is finding.candidate is finding.original is None
    assert "Traceback" in finding.provenance["traceback"]


def test_numbers_are_finite_or_absent(findings: Callable[..., Finding]) -> None:
    for id in CATALOGUE:
        table = findings(id, "last-block").table
        numbers = table.select_dtypes("number").to_numpy(dtype=float)
        assert not np.isinf(numbers).any(), id
