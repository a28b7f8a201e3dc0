"""IFTrain's wrappings: words in brackets, pairs of words in angular brackets, sentences joined by hyphens."""

from __future__ import annotations

import re

from adhere.rewards.constraints.base import Kwargs, Outcome, Step, register
from adhere.rewards.constraints.iftrain import WholeResponse, sentences
from adhere.rewards.constraints.official_text import official_sentences
from adhere.rewards.constraints.placement import edit_boxes
from adhere.rewards.constraints.sentences import fillers, flat, lead
from adhere.rewards.constraints.text import boxed_spans, edit_outside, exempt_spans, has_content, masked

_BRACKETED = re.compile(r"(?:\[[^\[\]\s]++\])+[.,;:!?]*")
_GLUED = re.compile(r"(?:[^\W\d_]{2,}+[^\w\s\[\]]+|[^\W\d_]{2,}+_+){3,}[^\W\d_]{2,}")
_PAIR = re.compile(r"<<([^<>]*+)>>[.,;:!?]*")
_JOINT = re.compile(r"[.!?…][\"'”’)]*+-(?=\S)")


@register
class SquareBrackets(WholeResponse):
    """Every word stands in square brackets."""

    id = "detectable_format:square_brackets"
    step = Step.WRAP
    phrasings = (
        "Your response is a row of words, each of them in square brackets.",
        "Put square brackets around each single word, [like] [this].",
        "Every word of your answer has to stand in its own pair of square brackets.",
    )
    compat_rule = "every piece between white space starts with `[` and ends with `]`"
    hardened_rule = "every piece between white space is one word in brackets; words glued together by signs are no word"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        bare = [token for token in text.split() if not (token.startswith("[") and token.endswith("]"))]
        return Outcome(not bare, f'"{bare[0][:40]}"' if bare else "every word in brackets")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        for token in text.split():
            if not _BRACKETED.fullmatch(token) or _GLUED.search(token):
                return Outcome(False, f'"{token[:40]}"')
        return Outcome(has_content(text), "every word in brackets")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        whole = edit_boxes(text)
        whole = edit_outside(whole, boxed_spans(whole), lambda piece: piece.replace("[", "(").replace("]", ")"))
        return " ".join(f"[{token}]" for token in whole.split())


@register
class BigramWrapping(WholeResponse):
    """Every pair of words stands in double angular brackets."""

    id = "detectable_format:bigram_wrapping"
    step = Step.WRAP
    phrasings = (
        "Bracket your words two by two: <<it rains>> <<so we>> <<stay inside>>.",
        "Write your words in pairs, each pair in double angular brackets: <<like this>> <<for all>> <<your words>>.",
        "Two words at a time, enclose your whole answer in << and >>.",
    )
    compat_rule = "of the pieces between white space, each odd one starts with `<<` and the next ends with `>>`"
    hardened_rule = "the text is nothing but `<<two words>>`, at least once; an odd last word is wrapped alone"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        words = text.split()
        wrong = [i for i in range(0, len(words) - 1, 2) if not _wraps(words[i], words[i + 1])]
        return Outcome(not wrong, f'"{words[wrong[0]][:40]}"' if wrong else "every pair wrapped")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        sizes = [len(match.group(1).split()) for match in _PAIR.finditer(text)]
        if _PAIR.sub("", text).strip() or not sizes:
            return Outcome(False, "something stands outside the brackets")
        ok = sizes[0] == 2 and all(size == 2 for size in sizes[:-1]) and sizes[-1] in (1, 2)
        return Outcome(ok, "every pair wrapped" if ok else "brackets around more or less than two words")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        words = edit_boxes(text).replace("<<", "").replace(">>", "").split()
        if len(words) < 2:
            words = ["Result:", *words]
        return " ".join(f"<<{' '.join(words[i : i + 2])}>>" for i in range(0, len(words), 2))


def _wraps(one: str, two: str) -> bool:
    return one.startswith("<<") and two.endswith(">>")


@register
class SentenceHyphens(WholeResponse):
    """Sentences are joined by hyphens, without spaces."""

    id = "detectable_format:sentence_hyphens"
    step = Step.WRAP
    phrasings = (
        "Hyphens hold your sentences together, and no space stands beside them.",
        "Join your sentences by a hyphen without spaces.-Like this.",
        "Between two sentences there is a hyphen and no space.",
    )
    compat_rule = (
        "cut at hyphens, the text gives its official sentences one by one, as far as the shorter list goes; one "
        "sentence alone passes, a hyphen inside a word does not"
    )
    hardened_rule = "there are two sentences or more, and each one joins the next by a hyphen without white space"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        pairs = zip(text.split("-"), official_sentences(text.replace("-", " ")), strict=False)
        wrong = [piece for piece, sentence in pairs if piece.strip() != piece or piece != sentence]
        return Outcome(not wrong, f'"{wrong[0][:40]}"' if wrong else "sentences joined by hyphens")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = masked(text.strip(), exempt_spans(text.strip()))
        if len(sentences(text)) > 1:
            return Outcome(False, "a space or a line break between two sentences")
        pieces = _JOINT.split(body)
        ok = len(pieces) > 1 and all(map(has_content, pieces))
        return Outcome(ok, f"{len(pieces)} sentences joined" if ok else "no two sentences joined by a hyphen")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = flat(edit_outside(text, boxed_spans(text), lambda piece: piece.replace("-", " ")))
        found = [sentence for sentence in official_sentences(body) if sentence]
        if len(found) < 2:
            found = official_sentences(lead(body, fillers(1)))
        return "-".join(found)
