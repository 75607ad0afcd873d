"""Where the answer starts, on letters (one token each)."""

from __future__ import annotations

import pytest

from audit.activations.encode import encode, encode_prompt
from audit.errors import CaseError, SubjectError
from tests.activations.conftest import letters_tokenizer


@pytest.mark.parametrize("bos", [True, False])
def test_the_answer_starts_after_prompt_and_brings_its_space(bos: bool) -> None:
    tokenizer = letters_tokenizer(bos)
    encoded = encode(tokenizer, "who?", "ann", "plain")
    # "who?" is 4 letters, a BOS may come before; the answer is " ann", 4 letters.
    assert encoded.start == 4 + bos
    assert tokenizer.decode(encoded.ids[encoded.start :]).replace("  ", " ") is not None
    assert len(encoded) - encoded.start == 4
    assert list(encoded.ids[: encoded.start]) == encode_prompt(tokenizer, "who?", "plain")


def test_a_space_is_not_doubled() -> None:
    tokenizer = letters_tokenizer(False)
    assert encode(tokenizer, "who? ", "ann", "plain").ids == encode(tokenizer, "who?", " ann", "plain").ids
    assert encode(tokenizer, "who?", "ann", "plain").ids == encode(tokenizer, "who?", " ann", "plain").ids


def test_a_question_and_answer_template() -> None:
    tokenizer = letters_tokenizer(False)
    text = "".join(tokenizer.convert_ids_to_tokens(encode(tokenizer, "who?", "ann", "qa").ids))
    assert text.endswith("who?\n<unk>nswer: ann")  # the small vocabulary has no capitals


def test_what_cannot_be_encoded_is_named() -> None:
    tokenizer = letters_tokenizer(False)
    with pytest.raises(CaseError, match='Did you mean "plain"'):
        encode(tokenizer, "who?", "ann", "plane")
    with pytest.raises(SubjectError, match="no chat template"):
        encode(tokenizer, "who?", "ann", "chat")
    with pytest.raises(SubjectError, match="no token"):
        encode_prompt(tokenizer, "", "plain")
