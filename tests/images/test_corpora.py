"""Corpora of images: folders and files, what enters the digest, and what is wrong in one sentence each."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from audit.corpora.check import check_corpora
from audit.corpora.images import open_image
from audit.corpora.read import read_corpus
from audit.errors import CorpusError
from audit.types import Corpus, Item, Modality, digest_of
from tests.images.conftest import CLASSES, drawn


def png(number: int) -> bytes:
    stream = io.BytesIO()
    drawn(number + 1)[number].save(stream, "PNG")
    return stream.getvalue()


def test_a_folder_of_classes_is_a_corpus(folder_of_images: Callable[..., Path], tmp_path: Path) -> None:
    folder_of_images("forget", 6)
    corpus = read_corpus("forget", "forget", base=tmp_path)
    assert corpus.modality is Modality.IMAGES
    assert [item.answer for item in corpus.items] == ["circle", "circle", "cross", "cross", "square", "square"]
    assert corpus.items[0].prompt == "circle/000.png"
    assert corpus.items[0].label == "circle"
    assert corpus.entities == [item.id for item in corpus.items], "an image is its own entity"


def test_paths_bytes_and_whole_numbers_are_read_the_same(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(png(k))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"image": f"{k}.png", "label": k}) + "\n" for k in range(3)))
    rows = {"image": [{"bytes": png(k), "path": f"{k}.png"} for k in range(3)], "label": [0, 1, 2]}
    pd.DataFrame(rows).to_parquet(tmp_path / "b.parquet")
    first, second = (read_corpus(name, "forget", base=tmp_path) for name in ("a.jsonl", "b.parquet"))
    assert [item.prompt for item in second.items] == ["0.png", "1.png", "2.png"]
    for one, other in zip(first.items, second.items, strict=True):
        assert one.image
        assert other.image
        assert one.image.digest == other.image.digest
        assert one.answer == other.answer
        assert list(open_image(one.image).getdata()) == list(open_image(other.image).getdata())


def test_pixels_enter_the_digest_and_texts_keep_theirs(folder_of_images: Callable[..., Path], tmp_path: Path) -> None:
    folder_of_images("a", 3)
    folder_of_images("b", 3, seed=1)
    one, other = (read_corpus(name, "forget", base=tmp_path) for name in "ab")
    assert [i.prompt for i in one.items] == [i.prompt for i in other.items]
    assert one.digest != other.digest
    # As it was before items could have an image: a list of all other fields.
    item = Item("forget:0", "Who?", "She")
    later = ("image", "worded", "text_prompt", "latent")
    fields = [field.name for field in dataclasses.fields(Item) if field.name not in later]
    assert Corpus("forget", (item,), "x").digest == digest_of(["forget", [[getattr(item, f) for f in fields]]])


def test_a_missing_image_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"image": "no/such.png", "label": "circle"}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl, line 2: there is no image no/such\.png; looked for "):
        read_corpus("a.jsonl", "forget", base=tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_one_sentence_with_its_place(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    drawn(1, 3, side=32)[0].save(stream, kind)
    (tmp_path / "forget" / "circle").mkdir(parents=True)
    (tmp_path / "forget" / "circle" / f"x.{kind.lower()}").write_bytes(stream.getvalue()[:-40])
    with pytest.raises(CorpusError, match=r"circle/x\.\w+: the image cannot be decoded \(.*\); it is cut off"):
        read_corpus("forget", "forget", base=tmp_path)


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("hello")
    (tmp_path / "a.jsonl").write_text('{"image": "x.png", "label": "circle"}\n')
    with pytest.raises(CorpusError, match=r"line 1: the image cannot be decoded \(no image format"):
        read_corpus("a.jsonl", "forget", base=tmp_path)


def test_no_label_some_without_image_and_loose_images_are_said(
    tmp_path: Path, folder_of_images: Callable[..., Path]
) -> None:
    (tmp_path / "x.png").write_bytes(png(0))
    (tmp_path / "a.jsonl").write_text('{"image": "x.png"}\n')
    with pytest.raises(CorpusError, match="no label"):
        read_corpus("a.jsonl", "forget", base=tmp_path)
    (tmp_path / "b.jsonl").write_text('{"image": "x.png", "label": "a"}\n{"prompt": "q", "answer": "a"}\n')
    with pytest.raises(CorpusError, match="forget:1 of b.jsonl has no image and others have one"):
        read_corpus("b.jsonl", "forget", base=tmp_path)
    folder_of_images("c", 3)
    (tmp_path / "c" / "loose.png").write_bytes(png(1))
    with pytest.raises(CorpusError, match="lies beside the class folders"):
        read_corpus("c", "forget", base=tmp_path)


def test_the_same_pixels_in_two_splits_are_refused_and_names_are_no_matter(
    folder_of_images: Callable[..., Path], tmp_path: Path
) -> None:
    folder_of_images("a", 6)
    folder_of_images("b", 6, seed=1)
    forget, retain = read_corpus("a", "forget", base=tmp_path), read_corpus("b", "retain", base=tmp_path)
    assert not check_corpora({"forget": forget, "retain": retain})
    (tmp_path / "b" / "circle" / "copy.png").write_bytes((tmp_path / "a" / "cross" / "002.png").read_bytes())
    retain = read_corpus("b", "retain", base=tmp_path)
    with pytest.raises(CorpusError, match="The same image is forget:2"):
        check_corpora({"forget": forget, "retain": retain})


def test_a_class_that_is_forgotten_as_a_whole_is_said(folder_of_images: Callable[..., Path], tmp_path: Path) -> None:
    folder_of_images("a", 2, classes=CLASSES[:1])
    folder_of_images("b", 4, seed=1, classes=CLASSES[1:])
    corpora = {s: read_corpus(n, s, base=tmp_path) for s, n in (("forget", "a"), ("retain", "b"))}  # type: ignore[arg-type]
    (warning,) = check_corpora(corpora)  # type: ignore[arg-type]
    assert "No image to keep is of the class to forget (circle)" in warning
    assert "other images of the same classes" in warning
