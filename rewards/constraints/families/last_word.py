"""The last word of the response, and of each sentence."""

from __future__ import annotations

import re

from adhere.rewards.constraints.core.constraint import Kwargs, Step, Word, decided, register
from adhere.rewards.constraints.families.first_word import WordAtAnEnd, WordInEachSentence, decided_at, without_signs
from adhere.rewards.constraints.text.fillers import flat
from adhere.rewards.constraints.text.segmentation import ifevalg_sentences, same_word
from adhere.rewards.verdict import Verdict

_FINAL = re.compile(r"[\s.!?]*$")


@register
class LastWordAnswer(WordAtAnEnd):
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        found = text.split()[-1]
        return decided(without_signs(found) == kwargs["last_word"].lower(), f'ends with "{found[:40]}"')

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return decided_at(text, kwargs["last_word"], -1)

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return f"{text.rstrip()} The word at the end is {kwargs['last_word']}."

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return not same_word(kwargs["last_word"], other["last_word"])
        if other_id == "startend:end_checker":
            return without_signs(other["end_phrase"].split()[-1]) != kwargs["last_word"].lower()
        return other_id == "keywords:start_end"


@register
class LastWordSent(WordInEachSentence):
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        word = kwargs["last_word"].lower()
        wrong = [s for s in ifevalg_sentences(text) if not s or without_signs(s.split()[-1]) != word]
        return decided(not wrong, f'"{wrong[0][-40:]}"' if wrong else "each sentence ends with the word")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word = kwargs["last_word"]
        ended = []
        for sentence in filter(None, ifevalg_sentences(flat(text))):
            core = _FINAL.sub("", sentence)
            ended.append(sentence if without_signs(core.split()[-1] if core else "") == word else f"{core} {word}.")
        return " ".join(ended)
