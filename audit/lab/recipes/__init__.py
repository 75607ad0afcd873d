"""Table of contents: every way of making a candidate, by the name it has in the case file."""

from __future__ import annotations

from audit.lab.recipes.ascent import GradientAscent
from audit.lab.recipes.difference import GradientDifference
from audit.lab.recipes.last_block import LastBlock
from audit.lab.recipes.npo import NPO
from audit.lab.recipes.recipe import Recipe
from audit.lab.recipes.refusal import Refusal
from audit.lab.recipes.retrain import Retrain
from audit.lab.recipes.rmu import RMU

RECIPES: dict[str, type[Recipe]] = {
    "retrained": Retrain,
    "last-block": LastBlock,
    "gradient-ascent": GradientAscent,
    "gradient-difference": GradientDifference,
    "npo": NPO,
    "rmu": RMU,
    "refusal": Refusal,
}
