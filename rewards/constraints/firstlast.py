"""IFTrain's first and last words, of the response and of each sentence."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.iftrain import IFTrain, WholeResponse, same, sentences, spoken
from adhere.rewards.constraints.official_text import official_sentences
from adhere.rewards.constraints.params import Word
from adhere.rewards.constraints.sentences import flat
from adhere.rewards.constraints.text import MASK

_SIGN = re.compile(r"[^\w\s]")
_FINAL = re.compile(r"[\s.!?]*$")


def bare(token: str) -> str:
    """Return ``token`` in lower case without any sign, as the official checkers read last words."""
    return _SIGN.sub("", token).lower()


class _WordOf(IFTrain):
    """A word at one end."""

    argument = "first_word"

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {self.argument: source.rng.choice(list(source.keywords))}

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs[self.argument], exact=False)


@register
class FirstWordAnswer(_WordOf):
    """The response begins with a given word."""

    id = "first_word:first_word_answer"
    step = Step.CLOSE
    params = (Word("first_word", "the word that comes first"),)
    phrasings = (
        "Your response opens with {first_word} as its first word.",
        'Begin your answer with the word "{first_word}".',
        'Let "{first_word}" be the very first word that you write.',
    )
    compat_rule = "what stands before the first white space is the word, case ignored; a comma after it fails"
    hardened_rule = "the first word is the given one, case and signs around it ignored, and other words follow"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        found = text.split()[0]
        return Outcome(found.lower() == kwargs["first_word"].lower(), f'begins with "{found[:40]}"')

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return _edge(text, kwargs["first_word"], 0)

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["first_word"]
        return f"{word[:1].upper()}{word[1:]} is the word that we open with.\n{text.lstrip()}"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return not same(kwargs["first_word"], other["first_word"])
        if other_id == "combination:repeat_prompt":
            return bool(other["prompt_to_repeat"].split()[0].lower() != kwargs["first_word"].lower())
        return other_id in {"startend:quotation", "keywords:keyword_specific_position"}


@register
class LastWordAnswer(_WordOf):
    """The response ends with a given word."""

    id = "last_word:last_word_answer"
    argument = "last_word"
    step = Step.CLOSE
    params = (Word("last_word", "the word that comes last"),)
    phrasings = (
        "Your response closes with {last_word} as its last word.",
        'End your answer with the word "{last_word}".',
        'Let "{last_word}" be the very last word that you write.',
    )
    compat_rule = "what stands after the last white space, signs removed, is the word, case ignored"
    hardened_rule = "the last word is the given one, case and signs around it ignored, and other words come before it"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        found = text.split()[-1]
        return Outcome(bare(found) == kwargs["last_word"].lower(), f'ends with "{found[:40]}"')

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return _edge(text, kwargs["last_word"], -1)

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return f"{text.rstrip()} The word at the end is {kwargs['last_word']}."

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return not same(kwargs["last_word"], other["last_word"])
        if other_id == "startend:end_checker":
            return bare(other["end_phrase"].split()[-1]) != kwargs["last_word"].lower()
        return other_id == "keywords:start_end"


def _edge(text: str, word: str, place: int) -> Outcome:
    said = spoken(text)
    if not said or not same(said[place], word):
        return Outcome(False, f'"{said[place][:40]}" stands there' if said else "no words")
    others = MASK in text or any(not same(one, word) for one in said)
    return Outcome(others, "the word stands there" if others else "nothing but the word")


class _EachSentence(WholeResponse):
    """A word at the same end of each sentence."""

    step = Step.REPEAT
    argument = "first_word"
    place = 0

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {self.argument: source.rng.choice(list(source.keywords))}

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        found = sentences(text)
        if not found:
            return Outcome(False, "no sentences")
        for sentence in found:
            outcome = _edge(sentence, kwargs[self.argument], self.place)
            if not outcome.ok:
                return outcome
        return Outcome(True, f"{len(found)} sentences with the word")

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs[self.argument], exact=False)


@register
class FirstWordSent(_EachSentence):
    """Each sentence begins with a given word."""

    id = "first_word:first_word_sent"
    params = (Word("first_word", "the word that comes first in each sentence"),)
    phrasings = (
        "Every sentence starts with {first_word} as its first word.",
        'Begin every sentence with the word "{first_word}".',
        'Each sentence of your answer has to open with "{first_word}".',
    )
    compat_rule = "each official sentence begins with the word and white space, case ignored"
    hardened_rule = "each sentence and each line of words begins with the word, case ignored, and says more than it"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        word = kwargs["first_word"].lower()
        wrong = [s for s in official_sentences(text) if not s or s.split()[0].lower() != word]
        return Outcome(not wrong, f'"{wrong[0][:40]}"' if wrong else "each sentence begins with the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["first_word"]
        opened = f"{word[:1].upper()}{word[1:]}"
        found = [s for s in official_sentences(flat(text)) if s]
        return " ".join(s if same(s.split()[0], word) and len(s.split()) > 1 else f"{opened} {s}" for s in found)


@register
class LastWordSent(_EachSentence):
    """Each sentence ends with a given word."""

    id = "last_word:last_word_sent"
    argument = "last_word"
    place = -1
    params = (Word("last_word", "the word that comes last in each sentence"),)
    phrasings = (
        "Every sentence has {last_word} as its last word, whatever sign follows.",
        'End every sentence with the word "{last_word}".',
        'Each sentence of your answer has to close with "{last_word}", punctuation aside.',
    )
    compat_rule = "the last word of each official sentence, signs removed, is the word, case ignored"
    hardened_rule = "the last word of each sentence and each line of words is the word, and it says more than it"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        word = kwargs["last_word"].lower()
        wrong = [s for s in official_sentences(text) if not s or bare(s.split()[-1]) != word]
        return Outcome(not wrong, f'"{wrong[0][-40:]}"' if wrong else "each sentence ends with the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["last_word"]
        ended = []
        for sentence in filter(None, official_sentences(flat(text))):
            core = _FINAL.sub("", sentence)
            ended.append(sentence if bare(core.split()[-1] if core else "") == word else f"{core} {word}.")
        return " ".join(ended)
