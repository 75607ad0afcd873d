"""What somebody looked at when they wrote into the ledger, as digests: case, policy, verdicts, every finding's files.

{"case": SHA-256 of case.json, "policy": digest of the policy, "policy_name": its name,
 "verdicts": {candidate: "suppressed, utility kept"}, "findings": {"candidate/id": SHA-256 over its files}}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from audit._findingjson import outline
from audit.catalogue import CATALOGUE
from audit.errors import StoreError
from audit.files import storage_error
from audit.policy import Policy, judge
from audit.review.chain import sha256
from audit.store import Run
from audit.types import Finding

PART = re.compile(r"findings/([^/]+)/(.+?)(\.items\.parquet|\.parquet|\.json)?")
Seen = dict[str, Any]
_digests: dict[tuple[str, int, int, int, int], str] = {}
_verdicts: dict[str, str] = {}
MOST = 100_000


def look(run: Run, policy: Policy, candidate: str = "", evidence: str = "", *, fresh: bool = False) -> Seen:
    """What is there now of a run, a candidate or one finding; StoreError when it cannot be read.

    The digest of a file is kept until the file system says that it changed; `fresh` reads every byte again.
    """
    if candidate and candidate not in run.candidates:
        raise StoreError(f'{run.path} has no candidate "{candidate}". Known: {", ".join(run.candidates)}.')

    def digest(name: str) -> str:
        return _digest(run.path / name, fresh)

    files = (
        path
        for path in (run.path / "findings" / candidate).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    names = ["case.json", *(path.relative_to(run.path).as_posix() for path in files)]
    try:
        return describe(lambda name: (run.path / name).read_bytes(), names, policy, candidate, evidence, digest)
    except OSError as error:
        raise storage_error(error, run.path) from error


def describe(
    read: Callable[[str], bytes],
    names: Iterable[str],
    policy: Policy,
    candidate: str = "",
    evidence: str = "",
    digest: Callable[[str], str] | None = None,
) -> Seen:
    """The same for a run that lies anywhere, in a folder or in a bundle; `read` gives the bytes of one of `names`."""
    digest = digest or (lambda name: hashlib.sha256(read(name)).hexdigest())
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(names):
        match = PART.fullmatch(name)
        if match and candidate in ("", match[1]):
            parts.setdefault((match[1], match[2]), {})[match[3] or ""] = digest(name)
    return {
        "case": digest("case.json"),
        "policy": policy.digest,
        "policy_name": policy.name,
        "verdicts": {name: _verdict(read, name, parts, policy) for name in sorted({name for name, _ in parts})},
        "findings": {
            f"{name}/{id}": sha256(files) for (name, id), files in parts.items() if evidence in ("", id)
        },
    }  # fmt: skip


def _verdict(
    read: Callable[[str], bytes], candidate: str, parts: Mapping[tuple[str, str], Mapping[str, str]], policy: Policy
) -> str:
    """The verdict on one candidate from the findings as they are stored; what cannot be read is not examined."""
    known = [(id, parts.get((candidate, id), {}).get(".json")) for id in CATALOGUE]
    key = sha256([policy.digest, known])
    if key not in _verdicts:
        findings: list[Finding] = []
        for id in (id for id, digest in known if digest):
            try:
                findings.append(outline(read(f"findings/{candidate}/{id}.json")))
            except StoreError:
                continue
        judgement = judge(policy, findings)
        if len(_verdicts) > MOST:
            _verdicts.clear()
        _verdicts[key] = f"{judgement.verdict}, utility {judgement.utility}"
    return _verdicts[key]


def _digest(path: Path, fresh: bool) -> str:
    """SHA-256 of a file; the time of change in the key is one that no program sets by itself."""
    about = path.stat()
    key = (str(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if fresh or key not in _digests:
        if len(_digests) > MOST:
            _digests.clear()
        _digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return _digests[key]


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two looks at the same thing, by name: case.json, policy, a verdict, findings."""
    found = ["case.json"] if then.get("case") != now.get("case") else []
    if then.get("policy") != now.get("policy"):
        found.append("the policy")
    else:  # under another policy the verdict differs for that reason alone
        names = _differing(then.get("verdicts", {}), now.get("verdicts", {}))
        found += [f"the verdict on {name}" for name in names]
    before, after = then.get("findings", {}), now.get("findings", {})
    single = len({key.partition("/")[0] for key in (*before, *after)}) == 1
    for key in _differing(before, after):
        name, _, id = key.partition("/")
        what = id if single else f"{id} of {name}"
        found.append(what if key in before and key in after else f"{what} ({'gone' if key in before else 'new'})")
    return found


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
