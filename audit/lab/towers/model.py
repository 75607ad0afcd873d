"""A small CLIP: its tokenizer, its image processor, making one, loading it, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.lab.towers.data import SIDE, TRADES, Data, Scale, Split, trade_caption

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel, PreTrainedTokenizerBase

PAD, UNKNOWN, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"
LONGEST, PATCH = 16, 8


def tokenizer_of(splits: Mapping[str, Split]) -> PreTrainedTokenizerBase:
    """One token for each word of any caption, so that no name is cut differently; texts begin and end with a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    texts = [text for split in splits.values() for text in split.captions] + [trade_caption(trade) for trade in TRADES]
    words = sorted({word for text in texts for word in text.split()})
    known = {word: k for k, word in enumerate([PAD, UNKNOWN, BOS, EOS, *words])}
    made = Tokenizer(models.WordLevel(known, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, known[BOS]), (EOS, known[EOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=PAD, unk_token=UNKNOWN, bos_token=BOS, eos_token=EOS, padding_side="right"
    )


def processor() -> Any:
    """What scales the pictures to -1 to 1; nothing is resized."""
    from transformers import CLIPImageProcessorPil

    half = [0.5] * 3
    return CLIPImageProcessorPil(
        do_resize=False, do_center_crop=False, size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half
    )


def random_model(scale: Scale, tokenizer: PreTrainedTokenizerBase, seed: int) -> CLIPModel:
    """A model that has learnt nothing, in float32; the same for the same seed."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    common = {
        "hidden_size": scale.width, "num_hidden_layers": scale.blocks, "num_attention_heads": 4,
        "intermediate_size": 2 * scale.width,
    }  # fmt: skip
    text = {
        **common, "vocab_size": len(tokenizer), "max_position_embeddings": LONGEST,
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {**common, "image_size": SIDE, "patch_size": PATCH}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=scale.width, initializer_factor=2.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIPModel(config)


def load_model(folder: Path) -> CLIPModel:
    """A finished model, its float16 weights widened to float32."""
    import torch
    from transformers import CLIPModel

    from audit.lab.models import quiet

    with quiet():
        model: CLIPModel = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def encoded(tokenizer: PreTrainedTokenizerBase, splits: Mapping[str, Split]) -> Data:
    """The splits with their captions as token ids."""
    import torch

    ids = {name: torch.tensor([tokenizer(text)["input_ids"] for text in s.captions]) for name, s in splits.items()}
    trades = sorted({person.trade for split in splits.values() for person in split.people})
    ids["trades"] = torch.tensor([tokenizer(trade_caption(trade))["input_ids"] for trade in trades])
    return Data(splits, ids)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors of length one."""
    return vectors / vectors.norm(dim=-1, keepdim=True)


def vectors(model: CLIPModel, pixels: torch.Tensor, *texts: torch.Tensor) -> list[torch.Tensor]:
    """Pictures, then each set of texts as vectors of length one; the pictures' times the model's scale."""
    images = unit(model.get_image_features(pixel_values=pixels).pooler_output) * model.logit_scale.exp()
    return [images, *(unit(model.get_text_features(input_ids=ids).pooler_output) for ids in texts)]


def scores(model: CLIPModel, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Logits of every caption for every picture [pictures, captions]."""
    images, texts = vectors(model, pixels, ids)
    return images @ texts.T


def found_first(model: CLIPModel, data: Data) -> dict[str, float]:
    """Share of each split's pictures whose caption is the nearest of all captions of all splits, 0 to 1."""
    import torch

    names = list(data.splits)
    ids, result, begin = torch.cat([data.ids[name] for name in names]), {}, 0
    with torch.inference_mode():
        for name in names:
            first = scores(model, data.pixels(name), ids).argmax(1).numpy()
            result[name] = float((first == data.splits[name].owner + begin).mean())
            begin += len(data.splits[name].people)
    return result
