"""A guard that corrupts the embeddings of prompts which a classifier picks: ECO."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from audit.errors import suggest
from audit.stats import seed_of
from audit.subjects.systems.inside import Detector, Inside
from audit.subjects.systems.system import SHOWN, System, nameless, refuse
from audit.types import Access, SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

Corrupt = Callable[["Tensor", int, float, "Tensor"], None]
"""Changes embeddings [tokens, width] in place: those, how many dimensions, the strength, noise [tokens, dims]."""


@dataclass(frozen=True)
class EmbeddingGuard(System):
    """The prompt's embeddings are corrupted when it is read, all but its last token's; what is written never is.

    The noise of a prompt depends on the seed and its tokens alone (the released code draws anew at every call).
    """

    classifier: str = ""
    """Folder of a transformers sequence classifier that picks the prompts; or name entities instead."""
    entities: tuple[str, ...] = ()
    """Names, separated by commas: a prompt in which one stands is picked. Only without a classifier."""
    label: int = 1
    """The classifier's label of the prompts that are meant."""
    threshold: float = 0.5
    """Probability of the label from which a prompt is picked, 0 to 1."""
    method: str = "rand_noise_first_n"
    """How embeddings are corrupted, by its name in ECO's released code."""
    dims: int = 1
    """Dimensions of each embedding that are corrupted."""
    strength: float = 5.0
    """Standard deviation of the noise, or what is added; methods that zero or flip ignore it. 0 changes nothing."""
    seed: int = 0
    """Of the noise."""

    title: ClassVar[str] = "an embedding guard"
    does: ClassVar[str] = (
        "Embeddings of prompts that a classifier picks are corrupted while the prompt is read, never while the answer "
        "is written (cache on)."
    )
    papers: ClassVar[str] = "ECO prompts (Liu et al. 2024)"
    access: ClassVar[frozenset[Access]] = SHOWN
    folders: ClassVar[tuple[str, ...]] = ("classifier",)

    @property
    def detects(self) -> bool:
        """It picks prompts."""
        return True

    def fault(self) -> str:
        """No classifier, or two; an unknown method, or numbers out of their range."""
        if bool(self.classifier) == bool(self.entities):
            return "that needs either a classifier (a folder) or entities (a list of names) to pick prompts by."
        if self.method not in METHODS:
            return f'with the unknown method "{self.method}".{suggest(self.method, METHODS)}'
        if not 0 <= self.threshold <= 1 or self.dims < 1 or self.strength < 0 or self.seed < 0:
            return "whose threshold must be from 0 to 1, dims 1 or more, strength and seed 0 or more."
        return nameless(self.entities)

    def identity(self, spec: SubjectSpec) -> dict[str, Any]:
        """As every system's, and when embeddings are corrupted."""
        return {**super().identity(spec), "cache": "on: corrupted while the prompt is read only"}

    def check(self, spec: SubjectSpec) -> None:
        """Raise SubjectError when the classifier is none, or the embeddings have fewer dimensions than are meant."""
        from audit.subjects.checks import config_of_model
        from audit.subjects.systems.detectors import check_classifier

        if self.classifier:
            check_classifier(spec.name, self.classifier, self.label)
        width = config_of_model(spec).get("hidden_size")
        if width and self.dims > width:
            raise refuse(spec, f"dims is {self.dims}, but an embedding has {width} dimensions.")

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base with a hook on its embeddings."""
        from audit.subjects.systems import detectors

        inside = Inside(base, self._detector(base, detectors))

        def after(module: Any, args: Any, output: Tensor) -> Tensor:
            now = inside.now
            if now is None or not now.prefill or not bool(now.flagged.any()):
                return output
            changed = output.clone()
            for row in now.flagged.nonzero()[:, 0].tolist():
                places = now.prompt[row].nonzero()[:, 0][:-1]
                if len(places):
                    vectors = changed[row, places.to(changed.device)]
                    self._corrupt(vectors, now.ids[row])
                    changed[row, places.to(changed.device)] = vectors
            return changed

        base.model.get_input_embeddings().register_forward_hook(after)
        return dataclasses.replace(base, inside=inside)

    def _detector(self, base: Subject, detectors: Any) -> Detector:
        if self.entities:
            return detectors.naming(base, self.entities)  # type: ignore[no-any-return]
        return detectors.picked(base, self.classifier, self.label, self.threshold)  # type: ignore[no-any-return]

    def _corrupt(self, vectors: Tensor, prompt: Sequence[int]) -> None:
        import torch

        generator = torch.Generator().manual_seed(seed_of("embedding guard", self.seed, *prompt) % 2**63)
        noise = torch.randn((len(vectors), self.dims), generator=generator)
        METHODS[self.method](vectors, self.dims, self.strength, noise.to(vectors.device, vectors.dtype))


def _largest(vectors: Tensor, dims: int) -> Tensor:
    return vectors.abs().topk(dims, dim=1).indices


def _noise_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] += strength * noise


def _noise_top(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors.scatter_add_(1, _largest(vectors, dims), strength * noise)


def _set_noise_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] = strength * noise


def _zero_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] = 0


def _zero_top(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors.scatter_(1, _largest(vectors, dims), 0)


def _flip_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] *= -1


def _flip_top(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    places = _largest(vectors, dims)
    vectors.scatter_(1, places, -vectors.gather(1, places))


def _add_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] += strength


def _sub_first(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    vectors[:, :dims] -= strength


def _sub_top(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    places = vectors.topk(dims, dim=1).indices
    vectors.scatter_(1, places, vectors.gather(1, places) - strength)


def _add_least(vectors: Tensor, dims: int, strength: float, noise: Tensor) -> None:
    places = vectors.topk(dims, dim=1, largest=False).indices
    vectors.scatter_(1, places, vectors.gather(1, places) + strength)


METHODS: dict[str, Corrupt] = {
    "rand_noise_first_n": _noise_first, "rand_noise_top_k": _noise_top, "set_rand_noise_first_n": _set_noise_first,
    "zero_out_first_n": _zero_first, "zero_out_top_k": _zero_top, "flip_sign_first_n": _flip_first,
    "flip_sign_top_k": _flip_top, "add_value_first_n": _add_first, "sub_value_first_n": _sub_first,
    "sub_value_top_k": _sub_top, "add_value_least_k": _add_least,
}  # fmt: skip
