"""Words that occur, how often and where; words and letters that must not; palindromes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    RELATIONS,
    Choice,
    Constraint,
    Count,
    Kwargs,
    Mode,
    Needed,
    Step,
    Text,
    Word,
    WordList,
    decided,
    exclude,
    holds,
    off_by,
    register,
    relation,
    times,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.shared import IFTrain, WholeResponse
from adhere.rewards.constraints.text.fillers import FILLERS, fillers, lead
from adhere.rewards.constraints.text.segmentation import (
    ifevalg_sentences,
    nltk_tokens,
    read_sentences,
    same_word,
    spoken,
)
from adhere.rewards.constraints.text.views import edit_boxes, edit_outside, exempt_spans, prose, visible
from adhere.rewards.verdict import Deviation, Verdict, failed

_ALNUM = r"[^\W_]"
_PLAIN_WORDS = re.compile(r"[\w '’-]+")
_MENTIONS = (
    "Think of the word {} first.",
    "Next to it we keep {} in mind.",
    "The word {} comes up here too.",
    "It helps to say {} once more.",
    "So {} has its place in this text.",
)


def occurrences(word: str, text: str) -> int:
    """Count ``word`` as a whole word in ``text``, case ignored; underscores are boundaries, as in ``_word_``."""
    if not (word.isascii() and text.isascii()):
        return len(_whole(word).findall(text))
    word, text = word.lower(), text.lower()
    count, at = 0, text.find(word)
    while at >= 0:
        end = at + len(word)
        whole = not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum())
        count += whole
        at = text.find(word, end if whole else at + 1)
    return count


@lru_cache(maxsize=1024)
def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!{_ALNUM}){re.escape(word)}(?!{_ALNUM})", re.IGNORECASE)


def official_matches(word: str, text: str) -> int:
    """Count what the regular expression ``word`` finds, case ignored; plain words are counted without one."""
    if word.isascii() and word.isalnum() and text.isascii():
        return text.lower().count(word.lower())
    return len(re.findall(word, text, re.IGNORECASE))


def is_pattern(words: Iterable[str]) -> bool:
    """Whether the official code reads one of ``words`` as more than plain words; a pattern may backtrack for ever."""
    return not all(_PLAIN_WORDS.fullmatch(word) for word in words)


def drop_words(text: str, chosen: Callable[[str], bool]) -> str:
    """Remove the words for which ``chosen`` is true, outside formulas, boxes and code."""

    def edit(piece: str) -> str:
        return re.sub(r"[ \t]?(?<![\w\\])[\w'’-]+", lambda m: "" if chosen(m.group()) else m.group(), piece)

    return edit_outside(text, exempt_spans(text), edit)


def drop_beyond(text: str, count: Callable[[str], int], most: int) -> str:
    """Remove the words, outside formulas, boxes and code, with which the sum of ``count`` would go above ``most``."""
    left = most

    def beyond(word: str) -> bool:
        nonlocal left
        hits = count(word)
        if hits > max(left, 0):
            return True
        left -= hits
        return False

    return drop_words(text, beyond)


def listed(words: list[str], last: str = "and") -> str:
    """Return ``"a", "b" and "c"``."""
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


@register
class Existence(Constraint):
    """Every keyword occurs."""

    id = "keywords:existence"
    collection = "mathif"
    step = Step.ADD
    params = (WordList("keywords", "the words that have to occur"),)
    phrasings = (
        "Include the keywords {keywords} in the response.",
        "Your response has to mention {keywords}.",
        "Make sure that {keywords} can be found in what you write.",
        "Work {keywords} into your answer.",
    )
    compat_rule = "each keyword, read as a regular expression, matches somewhere, inside other words too"
    hardened_rule = "each keyword occurs as a whole word; LaTeX commands and environment names do not count"

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return mode == "compat" and is_pattern(kwargs["keywords"])

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"keywords": listed(kwargs["keywords"])}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict([w for w in kwargs["keywords"] if not official_matches(w, text)])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        seen = visible(text)
        return self._verdict([w for w in kwargs["keywords"] if not occurrences(w, seen)])

    @staticmethod
    def _verdict(absent: list[str]) -> Verdict:
        return decided(not absent, f"lacks {listed(absent)}" if absent else "all keywords occur")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"keywords": source.rng.sample(list(source.keywords), source.count("num_keywords"))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        seen = visible(text)
        absent = [w for w in kwargs["keywords"] if not occurrences(w, seen)]
        return lead(text, [f"We keep {' and '.join(absent)} in mind."])

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(" ".join(kwargs["keywords"]), exact=False)


@register
class Frequency(Constraint):
    """A keyword occurs at least, or less than, so many times."""

    id = "keywords:frequency"
    collection = "mathif"
    step = Step.ADD
    params = (
        Text("keyword", "the word that is counted"),
        Count("frequency", "the number of occurrences"),
        relation(),
    )
    phrasings = (
        'In your response the word "{keyword}" should appear {times}.',
        'Use the word "{keyword}" {times}.',
        'The word "{keyword}" has to be written {times} in your answer.',
        'Let "{keyword}" occur {times} in the text.',
    )
    compat_rule = "the regular expression's matches, inside other words and LaTeX too, stand in the relation"
    hardened_rule = "whole-word occurrences stand in the relation; LaTeX commands do not count"

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return mode == "compat" and is_pattern([kwargs["keyword"]])

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {**kwargs, "times": times(kwargs["frequency"], kwargs["relation"])}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(official_matches(kwargs["keyword"], text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(occurrences(kwargs["keyword"], visible(text)), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = f"{kwargs['relation']} {kwargs['frequency']} wanted"
        bound, relation = kwargs["frequency"], kwargs["relation"]
        off = off_by(count, "occurrence", bound, relation)
        return decided(holds(count, bound, relation), f'"{kwargs["keyword"]}" {count}x, {wanted}', off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        bound = source.rng.choice(("at least", "less than"))
        word = source.rng.choice(list(source.keywords))
        return {"keyword": word, "frequency": source.count("frequency"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word, bound = kwargs["keyword"], kwargs["frequency"]
        if kwargs["relation"] == "at least":
            absent = bound - occurrences(word, visible(text))
            return lead(text, [_MENTIONS[i % len(_MENTIONS)].format(word) for i in range(absent)])
        inside = re.compile(re.escape(word), re.IGNORECASE)
        return drop_beyond(text, lambda token: len(inside.findall(token)), bound - 1)

    def needs(self, kwargs: Kwargs) -> Needed | None:
        if kwargs["relation"] == "less than":
            return None
        return Needed(" ".join([kwargs["keyword"]] * kwargs["frequency"]), exact=False)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        if kwargs["relation"] == "at least":
            return False
        # Inside other words counts as well: the official checker has to be content too.
        hits = needed.text.lower().count(kwargs["keyword"].lower())
        return not holds(hits, kwargs["frequency"], "less than")


@register
class Forbidden(Constraint):
    """None of the words occurs."""

    id = "keywords:forbidden_words"
    collection = "mathif"
    step = Step.REMOVE
    params = (WordList("forbidden_words", "the words that must not occur"),)
    phrasings = (
        "Do not include the keywords {words} in the response.",
        "Avoid {words} everywhere in your answer.",
        "Your response must do without {words}.",
        "Never write {words}.",
    )
    compat_rule = "no word matches between regular-expression word boundaries"
    hardened_rule = (
        "no word occurs as a whole word, hidden characters and full-width forms seen through; LaTeX commands do not "
        "count"
    )

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return mode == "compat" and is_pattern(kwargs["forbidden_words"])

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"words": listed(kwargs["forbidden_words"], "or")}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        # a plain word that does not occur at all needs no search for its boundaries
        plain = text.lower() if text.isascii() else None
        words = [w for w in kwargs["forbidden_words"] if plain is None or not w.isalnum() or w.lower() in plain]
        return self._verdict([w for w in words if re.search(rf"\b{w}\b", text, re.IGNORECASE)])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        seen = visible(text)
        return self._verdict([w for w in kwargs["forbidden_words"] if occurrences(w, seen)])

    @staticmethod
    def _verdict(present: list[str]) -> Verdict:
        return decided(not present, f"contains {listed(present)}" if present else "no forbidden word")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"forbidden_words": source.rng.sample(list(source.keywords), source.count("num_forbidden"))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return drop_words(text, lambda token: any(occurrences(w, token) for w in kwargs["forbidden_words"]))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not self.hardened(needed.text, kwargs).passed


def with_exactly(text: str, counts: dict[str, int]) -> str:
    """Remove every word that contains a key of ``counts``, then open with sentences that say each one so often."""
    inside = re.compile("|".join(map(re.escape, counts)), re.IGNORECASE)
    said = ("Think of {} first.", "Next to it we keep {} in mind.", "It helps to say {} once more.")
    mentions = [said[i % len(said)].format(word) for word, count in counts.items() for i in range(count)]
    return lead(drop_words(text, lambda token: bool(inside.search(token))), mentions)


FREQUENT = "acdeghiklmnorstuw"
RARE = "jkqvwz"
"""Letters that training asks for often enough, and seldom enough: neither list holds a usual variable's name."""

