"""What a case file says of a system: read, refused in one sentence, hashed, and seen only as deep as it goes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.bench import Bench
from audit.casefile import read_plan
from audit.catalogue import make
from audit.collect import collect
from audit.errors import AuditError, CaseError, NotApplicable, SubjectError
from audit.run import describe
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.memory import memory_estimate
from audit.subjects.systems.kinds import SYSTEMS, access_of, base_spec, system_class
from audit.types import Access, Status
from tests.subjects.systems.made import bench_with, model, spec
from tests.test_casefile import CASE, folder, write  # noqa: F401

EVERY = pytest.mark.parametrize("kind", SYSTEMS)
FORBIDDEN = re.compile(r"\b(deleted|compliant|compliance|safe|proves?)\b", re.IGNORECASE)


@EVERY
def test_a_kind_describes_itself(kind: str) -> None:
    cls = system_class(kind)
    assert cls.title.startswith(("a ", "an "))
    assert cls.does.endswith(".") and not FORBIDDEN.search(cls.does)
    assert cls.papers
    assert {Access.TEXT, Access.LOGITS} <= cls.access
    assert Access.WEIGHTS not in cls.access  # its weights are its base's, or several models'
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    for field in dataclasses.fields(cls):
        assert isinstance(field.default, (str, bool, int, float, tuple)), field.name
    named = {*cls.models, *cls.folders, *cls.files}
    assert named <= {field.name for field in dataclasses.fields(cls)}


def test_every_file_is_a_kind_or_serves_several() -> None:
    files = {path.stem for path in (Path(__file__).parents[3] / "audit/subjects/systems").glob("*.py")}
    assert files - set(SYSTEMS) == {"__init__", "kinds", "system", "sight", "around", "combined", "inside", "detectors"}


def guarded(**settings: Any) -> dict[str, Any]:
    data = json.loads(json.dumps(CASE))
    data["subjects"]["candidates"] = [{"name": "mine", "path": "models/npo", **settings}]
    return data  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "promt_guard", "prefix": "x"}, 'Did you mean "prompt_guard"'),
        ({"kind": 3}, "there is no such kind. Known:"),
        ({"kind": "prompt_guard"}, "without any text"),
        ({"kind": "prompt_guard", "prefix": 3}, '"prefix" of subject "mine" is 3; expected a text'),
        ({"kind": "prompt_guard", "perfix": "x"}, 'Did you mean "prefix"'),
        ({"kind": "prompt_guard", "prefix": "x", "dtype": "int3"}, 'Setting "dtype"'),
        ({"kind": "logit_combination", "assistant": "models/none"}, "The assistant of mine is not there"),
        ({"kind": "logit_combination", "assistant": "forget.jsonl"}, "a file; expected a folder"),
        ({"prefix": "x"}, 'has no setting "prefix"'),
    ],
)
def test_a_malformed_system_is_one_sentence(folder: Path, settings: dict[str, Any], words: str) -> None:  # noqa: F811
    with pytest.raises(AuditError) as caught:
        read_plan(write(folder, guarded(**settings)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_candidate_is_a_system(folder: Path) -> None:  # noqa: F811
    data = guarded(kind="prompt_guard", prefix="x")
    data["subjects"]["original"] |= {"kind": "prompt_guard", "prefix": "x"}
    with pytest.raises(CaseError, match="only a candidate can be a system"):
        read_plan(write(folder, data))


def test_a_system_is_read_with_its_settings(folder: Path) -> None:  # noqa: F811
    plan = read_plan(write(folder, guarded(kind="prompt_guard", prefix="x", dtype="float16")))
    assert plan.candidates[0].settings == {"kind": "prompt_guard", "prefix": "x", "dtype": "float16"}
    assert access_of(plan.candidates[0]) == {Access.TEXT, Access.LOGITS, Access.HIDDEN}
    assert base_spec(plan.candidates[0]).settings == {"dtype": "float16"}
    assert access_of(plan.original) == set(Access)
    other = read_plan(write(folder, guarded(kind="prompt_guard", prefix="y", dtype="float16")))
    assert other.digest != plan.digest


def test_the_fingerprint_covers_every_setting_and_the_weights_are_the_base_s(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    ids = [
        fingerprint(spec(base, **settings)).id
        for settings in ({}, {"kind": "prompt_guard", "prefix": "x"}, {"kind": "prompt_guard", "suffix": "x"})
    ]
    assert len(set(ids)) == 3
    guard = spec(base, kind="prompt_guard", prefix="x")
    assert fingerprint(guard).tensors == fingerprint(spec(base)).tensors
    assert fingerprint(base_spec(guard)).id == ids[0]
    assert memory_estimate(guard, "cpu") == memory_estimate(spec(base), "cpu")
    check_subject(guard)


def test_what_needs_the_weights_does_not_apply_and_says_why(bench_of: Callable[..., Bench]) -> None:
    bench = bench_with(bench_of("untouched"), {"kind": "prompt_guard", "prefix": "I do not know. "})
    finding = collect("attacks.relearn", make("attacks.relearn"), bench, {"key": "k"})
    assert finding.status is Status.NOT_APPLICABLE
    assert "this needs weights" in finding.reason
    assert "the original's, unchanged bit by bit" in finding.reason
    assert "give original as a candidate of its own" in finding.reason
    other = bench_with(bench_of("untouched"), {"kind": "prompt_guard", "prefix": "x"}, "last-block")
    finding = collect("attacks.relearn", make("attacks.relearn"), other, {"key": "k"})
    assert re.search(r"\d+ of the \d+ weight tensors under it differ", finding.reason)


def test_a_run_records_kind_and_settings(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in ("original", "reference", "npo"):
        model(folder / "models" / name)
    plan = read_plan(write(folder, guarded(kind="prompt_guard", prefix="x")))
    recorded = describe(plan, {}, "cpu")["candidates"][0]
    assert recorded["settings"] == {"kind": "prompt_guard", "prefix": "x"}
    assert recorded["fingerprint"] == fingerprint(plan.candidates[0]).id


def test_a_plain_model_has_nothing_to_take_away(bench_of: Callable[..., Bench]) -> None:
    with pytest.raises(NotApplicable, match="is a plain model"):
        make("behaviour.guard").measure(bench_of("last-block"))


def test_an_unknown_kind_is_refused_by_the_registry() -> None:
    with pytest.raises(SubjectError, match='Did you mean "prompt_guard"'):
        system_class("prompt_gard")
