"""Sampling: the model's own distribution, whatever the batch; and answers that are begun for the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from audit.activations import generate
from audit.activations.encode import encode_prompt
from audit.activations.generate import Draw, Sampling, samples, says
from audit.bench import Bench
from audit.types import Item

BenchOf = Callable[..., Bench]


def test_draws_invert_the_distribution_function() -> None:
    # Shares 0.5, 0, 0.3, 0.2: u below 0.5 is token 0, to 0.8 token 2, above token 3; token 1 is never drawn.
    scores = torch.log(torch.tensor([[0.5, 0.0, 0.3, 0.2]])).repeat(6, 1)
    u = np.array([[0.0], [0.49], [0.51], [0.79], [0.81], [0.999999]])
    picked = Draw(Sampling(0), u, 3)(torch.zeros(6, 3), scores).argmax(1)
    assert picked.tolist() == [0, 0, 2, 2, 3, 3]
    # The smallest set of at least 0.6 is {0, 2}, renormalised: 0.625 and 0.375.
    nucleus = Draw(Sampling(0, top_p=0.6), u, 3)(torch.zeros(6, 3), scores).argmax(1)
    assert nucleus.tolist() == [0, 0, 0, 2, 2, 2]
    # At half the temperature shares are squared: 25/38 = 0.66, 9/38 (to 0.89), 4/38.
    cold = Draw(Sampling(0, temperature=0.5), u, 3)(torch.zeros(6, 3), scores).argmax(1)
    assert cold.tolist() == [0, 0, 0, 2, 2, 3]


def test_first_tokens_are_drawn_as_often_as_the_model_says(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    item = bench.corpus("holdout").items[0]
    with bench.model("reference") as subject:
        ids = torch.tensor([encode_prompt(subject.tokenizer, item.prompt, "plain")])
        with torch.inference_mode():
            shares = subject.model(input_ids=ids).logits[0, -1].double().softmax(-1).numpy()
        heard = samples(subject, [item], "plain", 600, Sampling(0))[0]
        top = int(shares.argmax())
        word = subject.tokenizer.decode([top]).strip()
    found = sum(text.startswith(word) for text in heard) / 600
    # Two words may begin alike, so the share may be a little more; the standard error is below 0.0205.
    assert shares[top] - 0.06 < found < shares[top] + 0.09
    assert len(Counter(heard)) > 3


def test_samples_depend_on_seed_and_item_alone(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block")
    items = list(bench.corpus("forget").items[:6])
    with bench.model("candidate") as subject:
        first = samples(subject, items, "plain", 5, Sampling(7))
        monkeypatch.setattr(generate, "BATCH", 4)
        assert samples(subject, items[::-1], "plain", 5, Sampling(7)) == first[::-1]
        longer = samples(subject, items[:2], "plain", 8, Sampling(7))
        assert [texts[:5] for texts in longer] == first[:2]
        assert samples(subject, items, "plain", 5, Sampling(8)) != first


def test_next_to_no_temperature_is_greedy(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:8]
    with bench.model("original") as subject:
        cold = samples(subject, items, "plain", 2, Sampling(0, temperature=1e-4))
        assert cold == [[text, text] for text in says(subject, items, "plain")]


def test_an_answer_that_was_begun_is_continued(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    fact = next(item for item in bench.corpus("forget").items if item.attribute == "job")
    item = Item("forget:0", f"{fact.entity}", f"works as a {fact.answer}")
    with bench.model("original") as subject:
        assert says(subject, [item], "plain", begun=["works as a"])[0].split()[0] == fact.answer
        assert says(subject, [item], "plain", begun=[""]) == says(subject, [item], "plain")
