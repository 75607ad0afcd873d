"""Hostile texts in corpus, case, question and review: shown as text on every page and in the report, never read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.cli import main as command
from audit.policy import load_policy
from audit.report import export
from audit.review import ledger
from audit.review.roles import Identity, Role
from audit.store import open_run
from tests.e2e import hostile
from tests.e2e.test_person import settle

pytestmark = pytest.mark.e2e
IDS = ("behaviour.recall", "drift.map", "probes.linear", "attacks.sampling", "utility.retain", "privacy.loss")
"""One of every kind that is drawn; cards of features and vectors, which need untouched texts, stand in tests/pages."""
SETTINGS = (
    '[evidence."drift.map"]\npoints = 60\numap = false\n[evidence."attacks.sampling"]\nsamples = 3\nk = 2\nitems = 6\n'
)
BEGUN = "<script>window.pwned=1</script> <img src=x onerror=window.pwned=1> [click](javascript:window.pwned=1)"
WHERE = {
    "": "item=forget%3A0",
    "behaviour": "item=forget%3A0",
    "drift": "",
    "probes": "",
    "sae_features": "",
    "concept_vectors": "",
    "attacks": "attack=attacks.sampling",
    "examples": "item=forget%3A1",
    "playground": "item=forget%3A0&asked=yes&length=3",
    "live_attack": "",
    "compare": "",
    "review": "finding=behaviour.recall",
    "report": "",
    "methods": "",
}
LITERAL = {
    "": BEGUN,
    "playground": BEGUN,
    "examples": "**bold** _slanted_ `code` ~~gone~~ $\\frac{1}{2}$",
    "probes": "**bold** _slanted_ `code` ~~gone~~",
    "review": ":red[warm] :material/home: :smile: :green-badge[fine] a⟨U+202E⟩dlrow⟨U+202C⟩",
}
"""What must stand on a page letter by letter."""
READ = """() => {
    const found = window.pwned ? ['a script of the data ran'] : [];
    const root = document.querySelector('[data-testid=stMain]') || document.body;
    const told = (what, one) => found.push(what + ': ' + one.outerHTML.slice(0, 200));
    for (const one of root.querySelectorAll('img, script, a, iframe, svg a'))
        if (/evil|javascript:|^x$|pwned/.test((one.getAttribute('href') || '') + (one.getAttribute('src') || '')))
            told('made from the data', one);
    for (const one of root.querySelectorAll('.katex, .stMarkdownColoredText, .stMarkdownBadge')) told('read', one);
    for (const one of root.querySelectorAll('strong, em, code, del, b, i, h1, li, blockquote'))
        if (/^(bold|slanted|code|gone|fat|head|one|said .*)$/.test(one.textContent)) told('Markdown', one);
    for (const one of root.querySelectorAll('[data-testid=stIconMaterial], [role=img]'))
        if (one.textContent === 'home') told('an icon', one);
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const own = texts.currentNode.parentElement;
        if (own.closest('script, style, [data-testid=stDataFrame], [data-testid^=glide]')) continue;
        if (/[\\u202a-\\u202e\\u2066-\\u2069]/.test(texts.currentNode.data)) told('a mark of direction', own);
        if (/\\u{1f604}/u.test(texts.currentNode.data)) told('an emoji by its name', own);
    }
    for (const one of document.querySelectorAll('[data-testid=stException]')) told('an exception', one);
    const page = document.querySelector('[data-testid=stMain]') || document.scrollingElement;
    if (page.scrollWidth > page.clientWidth) found.push('scrolls sideways by ' + (page.scrollWidth - page.clientWidth));
    return found;
}"""
"""Every place in which a text of the data was taken for something else; what is in a table's canvas is no markup."""


@pytest.fixture(scope="module")
def run(tiny_lab: Path, runs: Path) -> Iterator[Path]:
    """The folder of an audit whose every text is hostile, with a hostile comment, among the runs of the app."""
    folder, out = tiny_lab / "hostile", runs / "hostile"
    folder.mkdir(exist_ok=True)
    case = hostile.write(tiny_lab, folder, IDS, SETTINGS)
    with pytest.raises(SystemExit, match="0"):
        command(["run", str(case), "--out", str(out), "--device", "cpu", "--workers", "1"])
    found, policy = open_run(out), load_policy()
    name = next(iter(hostile.CANDIDATES))
    someone = Identity(f"[eve](http://evil.example) {hostile.SHORT[6]}", Role.AUDITOR, "by hand")
    ledger.write(found, someone, "comment", policy, candidate=name, evidence=IDS[0], text=hostile.NAME)
    yield out
    shutil.rmtree(out)


@pytest.fixture
def narrow(page: Any) -> Any:
    """The page at 1280 px, which nothing may widen."""
    page.set_viewport_size({"width": 1280, "height": 1000})
    return page


def shown(page: Any, path: str, words: str = "") -> None:
    """Open a page and wait until it has settled and holds some words, but for spaces that have no width."""
    page.goto(path)
    page.wait_for_function(
        "words => { const main = document.querySelector('[data-testid=stMain]');"
        " const text = main?.innerText.replaceAll('\u200b', '') || '';"
        " return text.length > 100 && text.includes(words); }",
        arg=words,
    )
    settle(page)
    page.wait_for_timeout(300)


def test_every_page_shows_hostile_texts_as_texts(narrow: Any, run: Path) -> None:
    chosen = "".join(f"&candidates={name.replace(' ', '%20')}" for name in hostile.CANDIDATES)
    faults = {}
    for name, query in WHERE.items():
        shown(narrow, f"/{name}?run=hostile{chosen}&{query}", LITERAL.get(name, ""))
        faults[name] = narrow.evaluate(READ)
    assert {name: found for name, found in faults.items() if found} == {}


def test_a_hostile_case_file_is_pasted_as_text(narrow: Any, run: Path) -> None:
    shown(narrow, "/new_audit?new-how=From+a+case+file")
    narrow.get_by_text("Or upload or paste one").click()
    box = narrow.get_by_label("Text", exact=True)
    box.fill(f"name = {json.dumps(hostile.NAME + hostile.LONG[:5000])}\n[{BEGUN}]\n")
    box.press("Control+Enter")
    narrow.get_by_test_id("stAlert").first.wait_for()
    settle(narrow)
    assert narrow.evaluate(READ) == []


def test_the_report_shows_hostile_texts_as_texts(browser: Any, run: Path, tmp_path: Path) -> None:
    file = export(open_run(run), load_policy(), tmp_path / "report.html")
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate("places.forEach(draw)")
    page.locator(".picture .main-svg").first.wait_for()
    text, found = page.locator("body").inner_text(), page.evaluate(READ)
    context.close()
    assert found == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert BEGUN in text and ":red[warm] :material/home: :smile:" in text and "⟨U+202E⟩" in text


def test_json_keeps_hostile_texts_as_they_are(run: Path, tmp_path: Path) -> None:
    found = json.loads(export(open_run(run), load_policy(), tmp_path / "report.json").read_text(encoding="utf-8"))
    (recall,) = [one for one in found["candidates"][0]["findings"] if one["id"] == "behaviour.recall"]
    prompts = {row[recall["table"]["columns"].index("prompt")] for row in recall["table"]["data"]}
    assert found["name"] == found["case"]["name"] == hostile.NAME
    assert any(prompt.startswith(hostile.texts(0)) for prompt in prompts)
