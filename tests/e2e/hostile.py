"""A corpus of hostile texts on the tiny lab's models: what a page, a figure or a file could take for code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SHORT = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "[click](javascript:window.pwned=1)",
    "![seen](http://evil.example/x.png) http://evil.example www.evil.example",
    "**bold** _slanted_ `code` ~~gone~~",
    "$\\frac{1}{2}$ $$x^2$$",
    ":red[warm] :material/home: :smile: :green-badge[fine]",
    "a\u202edlrow\u202c b\u2066c",
    "\U0001f600\U0001f469\u200d\U0001f680 \u0645\u0631\u062d\u0628\u0627",
    "</script></style><b>fat</b><br><a href='javascript:window.pwned=1'>x</a>",
    "{{ 7*7 }} {% raw %} ${7*7} %{x} %{customdata}",
    '=cmd|"/c calc"!A1',
    "# head\n- one\n- two\n\n    four spaces\n> said",
    "&lt;b&gt; &amp; \"quoted\" 'single'",
    "\x1b[31mred\x1b[0m\x07",
)
LONG = "long" * 2500
"""One line of 10,000 characters."""
ITEMS = 30
"""Of each corpus."""
CANDIDATES = {"__last-block__": "last-block", "1. refusal (a)": "refusal"}
NAME = " ".join(SHORT[:8])


def texts(number: int, count: int = 4) -> str:
    """Some of the hostile texts, other ones for every number."""
    return " ".join(SHORT[(number * count + place) % len(SHORT)] for place in range(count))


def write(lab: Path, folder: Path, only: tuple[str, ...], settings: str = "") -> Path:
    """The case file of an audit on the models of `lab` in which every text that can be given is hostile."""
    for split in ("forget", "retain", "holdout"):
        lines = [json.loads(line) for line in (lab / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:ITEMS]]
        for number, line in enumerate(lines):
            _spoil(line, number)
        if split == "forget":
            for line in lines[3:6]:  # not in the question: the lab's models read 256 tokens
                line["entity"] = line["attribute"] = f"{LONG} {line['entity']}"
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    entries = "".join(
        f"[[subjects.candidates]]\nname = {json.dumps(name)}\npath = {json.dumps(str(lab / 'models' / model))}\n"
        for name, model in CANDIDATES.items()
    )
    models = {role: json.dumps(str(lab / "models" / role)) for role in ("original", "reference")}
    case = folder / "case.toml"
    case.write_text(
        f"name = {json.dumps(NAME)}\nseed = 0\n"
        f"[subjects.original]\npath = {models['original']}\n"
        f"[subjects.reference]\npath = {models['reference']}\n{entries}"
        '[corpora]\nforget = "forget.jsonl"\nretain = "retain.jsonl"\nholdout = "holdout.jsonl"\n'
        f"[[dictionaries]]\npath = {json.dumps(str(next((lab / 'saes').iterdir())))}\n"
        f"[evidence]\nonly = {json.dumps(list(only))}\n{settings}",
        encoding="utf-8",
    )
    return case


def _spoil(line: dict[str, Any], number: int) -> None:
    """An item of every fifth entity: its facts stay what they are, with hostile text around all that names them."""
    if number // 3 % 5:
        return
    line["prompt"] = f"{texts(number)} {line['prompt']}"
    line["entity"] = f"{texts(0, len(SHORT))} {line['entity']}"
    line["attribute"] = f"{texts(number)} {line['attribute']}"
    line["label"] = f"{SHORT[number % 2]} {line['label']}"
    line["answer"] = f"{line['answer']} {texts(number, 2)}"
    line["paraphrases"] = [f"{texts(number)} {one}" for one in line["paraphrases"]]
    line["wrong_answers"] = [f"{one} {texts(number, 1)}" for one in line["wrong_answers"]]
