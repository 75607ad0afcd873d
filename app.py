"""The router of the dashboard: page config, sign-in gate, navigation. Nothing else."""

from pathlib import Path

import streamlit as st

from audit.errors import AuditError
from pages.shared import who
from pages.shared.state import ROUTED
from pages.shared.theme import literal

ASSETS = Path(__file__).parent / "assets"

st.set_page_config(page_title="Palimpsest", page_icon=str(ASSETS / "icon.svg"), layout="wide")
st.html(ASSETS / "style.css")


who.gate()
page = st.navigation(
    [
        st.Page(
            "pages/overview.py",
            title="Overview",
            icon=":material/stairs:",
            url_path="overview",
            default=True,
            help="Every candidate's verdict: is it still said, stored or recoverable?",
        ),
        st.Page(
            "pages/behaviour.py",
            title="Behaviour",
            icon=":material/forum:",
            url_path="behaviour",
            help="What each model says when it is asked: scoreboard, privacy, answers side by side.",
        ),
        st.Page(
            "pages/drift.py",
            title="Drift",
            icon=":material/scatter_plot:",
            url_path="drift",
            help="Where the hidden states of each item lie, side by side, and how far they moved.",
        ),
        st.Page(
            "pages/probes.py",
            title="Probes",
            icon=":material/troubleshoot:",
            url_path="probes",
            help="What can be read out of each layer.",
        ),
        st.Page(
            "pages/sae_features.py",
            title="SAE features",
            icon=":material/grain:",
            url_path="sae_features",
            help="Hidden states taken apart into features: which of the original's still fire, and what they mean.",
        ),
        st.Page(
            "pages/concept_vectors.py",
            title="Concept vectors",
            icon=":material/hub:",
            url_path="concept_vectors",
            help="What single vectors, layers and weights still hold, and what changed where.",
        ),
        st.Page(
            "pages/attacks.py",
            title="Attacks",
            icon=":material/lock_open:",
            url_path="attacks",
            help="What comes back under attack, and how much of it a model that never knew gives too.",
        ),
        st.Page(
            "pages/examples.py",
            title="Examples",
            icon=":material/plagiarism:",
            url_path="examples",
            help="One item and everything known about it; which facts came back.",
        ),
        st.Page(
            "pages/playground.py",
            title="Playground",
            icon=":material/chat:",
            url_path="playground",
            help="Ask every model the same: answers beside each other, what each thinks, and why.",
        ),
        st.Page(
            "pages/live_attack.py",
            title="Live attack",
            icon=":material/bolt:",
            url_path="live_attack",
            help="Attack a candidate and watch its knowledge come back, or not, step by step.",
        ),
        st.Page(
            "pages/compare.py",
            title="Compare",
            icon=":material/compare_arrows:",
            url_path="compare",
            help="Any runs and candidates in one table: what is left, what was kept, what changed since.",
        ),
        st.Page(
            "pages/new_audit.py",
            title="New audit",
            icon=":material/add_circle:",
            url_path="new_audit",
            help="Choose models and corpora, see what it will take, run, watch, cancel, resume.",
        ),
        st.Page(
            "pages/review.py",
            title="Review",
            icon=":material/approval:",
            url_path="review",
            help="Judge finding by finding, sign what you saw, and see which signatures still hold.",
        ),
        st.Page(
            "pages/report.py",
            title="Report",
            icon=":material/description:",
            url_path="report",
            help="Hand the audit on: a report, a bundle that can be verified, and what another policy would say.",
        ),
        st.Page(
            "pages/methods.py",
            title="Methods",
            icon=":material/menu_book:",
            url_path="methods",
            help="Every measurement: question, formula, control, blind spot, source; and the rule of the verdict.",
        ),
    ],
    position="top",
)
st.session_state[ROUTED] = True
try:
    page.run()
except AuditError as error:  # such as a table of a finding that is damaged, found when it is first drawn
    st.error(literal(error), icon=":material/error:")
