"""What many tests share: the tiny lab, a bench on it, and other people's data."""

from __future__ import annotations

import os

# Two workers on two cores: one thread each. Said before numpy is imported, whose algebra reads it only then and else
# keeps as many threads as there are cores turning while they wait.
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

from collections.abc import Callable, Iterator, Set
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from audit.bench import Bench
from audit.cache import Cache, locked
from audit.lab import SCENARIOS
from tests.browser import FLAGS, system_chromium

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
STORE = Path(os.environ.get("PALIMPSEST_TEST_CACHE", ROOT / "tests" / ".cache"))


@pytest.fixture(scope="session", autouse=True)
def quiet_machine() -> None:
    """One thread in torch too, whoever imported it first, and views kept beside the labs."""
    os.environ["PALIMPSEST_CACHE"] = str(views())
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_lab() -> Path:
    """The tiny lab, built once for all workers and kept between test runs while its code stays the same."""
    return lab_of("people", f"lab-{code_digest('audit/lab', but=set(SCENARIOS))}")


@pytest.fixture(scope="session")
def digits_lab() -> Path:
    """The tiny digits: image classifiers, built once for all workers like the tiny lab."""
    return lab_of("digits", f"digits-{code_digest('audit/lab/digits')}")


@pytest.fixture(scope="session")
def topic_lab() -> Path:
    """The tiny crafts: a topic with terms of its own, built once for all workers like the tiny lab."""
    return lab_of("topic", f"topic-{code_digest('audit/lab', but=set(SCENARIOS) - {'topic'})}")


@pytest.fixture(scope="session")
def towers_lab() -> Path:
    """The tiny emblems: two-tower models, built once for all workers like the tiny lab."""
    return lab_of("towers", f"towers-{code_digest('audit/lab/towers')}")


@pytest.fixture(scope="session")
def glyphs_lab() -> Path:
    """The tiny glyphs: vision-language models, built once for all workers like the tiny lab."""
    return lab_of("glyphs", f"glyphs-{code_digest('audit/lab/glyphs')}")


@pytest.fixture(scope="session")
def generator_lab(quiet_machine: None) -> Path:
    """The tiny generators with scorer and judge, built once for all workers like the tiny lab."""
    return lab_of("generator", f"generator-{code_digest('audit/lab/generator')}")


def lab_of(scenario: str, folder: str) -> Path:
    """A scenario's tiny lab in a folder of the store, built by whoever comes first."""
    from audit.lab import build

    STORE.mkdir(parents=True, exist_ok=True)
    with locked(STORE / f"{scenario}.lock"):
        build(scenario, STORE / folder, scale="tiny")
    return STORE / folder


@cache
def views() -> Path:
    """Cached passes of the very code under test: no test may see what an older version computed."""
    return STORE / f"views-{code_digest('audit')}"


def code_digest(folder: str, but: Set[str] = frozenset()) -> str:
    """Hash of the code in a folder, without that of some folders in it."""
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not but & set(path.relative_to(ROOT / folder).parts):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and results made by others; not part of the project."""
    if not SHARED.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{SHARED} is absent, but CI must have it")
        pytest.skip(f"{SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session")
def garage() -> Iterator[object]:
    """Models stay loaded from test to test."""
    from audit.subjects.garage import Garage

    garage = Garage("cpu")
    yield garage
    garage.clear()


@pytest.fixture(scope="session")
def bench_of(tiny_lab: Path, garage: object) -> Callable[..., Bench]:
    """A bench on the tiny lab: `bench_of("last-block")`, `bench_of("npo", reference=False)`."""
    import dataclasses

    from audit.casefile import read_plan

    plan = read_plan(tiny_lab / "case.toml")

    def bench(candidate: str = "last-block", reference: bool = True, holdout: bool = True) -> Bench:
        case = next(case for case in plan.cases() if case.candidate.name == candidate)
        if not reference:
            case = dataclasses.replace(case, reference=None)
        if not holdout:
            corpora = {split: corpus for split, corpus in case.corpora.items() if split != "holdout"}
            case = dataclasses.replace(case, corpora=corpora)
        return Bench(case, garage, Cache(views()), audit=plan.cases())  # type: ignore[arg-type]

    return bench


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium for all browser tests of a worker: the system's, else Playwright's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=system_chromium(), args=FLAGS)
        yield chromium
        chromium.close()


LONGEST = (
    "contract/test_catalogue.py", "pages/test_pages.py", "images/test_truth.py", "test_truth.py",
    "sighted/test_truth.py", "encoders/test_truth.py", "lab/test_topic.py", "subjects/systems/test_case_files.py",
    "test_run.py", "e2e/test_accessibility.py", "report/test_export.py", "evidence/attacks/test_relearn.py",
    "generators/test_truth.py", "evidence/attacks/test_relearn_kinds.py",
)  # fmt: skip
"""Files that take longest, first: then no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first; tests that need a CUDA device are skipped, with a reason, where there is none."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def glyphs_bench(glyphs_lab: Path, garage: object) -> Callable[..., Bench]:
    """A bench on a candidate of the tiny glyphs, with or without the reference."""
    import dataclasses

    from audit.casefile import read_plan

    plan = read_plan(glyphs_lab / "case.toml")

    def bench(candidate: str, reference: bool = True) -> Bench:
        case = next(case for case in plan.cases() if case.candidate.name == candidate)
        case = case if reference else dataclasses.replace(case, reference=None)
        return Bench(case, garage, Cache(views()), audit=(case,))  # type: ignore[arg-type]

    return bench
