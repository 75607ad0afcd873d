"""SAEBench: `<release>_<id>_eval_results.json` of any of its evaluations; aggregates only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audit.interop.cards import direction
from audit.interop.document import Document
from audit.interop.names import named_by, plain
from audit.interop.result import Metric, Result, only_in_file
from audit.interop.values import number, what_is

TOOL = "saebench"


def recognise(document: Document) -> str:
    """`evaluation`, or empty."""
    data = document.data
    told = isinstance(data, dict) and {"eval_type_id", "eval_result_metrics"} <= set(data)
    return "evaluation" if told and isinstance(data["eval_result_metrics"], dict) else ""


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each dictionary, all its evaluations together."""
    found: dict[str, list[Document]] = {}
    for document, _ in documents:
        release, id = (document.data.get(f"sae_lens_{part}") for part in ("release_id", "id"))
        name = f"{release} {id}" if release and id else named_by(document.path.parent, document.root)
        found.setdefault(name, []).append(document)
    return [
        Result(name, TOOL, "evaluation", tuple(d.path for d in each), tuple(m for d in each for m in _metrics(d.data)))
        for name, each in found.items()
    ]


def _metrics(data: Mapping[str, Any]) -> Iterator[Metric]:
    evaluation = str(data["eval_type_id"])
    for name, value in _leaves(data["eval_result_metrics"], ""):
        own = plain(name.removeprefix(f"{evaluation}."))
        id = f"{TOOL}.{own}" if evaluation == "unlearning" else f"{TOOL}.{plain(evaluation)}.{own}"
        note = "" if number(value) is not None else f"The file holds {what_is(value)}."
        yield only_in_file(id, name, direction(id), number(value), note)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif not isinstance(value, list):
        yield path, value
