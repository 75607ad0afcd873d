"""Which questions to language models hold where the items have images: those that carry the image along.

Most evidence looks at a subject through the views of the bench (the pass, the answers), or puts an item as a whole
(`activations.encode.encode_item`): the image is in the prompt, and everything holds as it does for texts. What is not
named here puts prompts or embeddings of its own. It is never asked without the image: where it is not stopped here, the
door at which prompts become tokens stops it (`activations.eyes.check_said`).
"""

from __future__ import annotations

FAMILIES = frozenset({"drift", "probes", "utility", "concepts", "sae"})
"""Families all of which read the views of the bench, or put items as a whole."""
CARRY: frozenset[str] = frozenset(
    {
        "behaviour.recall", "behaviour.rouge", "behaviour.probability", "behaviour.truth_ratio",
        "behaviour.forget_quality", "behaviour.extraction_strength", "behaviour.memorization", "behaviour.familiarity",
        "behaviour.paraphrase", "behaviour.refusal", "behaviour.fluency", "behaviour.extraction_likelihood",
        "behaviour.verbatim",
        "privacy.loss", "privacy.zlib", "privacy.min_k", "privacy.min_k_plus_plus", "privacy.reference",
        "privacy.privleak", "privacy.gradnorm",
        "attacks.relearn", "attacks.relearn_lora", "attacks.relearn_related", "attacks.relearn_benign",
        "attacks.quantization", "attacks.head_projection", "attacks.lens_differences", "attacks.answer_rank",
        "attacks.sampling", "attacks.prefix", "attacks.weight_noise", "attacks.restore_layers", "attacks.early_exit",
        "attacks.direction_ablation", "attacks.pruning",
    }
)  # fmt: skip


def carries_images(id: str) -> bool:
    """Whether an evidence shows a vision-language model the images of its items."""
    return id in CARRY or id.partition(".")[0] in FAMILIES
