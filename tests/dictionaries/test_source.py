"""Which dictionaries a case has, and which are refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit.bench import Bench
from audit.dictionaries import source
from audit.dictionaries.place import block_of, block_of_folder
from audit.dictionaries.quality import insist, quality
from audit.dictionaries.source import dictionaries, held_out_tokens, shared_dictionary, training_tokens
from audit.errors import CaseError, NotIdentifiable
from audit.types import DictionarySpec
from tests.evidence.sae.quick import QUICK


def naming(bench: Bench, *specs: DictionarySpec) -> Bench:
    """The bench with these dictionaries instead of the lab's; with none, they are trained here."""
    bench.case = dataclasses.replace(bench.case, dictionaries=specs)
    return bench


def saved(bench: Bench, folder: Path) -> Path:
    """The dictionary of the bench's first layer as a folder of its own."""
    found = dictionaries(naming(bench), **QUICK)[0]
    path = next(bench.cache.root.glob(f"*/{found.digest}"))
    return Path(shutil.copytree(path, folder))


def test_one_is_trained_for_a_middle_and_a_late_block_and_found_again(bench_of: Callable[..., Bench]) -> None:
    bench = naming(bench_of("last-block"))
    found = dictionaries(bench, **QUICK)
    assert [d.layer for d in found] == list(bench.whole("original", "forget").layers)
    assert all(d.features == QUICK["features"] for d in found)
    assert [d.digest for d in dictionaries(naming(bench_of("npo")), **QUICK)] == [d.digest for d in found]


def test_training_and_measuring_share_no_token(bench_of: Callable[..., Bench]) -> None:
    whole = bench_of("last-block").whole("original", "retain")
    train, held = training_tokens(whole), held_out_tokens(whole)
    assert not (train & held).any()
    assert whole.place[train | held].min() > 0
    assert not set(whole.sequence[train]) & set(whole.sequence[held])


def test_a_named_one_is_taken_and_its_hook_point_tells_the_block(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = naming(bench_of("last-block"))
    own = dictionaries(bench, **QUICK)[0]
    folder = saved(bench, tmp_path / "sae")
    assert block_of_folder(folder, "It") == own.layer
    named = dictionaries(naming(bench, DictionarySpec(1, path=str(folder))))
    assert [d.layer for d in named] == [1]
    assert bench.whole("candidate", "forget").layers == (1,)
    x = bench.states("original", "forget").at(1)
    assert np.array_equal(named[0].encode(x), own.encode(x))


@pytest.mark.parametrize(
    ("hook", "block"),
    [
        ("blocks.0.hook_resid_post", 1), ("blocks.1.hook_resid_pre", 1), ("model.layers.7", None), ("layers.7", 8),
        ("blocks.0.hook_mlp_out", None), ("blocks.0.hook_resid_pre", None), ("", None),
    ],
)  # fmt: skip
def test_a_hook_point_names_a_block_or_is_refused(hook: str, block: int | None) -> None:
    if block:
        assert block_of(hook, "It") == block
    else:
        with pytest.raises(CaseError, match="hook point"):
            block_of(hook, "It")


def test_a_block_that_the_models_have_not_is_refused(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    bench = bench_of("last-block")
    folder = saved(bench, tmp_path / "sae")
    with pytest.raises(CaseError, match="block 9"):
        dictionaries(naming(bench, DictionarySpec(9, path=str(folder))))


def test_another_width_is_refused(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    from audit.dictionaries.train import train

    train(
        np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32), tmp_path, features=24, k=2, steps=5, seed=0
    )
    with pytest.raises(CaseError, match="width 12"):
        dictionaries(naming(bench_of("last-block"), DictionarySpec(1, path=str(tmp_path))))


def test_a_folder_that_holds_none_is_one_sentence(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(CaseError, match="cannot be read as a dictionary"):
        dictionaries(naming(bench_of("last-block"), DictionarySpec(1, path=str(tmp_path))))


def test_a_shared_one_is_trained_once_for_the_whole_audit(bench_of: Callable[..., Bench]) -> None:
    first, second = (shared_dictionary(bench_of(name), **QUICK) for name in ("last-block", "npo"))
    assert first.digest == second.digest
    assert first.layer == max(bench_of("npo").whole("original", "forget").layers)


def test_a_good_one_passes_and_a_bad_one_is_not_identifiable(
    bench_of: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = naming(bench_of("last-block"))
    good = dictionaries(bench, **QUICK)[0]
    grade = quality(bench, good)
    assert grade.unexplained < 0.3
    assert grade.recovered > 0.7
    assert 0 <= grade.dead < 1
    insist(bench, good)
    bad = dictionaries(bench, features=16, k=1, steps=1)[0]
    with pytest.raises(NotIdentifiable, match="does not describe the original"):
        insist(bench, bad)


def test_the_labs_own_are_good(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("last-block")
    found = dictionaries(bench)
    assert found
    assert all(d.name.endswith(f"block-{d.layer}") for d in found)
    for dictionary in found:
        insist(bench, dictionary)


def test_too_small_a_size_is_refused(bench_of: Callable[..., Bench]) -> None:
    with pytest.raises(CaseError, match="cannot be trained"):
        dictionaries(naming(bench_of("last-block")), features=4, k=8, steps=10)
    assert source.HELD_OUT > 1
