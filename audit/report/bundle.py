"""A run with everything that it rests on in one zip, and the check that nothing of it was altered.

`digests.json` names every other file of the bundle with its SHA-256. The run's own `manifest.json`, written when the
run was finished, names its findings once more, so that a finding changed before the bundle was made is seen as well.
The ledger, `run/reviews.jsonl`, is a chain of its own, and its signatures name the digests of what was signed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import PolicyError, StoreError
from audit.policy import Policy, load_policy, read_policy
from audit.report.summary import summary
from audit.review import ledger, seen
from audit.review.chain import FIRST, read_lines
from audit.review.signatures import signatures
from audit.store import Run

DIGESTS = "digests.json"
MANIFEST = "manifest.json"
WHEN = (1980, 1, 1, 0, 0, 0)
"""The same run gives the same bytes, whenever it is bundled."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it was: which file, and what is wrong with it."""

    file: str
    what: str


def write_bundle(run: Run, policy: Policy, path: Path) -> None:
    """Case, findings, manifest, log, policy, summary and the report as one zip."""
    from audit.report.page import page

    digests: dict[str, str] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:

        def put(name: str, content: bytes) -> None:
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, content)
            digests[name] = hashlib.sha256(content).hexdigest()

        for name, file in _files(run.path):
            put(f"run/{name}", file.read_bytes())
        if lines := ledger.raw(run):
            put(f"run/{ledger.EXPORT}", lines)
        put("summary.json", _text(summary(run, policy)))
        put("policy.toml", policy.text.encode())
        put("report.html", page(run, policy).encode())
        bundle.writestr(zipfile.ZipInfo(DIGESTS, WHEN), _text({"schema": 1, "files": digests}))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What belongs to a run: no locks, no half-written files, nothing of the process that measured it."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        kept = name in ("case.json", MANIFEST, "log.jsonl") or name.startswith("findings/")
        if path.is_file() and kept and not path.name.startswith("."):
            yield name, path


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode()


def faults(path: Path) -> list[Fault]:
    """Everything that was altered, is missing or was added in a bundle or a run folder; empty when it is intact.

    Raises StoreError for what is neither.
    """
    if path.is_dir():
        names = [name for name, _ in _files(path)]
        return _run_faults(_reader(path), names) + _folder_reviews(path, names)
    try:
        with zipfile.ZipFile(path) as bundle:
            return _bundle_faults(bundle)
    except FileNotFoundError as error:
        raise StoreError(f"There is no file {path}.") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is neither a bundle nor a run folder: {error}.") from error


def _bundle_faults(bundle: zipfile.ZipFile) -> list[Fault]:
    names = bundle.namelist()
    found = [Fault(name, "stands in the bundle twice") for name in sorted({n for n in names if names.count(n) > 1})]
    known = _listed(bundle.read, DIGESTS) if DIGESTS in names else None
    if known is None:
        return [*found, Fault(DIGESTS, "is missing or cannot be read, so nothing can be compared with it")]
    found += _compared(bundle.read, known, [name for name in names if name != DIGESTS])
    altered = {fault.file for fault in found}
    inner = [name.removeprefix("run/") for name in names if name.startswith("run/")]
    found += _bundle_reviews(bundle, inner)
    if f"run/{MANIFEST}" in altered:
        return found  # what it says of the findings means nothing any more
    return found + [
        Fault(f"run/{fault.file}", fault.what)
        for fault in _run_faults(lambda name: bundle.read(f"run/{name}"), inner)
        if f"run/{fault.file}" not in altered
    ]


def _run_faults(read: Callable[[str], bytes], names: list[str]) -> list[Fault]:
    known = _listed(read, MANIFEST) if MANIFEST in names else None
    if known is None:
        return [Fault(MANIFEST, "is missing or cannot be read: the run was not finished, or it was taken away")]
    return _compared(read, known, [n for n in names if n == "case.json" or n.startswith("findings/")])


def _folder_reviews(folder: Path, names: list[str]) -> list[Fault]:
    """The ledger of a run where it lies: in the database, and in the folder where it came out of a bundle."""
    run, brought = Run(folder), folder / ledger.EXPORT
    lines = ledger.raw(run)
    found = _reviews(ledger.EXPORT, lines, _reader(folder), names, load_policy())
    if brought.exists() and not lines.startswith(brought.read_bytes()):
        found.append(Fault(ledger.EXPORT, "in the folder is not the beginning of the ledger in the database"))
    return found


def _bundle_reviews(bundle: zipfile.ZipFile, inner: list[str]) -> list[Fault]:
    """The ledger of a bundle, and whether it is as long as the summary says."""
    try:
        lines = bundle.read(f"run/{ledger.EXPORT}") if ledger.EXPORT in inner else b""
        head = json.loads(bundle.read("summary.json")).get("reviews", {})
        policy = read_policy(bundle.read("policy.toml").decode(), "policy.toml")
    except (OSError, ValueError, KeyError, AttributeError, PolicyError, zipfile.BadZipFile, zlib.error):
        return []  # what cannot be read differs from its digest, which is said already
    name = f"run/{ledger.EXPORT}"
    found = _reviews(name, lines, lambda inside: bundle.read(f"run/{inside}"), inner, policy)
    entries, faults = read_lines(lines)
    last = entries[-1].hash if entries else FIRST
    if head and not faults and (head.get("entries"), head.get("head")) != (len(entries), last):
        found.append(Fault(name, f"ends at line {len(entries)}; the summary names {head.get('entries')} entries"))
    return found


def _reviews(file: str, lines: bytes, read: Callable[[str], bytes], names: list[str], policy: Policy) -> list[Fault]:
    """Every line of a ledger that is not as it was written, and every signature on what is no longer there."""
    entries, faults = read_lines(lines)
    found = [Fault(file, f"line {fault.line} {fault.what}") for fault in faults]
    try:
        signed = signatures(entries, lambda candidate: seen.describe(read, names, policy, candidate))
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error):
        return found  # a file that cannot be read is a fault by itself
    broken = [one for one in signed if one.broken]
    return found + [
        Fault(file, f"line {one.entry.sequence} holds a void signature by {one.entry.author}: changed since: "
              f"{', '.join(one.changed)}")
        for one in broken
    ]  # fmt: skip


def _compared(read: Callable[[str], bytes], known: dict[str, str], names: list[str]) -> list[Fault]:
    """Files against their digests, both ways."""
    found = [Fault(name, "is missing") for name in sorted(set(known) - set(names))]
    found += [Fault(name, "was added: no digest names it") for name in sorted(set(names) - set(known))]
    for name in sorted(set(names) & set(known)):
        try:
            digest = hashlib.sha256(read(name)).hexdigest()
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            found.append(Fault(name, f"cannot be read: {error}"))
            continue
        if digest != known[name]:
            found.append(Fault(name, f"was altered: its SHA-256 is {digest[:16]}…, recorded was {known[name][:16]}…"))
    return found


def _listed(read: Callable[[str], bytes], name: str) -> dict[str, str] | None:
    """The digests that a manifest holds; None when it cannot be read."""
    try:
        files = json.loads(read(name))["files"]
        return {str(file): str(digest) for file, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
        return None


def _reader(folder: Path) -> Callable[[str], bytes]:
    return lambda name: (folder / name).read_bytes()
