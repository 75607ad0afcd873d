"""The router of the dashboard: page config, sign-in gate, navigation. Nothing else."""

import streamlit as st

from audit.errors import AuditError
from pages.shared import who
from pages.shared.state import ROUTED
from pages.shared.theme import ASSETS, literal, style

START = "overview"
# Section of the menu → page, which is its file and its address → title, icon, help; the first section lies open.
PAGES = {
    "": {
        "overview": ("Overview", "stairs", "Every candidate's verdict: is it still said, stored or recoverable?"),
        "behaviour": (
            "Behaviour", "forum",
            "What each model says when it is asked: scoreboard, privacy, answers side by side.",
        ),
        "drift": (
            "Drift", "scatter_plot",
            "Where the hidden states of each item lie, side by side, and how far they moved.",
        ),
        "probes": ("Probes", "troubleshoot", "What can be read out of each layer."),
        "sae_features": (
            "SAE features", "grain",
            "Hidden states taken apart into features: which of the original's still fire, and what they mean.",
        ),
        "concept_vectors": (
            "Concept vectors", "hub",
            "What single vectors, layers and weights still hold, and what changed where.",
        ),
        "attacks": (
            "Attacks", "lock_open",
            "What comes back under attack, and how much of it a model that never knew gives too.",
        ),
        "examples": ("Examples", "plagiarism", "One item and everything known about it; which facts came back."),
    },
    "Try it": {
        "playground": (
            "Playground", "chat",
            "Ask every model the same: answers beside each other, what each thinks, and why.",
        ),
        "live_attack": (
            "Live attack", "bolt",
            "Attack a candidate and watch its knowledge come back, or not, step by step.",
        ),
    },
    "Audits": {
        "new_audit": (
            "New audit", "add_circle",
            "Choose models and corpora, see what it will take, run, watch, cancel, resume.",
        ),
        "compare": (
            "Compare", "compare_arrows",
            "Any runs and candidates in one table: what is left, what was kept, what changed since.",
        ),
    },
    "Sign off": {
        "review": (
            "Review", "approval",
            "Judge finding by finding, sign what you saw, and see which signatures still hold.",
        ),
        "report": (
            "Report", "description",
            "Hand the audit on: a report, a bundle that can be verified, and what another policy would say.",
        ),
        "methods": (
            "Methods", "menu_book",
            "Every measurement: question, formula, control, blind spot, source; and the rule of the verdict.",
        ),
    },
}  # fmt: skip


def _page(name: str, title: str, icon: str, help: str) -> st.Page:
    first = name == START  # stands at the root, and must leave its own name to the page that leads there
    return st.Page(f"pages/{name}.py", title=title, icon=f":material/{icon}:", default=first, help=help,
                   url_path="root" if first else name)  # fmt: skip


def _to_start() -> None:
    """The first page's own name in the address leads to the root, with the view that it asks for."""
    st.switch_page(f"pages/{START}.py", query_params=st.query_params.to_dict())


st.set_page_config(page_title="Palimpsest", page_icon=str(ASSETS / "icon.svg"), layout="wide")
style()

who.gate()
menu = {section: [_page(name, *told) for name, told in pages.items()] for section, pages in PAGES.items()}
menu[""].append(st.Page(_to_start, title="Start", url_path=START, visibility="hidden"))
page = st.navigation(menu, position="top")
st.session_state[ROUTED] = True
try:
    page.run()
except AuditError as error:  # such as a table of a finding that is damaged, found when it is first drawn
    st.error(literal(error), icon=":material/error:")
