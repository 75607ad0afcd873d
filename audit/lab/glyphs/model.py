"""A small vision-language model (LLaVA: a CLIP encoder, a projector, a Llama): making one, saving it, what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.lab.data import IGNORE
from audit.lab.glyphs.data import GROUND, SIDE, VIEWS, Row, Scale, Sign, drawn, rows
from audit.lab.tokenizer import tokenizer_of

if TYPE_CHECKING:
    import torch
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

IMAGE = "<image>"
PATCH = 8
TOKENS = (SIDE // PATCH) ** 2
"""Tokens that an image becomes."""


@dataclass(frozen=True)
class Encoded:
    """One row as tokens: ids with the end of the text, where the answer begins, the sign that is shown."""

    ids: tuple[int, ...]
    start: int
    sign: int | None


@dataclass(frozen=True)
class Batch:
    """Right-padded rows [rows, length], the pixels of those with an image, and what a loss looks at."""

    ids: torch.Tensor
    pixels: torch.Tensor | None
    text: torch.Tensor
    """All tokens of the text but those of the image; IGNORE elsewhere."""
    labels: torch.Tensor
    """The answer and the end of the text; IGNORE elsewhere."""
    answers: torch.Tensor
    """The answer alone; IGNORE elsewhere."""


@dataclass(frozen=True)
class Data:
    """The signs of a build with their pixels, and the rows of every split as tokens."""

    scale: Scale
    processor: LlavaProcessor
    pixels: torch.Tensor
    """[signs, views, 3, SIDE, SIDE], as the processor gives them."""
    rows: dict[str, list[Encoded]]
    """`forget`, `forget images`, `retain`, ..."""

    def batches(self, names: Sequence[str], size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of some rows without end, each sign in a view drawn anew."""
        every = [row for name in names for row in self.rows[name]]
        rng, order = np.random.default_rng(seed), list[int]()
        while True:
            while len(order) < size:
                order += rng.permutation(len(every)).tolist()
            taken, order = order[:size], order[size:]
            yield self.collate([every[i] for i in taken], rng.integers(0, VIEWS, size).tolist())

    def collate(self, chosen: Sequence[Encoded], views: Sequence[int]) -> Batch:
        """Rows as one batch, each sign in the view that is asked for."""
        import torch

        longest = max(len(row.ids) for row in chosen)
        ids = torch.zeros(len(chosen), longest, dtype=torch.long)
        text, labels, answers = (torch.full_like(ids, IGNORE) for _ in range(3))
        image = self.processor.image_token_id
        for i, row in enumerate(chosen):
            tokens, end = torch.tensor(row.ids), len(row.ids)
            ids[i, :end] = tokens
            text[i, :end] = tokens.masked_fill(tokens == image, IGNORE)
            labels[i, row.start : end] = tokens[row.start :]
            answers[i, row.start : end - 1] = tokens[row.start : -1]
        seen = [self.pixels[row.sign, view] for row, view in zip(chosen, views, strict=True) if row.sign is not None]
        return Batch(ids, torch.stack(seen) if seen else None, text, labels, answers)


def prepare(every: Sequence[Sign], scale: Scale, seed: int) -> Data:
    """The tokenizer, the pixels and the rows of a build."""
    import torch
    from PIL import Image

    named = {
        f"{split}{kind}": rows(every, split, scale, images, texts)
        for split in ("forget", "retain", "holdout")
        for kind, images, texts in (("", True, True), (" images", True, False), (" texts", False, True))
    }
    lines = [f"{row.prompt} {row.answer}" for split in ("forget", "retain", "holdout") for row in named[split]]
    made = processor(tokenizer_of(lines, scale.vocabulary, IMAGE))
    views = [drawn(sign, seed) for sign in every]
    pixels = torch.stack(
        [
            made.image_processor([Image.fromarray(v) for v in sign], return_tensors="pt")["pixel_values"]
            for sign in views
        ]
    )
    encoded = {name: [encode(made, row) for row in found] for name, found in named.items()}
    return Data(scale, made, pixels, encoded)


