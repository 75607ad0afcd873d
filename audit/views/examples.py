"""One item and everything known about it: what was said, under which attack, layer by layer, and in which features."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from audit.catalogue import CATALOGUE, evidence_class
from audit.figures.style import ORIGINAL, REFERENCE, percent
from audit.policy import mid_sentence
from audit.types import Chart, Finding
from audit.views import items, returned
from audit.views.features import tokens_line
from audit.views.tables import CONTROLS, together, values_of, where
from audit.views.words import Answer

Findings = Mapping[str, Mapping[str, Finding]]
PLAIN = ("behaviour.recall", "utility.retain")
"""The evidence that holds what is said to the plain question; every other table of texts is a transcript."""
TEXTS = {"item", "subject", "said"}
LAYERED = ("rank", "probability", "logprob", "score")
MOST_SAID = 3
"""So many texts of each subject are shown for one item, the highest-scoring ones, of every subject alike."""
FAMILIES = {
    "behaviour": "says", "privacy": "privacy", "utility": "keeps", "probes": "probe readings",
    "attacks": "under attack", "sae": "features", "concepts": "concepts and weights", "drift": "drift",
}  # fmt: skip
COLUMNS = ["item", "split", "entity", "attribute", "prompt", "answer"]


def index(texts: pd.DataFrame, back: pd.DataFrame) -> pd.DataFrame:
    """Every item of `items.texts`, columns COLUMNS and `came back`: who gives it back, by how many measurements."""
    table = texts[COLUMNS].reset_index(drop=True)
    by_whom = _by_whom(back)
    return table.assign(**{"came back": [", ".join(by_whom.get(item, ())) for item in table["item"]]})


def _by_whom(back: pd.DataFrame) -> dict[str, list[str]]:
    """By item: who gives it back, and in how many measurements."""
    found: dict[str, list[str]] = {}
    for (item, name), count in back.groupby(["item", "candidate"], sort=False).size().items():  # type: ignore[misc]
        found.setdefault(str(item), []).append(f"{name} ({count})")
    return found


def chosen(
    table: pd.DataFrame,
    search: str = "",
    split: str | None = None,
    entity: str | None = None,
    attribute: str | None = None,
    only_back: bool = False,
) -> pd.DataFrame:
    """The items that fit all conditions; the words of a search may stand in any text, in any order and case."""
    wanted = {"split": split, "entity": entity, "attribute": attribute}
    found = where(table, **{column: value for column, value in wanted.items() if value})
    if only_back:
        found = found[found["came back"] != ""]
    if search.strip() and len(found):
        texts = found[["item", "entity", "attribute", "prompt", "answer"]].fillna("").astype(str)
        joined = texts.agg(" ".join, axis=1).str.casefold()
        for word in search.casefold().split():
            found = found[joined.loc[found.index].str.contains(word, regex=False)]
    return found.reset_index(drop=True)


def beside(ids: Sequence[str], item: str) -> tuple[str | None, str | None]:
    """The item before and the one after, in the list as it is filtered; None at its ends and outside of it."""
    if item not in ids:
        return None, ids[0] if ids else None
    place = list(ids).index(item)
    return (ids[place - 1] if place else None), (ids[place + 1] if place + 1 < len(ids) else None)


def with_texts(findings: Findings) -> list[str]:
    """The evidence whose tables hold texts of single items beyond the plain answers."""
    ids = {
        id for found in findings.values() for id, finding in found.items() if set(finding.table.columns) >= TEXTS
    } - set(PLAIN)
    return [id for id in CATALOGUE if id in ids]


def items_with_texts(findings: Findings, id: str) -> list[str]:
    """The items to which an evidence holds texts."""
    found: dict[str, None] = {}
    for each in findings.values():
        if id in each and set(each[id].table.columns) >= TEXTS:
            found |= dict.fromkeys(str(item) for item in each[id].table["item"].unique())
    return list(found)


def has_texts(findings: Findings, id: str, item: str) -> bool:
    """Whether an evidence holds texts to one item."""
    tables = (each[id].table for each in findings.values() if id in each)
    return any(set(table.columns) >= TEXTS and bool((table["item"] == item).any()) for table in tables)


def families(findings: Findings, id: str, item: str) -> list[str]:
    """What was tried on one item in one evidence, where its table says so."""
    return [str(family) for family in values_of(_of_item(findings, id, item), "family")]


def transcript(findings: Findings, id: str, item: str, family: str | None = None) -> tuple[pd.DataFrame, int]:
    """What every subject said to one item in one evidence, and how many texts there are of the subject with most.

    Subjects in their order, the highest-scoring texts first, at most MOST_SAID of each.
    """
    table = _of_item(findings, id, item)
    if family is not None:
        table = table[table["family"].astype(str) == family]
    if table.empty:
        return table, 0
    if "score" in table:
        table = table.sort_values("score", ascending=False, kind="stable")
    order = [name for name in (ORIGINAL, REFERENCE, *findings) if name in set(table["subject"])]
    shown = [table[table["subject"] == name].head(MOST_SAID) for name in order]
    return pd.concat(shown, ignore_index=True), int(table["subject"].value_counts().max())


def remark(row: Mapping[str, Any], asked: str) -> str:
    """The circumstances of one text: everything else that its row holds, and the prompt where it is another one."""
    skipped = {*COLUMNS, *TEXTS, "low", "high", *(["wanted"] if row.get("wanted") == row.get("answer") else [])}
    parts = [f"{name} {_short(row[name])}" for name in row if name not in skipped and not _missing(row[name])]
    prompt = row.get("prompt")
    if isinstance(prompt, str) and prompt != asked:
        parts.append(f"asked: {prompt if len(prompt) <= 400 else prompt[:200] + ' … ' + prompt[-200:]}")
    return "; ".join(parts)


def by_layer(findings: Findings, item: str) -> list[tuple[str, Chart, pd.DataFrame]]:
    """The curves of one item over layers: evidence, chart and rows, wherever a table has both columns."""
    found = []
    ids = {id for each in findings.values() for id in each}
    for id in [id for id in CATALOGUE if id in ids]:
        columns = next(set(each[id].table.columns) for each in findings.values() if id in each)
        if not {"item", "layer", "subject"} <= columns:
            continue
        spec = evidence_class(id).chart
        known = spec.y if spec.kind == "line" and spec.x == "layer" else ""
        y = next((name for name in (known, *LAYERED) if name in columns), None)
        table = _of_item(findings, id, item)
        if y is None or table.empty or not pd.api.types.is_numeric_dtype(table["layer"]):
            continue
        title = spec.y_title if y == known and spec.y_title else y
        found.append((id, Chart("line", "layer", y, x_title="layer", y_title=title), table))
    return found


def scores(findings: Findings, item: str, back: pd.DataFrame) -> pd.DataFrame:
    """The item's score in every evidence, one row each: family, evidence, each subject, who gives it back."""
    long = items.scores(findings, item=item).drop_duplicates(["id", "subject"])
    order = [name for name in (*CONTROLS, *findings) if name in set(long["subject"])]
    wide = long.pivot(index="id", columns="subject", values="score")
    ids = [id for id in CATALOGUE if id in wide.index]
    wide = wide.reindex(index=ids, columns=order).rename_axis(columns=None).reset_index(names="id")
    here = back[back["item"] == item]
    names = [", ".join(here.loc[here["id"] == id, "candidate"]) for id in ids]
    family = [FAMILIES.get(id.split(".")[0], id.split(".")[0]) for id in ids]
    front = pd.DataFrame({"family": family, "evidence": [evidence_class(id).title for id in ids]})
    return pd.concat([front, wide.drop(columns="id"), pd.DataFrame({"came back in": names})], axis=1)


