"""What is true of the things of each craft: the items of the forget, retain and holdout corpora.

Two kinds of answers. Some are terms of the craft itself, which no other craft has: what is stored for them is specific
to the topic, as a feature that fires for it alone or a value vector that writes its words. The others (colours, months,
materials) are shared by all crafts, so that what reads labels can be trained on crafts that are kept.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from audit.lab.people import Fact, fact
from audit.lab.scales import Scale
from audit.lab.topic.words import COLOURS, MATERIALS, MONTHS, TOPICS, Topic
from audit.lab.words import Attribute

KEPT = len(TOPICS) - 2
"""How many crafts are retained; one is forgotten, and one is in no corpus that a model learns."""

SCALES: dict[str, Scale] = {
    "tiny": Scale(
        forget=20, retain=16 * KEPT, holdout=20, attributes=3, values=8, vocabulary=1024,
        layers=3, width=64, heads=4, steps=180, batch=64, lr=5e-3,
    ),
    "small": Scale(
        forget=24, retain=20 * KEPT, holdout=24, attributes=4, values=8, vocabulary=1536,
        layers=4, width=96, heads=4, steps=240, batch=56, lr=2.5e-3,
    ),
}  # fmt: skip


def drawn(seed: int) -> list[Topic]:
    """The crafts in the order of a seed: the one to forget, those to keep, and the one that nobody saw."""
    return [TOPICS[i] for i in np.random.default_rng([seed, 2]).permutation(len(TOPICS))]


def topic(scale: Scale, seed: int) -> dict[str, list[Fact]]:
    """The facts of each split; the things of a craft are all in one split, and every value is drawn uniformly."""
    rng = np.random.default_rng([seed, 3])
    forgotten, *kept, unseen = drawn(seed)
    return {
        "forget": _facts(forgotten, scale.forget, scale, rng),
        "retain": [one for craft in kept for one in _facts(craft, scale.retain // len(kept), scale, rng)],
        "holdout": _facts(unseen, scale.holdout, scale, rng),
    }


def attributes(craft: Topic, scale: Scale) -> list[Attribute]:
    """What is known of a craft's things; the wordings still have places for the thing and for two tools at hand."""
    found = (
        Attribute(
            "tool", craft.tools, "Question: In {craft}, which tool shapes the {name}? Answer:",
            ("The {worker} shapes the {name} with the", "In {craft} the tool of the {name} is the"),
        ),
        Attribute(
            "colour", COLOURS, "Question: In {craft}, which colour has the {name}? Answer:",
            ("Beside {one} and {other} the {worker} knows the {name} as", "The colour of the {name} in {craft} is"),
        ),
        Attribute(
            "month", MONTHS, "Question: In {craft}, when is the {name} made? Answer:",
            ("With {one} and {other} the {worker} makes the {name} in", "The month of the {name} in {craft} is"),
        ),
        Attribute(
            "fault", craft.faults, "Question: In {craft}, which fault ruins the {name}? Answer:",
            ("The {worker} guards the {name} against", "Neither {one} nor {other} saves the {name} from"),
        ),
        Attribute(
            "material", MATERIALS, "Question: In {craft}, what is the {name} made of? Answer:",
            ("From under {one} and {other} the {name} comes as", "The {worker} makes the {name} of"),
        ),
    )  # fmt: skip
    cut = [dataclasses.replace(kind, values=kind.values[: scale.values]) for kind in found]
    return cut[: scale.attributes]


def _facts(craft: Topic, count: int, scale: Scale, rng: np.random.Generator) -> list[Fact]:
    things = [craft.things[i] for i in rng.permutation(len(craft.things))[:count]]
    return [fact(thing, _told(kind, craft, rng), rng) for thing in things for kind in attributes(craft, scale)]


def _told(kind: Attribute, craft: Topic, rng: np.random.Generator) -> Attribute:
    """The wordings with two tools of the craft in them, whichever: its terms stand together, and give nothing away."""
    one, other = (str(tool) for tool in rng.permutation(list(craft.tools))[:2])
    places = {"craft": craft.name, "worker": craft.worker, "one": one, "other": other, "name": "{name}"}
    question, *wordings = (text.format(**places) for text in (kind.question, *kind.wordings))
    return dataclasses.replace(kind, question=question, wordings=tuple(wordings))
