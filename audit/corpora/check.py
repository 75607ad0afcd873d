"""What contradicts between the corpora of an audit, and what its data do not allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from audit.errors import CorpusError
from audit.types import CORPORA, SPLITS, Corpus, Item, Modality, Split

MEANING: dict[Split, str] = {
    "forget": "to be forgotten",
    "retain": "to be kept",
    "holdout": "never seen by any model",
    "real_authors": "general knowledge (real_authors)",
    "world_facts": "general knowledge (world_facts)",
}
CLASSED = (Modality.IMAGES, Modality.LATENTS)
"""What has a class for an answer."""
KEPT: tuple[Split, ...] = ("retain", "real_authors", "world_facts")


def check_corpora(corpora: Mapping[Split, Corpus]) -> list[str]:
    """Warnings, one sentence each; raises CorpusError when a corpus is empty or a prompt stands in two splits."""
    present = [corpora[split] for split in CORPORA if split in corpora]
    for corpus in present:
        if not len(corpus):
            raise CorpusError(f"The {corpus.split} corpus {corpus.source} holds no item.")
    for first, second in combinations(present, 2):
        if not (first.split in KEPT and second.split in KEPT):
            _no_common_prompt(first, second)
    warnings = _whole_classes(corpora)
    warnings += _entities([corpus for corpus in present if corpus.split in SPLITS])
    for corpus in present:
        warnings += _duplicates(corpus) + _missing(corpus)
    for first, second in combinations(present, 2):
        warnings += _common_entities(first, second)
    return warnings


def _no_common_prompt(first: Corpus, second: Corpus) -> None:
    seen = {_asked(item): item for item in first.items}
    for item in second.items:
        other = seen.get(_asked(item))
        if other is not None:
            if item.image:
                raise CorpusError(
                    f"The same image is {_place(first, other)} and {_place(second, item)}, {_cut(item.prompt)}. "
                    f"It is either {MEANING[first.split]} or {MEANING[second.split]}; remove it from one of them."
                )
            raise CorpusError(
                f"The same prompt is item {_place(first, other)} and item {_place(second, item)}: "
                f'"{_cut(item.prompt)}". '
                f"A fact is either {MEANING[first.split]} or {MEANING[second.split]}; remove it from one of them."
            )


def _duplicates(corpus: Corpus) -> list[str]:
    seen: dict[tuple[str, str], Item] = {}
    pairs: list[tuple[Item, Item]] = []
    for item in corpus.items:
        key = _asked(item), _same(item.answer)
        if key in seen:
            pairs.append((seen[key], item))
        seen.setdefault(key, item)
    if not pairs:
        return []
    first, again = pairs[0]
    return [
        f"{len(pairs)} item{_s(pairs)} of the {corpus.split} corpus repeat{'' if pairs[1:] else 's'} another's prompt "
        f"and answer and count twice, for example {again.id} repeats {first.id}."
    ]


def _entities(corpora: Sequence[Corpus]) -> list[str]:
    """One sentence for all corpora that leave some entity out."""
    # An image or a latent without an entity is one of its own, which is what it should be.
    counts = {
        c.split: (sum(not (item.entity or item.latent or (item.image and not item.worded)) for item in c.items), len(c))
        for c in corpora
    }
    bare = [f"{missing} of {total} in {split}" for split, (missing, total) in counts.items() if missing]
    if not bare:
        return []
    return [
        f"Items that name no entity: {_list(bare)}. Intervals treat each as independent and are too narrow where "
        "several share an author, a person or a document: give each item an `entity`, or set `entity_block`."
    ]


def _whole_classes(corpora: Mapping[Split, Corpus]) -> list[str]:
    """What an interval means, and what cannot be asked, where whole classes are to be forgotten."""
    if not {"forget", "retain"} <= corpora.keys() or corpora["forget"].modality not in CLASSED:
        return []
    # Captions are all different; where they stand beside labels, the labels are the classes.
    mine, kept = ({item.label or item.answer for item in corpora[split].items} for split in ("forget", "retain"))
    if mine & kept:
        return []
    return [
        f"No image to keep is of the class{'es' if len(mine) > 1 else ''} to forget "
        f"({', '.join(sorted(mine)[:5])}). Intervals then speak of other images of the same classes, not of other "
        "classes, and probes that learn from what is kept cannot be asked: they never see the forgotten class."
    ]


def _missing(corpus: Corpus) -> list[str]:
    """What some evidences need and no item has."""
    if corpus.split == "retain" or corpus.modality in CLASSED:
        return []
    needed = [("wrong answers", any(item.wrong_answers for item in corpus.items))]
    if corpus.split in SPLITS:
        needed += [
            ("labels", any(item.label for item in corpus.items)),
            ("paraphrases", any(item.paraphrases for item in corpus.items)),
        ]
    absent = [name for name, there in needed if not there]
    if not absent:
        return []
    what = _list(absent, "or")
    return [f"No item of the {corpus.split} corpus has {what}: evidence that needs them will not apply."]


def _common_entities(first: Corpus, second: Corpus) -> list[str]:
    common = sorted({item.entity for item in first.items if item.entity} & {i.entity for i in second.items if i.entity})
    if not common:
        return []
    some = ", ".join(f'"{_cut(name)}"' for name in common[:3]) + (" and others" if common[3:] else "")
    return [
        f"{len(common)} entit{'ies stand' if common[1:] else 'y stands'} in both {first.split} and {second.split} "
        f"({some}): what is {MEANING[first.split]} and what is {MEANING[second.split]} may then be told apart by the "
        "question alone, and intervals of the two are not independent."
    ]


def _place(corpus: Corpus, item: Item) -> str:
    return f"{item.id} ({corpus.source})"


def _asked(item: Item) -> str:
    """What a model is shown: two images of one name are two, one image under two names is one."""
    if item.latent:
        return f"{item.latent} {item.label}"
    if item.image is None:
        return _same(item.prompt)
    return f"{item.image.digest} {_same(item.prompt)}" if item.worded else item.image.digest


def _same(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    text = _same(text)
    return text if len(text) <= 80 else text[:79] + "…"


def _list(parts: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def _s(many: Sequence) -> str:
    return "s" if many[1:] else ""
