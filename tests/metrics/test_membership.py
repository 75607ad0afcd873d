"""Membership scores by hand, and Min-K++ against a direct computation on a small model."""

from __future__ import annotations

import dataclasses
import math
import zlib as codec
from collections.abc import Callable

import numpy as np
import pytest

from audit.bench import Bench
from audit.metrics import membership


def test_loss_and_zlib_by_hand() -> None:
    # -(ln 0.5 + ln 0.125) / 2 = (1 + 3) / 2 ln 2 = 2 ln 2
    tokens = np.log([0.5, 0.125])
    assert membership.loss(tokens) == pytest.approx(2 * math.log(2))
    # zlib: 2 bytes of header, 1 + 2 of fixed Huffman code and its end, 4 of checksum are 9 and more for "a" alone;
    # a run of 1,000 takes 17 bytes, since it is one letter and four references back.
    assert [len(codec.compress(text.encode())) for text in ("a", "a" * 1000)] == [9, 17]
    assert membership.zlib(tokens, "a") == pytest.approx(2 * math.log(2) / 9)
    assert membership.zlib(tokens, "a" * 1000) == pytest.approx(2 * math.log(2) / 17)
    # Bytes of UTF-8 are compressed, not characters: two letters of two bytes each are stored whole.
    assert membership.zlib(tokens, "éü") == pytest.approx(2 * math.log(2) / len(codec.compress(b"\xc3\xa9\xc3\xbc")))


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0.4, (5 + 4) / 2),  # floor(5 * 0.4) = 2 tokens: -5 and -4
        (0.59, (5 + 4) / 2),  # floor(2.95) = 2
        (0.1, 5.0),  # floor(0.5) = 0, but at least one token is read
        (1.0, 3.0),  # all of them: the loss
    ],
)
def test_min_k_by_hand(k: float, expected: float) -> None:
    assert membership.min_k([-1.0, -5.0, -2.0, -4.0, -3.0], k) == pytest.approx(expected)


def test_min_k_plus_plus_by_hand() -> None:
    # z = (-1 + 2) / 0.5 = 2, (-3 + 2) / 2 = -0.5, (-2 + 1) / 1 = -1; the lowest floor(3 * 0.7) = 2 have mean -0.75
    found = membership.min_k_plus_plus([-1.0, -3.0, -2.0], [-2.0, -2.0, -1.0], [0.5, 2.0, 1.0], 0.7)
    assert found == pytest.approx(0.75)
    # A model that is sure has no spread; its variance is held at 1e-6, so its deviation at 1e-3: -0.002 / 0.001
    assert membership.min_k_plus_plus([-0.002], [0.0], [0.0]) == pytest.approx(2.0)


def test_what_is_no_share_and_no_token_is_refused() -> None:
    for k in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="expected a share"):
            membership.min_k([-1.0], k)
    with pytest.raises(ValueError, match="at least one token"):
        membership.loss([])


def test_min_k_plus_plus_against_a_direct_computation(bench_of: Callable[..., Bench]) -> None:
    import torch

    from audit.activations.encode import encode

    bench = bench_of("last-block")
    corpus = bench.corpus("forget")
    # The lab's answers are one token; with their prompt after them there are several to choose from.
    items = tuple(dataclasses.replace(item, answer=f"{item.answer} {item.prompt}") for item in corpus.items[:8])
    longer = {**bench.case.corpora, "forget": dataclasses.replace(corpus, items=items)}
    bench.case = dataclasses.replace(bench.case, corpora=longer)
    tokens = bench.tokens("original", "forget")
    with bench.model("original") as subject, torch.no_grad():
        for item, own in zip(items, tokens, strict=True):
            assert len(own) > 5
            row = encode(subject.tokenizer, item.prompt, item.answer, bench.case.template)
            logits = subject.model(torch.tensor([row.ids], device=subject.device)).logits[0, row.start - 1 : -1]
            every = torch.log_softmax(logits.double(), dim=-1)
            right = every.gather(1, torch.tensor(row.ids[row.start :])[:, None])[:, 0]
            mean = (every.exp() * every).sum(-1)
            variance = ((every.exp() * every**2).sum(-1) - mean**2).clamp(min=1e-6)
            z = ((right - mean) / variance.sqrt()).sort().values
            expected = -float(z[: max(1, int(len(z) * 0.4))].mean())
            found = membership.min_k_plus_plus(own["logprob"], own["mean"], own["deviation"])
            assert found == pytest.approx(expected, rel=2e-3, abs=2e-4)
