"""Who somebody is and what they may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import CaseError, Refused
from audit.review import roles
from audit.review.roles import Action, Role, on_this_machine, read_table, require, signed_in

CLAIMS = {"sub": "a1", "iss": "https://id.example.org", "email": "alice@example.org", "email_verified": True}
TABLE = 'claim = "groups"\napprover = ["dpo"]\nauditor = ["ml", "staff"]'


@pytest.mark.parametrize(
    ("table", "claims", "role"),
    [
        ("", {}, Role.VIEWER),
        (TABLE, {}, Role.VIEWER),
        (TABLE, {"groups": ["ml"]}, Role.AUDITOR),
        (TABLE, {"groups": ["ml", "dpo"]}, Role.APPROVER),
        (TABLE, {"groups": "dpo"}, Role.APPROVER),
        (TABLE, {"groups": {"dpo": True}}, Role.VIEWER),
        (TABLE, {"groups": ["dpo-trainee"]}, Role.VIEWER),
        (TABLE.replace("groups", "realm.roles"), {"realm": {"roles": ["dpo"]}}, Role.APPROVER),
        ('auditor = ["*"]', {}, Role.AUDITOR),
        ('approver = ["alice@example.org"]', {}, Role.APPROVER),
        ('approver = ["alice@example.org"]', {"email_verified": False}, Role.VIEWER),
        ('approver = ["alice@example.org"]', {"email_verified": "true"}, Role.VIEWER),
    ],
)
def test_claims_give_a_role(table: str, claims: dict[str, object], role: Role) -> None:
    assert signed_in({**CLAIMS, **claims}, read_table(table)).role is role


def test_the_ledger_carries_the_verified_address_or_the_provider_s_own_name() -> None:
    table = read_table("")
    assert signed_in(CLAIMS, table).author == "alice@example.org"
    assert signed_in({**CLAIMS, "email_verified": False}, table).author == "a1"
    assert signed_in(CLAIMS, table).how == "signed in at https://id.example.org as a1"
    with pytest.raises(Refused, match="no subject"):
        signed_in({}, table)


def test_a_table_may_be_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "roles.toml").write_text(TABLE)
    assert read_table(str(tmp_path / "roles.toml")) == read_table(TABLE)
    monkeypatch.setenv(roles.VARIABLE, TABLE)
    assert read_table() == read_table(TABLE)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ('aprover = ["x"]', 'unknown key "aprover". Did you mean "approver"'),
        ('approver = "x"', "expected texts in"),
        ("claim = 3", "expected a text"),
        ("approver = [", "cannot be read"),
        ("absent.toml", "absent.toml cannot be read"),
    ],
)
def test_a_wrong_table_is_one_sentence(table: str, sentence: str) -> None:
    with pytest.raises(CaseError) as found:
        read_table(table)
    assert sentence in str(found.value)


def test_what_each_role_may() -> None:
    may = {role: {action for action in Action if role_of(role).may(action)} for role in Role}
    assert may[Role.VIEWER] == set()
    assert may[Role.AUDITOR] == {Action.COMMENT, Action.RUN, Action.IMPORT}
    assert may[Role.APPROVER] == set(Action)
    with pytest.raises(Refused, match="start or stop runs; that needs the role auditor or approver"):
        require(role_of(Role.VIEWER), Action.RUN)


def role_of(role: Role) -> roles.Identity:
    return roles.Identity("x", role, "test")


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.0.0.2", "::1", "[::1]"])
def test_on_this_machine_the_system_s_user_approves_and_the_ledger_says_not_signed_in(address: str) -> None:
    person = on_this_machine(address)
    assert (person.role, person.how.startswith("not signed in")) == (Role.APPROVER, True)
    assert all(person.may(action) for action in Action)


@pytest.mark.parametrize(
    "address", [None, "", "0.0.0.0", "::", "192.168.1.4", "audit.example.org", "localhost.evil.org"]
)
def test_reached_from_elsewhere_without_sign_in_nobody_decides_or_signs(address: str | None) -> None:
    person = on_this_machine(address)
    assert person.may(Action.COMMENT)
    for action in (Action.DECIDE, Action.SIGN):
        with pytest.raises(Refused, match="can be reached from other machines, and no sign-in"):
            require(person, action)
    assert not on_this_machine("localhost", forwarded=True).may(Action.SIGN)
