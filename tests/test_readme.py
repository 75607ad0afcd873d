"""README and code never disagree."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.readme import README, renewed

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")


def test_the_generated_parts_are_up_to_date() -> None:
    assert renewed(TEXT) == TEXT, "run `make readme`"


def test_every_file_that_it_names_exists() -> None:
    tree = TEXT.split("```text")[1].split("```")[0]
    names = [line.split()[0].rstrip("/") for line in tree.strip().splitlines()]
    for name in names:
        assert (ROOT / name).exists(), name
    listed = {name.split("/")[0] for name in names}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()} - {".gitignore", "LICENSE", "README.md"}
    assert top <= listed, top - listed


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make (\w+)`", TEXT))))
def test_every_make_target_that_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_picture_exists() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture


def test_it_opens_with_what_it_is_then_the_two_commands() -> None:
    head = TEXT[:2500]
    assert head.index("Palimpsest") < head.index("![") < head.index("make app") < head.index("make test")