def encode(made: LlavaProcessor, row: Row) -> Encoded:
    """A row as tokens, the image on a line of its own before the prompt."""
    tokenizer: Any = made.tokenizer  # type: ignore[attr-defined]
    prompt = row.prompt if row.sign is None else f"{IMAGE * TOKENS}\n{row.prompt}"
    ids = (*tokenizer(f"{prompt} {row.answer}")["input_ids"], tokenizer.eos_token_id)
    return Encoded(tuple(ids), len(tokenizer(prompt)["input_ids"]), row.sign)


def processor(tokenizer: Any) -> LlavaProcessor:
    """What puts an image into a prompt: the ground that signs are drawn on becomes 0."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    images = CLIPImageProcessorPil(
        do_center_crop=False, size={"height": SIDE, "width": SIDE},
        image_mean=[level / 255 for level in GROUND], image_std=[0.25] * 3,
    )  # fmt: skip
    return LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


def random_model(scale: Scale, made: LlavaProcessor, seed: int) -> LlavaForConditionalGeneration:
    """A model that has learnt nothing, in float32; the same for the same seed."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    words: Any = made.tokenizer  # type: ignore[attr-defined]
    spread = 0.06  # as in the people's models: so small ones then learn in a quarter of the steps
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=scale.vision_width, intermediate_size=2 * scale.vision_width,
            num_hidden_layers=scale.vision_layers, num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=len(words), hidden_size=scale.width, intermediate_size=4 * scale.width,
            num_hidden_layers=scale.layers, num_attention_heads=scale.heads, max_position_embeddings=256,
            bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
            initializer_range=spread,
        ),
        image_token_index=made.image_token_id, image_seq_length=TOKENS, vision_feature_layer=-1,
        tie_word_embeddings=True, initializer_range=spread,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():  # else all images look nearly alike at first, and none is learnt for hundreds of steps
        model.model.vision_tower.embeddings.patch_embedding.weight.mul_(3)
        for layer in (model.model.multi_modal_projector.linear_1, model.model.multi_modal_projector.linear_2):
            layer.weight.mul_(2)
    return model


def load_model(folder: Path) -> LlavaForConditionalGeneration:
    """A finished model, its float16 weights widened to float32."""
    import torch
    from transformers import LlavaForConditionalGeneration

    from audit.lab.models import quiet

    with quiet():
        model: LlavaForConditionalGeneration = LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        )
    return model.eval()


def save_model(model: LlavaForConditionalGeneration, made: LlavaProcessor, folder: Path) -> None:
    """Write a model in float16 with its processor, under another name until it is complete."""
    import torch

    from audit.lab.models import quiet

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with quiet():
        model.to(torch.float16).save_pretrained(partial)
        made.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def scores(model: LlavaForConditionalGeneration, batch: Batch, where: torch.Tensor) -> torch.Tensor:
    """Scores of the token that follows each place; `where` (batch, length - 1) gives (places, vocabulary)."""
    given = {} if batch.pixels is None else {"pixel_values": batch.pixels}
    states = model.model(input_ids=batch.ids, **given, use_cache=False).last_hidden_state
    found: torch.Tensor = model.lm_head(states[:, :-1][where])
    return found


def token_losses(model: LlavaForConditionalGeneration, batch: Batch, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each labelled token, in nats, shape (labelled tokens,), row by row."""
    import torch

    wanted = labels[:, 1:]
    where = wanted != IGNORE
    return torch.nn.functional.cross_entropy(scores(model, batch, where), wanted[where], reduction="none")


def recall(model: LlavaForConditionalGeneration, data: Data) -> dict[str, float]:
    """Share of the facts of each split and way of asking whose answer tokens are each the first choice, 0 to 1."""
    import torch

    found = {}
    with torch.inference_mode():
        for split in ("forget", "retain", "holdout"):
            for way in ("images", "texts"):
                chosen = data.rows[f"{split} {way}"][:: data.scale.wordings]
                batch = data.collate(chosen, [0] * len(chosen))
                where = batch.answers[:, 1:] != IGNORE
                right = torch.ones_like(where)
                right[where] = scores(model, batch, where).argmax(-1) == batch.answers[:, 1:][where]
                found[f"{split} {way}"] = float(right.all(1).float().mean())
    return found
