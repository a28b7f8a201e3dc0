"""IFTrain's counts of words: lower-case ones, different ones, and words in sentences in paragraphs."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    Count,
    Kwargs,
    Mode,
    Needed,
    Step,
    Word,
    decided,
    off_by,
    plural,
    register,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.keywords import is_pattern, occurrences, official_matches, with_exactly
from adhere.rewards.constraints.families.shared import IFTrain, WholeResponse
from adhere.rewards.constraints.text.segmentation import ifevalg_sentences, nltk_tokens, read_sentences, spoken
from adhere.rewards.constraints.text.views import edit_outside, exempt_spans, has_content, layout, prose, visible
from adhere.rewards.verdict import Verdict, failed, passed

_LOWER = re.compile(r"\b[a-z]+\b")
_WORD = re.compile(r"[^\W_]++(?:['’][^\W_]++)*")
_PLAIN = re.compile(r"(?<![\w\\'’])[a-z]++(?:['’][a-z]++)*(?![\w'’])")
_DIVIDER = re.compile(r"^[ \t]*(?:\*[ \t]*+){3}$", re.MULTILINE)


@register
class LowercaseCounting(IFTrain):
    """At most so many words in lower case."""

    id = "count:lowercase_counting"
    step = Step.CASE
    params = (Count("N", "the greatest number of lower-case words"),)
    phrasings = (
        "Of words in lower case your response has {N} or fewer.",
        "Use no more than {N} words that are all in lower case.",
        "At most {N} words of your response may be written in lower-case letters only.",
    )
    compat_rule = "the runs of `a` to `z` between word boundaries, LaTeX included, number N at most"
    hardened_rule = "words in lower case, in any alphabet, number N at most; formulas and LaTeX commands do not count"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(len(_LOWER.findall(text)), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(sum(word.islower() for word in _WORD.findall(visible(prose(text)))), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        off = off_by(count, "lower-case word", kwargs["N"], "at most")
        return decided(count <= kwargs["N"], f"{plural(count, 'lower-case word')}, {kwargs['N']} allowed", off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"N": source.count("num_lowercase")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        spans = exempt_spans(text)
        left = kwargs["N"] - sum(len(_LOWER.findall(text[start:end])) for start, end in spans)

        def capitalise(match: re.Match[str]) -> str:
            nonlocal left
            left -= len(_LOWER.findall(match.group()))
            return match.group() if left >= 0 else match.group().title()

        return edit_outside(text, spans, lambda piece: _PLAIN.sub(capitalise, piece))

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id in {
            "change_case:english_lowercase",
            "combination:repeat_prompt",
            "keywords:keyword_specific_position",
            "copy:repeat_phrase",
        }


@register
class CountIncrementWord(IFTrain):
    """One keyword occurs once, another one twice."""

    id = "count:count_increment_word"
    step = Step.ADD
    params = (Word("keyword1", "the word that occurs once"), Word("keyword2", "the word that occurs twice"))
    phrasings = (
        "Of the word {keyword1} there is one in your response, of the word {keyword2} there are two.",
        'Use the word "{keyword1}" exactly once and the word "{keyword2}" exactly twice.',
        'Your answer must mention "{keyword1}" one time and "{keyword2}" two times, no more and no less.',
    )
    compat_rule = "the first regular expression matches once, the second one twice, inside other words too"
    hardened_rule = "as whole words, the first occurs once and the second one twice; LaTeX commands do not count"

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return mode == "compat" and is_pattern(kwargs.values())

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(official_matches(kwargs["keyword1"], text), official_matches(kwargs["keyword2"], text))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        seen = visible(text)
        return self._verdict(occurrences(kwargs["keyword1"], seen), occurrences(kwargs["keyword2"], seen))

    @staticmethod
    def _verdict(first: int, second: int) -> Verdict:
        off = abs(first - 1) + abs(second - 2)
        told = f"{first}x and {second}x, 1x and 2x wanted"
        return decided(not off, told, off_by(3 + off, "occurrence", 3))

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        one, two = source.rng.sample(list(source.keywords), 2)
        return {"keyword1": one, "keyword2": two}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return with_exactly(text, {kwargs["keyword1"]: 1, kwargs["keyword2"]: 2})

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(f"{kwargs['keyword1']} {kwargs['keyword2']} {kwargs['keyword2']}", exact=False)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        text = needed.text.lower()
        return text.count(kwargs["keyword1"].lower()) > 1 or text.count(kwargs["keyword2"].lower()) > 2


@register
class CountUnique(WholeResponse):
    """No word occurs twice."""

    id = "count:count_unique"
    step = Step.CASE
    rewritable = False
    phrasings = (
        "Let no word occur a second time in your response.",
        "Every word of your answer may be used once and never again.",
        "Do not repeat a single word in what you write.",
    )
    compat_rule = "no token of NLTK's occurs twice, punctuation included, case kept"
    hardened_rule = "no word occurs twice, case ignored; formulas and LaTeX commands do not count, and there is a word"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(nltk_tokens(text))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        words = [word.casefold() for word in _WORD.findall(visible(prose(text)))]
        return self._verdict(words) if words else failed("no words")

    @staticmethod
    def _verdict(words: list[str]) -> Verdict:
        repeated = len(words) - len(set(words))
        return decided(not repeated, f"{plural(repeated, 'repetition')}")


@register
class CountingComposition(WholeResponse):
    """Three paragraphs of so many sentences of so many words."""

    id = "count:counting_composition"
    step = Step.SECTION
    rewritable = False
    params = (
        Count("n_sent", "the number of sentences in each paragraph"),
        Count("n_words", "the number of words in each sentence"),
    )
    phrasings = (
        "Make it 3 paragraphs parted by * * *; a paragraph is {n_sent} sentences, and a sentence is {n_words} words.",
        "Your response has 3 paragraphs with * * * between them; each has {n_sent} sentences of {n_words} words.",
        "Structure: 3 paragraphs, * * * as the divider, {n_sent} sentences a paragraph, {n_words} words a sentence.",
    )
    compat_rule = (
        "cut at `***` (not `* * *`), three parts have N official sentences of M tokens each, punctuation counted, none "
        "at the ends blank"
    )
    hardened_rule = (
        "lines `* * *` or `***` part three paragraphs, each with N sentences of M words; a hyphenated word may count "
        "as one or as its parts"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        parts = re.split(r"\s?\*\*\*\s?", text)
        for part in parts:
            found = ifevalg_sentences(part)
            if len(found) != kwargs["n_sent"]:
                return failed(f"{plural(len(found), 'sentence')} in a paragraph")
            if any(len(nltk_tokens(sentence)) != kwargs["n_words"] for sentence in found):
                return failed("a sentence has another number of tokens")
        return decided(len(parts) == 3, plural(len(parts), "paragraph"))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        parts = _DIVIDER.split(layout(text))
        if len(parts) != 3 or not all(map(has_content, parts)):
            return failed(f"{plural(len(parts), 'paragraph')}, 3 wanted")
        for part in parts:
            found = read_sentences(part)
            if len(found) != kwargs["n_sent"]:
                return failed(f"{plural(len(found), 'sentence')} in a paragraph")
            for sentence in found:
                whole = len(spoken(sentence))
                if kwargs["n_words"] not in (whole, len(spoken(sentence.replace("-", " ")))):
                    return failed(f"a sentence of {plural(whole, 'word')}")
        return passed("three paragraphs of the right sentences")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"n_sent": source.count("sentences_per_paragraph"), "n_words": source.count("words_per_sentence")}