_WORD = re.compile(r"[^\W\d_]++(?:['’-][^\W\d_]++)*")
_RUN = re.compile(r"(\w)\1{2,}")
_MARKS = ".,;:!?\"'()[]*_-"
_ONE_LETTER_WORDS = frozenset("aio")


def least_letters(letter: str, text: str) -> int:
    """Count ``letter`` in words: no lone letters, no runs longer than two, no word repeated at once."""
    count, before = 0, ""
    for word in visible(text).lower().split():
        if letter in word and word.strip(_MARKS) != before.strip(_MARKS):
            kept = (part for part in _WORD.findall(word) if len(set(part)) > 1 or part in _ONE_LETTER_WORDS)
            count += sum(_RUN.sub(r"\1\1", part).count(letter) for part in kept)
        before = word
    return count


@register
class LetterFrequency(Constraint):
    """A letter occurs at least, or less than, so many times."""

    id = "keywords:letter_frequency"
    collection = "ifeval"
    step = Step.ADD
    params = (
        Text("letter", "the one character that is counted, case ignored", r"\S"),
        Count("let_frequency", "the number of occurrences"),
        Choice("let_relation", "whether the number is a lower bound or a strict upper bound", RELATIONS),
    )
    phrasings = (
        "Count your letters: {letter} has to be there {let_relation} {let_frequency} times.",
        "Use the letter {letter} {let_relation} {let_frequency} times in your answer.",
        "The character {letter} has to occur {let_relation} {let_frequency} times in what you write.",
        "Write so that the letter {letter} is used {let_relation} {let_frequency} times.",
    )
    compat_rule = "the character's occurrences in the lower-cased text, LaTeX included, stand in the relation"
    hardened_rule = (
        "for at least: occurrences in words stand in the relation, without lone letters, letters repeated more than "
        "twice, a word repeated at once, and LaTeX commands; for less than: all visible occurrences do"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(text.lower().count(kwargs["letter"].lower()), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        letter = kwargs["letter"].lower()
        if kwargs["let_relation"] == "at least" and letter.isalpha():
            return self._verdict(least_letters(letter, text), kwargs)
        return self._verdict(visible(text).lower().count(letter), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        bound, relation = kwargs["let_frequency"], kwargs["let_relation"]
        wanted = f'"{kwargs["letter"]}" {count}x, {times(bound, relation)} wanted'
        return decided(holds(count, bound, relation), wanted, off_by(count, "letter", bound, relation))

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        relation = source.rng.choice(RELATIONS)
        letter = source.rng.choice(FREQUENT if relation == "at least" else RARE)
        return {"letter": letter, "let_frequency": source.count("let_frequency"), "let_relation": relation}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        letter, bound = kwargs["letter"].lower(), kwargs["let_frequency"]
        if kwargs["let_relation"] == "less than":
            # what stands in formulas and boxes counts as well, and stays
            kept = drop_words(text, lambda word: letter in word.lower()).lower().count(letter)
            return drop_beyond(text, lambda word: word.lower().count(letter), bound - 1 - kept)
        richest = sorted(FILLERS, key=lambda sentence: -sentence.lower().count(letter))
        missing = bound - min(least_letters(letter, text), text.lower().count(letter))
        if letter not in richest[0].lower() or missing > 100 * len(FILLERS):
            return None
        added: list[str] = []
        while missing > 0:
            added.append(richest[len(added) % 4 if letter in richest[3].lower() else 0])
            missing -= added[-1].lower().count(letter)
        return lead(text, added)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        if kwargs["let_relation"] == "at least":
            return False
        return needed.text.lower().count(kwargs["letter"].lower()) >= kwargs["let_frequency"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        same = other_id == self.id and kwargs["letter"].lower() == other["letter"].lower()
        return same and exclude(kwargs, other, "let_frequency", "let_relation")


_LETTERS = re.compile(r"[^\W\d_]++")
_TOKEN = re.compile(r"(?<!\S)\S++")
_ADDRESS = re.compile(r"://|^\W*www\.")
_KEYWORD = Text("keyword", "the word in question")
_SENTENCE = "we now also look once more at all of it and see how it goes on from here to there"
_CARRIER = tuple(_SENTENCE.split())
_BETWEEN = ("so", "then", "now", "here", "just", "yes", "well", "indeed")


@register
class WordOnce(IFTrain):
    """A keyword occurs exactly once."""

    id = "keywords:word_once"
    step = Step.ADD
    params = (_KEYWORD,)
    phrasings = (
        "Have one {keyword} in your response, neither none nor two.",
        'Use the word "{keyword}" one time, no more and no less.',
        'The word "{keyword}" has to appear a single time in your answer.',
    )
    compat_rule = "the regular expression matches exactly once, inside other words too"
    hardened_rule = "the keyword occurs exactly once as a whole word; LaTeX commands do not count"

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return mode == "compat" and is_pattern([kwargs["keyword"]])

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(official_matches(kwargs["keyword"], text))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(occurrences(kwargs["keyword"], visible(text)))

    @staticmethod
    def _verdict(count: int) -> Verdict:
        return decided(count == 1, f"{count}x, once wanted", off_by(count, "occurrence", 1))

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"keyword": source.rng.choice(list(source.keywords))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return with_exactly(text, {kwargs["keyword"]: 1})

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["keyword"], exact=False)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return needed.text.lower().count(kwargs["keyword"].lower()) > 1


@register
class WordCountDifferentNumbers(Frequency):
    """A keyword occurs at least, or less than, so many times (IFTrain's wording)."""

    id = "keywords:word_count_different_numbers"
    collection = "iftrain"
    phrasings = (
        "Count the word {keyword}: your response has it {relation} {frequency} times.",
        'Write the word "{keyword}" {relation} {frequency} times.',
        'Have the word "{keyword}" in your answer {relation} {frequency} times.',
        'The number of times that "{keyword}" occurs in your answer has to be {relation} {frequency}.',
    )


@register
class ExcludeWordHarder(IFTrain):
    """A word does not occur."""

    id = "keywords:exclude_word_harder"
    step = Step.REMOVE
    params = (_KEYWORD,)
    phrasings = (
        "Keep the word {keyword} out of your response.",
        'Do without the word "{keyword}" in your whole answer.',
        'The word "{keyword}" must not occur in what you write.',
    )
    compat_rule = "the keyword does not occur between two spaces, case kept"
    hardened_rule = "the keyword does not occur as a whole word, case ignored, hidden characters seen through"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        ok = f" {kwargs['keyword'].strip()} " not in text
        return decided(ok, "the word does not occur" if ok else "the word occurs")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        count = occurrences(kwargs["keyword"].strip(), visible(text))
        return decided(count == 0, f"the word occurs {count}x")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"keyword": source.rng.choice(list(source.keywords))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return drop_words(text, lambda token: bool(occurrences(kwargs["keyword"].strip(), token)))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not self.hardened(needed.text, kwargs).passed


@register
class NoAdjacentConsecutive(WholeResponse):
    """No two neighbouring words start with neighbouring letters of the alphabet."""

    id = "keywords:no_adjacent_consecutive"
    step = Step.REPEAT
    phrasings = (
        "Neighbouring words may not begin with neighbouring letters, the earlier one first.",
        "A word must never be followed by one whose first letter is the next in the alphabet.",
        "Choose your words so that no initial is the alphabet's next letter after the initial of the word before.",
    )
    compat_rule = "no piece between white space starts with the character whose code follows that of the piece before"
    hardened_rule = (
        "no word starts with the letter after the first letter of the word before it, whatever signs, hyphens or "
        "formulas stand between them"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        first = [token[0].lower() for token in text.split()]
        if len(first) > 1 and any(len(letter) != 1 for letter in first):
            return failed("a letter that is two in lower case")
        return self._verdict(first)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict([word[0].lower()[0] for word in _LETTERS.findall(visible(prose(text)))])

    @staticmethod
    def _verdict(first: list[str]) -> Verdict:
        pairs = [one + two for one, two in pairwise(first) if ord(two) - ord(one) == 1]
        return decided(not pairs, f"initials {pairs[0]}" if pairs else "no consecutive initials")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        kept: list[str] = []
        for token in re.findall(r"\S+\s*", edit_boxes(text)):
            before = kept[-1] if kept else ""
            if before and self._meet(before, token):
                fitting = [w for w in _BETWEEN if not self._meet(before, w) and not self._meet(w, token)]
                if not fitting:
                    return None
                gap = before[len(before.rstrip()) :]
                kept[-1] = before.rstrip()
                kept += [f" {fitting[0]}", gap]
            kept.append(token)
        return "".join(kept)

    @staticmethod
    def _meet(one: str, two: str) -> bool:
        words = _LETTERS.findall(one), _LETTERS.findall(two)
        heads = [(one.strip()[:1].lower(), two.strip()[:1].lower())]
        if all(words):
            heads.append((words[0][-1][0].lower(), words[1][0][0].lower()))
        return any(len(a) == len(b) == 1 and ord(b) - ord(a) == 1 for a, b in heads)


@register
class Palindrome(IFTrain):
    """A palindrome occurs."""

    id = "keywords:palindrome"
    step = Step.ADD
    phrasings = (
        "Let there be a palindrome among your words.",
        "Somewhere in your answer, use a word that reads the same forwards and backwards.",
        "Your response has to contain a palindrome.",
    )
    compat_rule = "some piece between white space equals its reverse; a single character does"
    hardened_rule = (
        "a word of three letters or more, not all the same, or a sentence of five or more reads the same both ways, "
        "case ignored; formulas, code, numbers and web addresses do not count"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(next((token for token in text.split() if token == token[::-1]), None))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = visible(_TOKEN.sub(lambda m: " " if _ADDRESS.search(m.group()) else m.group(), prose(text)))
        for word in _LETTERS.findall(body):
            if len(word) > 2 and _mirrored(word):
                return self._verdict(word)
        for sentence in read_sentences(body):
            letters = "".join(_LETTERS.findall(sentence))
            if len(letters) > 4 and _mirrored(letters):
                return self._verdict(sentence)
        return self._verdict(None)

    @staticmethod
    def _verdict(found: str | None) -> Verdict:
        return decided(found is not None, f'"{found[:40]}"' if found is not None else "no palindrome")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return lead(text, ["The word level reads the same both ways."])


def _mirrored(letters: str) -> bool:
    folded = letters.casefold()
    return folded == folded[::-1] and len(set(folded)) > 1


@register
class KeywordSpecificPosition(IFTrain):
    """A keyword is a given word of a given sentence."""

    id = "keywords:keyword_specific_position"
    step = Step.CLOSE
    params = (
        Word("keyword", "the word that has a place"),
        Count("n", "the number of the sentence", high=1000),
        Count("m", "the number of the word in it", high=1000),
    )
    phrasings = (
        "Sentence {n} of your response has the word {keyword} in place {m}.",
        'In sentence number {n} of your answer, word number {m} has to be "{keyword}".',
        'Place "{keyword}" as word {m} of sentence {n}.',
    )
    compat_rule = "token M of the official sentence N is the keyword, case kept; punctuation before it counts as tokens"
    hardened_rule = "word M of sentence N is the keyword, case ignored; punctuation does not count"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        found = ifevalg_sentences(text)
        if len(found) < kwargs["n"]:
            return failed(f"{len(found)} sentences")
        return self._verdict(nltk_tokens(found[kwargs["n"] - 1]), kwargs, lambda word: word == kwargs["keyword"])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        found = read_sentences(text)
        if len(found) < kwargs["n"]:
            return failed(f"{len(found)} sentences")
        return self._verdict(spoken(found[kwargs["n"] - 1]), kwargs, lambda word: same_word(word, kwargs["keyword"]))

    @staticmethod
    def _verdict(words: list[str], kwargs: Kwargs, fits: Any) -> Verdict:
        if len(words) < kwargs["m"]:
            return failed(f"{len(words)} words")
        word, place = words[kwargs["m"] - 1], kwargs["m"]
        nearest = min((abs(at - place) for at, found in enumerate(words, 1) if fits(found)), default=0)
        off = Deviation(nearest, "place", place) if nearest else None
        return decided(fits(word), f'"{word[:40]}" stands there', off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        keyword = source.rng.choice(list(source.keywords))
        return {"keyword": keyword, "n": source.count("sentence_position"), "m": source.count("word_position")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        carrier = [_CARRIER[i % len(_CARRIER)] for i in range(kwargs["m"] - 1)]
        if carrier:
            carrier[0] = carrier[0].title()
        placed = " ".join([*carrier, kwargs["keyword"], "comes here."])
        return " ".join([*fillers(kwargs["n"] - 1), placed]) + f"\n{text.lstrip()}"

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["keyword"], exact=True)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return (kwargs["n"], kwargs["m"]) == (other["n"], other["m"]) and kwargs != other
        if other_id == "startend:quotation":
            return bool(kwargs["n"] == 1)
        return other_id == "combination:repeat_prompt"


@register
class StartEnd(IFTrain):
    """The response starts and ends with the same word."""

    id = "keywords:start_end"
    step = Step.WRAP
    phrasings = (
        "Open and close your response with one and the same word, and let nothing follow it, not even a full stop.",
        "The first and the last word of your answer must be the same; put no full stop after the last one.",
        "Finish with the word that you began with, and write nothing behind it, no punctuation either.",
    )
    compat_rule = "NLTK's first and last token are equal, case ignored, and there are two tokens; signs are tokens"
    hardened_rule = (
        "the same word, case ignored, starts and ends the text, with no sign beyond it and other words between"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        tokens = nltk_tokens(text)
        ok = len(tokens) > 1 and tokens[0].lower() == tokens[-1].lower()
        return decided(ok, "same first and last token" if ok else "first and last token differ")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = visible(text).strip()
        words = re.findall(r"[^\W_]++(?:['’-][^\W_]++)*", body)
        if not words or not body.startswith(words[0]) or not body.endswith(words[-1]):
            return failed("a sign stands at an end")
        if words[0].casefold() != words[-1].casefold():
            return failed(f'starts with "{words[0][:30]}" and ends with "{words[-1][:30]}"')
        between = any(word.casefold() != words[0].casefold() for word in words)
        return decided(between, "same first and last word" if between else "nothing but the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        first = text.split()[0]
        if first.isalpha():
            return f"{text.rstrip()} {first.lower() if text.islower() else first}"
        return f"{lead(text, ['Here we start:']).rstrip()} here"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id in {"startend:end_checker", "startend:quotation", "last_word:last_word_answer"}
