"""Who says what a generator draws: a scorer, an independent judge, and real labelled images that both are tested on.

A class is seen in a drawing only where scorer and judge both see it; where a search is led by the scorer, the judge
alone decides. All three are named once in the case file, `[subjects.scorer]` with `path` and `images`,
`[subjects.judge]` with `path`, and travel as settings of every subject: all that is seen of a generator depends on it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from audit.errors import CorpusError, SubjectError
from audit.subjects.settings import loader_settings
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from audit.types import Corpus

SCORER, JUDGE, IMAGES = "scorer", "judge", "scorer_images"
"""The settings that name them."""


def scorer_of(spec: SubjectSpec) -> SubjectSpec:
    """The classifier that looks at what a generator draws; raises SubjectError where the case names none."""
    path = loader_settings(spec).scorer
    if path is None:
        raise SubjectError(
            f"{spec.name} is a generator, and nobody says what it draws: name an image classifier in the case file, "
            '[subjects.scorer] with its path and, as images = "…", real labelled images to test it on.'
        )
    return SubjectSpec(SCORER, spec.role, path)


def judge_of(spec: SubjectSpec) -> SubjectSpec | None:
    """The second classifier, which decides where a search was led by the scorer; None where the case names none."""
    path = loader_settings(spec).judge
    return None if path is None else SubjectSpec(JUDGE, spec.role, path)


def labelled(path: str) -> Corpus:
    """The real labelled images that scorer and judge are tested on; CorpusError where an item is no image."""
    return _labelled(path, Path(path).stat().st_mtime_ns if Path(path).exists() else 0)


@lru_cache(maxsize=8)
def _labelled(path: str, changed: int) -> Corpus:
    from audit.corpora.read import read_corpus
    from audit.types import Modality

    found = read_corpus(path, "holdout", base=Path())
    if found.modality is not Modality.IMAGES:
        raise CorpusError(
            f"The images of the scorer, {path}, are no labelled images; give each row an image and a label."
        )
    return found


def check_scorers(spec: SubjectSpec) -> None:
    """Raise SubjectError unless scorer and judge are sound classifiers of the same classes that share no weights."""
    from audit.subjects.checks import check_subject
    from audit.subjects.fingerprint import fingerprint
    from audit.subjects.modality import classes_of, modality_of
    from audit.types import Modality

    scorer, judge = scorer_of(spec), judge_of(spec)
    for one in (scorer, judge):
        if one is None:
            continue
        check_subject(one)
        if modality_of(one) is not Modality.IMAGES:
            raise SubjectError(f"The {one.name}, {one.path}, is no image classifier, so it cannot say what is drawn.")
    if shared := _shared(scorer, spec):
        raise SubjectError(
            f"The scorer shares the weight {shared} with {spec.name}: a generator must be judged by a model that had "
            "no part in its making."
        )
    if judge is None:
        return
    if set(classes_of(scorer)) != set(classes_of(judge)):
        raise SubjectError("The scorer and the judge do not know the same classes; they must name them alike.")
    if fingerprint(scorer).tensors == fingerprint(judge).tensors or (shared := _shared(scorer, judge)):
        what = f"the weight {shared}" if shared else "all its weights"
        raise SubjectError(
            f"The judge shares {what} with the scorer: images that merely fool the scorer would fool it too. Give a "
            "classifier that was trained on its own, from another seed or on other images."
        )


def _shared(first: SubjectSpec, second: SubjectSpec) -> str:
    """A weight matrix that is bit by bit the same in both, where at least half of the first's are; else empty."""
    from audit.subjects.files import folder_of, weight_files
    from audit.subjects.fingerprint import scan_folder
    from audit.subjects.weights import header

    held = {tensor.digest for tensor in scan_folder(second).values()}
    matrices = {t.name for path in weight_files(folder_of(first), first) for t in header(path) if len(t.shape) > 1}
    found = [name for name, tensor in scan_folder(first).items() if name in matrices and tensor.digest in held]
    return found[0] if 2 * len(found) >= len(matrices) > 0 else ""
