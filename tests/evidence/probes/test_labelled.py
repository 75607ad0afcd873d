"""What the readers of labels share: who is trained on, who is read, and what the table holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from audit.errors import NotApplicable, NotIdentifiable
from audit.evidence.probes._labelled import cut, labelled, parts, right, trainable
from audit.probing import make_task
from tests.evidence.probes.planted import PlantedBench
from tests.evidence.probes.test_linear import EVERYWHERE, WIDTH, world


def constant(train: Any, task: Any, attribute: str) -> Any:
    """A reader that always says class 0."""
    return lambda features, truth: right(np.zeros((len(task.labels), len(truth)), np.intp), truth)


def test_the_reader_of_class_0_scores_the_share_of_class_0() -> None:
    made = labelled(world(EVERYWHERE), folds=5, nulls=2)
    read = made.sweep("original", "prompt_last", ["original"], constant)
    labels = [item.label for item in made.bench.corpus("forget").items]
    assert read["forget"].shape == (4, 24)
    assert read["forget"].mean() == labels.count("value 0") / 24
    row = made.rows("original", read, "constant")[0]
    assert (row.layer, row.split, row.items, row.entities, row.view) == (0, "forget", 24, 12, "forget, constant")
    assert row.accuracy == row.shuffled == labels.count("value 0") / 24


def test_retain_items_are_read_by_readers_of_other_entities() -> None:
    bench = world(EVERYWHERE)
    names = bench.corpus("retain").entities
    owner = {
        row.tobytes(): name for row, name in zip(bench.planted["original", "retain", "answer"][1], names, strict=True)
    }
    reads = []

    def watched(train: Any, task: Any, attribute: str) -> Any:
        taught = {owner.get(row.tobytes()) for row in train[0]} - {None}

        def read(features: Any, truth: Any) -> Any:
            reads.append((taught, {owner.get(row.tobytes()) for row in features} - {None}))
            return np.zeros((len(task.labels), len(truth)))

        return read

    labelled(bench, 5, 1).sweep("original", "prompt_last", ["original"], watched)
    kept = [(taught, seen) for taught, seen in reads if taught and seen]
    assert len(kept) == 4  # two halves, two attributes
    assert all(not taught & seen for taught, seen in kept)
    assert set.union(*(seen for _, seen in kept)) == set(names)


def test_training_sees_retained_rows_only_and_the_same_number_for_everyone() -> None:
    bench = world(EVERYWHERE)
    retain = {
        row.tobytes() for role in bench.roles for row in bench.planted[role, "retain", "answer"].reshape(-1, WIDTH)
    }
    sizes: dict[str, list[int]] = {}
    for role in bench.roles:

        def watched(train: Any, task: Any, attribute: str, role: str = role) -> Any:
            assert all(row.tobytes() in retain for row in train[0])
            sizes.setdefault(role, []).append(len(train[0]))
            return constant(train, task, attribute)

        labelled(bench, 5, 1).sweep(role, "prompt_last", [role], watched)
    assert sizes["original"] == sizes["candidate"] == sizes["reference"]


def test_a_cut_task_keeps_whole_entities_in_one_fold() -> None:
    names = [name for name in "abcdef" for _ in range(2)]
    task = make_task(["x", "y"] * 6, names, folds=4, nulls=2)
    (first, second), (third, fourth) = parts(task)
    assert (first ^ second).all()
    assert (first == fourth).all()
    assert (second == third).all()
    assert not set(np.array(names)[first]) & set(np.array(names)[second])
    small = cut(task, first)
    assert sorted(set(small.fold.tolist())) == list(range(small.fold.max() + 1))


def test_what_cannot_be_trained_is_not_read() -> None:
    task = make_task(["x", "y"], ["a", "b"], folds=2, nulls=1)  # each half holds one entity and one label
    assert trainable(task)
    assert parts(task) == []


def test_a_split_without_shared_labels_is_no_control() -> None:
    bench = world(EVERYWHERE, reference=False)
    corpora = dict(bench.case.corpora)
    holdout = corpora["holdout"]
    strange = tuple(dataclasses.replace(item, label="value 99") for item in holdout.items)
    corpora["holdout"] = dataclasses.replace(holdout, items=strange)
    made = labelled(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted), 5, 1)
    read = {"original": made.sweep("original", "prompt_last", ["original"], constant)}
    assert {row.split for row in made.rows("original", read["original"], "constant")} == {"forget", "retain"}
    with pytest.raises(NotIdentifiable, match="No holdout item"):
        made.score(read)("original", "holdout")  # type: ignore[arg-type]


def test_labels_that_nobody_shares_are_not_applicable() -> None:
    bench = world(EVERYWHERE)
    corpora = dict(bench.case.corpora)
    forget = corpora["forget"]
    strange = tuple(dataclasses.replace(item, label="value 99") for item in forget.items)
    corpora["forget"] = dataclasses.replace(forget, items=strange)
    with pytest.raises(NotApplicable, match="No label of the forget items"):
        labelled(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted), 5, 1)


def test_forget_items_without_a_shared_label_are_counted() -> None:
    bench = world(EVERYWHERE)
    corpora = dict(bench.case.corpora)
    forget = corpora["forget"]
    strange = tuple(dataclasses.replace(i, label="value 99") if k < 3 else i for k, i in enumerate(forget.items))
    corpora["forget"] = dataclasses.replace(forget, items=strange)
    made = labelled(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted), 5, 1)
    assert "3 of 24 forget items" in made.unread
    assert labelled(bench, 5, 1).unread == ""
