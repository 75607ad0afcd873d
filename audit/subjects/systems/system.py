"""What every kind of system has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from audit.errors import SubjectError
from audit.types import Access, SubjectSpec

if TYPE_CHECKING:
    from audit.subjects.load import Subject

EVERYTHING = frozenset(Access)
"""How deep one sees into a plain model."""
SHOWN = frozenset({Access.TEXT, Access.LOGITS, Access.HIDDEN})
"""How deep one sees into one model that something stands around: it has states, but no weights of its own."""
OUTPUTS = frozenset({Access.TEXT, Access.LOGITS})
"""How deep one sees into several models that answer as one."""


@dataclass(frozen=True)
class System:
    """The settings of a kind are dataclass fields with plain defaults; class variables describe it."""

    title: ClassVar[str]
    """What it is, with its article, to go on a sentence."""
    does: ClassVar[str]
    """How it works, in one sentence."""
    papers: ClassVar[str]
    """Whose systems it covers."""
    access: ClassVar[frozenset[Access]]
    """How deep one sees into it."""
    models: ClassVar[tuple[str, ...]] = ()
    """Settings that name further models (paths or hub ids)."""
    folders: ClassVar[tuple[str, ...]] = ()
    """Settings that name folders, empty where there is none."""
    files: ClassVar[tuple[str, ...]] = ()
    """Settings that name files, empty where there is none."""

    @property
    def detects(self) -> bool:
        """Whether it has a detector of its own, so that `flags` says which prompts it acts on."""
        return False

    @classmethod
    def kind_of(cls, name: str) -> str:
        """Whether a setting names a "model", a "folder" or a "file"."""
        return "model" if name in cls.models else "folder" if name in cls.folders else "file"

    def fault(self) -> str:
        """What is wrong with the settings as they are, in words that follow the subject's name; else nothing."""
        return ""

    def parts(self, spec: SubjectSpec) -> dict[str, SubjectSpec]:
        """The further models by the setting that names them."""
        passed = {key: spec.settings[key] for key in ("allow_pickle", "dtype") if key in spec.settings}
        return {
            name: SubjectSpec(f"{spec.name} ({name})", spec.role, getattr(self, name), passed)
            for name in self.models
            if getattr(self, name)
        }

    def identity(self, spec: SubjectSpec) -> dict[str, Any]:
        """Everything besides the base that decides what it computes: settings, and hashes of models and files."""
        from audit.files import digest_of_file, digest_of_folder
        from audit.subjects.fingerprint import fingerprint

        values = {"kind": type(self).__name__, **asdict(self)}
        values |= {name: fingerprint(part).id for name, part in self.parts(spec).items()}
        values |= {name: digest_of_folder(getattr(self, name)) for name in self.folders if getattr(self, name)}
        values |= {name: digest_of_file(getattr(self, name)) for name in self.files if getattr(self, name)}
        return values

    def check(self, spec: SubjectSpec) -> None:
        """Raise SubjectError when a part is missing or broken, or does not fit the base."""
        from audit.subjects.checks import check_part

        for part in self.parts(spec).values():
            check_part(part, spec)

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base with this around or inside it; `parts` are the loaded further models."""
        raise NotImplementedError

    def flags(self, subject: Subject, prompts: Sequence[str], template: str) -> list[bool]:
        """Which prompts set off the detector of its hooks; only for a system that `detects`."""
        from audit.activations.encode import encode_prompt

        assert subject.inside is not None
        return subject.inside.detect([encode_prompt(subject.tokenizer, prompt, template) for prompt in prompts])


def nameless(entities: Sequence[str]) -> str:
    """The fault of an entity without a name, in words that follow the subject's; else nothing."""
    if any(not name.strip() for name in entities):
        return "with an entity that has no name; an empty name would mean every prompt."
    return ""


def refuse(spec: SubjectSpec, sentence: str) -> SubjectError:
    """The error for something of a system that does not fit its base."""
    return SubjectError(f"{spec.name}: {sentence}")
