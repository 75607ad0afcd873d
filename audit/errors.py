"""Everything that can go wrong in words that a user can act on.

    AuditError
    ├── CaseError            the case file, a setting or a command-line value
    ├── SubjectError         a model that cannot be loaded, or must not be
    ├── CorpusError          a corpus that cannot be read, or contradicts another
    │   └── TooLong          a text that is longer than a model reads
    ├── CaptureError         a forward pass that did not collect what it should
    ├── StoreError           a run folder that cannot be read or written
    ├── PolicyError          a policy file
    ├── ResultsError         another tool's results file
    ├── Refused              somebody may not do what they asked for
    ├── MissingDependency    an optional library is not installed
    ├── Cancelled            the user asked the run to stop
    └── Unanswered           an evidence has no number, and that is an answer
        ├── NotApplicable    the question does not fit this case
        └── NotIdentifiable  the question fits, but no trustworthy number exists here

A message says what was found, what was expected and what to do. `collect.py` is the one place where one of these
becomes a status; the command line is the one place where one becomes an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AuditError(Exception):
    """Any failure that Palimpsest explains instead of showing a traceback."""


class CaseError(AuditError):
    """The case file, a setting or a command-line value is wrong."""


class SubjectError(AuditError):
    """A model cannot be loaded, or must not be; stops that subject only."""


class CorpusError(AuditError):
    """A corpus cannot be read, or contradicts another; names file and line."""


class TooLong(CorpusError):
    """A text is longer than a model reads; names it, its tokens and the model's."""


class CaptureError(AuditError):
    """A forward pass did not collect what it should have."""


class StoreError(AuditError):
    """A run folder cannot be read or written."""


class PolicyError(AuditError):
    """A policy file is wrong."""


class ResultsError(AuditError):
    """Another tool's results file cannot be read, or contradicts itself; names file and place."""


class Refused(AuditError):
    """Somebody may not do what they asked for; names the role that may."""


class MissingDependency(AuditError):
    """An optional library is not installed; the message holds the command that installs it."""


class Cancelled(AuditError):
    """The user asked the run to stop; what was finished stays."""


class Unanswered(AuditError):
    """An evidence has no number, and says why."""


class NotApplicable(Unanswered):
    """The question does not fit this case (no holdout, no labels, too little access)."""


class NotIdentifiable(Unanswered):
    """The question fits, but the instrument or the control does not allow a number."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """The end of a sentence: ` Did you mean "x"?`, or the list of what is known."""
    options = sorted(known)
    close = difflib.get_close_matches(wrong, options, n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else f" Known: {', '.join(options)}."
