"""One check of IFBench's own checkers, in a worker process that can be killed; `ifbench` sends the calls."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import nltk

from adhere.rewards.verdict import Verdict, failed, passed

# The package asks NLTK for its data when it is imported; whatever is there is found, and nothing is downloaded.
_download, nltk.download = nltk.download, lambda *_, **__: False
try:
    from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT
finally:
    nltk.download = _download


def check_instructions(name: str, kwargs: Mapping[str, Any], prompt: str, texts: Sequence[str]) -> Verdict:
    """Return whether any of ``texts`` follows an instruction.

    Args:
        name: id of the instruction, such as ``count:word_count_range``.
        kwargs: its arguments; what is missing is drawn by the checker, here always the same.
        prompt: the user's turn, which some checkers compare with.
        texts: readings of a response; a blank one follows nothing.
    """
    random.seed(0)
    instruction = INSTRUCTION_DICT[name](name)
    instruction.build_description(**kwargs)
    args = instruction.get_instruction_args()
    if args and "prompt" in args:
        instruction.build_description(prompt=prompt)
    met = any(text.strip() and instruction.check_following(text) for text in texts)
    return passed("followed") if met else failed("not followed")
