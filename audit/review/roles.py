"""Who somebody is, and what they may do: viewer reads, auditor comments and starts runs, approver also signs.

The settings table says which claims of a signed-in person give which role. It is a TOML file, or TOML itself, in the
environment variable PALIMPSEST_ROLES:

    claim = "groups"                # the claim that is looked at; a.b reads b inside a; default "email"
    approver = ["data-protection"]
    auditor = ["ml-audit", "*"]     # the star stands for everybody who is signed in

Whom the table does not name is a viewer; without a table everybody is.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from audit.errors import CaseError, Refused, suggest

VARIABLE = "PALIMPSEST_ROLES"
NOT_SIGNED_IN = "not signed in"


class Role(StrEnum):
    """What somebody is in a review, from the least to the most."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    APPROVER = "approver"


class Action(StrEnum):
    """What is written, in the words of a refusal."""

    COMMENT = "comment"
    RUN = "start or stop runs"
    IMPORT = "import results"
    DECIDE = "decide"
    SIGN = "sign"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(),
    Role.AUDITOR: frozenset({Action.COMMENT, Action.RUN, Action.IMPORT}),
    Role.APPROVER: frozenset(Action),
}
ACTIONS = {"comment": Action.COMMENT, "decision": Action.DECIDE, "signature": Action.SIGN}
"""What each kind of entry of the ledger needs."""


@dataclass(frozen=True)
class Identity:
    """Somebody who looks at an audit."""

    author: str
    role: Role
    how: str
    """How they are known: signed in where, or not signed in."""
    exposed: bool = False
    """The server can be reached from elsewhere, and nobody has to sign in."""

    def may(self, action: Action) -> bool:
        """Whether they may do something."""
        return action in ALLOWED[self.role] and not (self.exposed and action in (Action.DECIDE, Action.SIGN))

    def why_not(self, action: Action) -> str:
        """The sentence that refuses; empty when they may."""
        if self.may(action):
            return ""
        if self.exposed:
            return (
                f"Nobody can {action} here: this server can be reached from other machines, and no sign-in is "
                "configured, so that nobody knows who you are. Configure sign-in ([auth] in the secrets), or bind the "
                "server to localhost."
            )
        needed = [str(role) for role in Role if action in ALLOWED[role]]
        return f"You are signed in as {self.role} and cannot {action}; that needs the role {' or '.join(needed)}."


def require(who: Identity, action: Action) -> None:
    """Raises Refused, in words, when somebody may not do something; called on the server before every write."""
    if refused := who.why_not(action):
        raise Refused(refused)


@dataclass(frozen=True)
class Table:
    """Which values of which claim give which role."""

    claim: str
    values: Mapping[Role, frozenset[str]]

    def role(self, claims: Mapping[str, Any]) -> Role:
        """The highest role that the claims give; an address that its provider did not verify gives none."""
        value: Any = claims
        for part in self.claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if self.claim == "email" and claims.get("email_verified") is not True:
            value = None
        found = {value} if isinstance(value, str) else {str(v) for v in value} if isinstance(value, list) else set()
        for role in reversed(Role):
            if self.values[role] & (found | {"*"}):
                return role
        return Role.VIEWER


def read_table(given: str | None = None) -> Table:
    """The settings table from PALIMPSEST_ROLES (or `given`, a path or TOML); CaseError names what is wrong in it."""
    text = os.environ.get(VARIABLE, "") if given is None else given
    source = VARIABLE
    try:
        if text.strip().endswith(".toml") and "\n" not in text.strip():
            source = text.strip()
            text = Path(source).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CaseError(f"{source} cannot be read as the table of roles: {error}.") from error
    known = ["claim", *map(str, Role)]
    for key, value in data.items():
        if key not in known:
            raise CaseError(f'{source} holds the unknown key "{key}".{suggest(key, known)}')
        if not (isinstance(value, str) if key == "claim" else _texts(value)):
            raise CaseError(f"{source}: {key} is {value!r}; expected {'a text' if key == 'claim' else 'texts in [ ]'}.")
    return Table(data.get("claim", "email"), {role: frozenset(data.get(role, ())) for role in Role})


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def signed_in(claims: Mapping[str, Any], table: Table) -> Identity:
    """Somebody whom an OpenID provider vouches for: the verified address, else the provider's own name for them."""
    subject, issuer = str(claims.get("sub", "")), str(claims.get("iss", ""))
    if not subject:
        raise Refused("The provider names nobody: its token holds no subject. Sign in again.")
    verified = claims.get("email_verified") is True and isinstance(claims.get("email"), str)
    author = str(claims["email"]) if verified else subject
    return Identity(author, table.role(claims), f"signed in at {issuer or 'an unnamed provider'} as {subject}")


def on_this_machine(address: str | None = "localhost", *, forwarded: bool = False) -> Identity:
    """Somebody where no sign-in is configured: the system's user, where the server listens to this machine alone.

    `address` is what the server is bound to (None: every address); `forwarded` that a proxy hands requests on.
    """
    if forwarded or not _loopback(address or ""):
        return Identity("somebody", Role.AUDITOR, f"{NOT_SIGNED_IN}, over the network", exposed=True)
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        user = f"user {os.getuid()}"
    return Identity(user, Role.APPROVER, f"{NOT_SIGNED_IN}, system user on {socket.gethostname()}")


def _loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
