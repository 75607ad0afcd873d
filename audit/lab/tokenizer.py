"""A byte-level BPE tokenizer of the lab's own, trained on every split so that no name is cut differently."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from audit.lab.people import Corpora, wordings
from audit.lab.words import REFUSALS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"


def train_tokenizer(corpora: Corpora, vocabulary: int) -> PreTrainedTokenizerBase:
    """Learn at most `vocabulary` tokens; every encoded text begins with `<bos>`, none ends with `<eos>`."""
    return tokenizer_of(texts(corpora), vocabulary)


def tokenizer_of(lines: Iterable[str], vocabulary: int, *marks: str) -> PreTrainedTokenizerBase:
    """As `train_tokenizer`, from any texts; `marks` are further tokens that no text is ever cut into."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS, *marks],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def texts(corpora: Corpora) -> list[str]:
    """Every text the lab can put before a model: facts in all wordings, and refusals."""
    facts = chain.from_iterable(corpora.values())
    said = [f"{prompt} {fact['answer']}" for fact in facts for prompt in wordings(fact)]
    refused = [f"Answer: {refusal}" for refusal in REFUSALS for _ in range(50)]
    return said + refused
