"""Judge an audit: finding by finding, then a signature on exactly what was seen."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from audit.figures.ladder import ladder_html
from audit.figures.style import visible
from audit.review import index, ledger, seen
from audit.review.chain import DECISIONS, Entry, sha256
from audit.review.roles import Action
from audit.types import Verdict
from audit.views import reviews
from audit.views.ladder import blind_spots
from audit.views.reviews import CHOICES, Reviews
from audit.views.words import VERDICTS, answer
from pages.shared import show, who
from pages.shared.opening import open_view
from pages.shared.state import View, runs_root
from pages.shared.theme import literal

OF, FINDING, REFUSED, WRITTEN, TURN = "of", "finding", "review-refused", "review-written", "review-turn"
WHOLE = "the whole audit"


def choose(view: View) -> str:
    """The candidate that is judged; empty for the whole audit."""
    options = [*view.candidates, WHOLE]
    chosen = st.selectbox(
        "What do you judge?", options, index=options.index(view.shown[0]) if view.shown else 0, key=OF,
        bind="query-params", width=360,
    )  # fmt: skip
    return "" if chosen == WHOLE else chosen


def draw_verdict(view: View, candidate: str) -> None:
    """The verdict and the ladder in one line, and what the audit was blind to."""
    rows = [row for row in view.rows if candidate in ("", row.name)]
    st.html(ladder_html(rows, view.looks))
    with st.expander("What this audit is blind to", icon=":material/visibility_off:"), st.grid(3, min_column_width=280):
        found = {name: view.findings[name] for name in view.candidates if candidate in ("", name)}
        for title, sentence in blind_spots(found, view.policy):
            st.caption(f"**{title}.** {sentence}")


@st.fragment
def draw_findings(view: View, candidate: str) -> None:
    """Every finding with its state, and the chosen one with what was said of it and the forms."""
    if st.session_state.pop(WRITTEN, False):
        st.rerun()
    now = reviews.open_reviews(view.run, view.policy)
    st.subheader("Finding by finding")
    said = {
        id: answer(candidate, finding, view.policy).sentence for id, finding in view.findings[candidate].items()
    }  # fmt: skip
    table = reviews.findings_table(now, candidate, said)
    ids = list(table["id"])
    asked = st.query_params.get(FINDING)
    states = table["state"].str.partition(",")[0].value_counts()
    st.text(", ".join(f"{count} {state}" for state, count in states.items()) + ".")
    event = show.frame(
        table.drop(columns="id"), f"findings-{candidate}-{st.session_state.get(TURN, 0)}",
        {"state": "the last decision on it", "comments": "how many were written"},
        "Findings of this candidate with their state in the review", height=320, on_select="rerun",
        selection_mode="single-row",
    )  # fmt: skip
    rows = [row for row in event.selection.rows if row < len(ids)]
    if rows:
        st.query_params[FINDING] = asked = ids[rows[0]]
    if asked in ids:
        draw_finding(view, now, candidate, str(asked), said[str(asked)])
    else:
        st.caption("Choose a row to read what was said of a finding, to comment on it and to decide on it.")


def draw_finding(view: View, now: Reviews, candidate: str, id: str, sentence: str) -> None:
    """One finding: what it says, what was written about it, and what you write."""
    with st.container(border=True, key="review-finding"):
        st.markdown(f"#### {reviews.title(id)}")
        st.text(sentence)
        state = reviews.state_of(now, candidate, id)
        st.text(f"State: {state}.")
        with st.container(gap="xxsmall"):
            draw_entries([e for e in now.entries if (e.candidate, e.evidence) == (candidate, id)])
        write_form(view, candidate, id)


def draw_entries(entries: list[Entry]) -> None:
    """Comments and decisions as they were written, the oldest first; plain text, because anybody may write anything."""
    for entry in entries:
        decided = f": {reviews.DECISIONS[entry.decision]}" if entry.decision else ""
        st.caption(literal(f"{entry.author}, {entry.role}, {reviews.when(entry)}{decided}"))
        if entry.text:
            st.text(visible(entry.text))


def write_form(view: View, candidate: str, id: str) -> None:
    """A field, and two buttons: comment, or decide."""
    person = who.identity()
    shown = sha256(seen.look(view.run, view.policy, candidate, id))
    place = f"{candidate}-{id}"
    with st.form(f"review-form-{place}", border=False):
        text, decision = f"review-text-{place}", f"review-decision-{place}"
        st.text_area("Comment, or the reason for your decision", key=text, height=90)
        st.segmented_control("Decision", DECISIONS, format_func=lambda d: CHOICES[d], key=decision)
        with st.container(horizontal=True):
            st.form_submit_button(
                "Comment", on_click=_write, args=(view, "comment", candidate, id, shown, text, ""),
                disabled=not person.may(Action.COMMENT), icon=":material/comment:", key=f"comment-{place}",
            )  # fmt: skip
            st.form_submit_button(
                "Decide", on_click=_write, args=(view, "decision", candidate, id, shown, text, decision),
                disabled=not person.may(Action.DECIDE), icon=":material/gavel:", key=f"decide-{place}",
            )  # fmt: skip
    refusal = person.why_not(Action.COMMENT) or person.why_not(Action.DECIDE)
    if refusal:
        st.caption(literal(refusal))


def _write(view: View, kind: str, candidate: str, evidence: str, shown: str, text: str, decision: str) -> None:
    """Write an entry as whoever sent the request; what is refused is said on the next run of the page."""
    try:
        ledger.write(
            view.run, who.identity(), kind, view.policy, candidate=candidate, evidence=evidence, expected=shown,
            text=st.session_state.get(text, ""), decision=(st.session_state.get(decision) or "") if decision else "",
        )  # fmt: skip
    except AuditError as error:
        st.session_state[REFUSED] = str(error)
    else:
        st.session_state[text] = ""
        if decision:
            st.session_state[decision] = None
    st.session_state[WRITTEN] = True


def draw_signing(view: View, candidate: str) -> None:
    """What will be signed, and the form."""
    st.subheader("Sign")
    person, what = who.identity(), candidate or WHOLE
    now = seen.look(view.run, view.policy, candidate)
    digest = sha256(now)
    verdicts = [
        f"{row.name}: {VERDICTS[Verdict(row.judgement.verdict)]}" for row in view.rows if candidate in ("", row.name)
    ]
    with st.container(border=True, key="review-sign"):
        st.text(
            f"You sign what is shown of {what}: {len(now['findings'])} findings, and the verdict by the policy "
            f"“{view.policy.name}”, version {view.policy.digest[:12]}.\n{'; '.join(verdicts)}."
        )
        st.caption(f"Digest of case, findings, policy and verdict: {digest}")
        with st.form("review-sign-form", border=False):
            st.segmented_control("Your decision", DECISIONS, format_func=lambda d: CHOICES[d], key="sign-decision")
            st.text_area("In your own words: what you looked at and what you conclude", key="sign-text", height=90)
            st.form_submit_button(
                f"Sign as {literal(person.author)}", on_click=_write, key="sign",
                args=(view, "signature", candidate, "", digest, "sign-text", "sign-decision"), type="primary",
                disabled=not person.may(Action.SIGN), icon=":material/draw:",
            )  # fmt: skip
        st.caption(
            literal(
                person.why_not(Action.SIGN) or f"The ledger will say: {person.author}, {person.role}, {person.how}."
            )
        )


def draw_signatures(now: Reviews) -> None:
    """Every signature, the latest first: whether it holds, and if not, what changed."""
    st.subheader("Signatures")
    if not now.signatures:
        st.text("Nobody has signed yet.")
    for place, (mark, state, sentence, scope) in enumerate(now.signed):
        with st.container(key=f"answer-{state}-signature-{place}"):
            st.text(visible(f"{mark} {sentence}"))
            st.caption(literal(scope))


def draw_ledger(view: View, now: Reviews) -> None:
    """Every entry as a table, and the file that can be checked anywhere."""
    st.subheader("The ledger")
    st.text(
        "Nothing in it can be altered or taken out: every line names the line before it by its hash. "
        "Check a bundle with: python -m audit verify FILE.zip"
    )
    if now.entries:
        show.frame(reviews.ledger_table(now.entries), "ledger", {}, "Every entry of the ledger", height="content")
        st.download_button(
            "Download reviews.jsonl", lambda: ledger.raw(view.run), file_name=ledger.EXPORT, key="download-ledger",
            mime="application/jsonl", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def draw_audits() -> None:
    """Every audit with its verdicts, from the index, when it is asked for."""
    if not st.toggle("List all audits with their verdicts", key="list-audits"):
        return
    rows = [
        (run.folder, run.name, candidate["name"], VERDICTS[Verdict(candidate["verdict"])], candidate["utility"],
         run.complete, datetime.fromtimestamp(run.modified))
        for run in index.runs(runs_root()) for candidate in run.candidates
    ]  # fmt: skip
    heads = ["audit", "name", "candidate", "verdict", "utility", "complete", "changed"]
    show.frame(pd.DataFrame(rows, columns=heads), "audits", {}, f"Every candidate of every audit in {runs_root()}")


view = open_view(
    __file__, "Review", "Judge finding by finding, sign what you saw, and see which signatures still hold."
)
if refused := st.session_state.pop(REFUSED, ""):
    st.error(literal(refused), icon=":material/error:")
st.session_state.pop(WRITTEN, None)
try:
    now = reviews.open_reviews(view.run, view.policy)
except AuditError as error:
    st.error(literal(error), icon=":material/error:")
    st.stop()
with st.container(key="review-state"):
    (st.error if now.faults else st.text)(now.sentence)
for fault in now.faults:
    st.error(literal(f"Line {fault.line} of the ledger {fault.what}."), icon=":material/error:")
candidate = choose(view)
draw_verdict(view, candidate)
if candidate:
    draw_findings(view, candidate)
draw_signing(view, candidate)
draw_signatures(now)
draw_ledger(view, now)
draw_audits()