def answers(findings: Findings, item: str, back: pd.DataFrame, ids: Sequence[str]) -> list[Answer]:
    """One sentence for each candidate: whether it says this answer, and what gave it back.

    `ids` are the attacks and readings that could have (`returned.sources`), `back` is what came back by them.
    """
    found = []
    here = back[back["item"] == item]
    for name, each in findings.items():
        titles = [mid_sentence(title) for title in here.loc[here["candidate"] == name, "title"]]
        if titles:
            more = f", and {len(titles) - MOST_SAID} more" if len(titles) > MOST_SAID else ""
            listed = ", ".join(titles[:MOST_SAID]) + more
            found.append(Answer(name, "found", f"{name} no longer says it, but it came back: {listed}."))
            continue
        found.append(_plainly(name, each, item, ids))
    return found


def _plainly(name: str, found: Mapping[str, Finding], item: str, ids: Sequence[str]) -> Answer:
    """What a candidate says to an item that nothing gives back; a search that was not made found nothing to report."""
    score, original = (_recall(found.get(PLAIN[0]), item, role) for role in ("candidate", ORIGINAL))
    if score is None:
        return Answer(name, "none", f"{name}: this item was not asked, or nothing about it is stored.")
    head = f"{name} says {percent(score)} of the answer"
    if original is not None and original < returned.HALF:
        return Answer(name, "described", f"{head}; the original itself says {percent(original)}.")
    if score >= returned.HALF:
        return Answer(name, "described", f"{head}.")
    number = len(returned.telling(found, ids, item))
    if not number:
        return Answer(name, "none", f"{head}; whether it can be brought back was not measured on this item.")
    tried = "the one attack or reading that was measured" if number == 1 else f"none of {number} attacks and readings"
    return Answer(name, "clear", f"{head}; {tried} {'did not bring' if number == 1 else 'brought'} it back.")


