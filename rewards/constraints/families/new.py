"""A part of the request, copied out of it."""

from __future__ import annotations

from typing import Any

from adhere.rewards.constraints.core.constraint import Count, Kwargs, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.copy import REQUEST, CopyOnly


@register
class CopySpanIdx(CopyOnly):
    """The characters from one index to another are copied out of the request."""

    id = "new:copy_span_idx"
    params = (
        REQUEST,
        Count("n_start", "the index of the first character, from 0", low=0),
        Count("n_end", "the index of the last character"),
    )
    phrasings = (
        "Cut out of the request what stands from character {n_start} through character {n_end}, and write only that.",
        "Write only the characters of the text above from index {n_start} to index {n_end}, both included.",
        "Your response is the part of the request from character {n_start} up to and including character {n_end}, "
        "counted from 0.",
    )
    compat_rule = "the text equals `request[n_start:n_end]`, the last character left out, case and outer space ignored"
    hardened_rule = "the text equals the characters from n_start to n_end, both included, white space folded, case kept"

    def target(self, kwargs: Kwargs, *, official: bool) -> str:
        return str(kwargs["prompt_to_repeat"][kwargs["n_start"] : kwargs["n_end"] + (not official)])

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        kwargs = super().sample(source)
        text = kwargs["prompt_to_repeat"]
        starts = [i for i in range(len(text)) if not text[i].isspace() and (i == 0 or text[i - 1].isspace())]
        start = source.rng.choice(starts)
        # At white space or the text's end, the official end (left out) and the asked one (included) agree.
        ends = [i for i in range(start + 1, len(text)) if text[i].isspace()] + [len(text)]
        return {**kwargs, "n_start": start, "n_end": source.rng.choice(ends)}
