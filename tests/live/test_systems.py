"""Systems in the playground: heard as the audit hears them, with the guard off beside them, and nothing shown that
they do not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.activations import generate
from audit.bench import Bench
from audit.cache import Cache
from audit.errors import CaseError, NotApplicable
from audit.live import Live, Models
from audit.live.ask import Sampling, answers
from audit.live.attack import run_attack, watched
from audit.live.changed import Changes
from audit.live.models import OFF
from audit.live.told import told
from tests.conftest import views
from tests.subjects.systems.made import bench_with

LENGTH = 8


@pytest.fixture(scope="module")
def case_file(tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original behind an embedding guard that knows every forgotten name, and in two combinations."""
    from audit.casefile import read_plan

    corpora = read_plan(tiny_lab / "case.toml").cases()[0].corpora
    names = sorted(set(corpora["forget"].entities))
    other = f'"{tiny_lab / "models" / "reference"}"'
    text = (tiny_lab / "case.toml").read_text()
    begin, end = text.index("[[subjects.candidates]]"), text.index("[corpora]")
    systems = [
        ("eco", "embedding_guard", f'entities = {names}\nstrength = 100.0\ndims = 64'),
        ("uld", "logit_combination", f"assistant = {other}"),
        ("contrast", "contrast_decoding", f"amateur = {other}"),
    ]  # fmt: skip
    entries = [
        f'[[subjects.candidates]]\nname = "{name}"\npath = "models/original"\nkind = "{kind}"\n{rest}\n'
        for name, kind, rest in systems
    ]
    plain = '[[subjects.candidates]]\nname = "plain"\npath = "models/rmu"\n'
    made = (text[:begin] + "\n".join([plain, *entries]) + text[end:]).replace("'", '"')
    for name in ("models/", "saes/", "forget.jsonl", "retain.jsonl", "holdout.jsonl"):
        made = made.replace(f'"{name}', f'"{tiny_lab / name}{"/" if name.endswith("/") else ""}')
    path = tmp_path_factory.mktemp("systems") / "case.toml"
    path.write_text(made)
    return path


@pytest.fixture(scope="module")
def systems(case_file: Path) -> Models:
    return Models(case_file, cache=Cache(views()), device="cpu")


@pytest.mark.parametrize("name", ["eco", "uld", "contrast"])
def test_an_answer_of_a_system_is_the_one_that_the_audit_hears(systems: Models, name: str) -> None:
    items = [systems.case.corpora[split].items[i] for split in ("forget", "retain") for i in (0, 1)]
    with systems.lend(name) as subject:
        expected = generate.says(subject, items, systems.case.template)
        budget = generate.answer_budget(subject, items, systems.case.template)
    for item, wanted in zip(items, expected, strict=True):
        said = list(answers(systems, [name], item, Sampling(length=budget)))
        assert not said[-1].problem and said[-1].text == wanted


def test_somebody_else_s_question_between_two_tokens_changes_no_answer(systems: Models) -> None:
    """The naive way, token by token, would go on with what the guard noted of the other's prompt."""
    forget, retain = systems.item("forget:0"), systems.item("retain:0")
    alone = list(answers(systems, ["eco"], forget))[-1].text
    mine = answers(systems, ["original", "eco"], forget)
    next(mine)
    list(answers(systems, ["eco"], retain))
    assert [piece.text for piece in mine if piece.name == "eco"][-1] == alone


def test_with_the_guard_off_the_original_answers(systems: Models) -> None:
    item = systems.item("forget:0")
    names = systems.chosen(["eco", "plain"], guard_off=True)
    assert names == ["original", "reference", "plain", "eco", f"eco{OFF}"]
    said = {piece.name: piece.text for piece in answers(systems, names, item)}
    assert said[f"eco{OFF}"] == said["original"] == item.answer != said["eco"]
    bare, whole, guarded = (told(systems, name, item) for name in (f"eco{OFF}", "original", "eco"))
    assert dataclasses.replace(bare, name="original") == whole
    assert guarded.whole is not None and bare.whole is not None and guarded.whole < 0.5 * bare.whole
    assert guarded.blocks and not guarded.unseen  # one model that something stands inside: its states are seen


def test_a_guard_sees_the_prompt_alone_when_the_answer_is_read_with_it(
    systems: Models, bench_of: Callable[..., Bench]
) -> None:
    """The naive way hands prompt and answer over as one prompt, and the guard corrupts the answer too."""
    candidate = next(case.candidate for case in systems.cases if case.candidate.name == "eco")
    bench = bench_with(bench_of("untouched"), dict(candidate.settings))
    rows = bench.likelihood("candidate", "forget").query("variant == 'answer'").reset_index(drop=True)
    import numpy as np

    found = told(systems, "eco", bench.corpus("forget").items[0])
    assert found.first == pytest.approx(np.exp(rows.loc[0, "first_logprob"]), rel=1e-4)
    assert found.whole == pytest.approx(np.exp(rows.loc[0, "mean_logprob"] * rows.loc[0, "tokens"]), rel=1e-3)


def test_no_guard_to_turn_off_is_a_sentence(systems: Models) -> None:
    with pytest.raises(CaseError, match="no guard that could be turned off"):
        systems.chosen(["plain"], guard_off=True)
    with pytest.raises(CaseError, match="There is no model"), systems.lend(f"plain{OFF}"):
        pass


@pytest.mark.parametrize("name", ["uld", "contrast"])
def test_what_a_combination_does_not_show_is_refused_in_a_sentence(
    systems: Models, case_file: Path, name: str, tmp_path: Path
) -> None:
    item, layer = systems.item("forget:0"), systems.case.dictionaries[0].layer
    found = told(systems, name, item)
    assert not found.problem and found.whole is not None and len(found.alternatives) == 5
    assert not found.blocks and f"{name} is a co" in found.unseen and "unchanged bit by bit" in found.unseen
    for changes in (Changes(layer, (1,), 0.0), Changes(vectors=((0, 0),))):
        assert told(systems, name, item, changes).problem == found.unseen
        said = list(answers(systems, [name], item, Sampling(length=LENGTH), changes))
        assert [piece.problem for piece in said] == [found.unseen]
    live = Live(case_file, name, models=systems)
    with pytest.raises(NotApplicable, match="of it one sees"):
        live.features(item.id, layer, [1], 0.0)
    with pytest.raises(NotApplicable, match="of it one sees"):
        live.vector(item.id, 0, 0)
    with pytest.raises(NotApplicable, match="of it one sees"):
        run_attack(case_file, name, tmp_path, watched(2, 0.0, 2, 2), device="cpu", cache=Cache(views()))


def test_ranks_are_whole_numbers_and_empty_where_a_system_has_none(
    systems: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    from audit import terminal
    from audit.views.playground import RANK, table, unseen

    thoughts = [told(systems, name, systems.item("forget:0")) for name in ("original", "uld")]
    found = table({}, thoughts)
    assert str(found[RANK].dtype) == "Int64" and found[RANK].isna().tolist() == [False, True]
    assert len(unseen(thoughts)) == 1
    terminal.frame(found[["subject", RANK]], "ranks")
    out = capsys.readouterr().out
    assert "NA" not in out and "1.000" not in out