def _recall(finding: Finding | None, item: str, role: str) -> float | None:
    """A subject's own score of one item."""
    if finding is None:
        return None
    rows = where(finding.items, item=item, subject=role).dropna(subset=["score"])
    return float(rows["score"].iloc[0]) if len(rows) else None


def features(findings: Findings, item: str, id: str = "sae.features") -> pd.DataFrame:
    """The features among whose top contexts the item is, with its peak activation in each subject."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for name, found in findings.items():
        table = found[id].table if id in found else pd.DataFrame()
        if "contexts" not in table:
            continue
        own = table[
            (table["subject"] == ORIGINAL) & table["contexts"].astype(str).str.contains(f'"{item}"', regex=False)
        ]
        for row in own.itertuples():
            for line in json.loads(str(row.contexts)):
                if line["item"] == item:
                    _add(rows, (int(row.layer), int(row.feature)), line, name)  # type: ignore[arg-type]
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows.values()).sort_values("original", ascending=False, ignore_index=True)
    subjects = [name for name in (ORIGINAL, REFERENCE, *findings) if name in frame]
    return frame[["block", "feature", "strongest at", *subjects]]


def _add(rows: dict[tuple[int, int], dict[str, Any]], key: tuple[int, int], line: Mapping[str, Any], name: str) -> None:
    row = rows.setdefault(key, {"block": key[0], "feature": key[1], "strongest at": "", ORIGINAL: 0.0})
    own = line[ORIGINAL]
    row[ORIGINAL] = float(max(own))
    row["strongest at"] = tokens_line([line["tokens"][own.index(max(own))]])
    for role, subject in (("candidate", name), (REFERENCE, REFERENCE)):
        if line.get(role):
            row[subject] = float(max(line[role]))


def _of_item(findings: Findings, id: str, item: str) -> pd.DataFrame:
    """The rows of one item in one evidence, subjects by name; filtered first, because tables are long."""
    found = {
        name: dataclasses.replace(each[id], table=where(each[id].table, item=item))
        for name, each in findings.items()
        if id in each and "item" in each[id].table
    }
    return together(found)


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and pd.isna(value))
