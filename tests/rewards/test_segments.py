"""Where a response is cut at its reasoning."""

import pytest

from adhere.rewards.segments import split_response


@pytest.mark.parametrize(
    ("response", "reasoning", "answer"),
    [
        ("4", None, "4"),
        ("<think>2 + 2</think> 4", "2 + 2", "4"),
        ("2 + 2</think> 4", "2 + 2", "4"),
        ("<think>2 + 2", "2 + 2", None),
        ("<think>a</think><think>b</think>4", "a</think><think>b", "4"),
        ("<think>a</think> <think>so it is \\boxed{4}", "a</think> <think>so it is \\boxed{4}", None),
    ],
)
def test_a_block_that_stays_open_leaves_no_answer(response: str, reasoning: str | None, answer: str | None) -> None:
    segments = split_response(response)
    assert (segments.reasoning, segments.answer) == (reasoning, answer)
