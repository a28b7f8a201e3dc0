"""How long a response is in words and sentences, and the paragraphs that it is made of."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    RELATIONS,
    Constraint,
    Count,
    Kwargs,
    Needed,
    Step,
    Text,
    counted,
    decided,
    exclude,
    off_by,
    plural,
    register,
    relation,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.combination import TwoResponses
from adhere.rewards.constraints.families.length_constraint_checkers import NumberWords
from adhere.rewards.constraints.families.shared import NUMBER_WORDS
from adhere.rewards.constraints.text.fillers import distinct_fillers, flat, in_groups, keep_last, lead
from adhere.rewards.constraints.text.punkt import sentence_count
from adhere.rewards.constraints.text.segmentation import (
    least_sentences,
    most_sentences,
    split_sentences,
)
from adhere.rewards.constraints.text.views import has_content, masked, math_spans
from adhere.rewards.verdict import Verdict, failed


@register
class NumberWordsIFEval(NumberWords):
    """At least, or less than, so many words: the same constraint under the id that IFEval gives it."""

    id = "length_constraints:number_words"
    collection = "ifeval"


_SHORTEST, _LONGEST = 8, 40
"""Words in a short and in a long sentence, to tell bounds on both that no sensible text meets."""

_ADDING = {
    "detectable_format:number_bullet_lists": "num_bullets",
    "detectable_format:multiple_sections": "num_sections",
    "length_constraints:number_paragraphs": "num_paragraphs",
    "length_constraints:nth_paragraph_first_word": "num_paragraphs",
}


@register
class NumberSentences(Constraint):
    """At least, or less than, so many sentences."""

    id = "length_constraints:number_sentences"
    collection = "ifeval"
    step = Step.CUT
    params = (Count("num_sentences", "the number of sentences"), relation())
    phrasings = (
        "Answer in {relation} {num_sentences} sentences.",
        "Write {relation} {num_sentences} sentences.",
        "Use {relation} {num_sentences} sentences in the whole answer.",
        "The answer should be {relation} {num_sentences} sentences long.",
    )
    compat_rule = "the sentences that Punkt's rules cut stand in the relation"
    hardened_rule = (
        "for at least: sentences of two words or more that end in a mark, repetitions aside; for less than: also "
        "lines of five words or more without a mark; list numbers, abbreviations and formulas end no sentence"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(sentence_count(text), "sentence", kwargs["num_sentences"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        count = least_sentences(text) if kwargs["relation"] == "at least" else most_sentences(text)
        return counted(count, "sentence", kwargs["num_sentences"], kwargs["relation"])

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        bound = source.rng.choice(RELATIONS)
        return {"num_sentences": source.count("num_sentences"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        bound = kwargs["num_sentences"]
        if kwargs["relation"] == "less than":
            # one sentence stays free for an end phrase
            return keep_last(text, _weight, bound - 1) if bound > 2 else keep_last(text, _weight, bound)
        missing = bound - min(least_sentences(text), sentence_count(text))
        for extra in range(3):
            done = lead(text, distinct_fillers(missing + extra))
            if self.compat(done, kwargs).passed and self.hardened(done, kwargs).passed:
                return done
        return None

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["relation"] == "less than" and _weight(needed.text) + 1 > kwargs["num_sentences"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        bound, upper = kwargs["num_sentences"], kwargs["relation"] == "less than"
        if other_id in NUMBER_WORDS and kwargs["relation"] != other["relation"]:
            words = other["num_words"]
            return bool(words > _LONGEST * (bound - 1) if upper else words <= _SHORTEST * (bound + 1))
        if upper and other_id in _ADDING:
            return bool(other[_ADDING[other_id]] > bound)
        return other_id == self.id and exclude(kwargs, other, "num_sentences", "relation")


def _weight(sentence: str) -> int:
    return max(1, sentence_count(sentence), most_sentences(sentence))


FIRST_WORDS: tuple[str, ...] = ("today", "first", "water", "people", "morning", "music", "nature", "gold", "paper")
"""Words that training asks a paragraph to begin with."""

_DIVIDER = re.compile(r"(?:^|(?<=[ \t]))\*\*\*[ \t]*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_SIGNS = "\"'“”‘’*_#>-•( \t"
_RUNS_ON = re.compile(r"[-'’]?\w")


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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        # the official pattern also takes white space beside the stars, which changes neither count nor blankness
        pieces = text.split("***")
        if any(not piece.strip() for piece in pieces[1:-1]):
            return failed("an empty paragraph")
        ends = [pieces[0], pieces[-1]] if len(pieces) > 1 else []
        return self._verdict(len(pieces) - sum(not piece.strip() for piece in ends), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = _stripped(masked(text, math_spans(text)))
        pieces = _DIVIDER.split(body)
        if any("***" in piece for piece in pieces):
            return failed("a divider with text after it")
        if len(pieces) > 1:
            pieces = pieces[not pieces[0].strip() : len(pieces) - (not pieces[-1].strip())]
        if not all(map(has_content, pieces)):
            return failed("an empty paragraph")
        return self._verdict(len(pieces), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["num_paragraphs"]
        off = off_by(count, "paragraph", wanted)
        return decided(count == wanted, f"{plural(count, 'paragraph')}, {wanted} wanted", off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        pieces = text.split("\n\n")
        count = sum(bool(piece.strip()) for piece in pieces)
        nth = kwargs["nth_paragraph"]
        # blank pieces shift the number, as they do in the official code
        words = pieces[nth - 1].split() if nth <= count else []
        word = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0].lower() if words else ""
        return self._verdict(count, word, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        pieces = [piece for piece in _BLANK_LINES.split(masked(text.strip(), math_spans(text.strip()))) if piece]
        if not all(map(has_content, pieces)):
            return failed("an empty paragraph")
        nth, word = kwargs["nth_paragraph"], kwargs["first_word"].lower()
        piece = pieces[nth - 1].lstrip(_SIGNS).lower() if nth <= len(pieces) else ""
        rest = piece.removeprefix(word)
        if rest == piece or _RUNS_ON.match(rest):
            return self._verdict(len(pieces), "", kwargs)
        if not has_content(rest):
            return failed(f"nothing follows the first word of paragraph {nth}")
        return self._verdict(len(pieces), word, kwargs)

    @staticmethod
    def _verdict(count: int, word: str, kwargs: Kwargs) -> Verdict:
        ok = word == kwargs["first_word"].lower()
        if count != kwargs["num_paragraphs"]:
            # not the word in its place is worse than one paragraph too many: no credit for the count alone
            off = off_by(count, "paragraph", kwargs["num_paragraphs"]) if ok else None
            return failed(f"{plural(count, 'paragraph')}, {kwargs['num_paragraphs']} wanted", off)
        verb = "begins" if ok else "does not begin"
        return decided(ok, f'paragraph {kwargs["nth_paragraph"]} {verb} with "{kwargs["first_word"]}"')

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        count = source.count("num_paragraphs")
        nth = source.rng.randint(1, count)
        return {
            "num_paragraphs": count,
            "nth_paragraph": nth,
            "first_word": source.rng.choice(source.keywords if source.wide else FIRST_WORDS),
        }

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
