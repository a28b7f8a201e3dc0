"""Means and intervals: known cases, resampling by prompt, pairing."""

import numpy as np
import pytest

from adhere.evaluation.statistics import Bootstrap, pass_at_k, prompt_means

estimate, paired_difference = Bootstrap().estimate, Bootstrap().paired_difference


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def test_unscored_values_are_counted_and_left_out_of_the_mean():
    found = estimate([1.0, None, 0.0, 1.0], names(4))
    assert found.mean == pytest.approx(2 / 3)
    assert (found.n, found.prompts, found.unscored) == (3, 3, 1)


def test_nothing_scored_has_no_mean():
    found = estimate([None, None], names(2))
    assert (found.mean, found.low, found.high, found.n, found.unscored) == (None, None, None, 0, 2)


def test_interval_of_independent_prompts_is_the_binomial_one():
    values = [1.0] * 120 + [0.0] * 280
    found = Bootstrap(resamples=4000).estimate(values, names(400))
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert found.low == pytest.approx(0.3 - half, abs=0.008)
    assert found.high == pytest.approx(0.3 + half, abs=0.008)
    assert found == Bootstrap(resamples=4000).estimate(values, names(400))


def test_samples_of_one_prompt_are_no_independent_evidence():
    values = [1.0, 0.0] * 50
    many = estimate(np.repeat(values, 8).tolist(), [p for p in names(100) for _ in range(8)])
    once = estimate(values, names(100))
    assert many.n == 800 and many.prompts == 100
    assert many.high - many.low == pytest.approx(once.high - once.low, abs=0.02)


def test_all_or_none_right_is_not_certainty():
    zero, one = estimate([0.0] * 50, names(50)), estimate([1.0] * 50, names(50))
    assert (zero.mean, zero.low) == (0.0, 0.0) and zero.high == pytest.approx(0.0711, abs=1e-3)
    assert (one.mean, one.high) == (1.0, 1.0) and one.low == pytest.approx(1 - zero.high)


def test_pairing_takes_out_the_difficulty_of_the_prompts():
    rng = np.random.default_rng(1)
    hard = rng.random(300) < 0.5
    ours = {f"p{i}": float(h) for i, h in enumerate(hard)}
    theirs = {f"p{i}": float(h and i % 10 > 0) for i, h in enumerate(hard)}
    found = paired_difference(ours, theirs)
    expected = np.mean([ours[p] - theirs[p] for p in ours])
    assert found.mean == pytest.approx(expected) and found.low > 0.0
    assert found.high - found.low < 0.1
    assert paired_difference(ours, ours).mean == 0.0


def test_two_that_agree_on_every_prompt_are_not_certainly_equal() -> None:
    for prompts, most in ((8, 0.369), (200, 0.0183)):
        same = {str(n): float(n % 2) for n in range(prompts)}
        found = paired_difference(same, same)
        assert (found.mean, found.low, found.high) == pytest.approx((0.0, -most, most), abs=5e-4)
    assert paired_difference({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}).mean == 0.0


def test_pairing_uses_shared_prompts_only():
    found = paired_difference({"a": 1.0, "b": 0.0}, {"b": 1.0, "c": 1.0})
    assert (found.mean, found.n, found.unscored) == (-1.0, 1, 2)
    assert paired_difference({"a": 1.0}, {"b": 1.0}).mean is None


def test_prompt_means_average_samples():
    assert prompt_means([1.0, 0.0, None, None], ["a", "a", "a", "b"]) == {"a": 0.5}


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    assert pass_at_k(1, 4, 1) == pytest.approx(0.25)
    assert pass_at_k(1, 4, 2) == pytest.approx(0.5)
    assert pass_at_k(2, 4, 2) == pytest.approx(5 / 6)
    assert (pass_at_k(0, 4, 4), pass_at_k(3, 4, 2)) == (0.0, 1.0)
    with pytest.raises(ValueError, match="k lies in"):
        pass_at_k(1, 4, 5)


def test_runs_and_the_values_within_them_are_both_resampled():
    runs = [[0.0, 1.0] * 50, [1.0] * 100]
    drawn = Bootstrap(resamples=4000).nested_means(runs, seed=1)
    assert drawn.shape == (4000,)
    assert drawn.mean() == pytest.approx(0.75, abs=0.02)
    # between runs: two draws of 0.5 or 1.0 vary by 0.25 / √2
    assert drawn.std() == pytest.approx(0.25 / np.sqrt(2), abs=0.02)
    assert (drawn == Bootstrap(resamples=4000).nested_means(runs, seed=1)).all()
