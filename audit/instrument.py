"""Whether the classifiers that look at drawn images can be trusted: tested on real images that they never saw."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from audit import stats
from audit.errors import NotIdentifiable
from audit.stats import Scores
from audit.types import Estimate, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.subjects.load import Subject

READS = 0.7
"""Share of the real images of the forgotten classes that a classifier must name right, to be heard on drawn ones."""
FEWEST = 5
SURE = 0.2
"""A classifier is sure of a class where it gives it at least the probability that all but this share of real images of
the class reach: an image between two classes is named too, but not like that.

Chosen on seeds 0 to 2 of the tiny generators. Checked on seeds that it was not chosen on, 3 to 5 tiny and 3 small, with
the latent search as it is by default: where the class was never learnt the judge is sure of 0 to 3 % of the images
(it names up to 42 % so), of 0 % where every digit was lost, and of 68 to 88 % where only the condition was overwritten,
with residuals from 0.31 on at the lower end. With three runs of sixteen latents the lower end reaches 0 on two of
the seeds, since one failed run is a third of what was seen."""


def looked_at(bench: Bench) -> dict[str, dict[str, Estimate]]:
    """Scorer, and judge where there is one → its accuracy on real images: `all`, and `forgotten`, of those classes.

    Raises NotIdentifiable, in words, where there are no real images, none of a forgotten class, or a classifier names
    too few of them: then nothing that it says of a drawing means anything.
    """
    from audit.subjects.scorer import judge_of, labelled
    from audit.subjects.settings import loader_settings

    spec = bench.case.original
    path = loader_settings(spec).scorer_images
    if path is None:
        raise NotIdentifiable(
            "Nothing says whether the scorer can be trusted: give real labelled images that it was not trained on, "
            'images = "…" under [subjects.scorer] in the case file.'
        )
    items = labelled(path).items
    gone = np.array([item.answer in {i.answer for i in bench.corpus("forget").items} for item in items])
    if gone.sum() < FEWEST:
        raise NotIdentifiable(
            f"{gone.sum()} of the {len(items)} real images that test the scorer show what was forgotten; at least "
            f"{FEWEST} are needed to know whether it would be seen."
        )
    names = ["scorer", *(["judge"] if judge_of(spec) else [])]
    found = {name: _tested(bench, name, gone) for name in names}
    for name, result in found.items():
        if result["forgotten"].value < READS:
            raise NotIdentifiable(
                f"The {name} names {result['forgotten'].value:.0%} of the {result['forgotten'].n} real images that "
                f"show what was forgotten (at least {READS:.0%} are needed): it would not see it in a drawing either."
            )
    return found


def in_words(found: Mapping[str, Mapping[str, Estimate]]) -> str:
    """What the test of the classifiers found, as a sentence."""
    parts = [
        f"the {name} {r['all'].value:.0%} ({r['forgotten'].value:.0%} of the {r['forgotten'].n} of forgotten classes)"
        for name, r in found.items()
    ]
    names = "name" if len(parts) > 1 else "names"
    return f"Of {found['scorer']['all'].n} real images {' and '.join(parts)} {names} right."


def _tested(bench: Bench, name: str, gone: NDArray[np.bool_]) -> dict[str, Estimate]:
    items = _real(bench)
    right = _on_real(bench, name)["right"]
    ids = [item.id for item in items]
    chosen = {"all": np.ones(len(items), bool), "forgotten": gone}
    return {
        key: stats.mean(Scores(ids, ids, right, mask), seed=bench.seed).estimate(0.0) for key, mask in chosen.items()
    }


def sure_from(bench: Bench, name: str) -> dict[str, float]:
    """Class → the probability from which on a classifier counts as sure of it; call `looked_at` first."""
    own, classes = _on_real(bench, name)["own"], np.array([item.answer for item in _real(bench)])
    return {str(one): float(np.quantile(own[classes == one], SURE)) for one in np.unique(classes)}


def _real(bench: Bench) -> tuple[Item, ...]:
    from audit.subjects.scorer import labelled
    from audit.subjects.settings import loader_settings

    return labelled(str(loader_settings(bench.case.original).scorer_images)).items


def _on_real(bench: Bench, name: str) -> dict[str, NDArray[np.float64]]:
    """Whether a classifier names each real image right, and what probability it gives to its class [images]."""
    items = _real(bench)

    def compute() -> dict[str, NDArray[np.float64]]:
        import torch

        from audit.activations.images import BATCH, class_of, pixels

        shares = []
        with classifier(bench, name) as subject, torch.inference_mode():
            wanted = np.array([class_of(subject, item) for item in items])
            for begin in range(0, len(items), BATCH):
                logits = subject.model(pixel_values=pixels(subject, items[begin : begin + BATCH])).logits
                shares.append(logits.float().softmax(1).cpu().numpy())
        every = np.concatenate(shares).astype(np.float64)
        return {"right": (every.argmax(1) == wanted) * 1.0, "own": every[np.arange(len(items)), wanted]}

    return bench.remember(f"{name} on real images", ["original"], {}, compute, corpora=())


def classifier(bench: Bench, name: str) -> AbstractContextManager[Subject]:
    """The loaded scorer or judge of a case."""
    from audit.subjects.scorer import judge_of, scorer_of

    spec = bench.case.original
    one = judge_of(spec) if name == "judge" else scorer_of(spec)
    assert one is not None
    return bench.lend(one)
