"""A data set of the Hugging Face hub, or a local folder of one, through the `datasets` library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit.corpora.files import Row
from audit.errors import CorpusError

HUB_ID = re.compile(r"(hub:)?(?P<id>[\w][\w.-]*/[\w.-]+|[\w][\w-]*)(:(?P<config>[\w.+-]*))?(:(?P<split>[\w.+-]+))?")


def looks_like_hub(text: str) -> bool:
    """Whether a text could be a hub id; one without owner needs the `hub:` in front, since it could be a file name."""
    return HUB_ID.fullmatch(text) is not None and ("/" in text or text.startswith("hub:"))


def read_hub(text: str, folder: Path | None, split: str) -> Iterator[Row]:
    """Rows of "hub:owner/name[:config[:split]]", or of a local folder; raises CorpusError with advice."""
    if folder is not None:
        return _rows(str(folder), None, None, split)
    match = HUB_ID.fullmatch(text)
    assert match is not None, "looks_like_hub was not asked first"
    return _rows(match["id"], match["config"] or None, match["split"], split)


def _rows(id: str, config: str | None, part: str | None, split: str) -> Iterator[Row]:
    data = _load(id, config)
    if part is None and len(data) > 1 and "train" not in data:
        raise CorpusError(
            f"The data set {id} has the splits {', '.join(sorted(data))}; say which one is the {split} corpus: "
            f'"hub:{id}:{config or ""}:{sorted(data)[0]}".'
        )
    part = part or ("train" if "train" in data else next(iter(data), ""))
    if part not in data:
        raise CorpusError(f'The data set {id} has no split "{part}"; it has {", ".join(sorted(data)) or "none"}.')
    return _each(data[part], f"{id}, split {part}")


def _each(data: Any, place: str) -> Iterator[Row]:
    try:
        for number, row in enumerate(data, 1):
            yield f"{place}, row {number}", row
    except Exception as error:  # a column that the library decodes, such as an image, can fail late
        raise CorpusError(f"{place} cannot be read ({type(error).__name__}: {str(error)[:200]}).") from error


def _load(id: str, config: str | None) -> dict[str, Any]:
    """All splits of a data set; whatever the library raises becomes one sentence."""
    import datasets

    if Path(id).exists() and not Path(id).is_absolute():
        raise CorpusError(
            f"The hub id {id} is also a path below {Path.cwd()}, and the library would read that; start the audit in "
            "another folder, or give the path of a file."
        )
    try:
        return dict(datasets.load_dataset(id, config))
    except Exception as error:  # the library raises its own, pyarrow's, requests' and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CorpusError(
            f"The data set {id}{f' ({config})' if config else ''} cannot be loaded: {line[:300]}. Check the name, its "
            "configuration and the network; without a network, download it once or give a local file."
        ) from error
