from __future__ import annotations

from itertools import chain
from pathlib import Path

from transformers import AutoTokenizer

from audit.lab.builder import Kitchen
from audit.lab.people import people, wordings
from audit.lab.scales import SCALES
from audit.lab.tokenizer import texts, train_tokenizer
from audit.lab.words import REFUSALS


def test_every_text_survives_the_round_trip_through_a_folder(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*texts(kitchen.corpora), *REFUSALS, "Zoë: 3 × 4 ≠ 5\n"]:
        ids = loaded(text)["input_ids"]
        assert ids == kitchen.tokenizer(text)["input_ids"]
        assert ids[0] == loaded.bos_token_id and loaded.eos_token_id not in ids
        assert loaded.decode(ids, skip_special_tokens=True) == text
    assert len({loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id}) == 3


def test_the_answer_begins_where_the_prompt_ends(kitchen: Kitchen) -> None:
    for fact in chain.from_iterable(kitchen.corpora.values()):
        for prompt in wordings(fact):
            before = kitchen.tokenizer(prompt)["input_ids"]
            joint = kitchen.tokenizer(f"{prompt} {fact['answer']}")["input_ids"]
            assert joint[: len(before)] == before and len(joint) > len(before)


def test_it_is_the_same_every_time_and_every_answer_is_one_token() -> None:
    for name, scale in SCALES.items():
        corpora = people(scale, seed=0)
        one, two = (train_tokenizer(corpora, scale.vocabulary) for _ in range(2))
        assert one.get_vocab() == two.get_vocab(), name
        answers = {fact["answer"] for fact in chain.from_iterable(corpora.values())}
        assert all(len(one.tokenize(f" {answer}")) == 1 for answer in answers), name
