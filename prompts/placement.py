"""Where a prompt asks for its requirements: after the question, before it, in the system turn, and so on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from adhere.prompts.config import Placement
from adhere.prompts.item import Message
from adhere.rewards.constraints.text.segmentation import ABBREVIATIONS, split_sentences

LIST_OPENINGS = (
    "Follow these rules:", "Requirements:", "Keep to the following:", "Your response has to meet these points:",
    "What I ask of the answer:", "Please note:", "Conditions:", "Form of the answer:",
)  # fmt: skip
REMINDERS = (
    "Once more:", "Remember:", "To repeat what matters:", "Do not forget:", "Again, for the answer:", "As said above:",
)  # fmt: skip


def placed(
    messages: Sequence[Message], texts: Sequence[str], placement: Placement, rng: random.Random
) -> tuple[Message, ...]:
    """Return the conversation with the requirements in it.

    Args:
        messages: the conversation; its last turn asks the question.
        texts: the requirements, each whole, in their order; all of them stand in the prompt word for word.
        placement: where they go.
        rng: decides on openings, the marks of a list and the gaps between sentences.
    """
    *earlier, last = messages
    content, joined = last["content"], " ".join(texts)
    if placement == "before":
        content = f"{joined}\n{content}"
    elif placement == "system":
        if earlier and earlier[0]["role"] == "system":
            earlier[0] = Message(role="system", content=f"{earlier[0]['content']}\n{joined}")
        else:
            earlier.insert(0, Message(role="system", content=joined))
    elif placement == "list":
        numbered = rng.random() < 0.5
        points = [f"{i}. {text}" if numbered else f"- {text}" for i, text in enumerate(texts, 1)]
        content = "\n".join([content, rng.choice(LIST_OPENINGS), *points])
    elif placement == "woven":
        content = _woven(content, texts, rng)
    elif placement == "repeated":
        content = f"{joined}\n{content}\n{rng.choice(REMINDERS)} {joined}"
    else:
        content = f"{content} {joined}"
    return (*earlier, Message(role=last["role"], content=content))


def _woven(content: str, texts: Sequence[str], rng: random.Random) -> str:
    """Put each requirement into a gap between sentences of the question, or at its ends where it has one only."""
    # A sentence ends where the next one is found; formulas, boxes, code and abbreviations are never cut.
    starts, at = [], 0
    for sentence in split_sentences(content):
        last = content[:at].split()[-1:]
        at = content.index(sentence, at)
        bare = last[0].rstrip(".").lower() if last else ""
        if not last or (bare not in ABBREVIATIONS and len(bare) > 1 and not sentence[:1].islower()):
            starts.append(at)
        at += len(sentence)
    inner = starts[1:] or [0, len(content)]
    gaps = sorted(rng.choice(inner) for _ in texts)
    parts, before = [], 0
    for gap, text in zip(gaps, texts, strict=True):
        parts += [content[before:gap].rstrip(" "), "" if content[before:gap][-1:] in ("", "\n") else " ", text, " "]
        before = gap
    return "".join([*parts, content[before:]]).rstrip(" ")
