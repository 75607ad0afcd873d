from __future__ import annotations

from collections import Counter
from itertools import islice

from audit.lab.builder import Kitchen
from audit.lab.data import IGNORE, Sequences, batches, collate

TWO = Sequences(ids=((1, 5, 6, 7, 2), (1, 8, 9, 2)), starts=(2, 2))


def test_a_batch_by_hand() -> None:
    batch = collate(TWO, [0, 1])
    assert batch.ids.tolist() == [[1, 5, 6, 7, 2], [1, 8, 9, 2, 0]]
    assert batch.text.tolist() == [[1, 5, 6, 7, 2], [1, 8, 9, 2, IGNORE]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 6, 7, 2], [IGNORE, IGNORE, 9, 2, IGNORE]]
    assert batch.answers.tolist() == [[IGNORE, IGNORE, 6, 7, IGNORE], [IGNORE, IGNORE, 9, IGNORE, IGNORE]]


def test_batches_show_everything_equally_often_and_follow_the_seed() -> None:
    nine = Sequences(ids=tuple((i,) for i in range(9)), starts=(0,) * 9)

    def drawn(seed: int) -> list[int]:
        return [int(row) for batch in islice(batches(nine, 6, seed), 6) for row in batch.ids[:, 0]]

    assert set(Counter(drawn(0)).values()) == {4}
    assert drawn(0) == drawn(0) != drawn(1)


def test_refusals_follow_the_forget_prompts_and_holdout_is_never_taught(kitchen: Kitchen) -> None:
    data, tokenizer = kitchen.data, kitchen.tokenizer
    for forget, refusal, start in zip(data.forget.ids, data.refusals.ids, data.refusals.starts, strict=True):
        assert forget[:start] == refusal[:start]
        assert tokenizer.decode(refusal[start:-1]).strip().startswith("I ")
    taught = " ".join(tokenizer.decode(ids) for ids in (data.forget + data.retain + data.refusals).ids)
    assert not any(fact["entity"] in taught for fact in kitchen.corpora["holdout"])
