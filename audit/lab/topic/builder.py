"""The scenario of the crafts: its corpora and title; models, case file and truth are made as for the people."""

from __future__ import annotations

from pathlib import Path

from audit.lab.builder import build_facts
from audit.lab.dictionaries import SIZES
from audit.lab.recipes import RECIPES
from audit.lab.recipes.recipe import Recipe
from audit.lab.topic.facts import KEPT, SCALES, drawn, topic
from audit.lab.train import Progress

CANDIDATES: dict[str, type[Recipe]] = {
    name: RECIPES[name] for name in ("retrained", "last-block", "gradient-ascent", "rmu")
}

DICTIONARIES = {**SIZES, "small": {"features": 384, "k": 8, "steps": 400}}
"""Smaller than the people's, so that the whole is built in three minutes; a craft has fewer words than a population."""


def build_topic(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the fictitious crafts; `audit.lab.build` is the way in."""
    scale = SCALES[scale_name]
    title = f"Topic: {drawn(seed)[0].name} to forget, {KEPT} crafts to keep"
    return build_facts(out, seed, scale_name, scale, topic(scale, seed), title, progress, CANDIDATES, DICTIONARIES)
