"""Words that have to occur, have to occur often or seldom enough, or must not occur."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Mode, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import Count, Text, Words, holds, relation, times
from adhere.rewards.constraints.sentences import lead
from adhere.rewards.constraints.text import edit_outside, exempt_spans, visible

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
    if word.isascii() and text.isascii():
        return _plain_occurrences(word.lower(), text.lower())
    return len(_whole(word).findall(text))


@lru_cache(maxsize=1024)
def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!{_ALNUM}){re.escape(word)}(?!{_ALNUM})", re.IGNORECASE)


def _plain_occurrences(word: str, text: str) -> int:
    count, at = 0, text.find(word)
    while at >= 0:
        end = at + len(word)
        whole = not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum())
        count += whole
        at = text.find(word, end if whole else at + 1)
    return count


def official_matches(word: str, text: str) -> int:
    """Count what the regular expression ``word`` finds, case ignored; plain words are counted without one."""
    if word.isascii() and word.isalnum() and text.isascii():
        return text.lower().count(word.lower())
    return len(re.findall(word, text, re.IGNORECASE))


def is_pattern(words: list[str]) -> bool:
    """Whether the official code reads one of ``words`` as more than plain words; a pattern may backtrack for ever."""
    return not all(_PLAIN_WORDS.fullmatch(word) for word in words)


def drop_words(text: str, drop: Callable[[str], bool]) -> str:
    """Remove the words for which ``drop`` is true, outside formulas, boxes and code."""

    def edit(piece: str) -> str:
        return re.sub(r"[ \t]?(?<![\w\\])[\w'’-]+", lambda m: "" if drop(m.group()) else m.group(), piece)

    return edit_outside(text, exempt_spans(text), edit)


def listed(words: list[str], last: str = "and") -> str:
    """Return ``"a", "b" and "c"``."""
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


@register
class Existence(Constraint):
    """Every keyword occurs."""

    id = "keywords:existence"
    step = Step.ADD
    params = (Words("keywords", "the words that have to occur"),)
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome([w for w in kwargs["keywords"] if not official_matches(w, text)])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        seen = visible(text)
        return self._outcome([w for w in kwargs["keywords"] if not occurrences(w, seen)])

    @staticmethod
    def _outcome(absent: list[str]) -> Outcome:
        return Outcome(not absent, f"lacks {listed(absent)}" if absent else "all keywords occur")

    def sample(self, source: Sampler) -> dict[str, Any]:
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(official_matches(kwargs["keyword"], text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(occurrences(kwargs["keyword"], visible(text)), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        wanted = f"{kwargs['relation']} {kwargs['frequency']} wanted"
        return Outcome(
            holds(count, kwargs["frequency"], kwargs["relation"]), f'"{kwargs["keyword"]}" {count}x, {wanted}'
        )

    def sample(self, source: Sampler) -> dict[str, Any]:
        bound = source.rng.choice(("at least", "less than"))
        word = source.rng.choice(list(source.keywords))
        return {"keyword": word, "frequency": source.count("frequency"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word, bound = kwargs["keyword"], kwargs["frequency"]
        if kwargs["relation"] == "at least":
            absent = bound - occurrences(word, visible(text))
            return lead(text, [_MENTIONS[i % len(_MENTIONS)].format(word) for i in range(absent)])
        inside = re.compile(re.escape(word), re.IGNORECASE)
        left = bound - 1

        def drop(token: str) -> bool:
            nonlocal left
            hits = len(inside.findall(token))
            if hits > left:
                return True
            left -= hits
            return False

        return drop_words(text, drop)

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
    step = Step.REMOVE
    params = (Words("forbidden_words", "the words that must not occur"),)
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        # a plain word that does not occur at all needs no search for its boundaries
        plain = text.lower() if text.isascii() else None
        words = [w for w in kwargs["forbidden_words"] if plain is None or not w.isalnum() or w.lower() in plain]
        return self._outcome([w for w in words if re.search(rf"\b{w}\b", text, re.IGNORECASE)])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        seen = visible(text)
        return self._outcome([w for w in kwargs["forbidden_words"] if occurrences(w, seen)])

    @staticmethod
    def _outcome(present: list[str]) -> Outcome:
        return Outcome(not present, f"contains {listed(present)}" if present else "no forbidden word")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"forbidden_words": source.rng.sample(list(source.keywords), source.count("num_forbidden"))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return drop_words(text, lambda token: any(occurrences(w, token) for w in kwargs["forbidden_words"]))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not self.hardened(needed.text, kwargs).ok
