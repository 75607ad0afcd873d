"""The scorer and the judge of a case with generators: named once, known to every subject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audit._casepaths import below, place
from audit.errors import CaseError
from audit.subjects.scorer import IMAGES, JUDGE, SCORER, labelled

if TYPE_CHECKING:
    from audit._caseschema import Subjects


def scorers_of(entries: Subjects, base: Path, root: Path | None) -> dict[str, str]:
    """The settings that every subject has from `[subjects.scorer]` and `[subjects.judge]`, with absolute paths.

    Raises CaseError for a judge alone and for paths that are not there, CorpusError for images that cannot be read.
    """
    if entries.scorer is None:
        if entries.judge is not None:
            raise CaseError("There is a [subjects.judge] but no [subjects.scorer]; the judge is the second classifier.")
        return {}
    found = {SCORER: place(entries.scorer.path, "The scorer", base, root)}
    if entries.judge is not None:
        found[JUDGE] = place(entries.judge.path, "The judge", base, root)
    if entries.scorer.images is not None:
        path = below(root, base, entries.scorer.images, "The images of the scorer")
        found[IMAGES] = str(path)
        for item in labelled(str(path)).items:
            if item.image and item.image.path:
                below(root, base, item.image.path, "An image of the scorer")
    return found
