"""IFTrain's keywords: how often, where, next to what, and words that read the same both ways."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from adhere.rewards.constraints.base import Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.counting import whole_matches, with_exactly
from adhere.rewards.constraints.iftrain import IFTrain, WholeResponse, same, sentences, spoken
from adhere.rewards.constraints.keywords import Frequency, drop_words, occurrences
from adhere.rewards.constraints.official_text import official_sentences, official_words
from adhere.rewards.constraints.params import Count, Text, Word
from adhere.rewards.constraints.sentences import fillers, lead
from adhere.rewards.constraints.text import boxed_spans, prose, visible

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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(whole_matches(kwargs["keyword"], text))

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(occurrences(kwargs["keyword"], visible(text)))

    @staticmethod
    def _outcome(count: int) -> Outcome:
        return Outcome(count == 1, f"{count}x, once wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        ok = f" {kwargs['keyword'].strip()} " not in text
        return Outcome(ok, "the word does not occur" if ok else "the word occurs")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        count = occurrences(kwargs["keyword"].strip(), visible(text))
        return Outcome(count == 0, f"the word occurs {count}x")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"keyword": source.rng.choice(list(source.keywords))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return drop_words(text, lambda token: bool(occurrences(kwargs["keyword"].strip(), token)))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not self.hardened(needed.text, kwargs).ok


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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        first = [token[0].lower() for token in text.split()]
        if len(first) > 1 and any(len(letter) != 1 for letter in first):
            return Outcome(False, "a letter that is two in lower case")
        return self._outcome(first)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome([word[0].lower()[0] for word in _LETTERS.findall(visible(prose(text)))])

    @staticmethod
    def _outcome(first: list[str]) -> Outcome:
        pairs = [one + two for one, two in pairwise(first) if ord(two) - ord(one) == 1]
        return Outcome(not pairs, f"initials {pairs[0]}" if pairs else "no consecutive initials")

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


def edit_boxes(text: str) -> str:
    """Return ``text`` without the white space inside its boxes, so that cutting at white space keeps them whole."""
    pieces, at = [], 0
    for start, end in boxed_spans(text):
        pieces += [text[at:start], "".join(text[start:end].split())]
        at = end
    return "".join([*pieces, text[at:]])


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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(next((token for token in text.split() if token == token[::-1]), None))

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = visible(_TOKEN.sub(lambda m: " " if _ADDRESS.search(m.group()) else m.group(), prose(text)))
        for word in _LETTERS.findall(body):
            if len(word) > 2 and _mirrored(word):
                return self._outcome(word)
        for sentence in sentences(body):
            letters = "".join(_LETTERS.findall(sentence))
            if len(letters) > 4 and _mirrored(letters):
                return self._outcome(sentence)
        return self._outcome(None)

    @staticmethod
    def _outcome(found: str | None) -> Outcome:
        return Outcome(found is not None, f'"{found[:40]}"' if found is not None else "no palindrome")

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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        found = official_sentences(text)
        if len(found) < kwargs["n"]:
            return Outcome(False, f"{len(found)} sentences")
        return self._outcome(official_words(found[kwargs["n"] - 1]), kwargs, lambda word: word == kwargs["keyword"])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        found = sentences(text)
        if len(found) < kwargs["n"]:
            return Outcome(False, f"{len(found)} sentences")
        return self._outcome(spoken(found[kwargs["n"] - 1]), kwargs, lambda word: same(word, kwargs["keyword"]))

    @staticmethod
    def _outcome(words: list[str], kwargs: Kwargs, fits: Any) -> Outcome:
        if len(words) < kwargs["m"]:
            return Outcome(False, f"{len(words)} words")
        word = words[kwargs["m"] - 1]
        return Outcome(fits(word), f'"{word[:40]}" stands there')

    def sample(self, source: Sampler) -> dict[str, Any]:
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        tokens = official_words(text)
        ok = len(tokens) > 1 and tokens[0].lower() == tokens[-1].lower()
        return Outcome(ok, "same first and last token" if ok else "first and last token differ")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = visible(text).strip()
        words = re.findall(r"[^\W_]++(?:['’-][^\W_]++)*", body)
        if not words or not body.startswith(words[0]) or not body.endswith(words[-1]):
            return Outcome(False, "a sign stands at an end")
        if words[0].casefold() != words[-1].casefold():
            return Outcome(False, f'starts with "{words[0][:30]}" and ends with "{words[-1][:30]}"')
        between = any(word.casefold() != words[0].casefold() for word in words)
        return Outcome(between, "same first and last word" if between else "nothing but the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        first = text.split()[0]
        if first.isalpha():
            return f"{text.rstrip()} {first.lower() if text.islower() else first}"
        return f"{lead(text, ['Here we start:']).rstrip()} here"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id in {"startend:end_checker", "startend:quotation", "last_word:last_word_answer"}
