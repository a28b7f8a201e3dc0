"""Paragraphs and whole answers that dividers set apart."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import Count, Text, plural
from adhere.rewards.constraints.sentences import distinct_fillers, flat, in_groups, split_sentences
from adhere.rewards.constraints.text import boxed_spans, has_content, masked, math_spans

FIRST_WORDS: tuple[str, ...] = ("today", "first", "water", "people", "morning", "music", "nature", "gold", "paper")
"""Words that training asks a paragraph to begin with."""

_DIVIDER = re.compile(r"(?:^|(?<=[ \t]))\*\*\*[ \t]*$", re.MULTILINE)
_SEPARATOR = re.compile(r"^[ \t]*\*{6}[ \t]*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_SIGNS = "\"'“”‘’*_#>-•( \t"
_WORD = re.compile(r"[^\W_]++(?:[-'’][^\W_]++)*")
_RUNS_ON = re.compile(r"[-'’]?\w")
_ALIKE = 0.9


def _stripped(text: str) -> str:
    """Return ``text`` without quotation marks around all of it."""
    body = text.strip()
    return body[1:-1] if len(body) > 2 and body[0] == body[-1] == '"' else body


@register
class NumberParagraphs(Constraint):
    """Exactly so many paragraphs, with the divider ``***`` between them."""

    id = "length_constraints:number_paragraphs"
    collection = "ifeval"
    step = Step.PARAGRAPH
    params = (Count("num_paragraphs", "the number of paragraphs"),)
    phrasings = (
        "Use {paragraphs}, each parted from the next by the markdown divider ***",
        "Write exactly {paragraphs}, with the divider *** between one and the next.",
        "Divide the response into {paragraphs} by lines that hold nothing but ***",
        "The answer has to consist of {paragraphs} set apart by ***",
    )
    compat_rule = "what stands between `***`, blank pieces at both ends aside, numbers exactly N, none of it blank"
    hardened_rule = (
        "the pieces between `***` at ends of lines number exactly N, each has content, and `***` occurs nowhere else "
        "outside formulas and code"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"paragraphs": plural(kwargs["num_paragraphs"], "paragraph")}

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        # the official pattern also takes white space beside the stars, which changes neither count nor blankness
        pieces = text.split("***")
        if any(not piece.strip() for piece in pieces[1:-1]):
            return Outcome(False, "an empty paragraph")
        ends = [pieces[0], pieces[-1]] if len(pieces) > 1 else []
        return self._outcome(len(pieces) - sum(not piece.strip() for piece in ends), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = _stripped(masked(text, math_spans(text)))
        pieces = _DIVIDER.split(body)
        if any("***" in piece for piece in pieces):
            return Outcome(False, "a divider with text after it")
        if len(pieces) > 1:
            pieces = pieces[not pieces[0].strip() : len(pieces) - (not pieces[-1].strip())]
        if not all(map(has_content, pieces)):
            return Outcome(False, "an empty paragraph")
        return self._outcome(len(pieces), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        return Outcome(
            count == kwargs["num_paragraphs"], f"{plural(count, 'paragraph')}, {kwargs['num_paragraphs']} wanted"
        )

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"num_paragraphs": source.count("num_paragraphs")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return "\n***\n".join("\n".join(group) for group in _divided(text, kwargs["num_paragraphs"]))

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return bool(kwargs["num_paragraphs"] != other["num_paragraphs"])
        return other_id in (FirstWord.id, TwoResponses.id)


def _divided(text: str, count: int) -> list[list[str]]:
    """Cut ``text`` into ``count`` groups of lines, by sentence where it has too few lines."""
    lines = [line for line in text.replace("***", "").split("\n") if has_content(line)]
    if len(lines) < count:
        lines = [flat(sentence) for sentence in split_sentences("\n".join(lines))]
    return in_groups([*distinct_fillers(count - len(lines)), *lines], count)


@register
class FirstWord(Constraint):
    """Exactly so many paragraphs, blank lines between them, and one of them begins with a word."""

    id = "length_constraints:nth_paragraph_first_word"
    collection = "ifeval"
    step = Step.PARAGRAPH
    params = (
        Count("num_paragraphs", "the number of paragraphs"),
        Count("nth_paragraph", "which paragraph begins with the word, counted from 1"),
        Text("first_word", "the word, case ignored", r"[^\s.,?!'\"]+"),
    )
    phrasings = (
        "Use {paragraphs}: two line breaks part them and occur nowhere else. Number {nth_paragraph} of them opens with "
        "{first_word}.",
        'Write {paragraphs} with a blank line between one and the next; let paragraph {nth_paragraph} open with "'
        '{first_word}".',
        'Use exactly {paragraphs}, set apart by blank lines. The first word of paragraph {nth_paragraph} is "'
        '{first_word}".',
        'Give {paragraphs} separated by empty lines, and begin paragraph {nth_paragraph} with the word "{first_word}".',
    )
    compat_rule = (
        "what stands between blank lines, blank pieces aside, numbers exactly N, and the piece with that number "
        "begins with the word, quotation marks before it aside, up to the first of `.,?!'\"`"
    )
    hardened_rule = (
        "the paragraphs number exactly N and each has content; the whole first word of the one asked for, after "
        "quotation marks and markdown signs, is the word, and more follows it"
    )

    def misfit(self, kwargs: Kwargs) -> str | None:
        if kwargs["nth_paragraph"] <= kwargs["num_paragraphs"]:
            return None
        return f"nth_paragraph {kwargs['nth_paragraph']} is above num_paragraphs {kwargs['num_paragraphs']}"

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {**kwargs, "paragraphs": plural(kwargs["num_paragraphs"], "paragraph")}

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        pieces = text.split("\n\n")
        count = sum(bool(piece.strip()) for piece in pieces)
        nth = kwargs["nth_paragraph"]
        # blank pieces shift the number, as they do in the official code
        words = pieces[nth - 1].split() if nth <= count else []
        word = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0].lower() if words else ""
        return self._outcome(count, word, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        pieces = [piece for piece in _BLANK_LINES.split(masked(text.strip(), math_spans(text.strip()))) if piece]
        if not all(map(has_content, pieces)):
            return Outcome(False, "an empty paragraph")
        nth, word = kwargs["nth_paragraph"], kwargs["first_word"].lower()
        piece = pieces[nth - 1].lstrip(_SIGNS).lower() if nth <= len(pieces) else ""
        rest = piece.removeprefix(word)
        if rest == piece or _RUNS_ON.match(rest):
            return self._outcome(len(pieces), "", kwargs)
        if not has_content(rest):
            return Outcome(False, f"nothing follows the first word of paragraph {nth}")
        return self._outcome(len(pieces), word, kwargs)

    @staticmethod
    def _outcome(count: int, word: str, kwargs: Kwargs) -> Outcome:
        if count != kwargs["num_paragraphs"]:
            return Outcome(False, f"{plural(count, 'paragraph')}, {kwargs['num_paragraphs']} wanted")
        ok = word == kwargs["first_word"].lower()
        verb = "begins" if ok else "does not begin"
        return Outcome(ok, f'paragraph {kwargs["nth_paragraph"]} {verb} with "{kwargs["first_word"]}"')

    def sample(self, source: Sampler) -> dict[str, Any]:
        count = source.count("num_paragraphs")
        nth = source.rng.randint(1, count)
        return {"num_paragraphs": count, "nth_paragraph": nth, "first_word": source.rng.choice(FIRST_WORDS)}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        groups = _divided(text, kwargs["num_paragraphs"])
        opening = f"{kwargs['first_word'].capitalize()} is the word that comes first here."
        nth = kwargs["nth_paragraph"] - 1
        groups[nth] = [opening, *groups[nth]]
        return "\n\n".join("\n".join(group) for group in groups)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return kwargs != other
        return other_id in ("combination:repeat_prompt", TwoResponses.id) and bool(kwargs["nth_paragraph"] == 1)


@register
class TwoResponses(Constraint):
    """Two different answers with ``******`` between them."""

    id = "combination:two_responses"
    collection = "ifeval"
    step = Step.TWICE
    phrasings = (
        "Respond two times, not the same way, with six asterisks ****** as the border.",
        "Answer twice in different words; put a line of six asterisks (******) between the two answers.",
        "Provide two distinct responses with ****** on its own line between them, and nothing else of that kind.",
        "Write one response, then ****** and then another response that differs from it.",
    )
    compat_rule = "`******` cuts the text into two pieces that are not blank and not equal, blank ends aside"
    hardened_rule = (
        "one line that is `******` and nothing else cuts the text into two pieces with content, which share fewer "
        "than nine in ten of their words"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        pieces = [piece.strip() for piece in text.split("******")]
        filled = [piece for piece in pieces if piece]
        if not all(pieces[1:-1]) or len(filled) != 2:
            return Outcome(False, f"{plural(len(filled), 'response')} between separators, 2 wanted")
        return Outcome(filled[0] != filled[1], "two responses" if filled[0] != filled[1] else "twice the same response")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        pieces = _SEPARATOR.split(masked(text, math_spans(text)) if "`" in text else text)
        if len(pieces) != 2 or any("******" in piece for piece in pieces):
            return Outcome(False, "needs one line that is ****** and no other")
        if not all(map(has_content, pieces)):
            return Outcome(False, "one of the responses is empty")
        share = _shared(*pieces)
        return Outcome(share < _ALIKE, f"two responses that share {share:.0%} of their words")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = re.sub(r"\*{3,}", "", text)
        boxes = boxed_spans(body)
        last = f" It comes to {body[slice(*boxes[-1])]}." if boxes else ""
        for count in range(2, 12):
            done = f"{' '.join(distinct_fillers(count))}{last}\n******\n{body.lstrip()}"
            if self.hardened(done, {}).ok:
                return done
        return None


def _shared(one: str, two: str) -> float:
    """Return the share of words that two texts have in common, of the longer one's, in [0, 1]."""
    a, b = (Counter(word.casefold() for word in _WORD.findall(text)) for text in (one, two))
    return sum((a & b).values()) / max(1, a.total(), b.total())
