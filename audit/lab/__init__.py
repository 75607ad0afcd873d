"""The lab: small models built from nothing, whose truth is known because we made it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

SCENARIOS: dict[str, str] = {
    "people": "Fictitious people with a job, a city, an instrument and more; some of them are to be forgotten.",
    "towers": "Emblems of made-up people and two-tower models of images and captions; some pairs are forgotten.",
    "digits": "Handwritten digits and image classifiers: wrong labels, one digit, or all with a loop are forgotten.",
    "topic": "A fictitious craft with terms of its own, to be forgotten, among other crafts of the same form.",
    "glyphs": "Drawn signs with a name, and questions about their images: a vision-language model forgets some.",
    "generator": "Generators that draw handwritten digits from latents: one digit is forgotten.",
}
BUILDERS: dict[str, str] = {
    "people": "audit.lab.builder",
    "towers": "audit.lab.towers.builder",
    "digits": "audit.lab.digits.builder",
    "topic": "audit.lab.topic.builder",
    "glyphs": "audit.lab.glyphs.builder",
    "generator": "audit.lab.generator.builder",
}
"""Module with `build_<scenario>`."""


def build(
    scenario: str,
    out: Path,
    *,
    seed: int = 0,
    scale: str = "small",
    progress: Callable[[float, str], None] | None = None,
) -> Path:
    """Build a scenario's models, corpora and case file below `out`, and return the path of the case file.

    `progress` gets the finished fraction and a message at least once a second. A build that was stopped goes on
    where it stopped. Raises CaseError for an unknown scenario or scale and a negative seed.
    """
    from audit.lab.builder import checked

    checked(scenario, SCENARIOS, scale, seed)
    module = importlib.import_module(BUILDERS[scenario])
    make: Callable[..., Path] = getattr(module, f"build_{scenario}")
    return make(Path(out), seed=seed, scale_name=scale, progress=progress or (lambda fraction, message: None))
