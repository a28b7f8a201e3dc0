"""Which part of a response the official MathIF driver checks."""

from __future__ import annotations


def official_cut(response: str) -> str:
    """Return the text that MathIF's driver hands to its checkers (arXiv 2505.14810).

    The driver keeps what follows the first ``<think>``, of that what follows the first ``</think>``, of that
    what follows ``<answer>``, and of that what precedes ``</answer>``; a second occurrence of an opening tag
    or of ``</think>`` ends the text. Without ``</think>`` the reasoning itself is checked: training never
    cuts like this.
    """
    text = response
    for tag in ("<think>", "</think>", "<answer>"):
        if tag in text:
            text = text.split(tag)[1]
    return text.split("</answer>")[0]
