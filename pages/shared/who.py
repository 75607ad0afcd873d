"""Who looks at the page: the sign-in gate, the person's role, and the check before every write."""

from __future__ import annotations

import streamlit as st

from audit.errors import AuditError
from audit.review import roles
from audit.review.roles import Action, Identity
from pages.shared.theme import literal

PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def configured() -> bool:
    """Whether sign-in is configured: `[auth]` in the secrets."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def gate() -> None:
    """Where sign-in is configured, nobody gets past this without it; then who is signed in, and the way out."""
    if not configured():
        return
    if not st.user.is_logged_in:
        st.title("Palimpsest")
        st.text("Sign in to see the audits.")
        st.button("Sign in", on_click=st.login, type="primary", icon=":material/login:")
        st.stop()
    try:
        person = identity()
    except AuditError as error:  # a table of roles that cannot be read lets nobody in
        st.error(literal(error), icon=":material/error:")
        st.button("Sign out", on_click=st.logout, icon=":material/logout:")
        st.stop()
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", key="signed-in"):
        st.text(f"{person.author}, {person.role}", width="content")
        st.button("Sign out", on_click=st.logout, type="tertiary", icon=":material/logout:", key="sign-out")


def identity() -> Identity:
    """Who sends this request, worked out on the server; raises AuditError for a table of roles that is wrong."""
    if configured():
        return roles.signed_in(st.user.to_dict() if st.user.is_logged_in else {}, roles.read_table())
    forwarded = any(name in st.context.headers for name in PROXIES)
    return roles.on_this_machine(st.get_option("server.address"), forwarded=forwarded)


def require(action: Action) -> None:
    """Raises Refused for somebody who may not; called in the function that writes, whatever the widgets allow."""
    roles.require(identity(), action)


def may(action: Action) -> bool:
    """Whether to offer something; the write itself asks again."""
    return identity().may(action)
