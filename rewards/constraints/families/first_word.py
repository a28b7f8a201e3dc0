"""The first word of the response, and of each sentence."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import Kwargs, Needed, Step, Word, decided, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.shared import IFTrain, WholeResponse
from adhere.rewards.constraints.text.fillers import flat
from adhere.rewards.constraints.text.segmentation import ifevalg_sentences, read_sentences, same_word, spoken
from adhere.rewards.constraints.text.views import MASK
from adhere.rewards.verdict import Verdict, failed, passed

_SIGN = re.compile(r"[^\w\s]")


def without_signs(token: str) -> str:
    """Return ``token`` in lower case without any sign, as the official checkers read last words."""
    return _SIGN.sub("", token).lower()


def decided_at(text: str, word: str, place: int) -> Verdict:
    """Decide whether ``word`` stands first (``place`` 0) or last (-1) in ``text``, beside other words."""
    said = spoken(text)
    if not said or not same_word(said[place], word):
        return failed(f'"{said[place][:40]}" stands there' if said else "no words")
    others = MASK in text or any(not same_word(one, word) for one in said)
    return decided(others, "the word stands there" if others else "nothing but the word")


class WordAtAnEnd(IFTrain):
    """A word at one end."""

    argument = "first_word"

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {self.argument: source.rng.choice(list(source.keywords))}

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs[self.argument], exact=False)


class WordInEachSentence(WholeResponse):
    """A word at the same end of each sentence."""

    step = Step.REPEAT
    argument = "first_word"
    place = 0

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {self.argument: source.rng.choice(list(source.keywords))}

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        found = read_sentences(text)
        if not found:
            return failed("no sentences")
        for sentence in found:
            verdict = decided_at(sentence, kwargs[self.argument], self.place)
            if not verdict.passed:
                return verdict
        return passed(f"{len(found)} sentences with the word")

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs[self.argument], exact=False)


@register
class FirstWordAnswer(WordAtAnEnd):
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        found = text.split()[0]
        return decided(found.lower() == kwargs["first_word"].lower(), f'begins with "{found[:40]}"')

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return decided_at(text, kwargs["first_word"], 0)

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["first_word"]
        return f"{word[:1].upper()}{word[1:]} is the word that we open with.\n{text.lstrip()}"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return not same_word(kwargs["first_word"], other["first_word"])
        if other_id == "combination:repeat_prompt":
            return bool(other["prompt_to_repeat"].split()[0].lower() != kwargs["first_word"].lower())
        return other_id in {"startend:quotation", "keywords:keyword_specific_position"}


@register
class FirstWordSent(WordInEachSentence):
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        word = kwargs["first_word"].lower()
        wrong = [s for s in ifevalg_sentences(text) if not s or s.split()[0].lower() != word]
        return decided(not wrong, f'"{wrong[0][:40]}"' if wrong else "each sentence begins with the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["first_word"]
        opened = f"{word[:1].upper()}{word[1:]}"
        found = [s for s in ifevalg_sentences(flat(text)) if s]
        return " ".join(s if same_word(s.split()[0], word) and len(s.split()) > 1 else f"{opened} {s}" for s in found)
