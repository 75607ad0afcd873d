"""Every evidence: question, formula, null, blind spot, source; and how a verdict follows. Drawn from the catalogue."""

from __future__ import annotations

import streamlit as st

from audit.figures.cards import cards_html, table_html
from audit.policy import load_policy
from audit.views import methods, systems
from audit.views.words import PLACES
from pages.shared.state import head

LADDER = """
Knowledge can survive in three places. **Said**: the model still answers. **Stored**: it no longer answers, but the
answer can be read out of its inside. **Recoverable**: it no longer answers, but a cheap attack brings the answer back.
A model that hides what it still stores, or gives it back, has *suppressed* it.
"""
RESIDUAL = """
Every measurement is put on one scale, the **residual**: (candidate − null) / (original − null). 1 is as in
the original, 0 as if never learned. The null is the **reference**, a model that was trained without the
forgotten facts. Where there is none, it is the **holdout**: facts of the same kind that no model ever saw,
asked of the same model. An instrument counts only if it finds the knowledge in the original and not in the
null; otherwise the finding is *not identifiable*, and says so with both numbers.

The unit of resampling is the **entity** (a person, a company, a document), never the word: intervals are 95 %
cluster bootstraps. Where a layer, a step or a threshold is chosen, it is chosen on one half of the entities
and scored on the other, because the best of many finds something even where there is nothing.
"""
VERDICTS = """
| verdict | when |
|---|---|
| ● **Present** | something that is said lies above its limit with its whole interval |
| ● **Suppressed** | else, something stored or recoverable does |
| ○ **No trace found by this audit** | else, every place was examined and all intervals lie below the limit |
| ◐ **Inconclusive** | else; the sentence names what is missing or unclear |

"Above" is tested with one-sided bootstrap p-values, adjusted by Holm's procedure for the number of findings consulted.
**Utility** (kept, damaged, not known) is a second axis, so that a wrecked model is never praised for forgetting. "No
trace" is a statement about these measurements with their blind spots: it does not prove that the knowledge is gone.
There is no composite score.
"""
SYSTEMS = """
A candidate need not be a model of its own: its entry in the case file may name a **kind** of system that stands around
or inside a model. Such a system shows less than a model does; what needs more does not apply to it, and says why. Its
model is asked with the guard off as well: where that still knows, the system has *suppressed* the knowledge, however
well it hides it.
"""


def draw_rules() -> None:
    """The ladder, the residual, the verdict and the thresholds, in plain words."""
    policy = load_policy()
    st.subheader("Three places")
    st.markdown(LADDER)
    st.subheader("One scale")
    st.markdown(RESIDUAL)
    st.subheader("The verdict")
    st.markdown(VERDICTS)
    st.text(f"The policy “{policy.name}” sets these limits on the residual. A pipeline may go on with: "
            f"{methods.accepted(policy)}.")  # fmt: skip
    st.html(table_html("Thresholds of the policy", methods.policy_table(policy)))


def draw_systems() -> None:
    """Every kind of system that a candidate may be, and the settings of each."""
    st.subheader("Systems")
    st.markdown(SYSTEMS)
    st.html(cards_html(systems.cards()))
    st.text("What a plain subject is, is told by its files:")
    st.html(table_html("Kinds of plain subjects", systems.models().drop(columns="kind")))


head(__file__, "Methods", "What is measured, against what, and what it cannot tell; and how a verdict follows from it.")
draw_rules()
draw_systems()
for place, ids in methods.by_place().items():
    st.subheader(PLACES[place])
    st.html(cards_html([methods.card(id) for id in ids]))
