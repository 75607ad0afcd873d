"""Questions and images put in another way: other words, another cut and light of the same image."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.corpora.images import open_image, picture
from audit.types import Item, Picture, Split

if TYPE_CHECKING:
    from audit.bench import Bench

QUESTION, PICTURE, BOTH_WAYS = "question rephrased", "image rephrased", "both rephrased"
FAMILIES = (QUESTION, PICTURE, BOTH_WAYS)


@dataclass(frozen=True)
class Light:
    """How far an image is changed: enough to be another image, too little to show something else."""

    crop: float
    brightness: float
    mirror: bool


def rephrased(bench: Bench, split: Split, item: Item, run: int, how: Light) -> dict[str, tuple[Item, str]]:
    """An item in every family that it allows, with what was done to its image in words; the same for every subject."""
    words = item.paraphrases[run % len(item.paraphrases)] if item.paraphrases else None
    found: dict[str, tuple[Item, str]] = {}
    if words is not None:
        found[QUESTION] = dataclasses.replace(item, prompt=words), ""
    if item.image is not None:
        image, done = relit(item.image, how, bench, split, item.id, run)
        found[PICTURE] = dataclasses.replace(item, image=image), done
        if words is not None:
            found[BOTH_WAYS] = dataclasses.replace(item, image=image, prompt=words), done
    return found


def relit(image: Picture, how: Light, bench: Bench, *names: object) -> tuple[Picture, str]:
    """An image cut at its margins, lighter or darker and perhaps mirrored, and what was done, in words."""
    from PIL import Image, ImageEnhance

    rng = bench.rng("rephrased image", image.digest, *names)
    whole = open_image(image).convert("RGB")
    kept = 1 - float(rng.uniform(how.crop / 2, how.crop))
    wide, high = max(1, round(kept * whole.width)), max(1, round(kept * whole.height))
    left, top = (int(rng.integers(0, size - part + 1)) for size, part in ((whole.width, wide), (whole.height, high)))
    made = whole.crop((left, top, left + wide, top + high)).resize(whole.size, Image.Resampling.BILINEAR)
    light = 1 + float(rng.uniform(how.brightness / 2, how.brightness)) * float(rng.choice([-1, 1]))
    made = ImageEnhance.Brightness(made).enhance(light)
    done = f"cut to {wide} x {high} from ({left}, {top}), brightness x {light:.2f}"
    if how.mirror and rng.random() < 0.5:
        made, done = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT), f"{done}, mirrored"
    stream = io.BytesIO()
    made.save(stream, "PNG")
    return picture(stream.getvalue(), image.place, None), done
