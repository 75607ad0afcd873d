"""The batched probe sweep: theorems against refitting, and controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audit import probing, stats
from audit.errors import CaseError, NotIdentifiable


def refit(
    x: np.ndarray, labels: np.ndarray, classes: int, penalty: float, prior: float, like: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """The definition, step by step: ridge regression of one-hot labels, then Gaussian classes in the fitted values.

    `like` holds all training rows, by which features are standardised and the unit of the penalty is set.
    """
    from sklearn.linear_model import Ridge

    centre, scale = like.mean(0, dtype=float), like.astype(float).std(0)
    z, unit = (x - centre) / scale, (((like - centre) / scale) ** 2).sum() / len(like)
    hot = np.eye(classes)[labels]
    ridge = Ridge(alpha=unit * penalty).fit(z, hot)
    share = hot.mean(0)
    # Class means and, under the penalty, the covariance within classes of the fitted values, in optimal scores.
    values, vectors = np.linalg.eigh((hot.T @ (ridge.predict(z) - share) / len(z)) / np.sqrt(np.outer(share, share)))
    scores = vectors / np.sqrt(share)[:, None]
    means = values * scores
    within = values * (1 - values) + 1e-6 * values

    def score(new: np.ndarray) -> np.ndarray:
        fitted = (ridge.predict((new - centre) / scale) - share) @ scores
        used = values > 1e-8
        distance = ((fitted[:, None, used] - means[None, :, used]) ** 2 / within[used]).sum(-1)
        return -distance / 2 + prior * np.log(share)

    return score


def data(rows: int, width: int, classes: int = 4, entities: int = 12, signal: float = 1.0, seed: int = 0):  # type: ignore[no-untyped-def]
    """Entity-level labels, class means and noise of decaying spectrum, off centre."""
    rng = np.random.default_rng(seed)
    entity = np.arange(rows) % entities
    label = rng.permutation(np.arange(entities) % classes)[entity]
    means = rng.normal(size=(classes, width)) * signal
    noise = rng.normal(size=(rows, width)) * np.linspace(3, 0.1, width)
    names = [f"e{e}" for e in entity]
    return (means[label] + noise + 5).astype(np.float32), [f"c{k}" for k in label], names


# More rows than features, and fewer: the two forms of the one decomposition.
SHAPES = pytest.mark.parametrize(("rows", "width"), [(60, 30), (40, 80)], ids=["primal", "dual"])


def contrasts(scores: np.ndarray) -> np.ndarray:
    """Scores without what all classes share, which decides nothing."""
    return scores - scores.mean(-1, keepdims=True)


@SHAPES
def test_left_out_scores_are_those_of_a_fit_without_the_fold(rows: int, width: int) -> None:
    x, labels, entities = data(rows, width)
    task = probing.make_task(labels, entities, nulls=3)
    probe = probing.fit(x, task)
    for run, (penalty, prior) in enumerate(zip(probe.penalty, probe.prior, strict=True)):
        for fold in range(5):
            out = task.fold == fold
            score = refit(x[~out], task.labels[run, ~out], len(task.classes), penalty, prior, like=x)
            expected = contrasts(score(x[out]))
            assert contrasts(probe.held_out[run, out]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@SHAPES
def test_the_fit_on_all_rows_is_the_definition(rows: int, width: int) -> None:
    x, labels, entities = data(rows, width)
    task = probing.make_task(labels, entities, nulls=2)
    probe = probing.fit(x, task)
    new = data(20, width, seed=1)[0]
    for run, (penalty, prior) in enumerate(zip(probe.penalty, probe.prior, strict=True)):
        score = refit(x, task.labels[run], len(task.classes), penalty, prior, like=x)
        assert contrasts(probe.scores(new)[run]) == pytest.approx(contrasts(score(new)), rel=1e-3, abs=1e-3)


@SHAPES
def test_penalty_and_prior_are_the_best_on_left_out_entities(rows: int, width: int) -> None:
    x, labels, entities = data(rows, width)
    task = probing.make_task(labels, entities, nulls=1)
    probe = probing.fit(x, task)
    grid = [(penalty, prior) for penalty in probing.PENALTIES for prior in probing.PRIORS]
    for run in range(2):
        right = []
        for penalty, prior in grid:
            guess = np.empty(rows, int)
            for fold in range(5):
                out = task.fold == fold
                score = refit(x[~out], task.labels[run, ~out], len(task.classes), penalty, prior, like=x)
                guess[out] = score(x[out]).argmax(1)
            right.append((guess == task.labels[run]).mean())
        chosen = grid[int(np.argmax(right))]  # ties go to the first, the strongest
        assert (probe.penalty[run], probe.prior[run]) == chosen


def test_with_a_vanishing_penalty_it_is_linear_discriminant_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    monkeypatch.setattr(probing, "PENALTIES", (1e-9,))
    monkeypatch.setattr(probing, "PRIORS", (1.0,))
    x, labels, entities = data(300, 20, signal=0.5)
    new = data(100, 20, signal=0.5, seed=1)[0]
    probe = probing.fit(x, probing.make_task(labels, entities, nulls=1))
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels).predict(new)
    assert [probe.classes[k] for k in probe.predict(new)[0]] == theirs.tolist()
    assert len(set(theirs)) > 1


def test_batched_equals_one_by_one() -> None:
    x, labels, entities = data(60, 40)
    task = probing.make_task(labels, entities, nulls=4)
    together = probing.fit(x, task)
    for run in range(5):
        alone = probing.fit(x, probing.Task(task.classes, task.labels[run : run + 1], task.fold))
        assert alone.penalty[0] == together.penalty[run]
        assert alone.held_out[0] == pytest.approx(together.held_out[run], abs=1e-6)
        assert alone.weights[0] == pytest.approx(together.weights[run], abs=1e-6)


def test_a_sweep_is_one_fit_per_layer() -> None:
    x, labels, entities = data(60, 20)
    swept = list(probing.sweep(iter([x, x[:, :10]]), labels, entities, nulls=2))
    assert [probe.weights.shape for probe in swept] == [(3, 20, 4), (3, 10, 4)]
    alone = probing.fit(x, probing.make_task(labels, entities, nulls=2))
    assert np.array_equal(swept[0].weights, alone.weights)


def test_a_planted_signal_is_read_and_shuffled_labels_are_at_chance() -> None:
    x, labels, entities = data(400, 50, entities=80, signal=2.0)
    task = probing.make_task(labels[:200], [f"a{e}" for e in entities[:200]], nulls=20)
    probe = probing.fit(x[:200], task)
    truth = [task.classes.index(label) for label in labels[200:]]
    right = (probe.predict(x[200:]) == truth).mean(1)
    assert right[0] > 0.95
    # Four classes, so chance is 0.25; a null's mean over 20 shuffles of 80 entities has a standard error near 0.02.
    assert right[1:].mean() == pytest.approx(0.25, abs=0.1)
    assert (probe.held_out[1:].argmax(-1) == task.labels[1:]).mean() == pytest.approx(0.25, abs=0.1)


def test_noise_is_read_at_chance() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for seed in range(10):
        _, labels, entities = data(200, 5, entities=40, seed=seed)
        x = rng.normal(size=(200, 64)).astype(np.float32)
        probe = probing.fit(x[:100], probing.make_task(labels[:100], entities[:100], nulls=1, seed=seed))
        truth = [probe.classes.index(label) for label in labels[100:]]
        hits.append((probe.predict(x[100:])[0] == truth).mean())
    assert np.mean(hits) == pytest.approx(0.25, abs=0.05)


def test_as_accurate_as_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, labels, entities = data(1200, 60, entities=240, signal=0.3)
    train, test = slice(0, 600), slice(600, None)
    probe = probing.fit(x[train], probing.make_task(labels[train], entities[train], nulls=1))
    guess = [probe.classes[k] for k in probe.predict(x[test])[0]]
    ours = np.mean(np.asarray(guess) == labels[test])
    scaler = StandardScaler().fit(x[train])
    best = max(
        LogisticRegression(C=c, max_iter=500)
        .fit(scaler.transform(x[train]), labels[train])
        .score(scaler.transform(x[test]), labels[test])
        for c in (1e-3, 1e-2, 1e-1, 1.0)
    )
    assert 0.5 < best < 0.99  # the task is neither hopeless nor trivial
    assert ours == pytest.approx(best, abs=0.02)


def test_unequal_labels_do_not_hide_the_rare_one_nor_give_up_the_frequent_one() -> None:
    """Nine to one. Apart by four standard deviations both are read; in noise the frequent label is the best guess."""
    rng = np.random.default_rng(0)
    rare = np.arange(400) % 10 == 0
    names, entities = rare.astype(str).tolist(), [str(i) for i in range(400)]
    x = rng.normal(size=(400, 5)).astype(np.float32)
    apart = x + np.outer(rare, [4.0, 0, 0, 0, 0]).astype(np.float32)
    task = probing.make_task(names, entities, nulls=1)
    right = probing.fit(apart, task).held_out[0].argmax(1) == task.labels[0]
    assert right[rare].mean() > 0.8
    assert right[~rare].mean() > 0.95
    assert (probing.fit(x, task).held_out[0].argmax(1) == task.labels[0]).mean() > 0.88


def test_no_entity_is_on_both_sides_of_a_fold() -> None:
    entities = [f"e{i % 7}" for i in range(50)]
    fold = probing.grouped_folds(entities)
    assert set(fold) == {0, 1, 2, 3, 4}
    for entity in set(entities):
        assert len({f for f, e in zip(fold, entities, strict=True) if e == entity}) == 1


def test_a_shuffle_moves_whole_entities_and_keeps_the_number_of_each_label() -> None:
    entities = ["a", "a", "b", "b", "c", "c"]
    labels = np.array([0, 1, 2, 3, 4, 5])
    shuffles = probing.shuffled(labels, entities, 50)
    assert {tuple(pair) for line in shuffles for pair in line.reshape(3, 2)} == {(0, 1), (2, 3), (4, 5)}
    assert all(sorted(line) == [0, 1, 2, 3, 4, 5] for line in shuffles)
    assert len({tuple(line) for line in shuffles}) == 6  # all orders of three entities turn up


def test_a_feature_that_never_varies_changes_nothing() -> None:
    x, labels, entities = data(60, 20)
    task = probing.make_task(labels, entities, nulls=1)
    still = np.hstack([x, np.full((60, 3), 1234.567, np.float32)])
    with_still, without = probing.fit(still, task), probing.fit(x, task)
    assert np.abs(with_still.weights[:, 20:]).max() == 0
    assert with_still.held_out == pytest.approx(without.held_out, abs=1e-5)


def test_states_that_never_vary_give_the_most_frequent_label() -> None:
    labels = ["a"] * 6 + ["b"] * 4
    task = probing.make_task(labels, [str(i) for i in range(10)], nulls=1)
    probe = probing.fit(np.ones((10, 8), np.float32), task)
    assert probe.predict(np.ones((3, 8), np.float32))[0].tolist() == [0, 0, 0]
    assert np.isfinite(probe.held_out).all()


def test_intervals_are_those_of_stats_mean() -> None:
    rng = np.random.default_rng(0)
    values, entities = rng.random((3, 40)), [f"e{i % 9}" for i in range(40)]
    for line, found in zip(values, probing.intervals(values, entities, seed=3), strict=True):
        estimate = stats.mean(stats.Scores([str(i) for i in range(40)], entities, line), seed=3).estimate(0.0)
        assert found == pytest.approx((estimate.value, estimate.low, estimate.high))


def test_what_cannot_be_trained_says_why() -> None:
    with pytest.raises(NotIdentifiable, match="two labels"):
        probing.make_task(["a", "a"], ["x", "y"])
    with pytest.raises(NotIdentifiable, match="two entities"):
        probing.make_task(["a", "b"], ["x", "x"])
    with pytest.raises(CaseError, match='Did you mean "prompt_last"'):
        probing.check_settings("promptlast", 5, 20)
    with pytest.raises(CaseError, match="at least 2"):
        probing.check_settings("prompt_last", 1, 20)
    with pytest.raises(CaseError, match="at least 1"):
        probing.check_settings("prompt_last", 5, 0)
