"""Find the answer that a response commits to: in a box, behind "the answer is", in JSON, or alone."""

from __future__ import annotations

import json
import re

from adhere.rewards.math.canonical import canonical
from adhere.rewards.math.parsed_answer import Number, read
from adhere.rewards.math.units import HEDGES

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)", re.IGNORECASE)
_BRACE = re.compile(r"[{}]|\\.", re.DOTALL)
"""A brace, or what a backslash escapes."""

_BARE_BOX = re.compile(r"\\boxed[ \t]+([^\s{}$]+)", re.IGNORECASE)
# What may stand between two boxes of one list: spaces of every kind, marks, and the words that join.
_SPACE = (
    r"[\s,;$*&~]|\\[()\[\],;:! ]|\\q?quad(?![a-zA-Z])"
    r"|\\(?:lor|vee|land|wedge|newline)(?![a-zA-Z])|\\[hv]space\*?\{[^{}]{0,20}\}|[&/]"
)
_AND_OR = r"and/or|and|or|und|oder|et|ou|y|o|e|и|или|和|或|或者|と|または|그리고|또는|và|hoặc|vs\.?|versus"
_JOINED = re.compile(
    rf"(?:{_SPACE}|\\(?:text|textrm|mathrm|mbox)\s*\{{[\s,;]*(?:{_AND_OR})?[\s,;]*\}}|\b(?:{_AND_OR})\b)*",
    re.IGNORECASE,
)
# A short stretch between two boxes, or behind the last one, that offers another answer.
_OFFERS = re.compile(
    r"[^.!?\n]{0,60}?\b(?:or|oder|ou|или|alternatively|maybe|perhaps|possibly|vielleicht|peut-être|quizás)\b"
    r"[^.!?\n]{0,60}",
    re.IGNORECASE,
)
_OFFERS_NEXT = re.compile(
    r"(?:\\[)\]]|[\s$*,;(]|\\text\s*\{)*(?:or|oder|ou|или|或)\b[\s,}]*"
    r"(?:(?:maybe|perhaps|possibly|even|also|else|else it is|it is|is it|vielleicht)[\s,]+)*"
    r"(?=\$|\\\(|\\\[|\\frac|\\sqrt|-?\d|[a-z]\b)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"(?:\\[)\]]|[\s$*)])*(?:\?|[,(]?\s*(?:(?:this|that|which|it)\s+)?"
    r"(?:is|was|are|would be|might be|may be|could be)?\s*"
    r"(?:probably|possibly|perhaps|maybe|wrong|incorrect|false|unsure|(?:a|just a|my) guess"
    r"|not(?=\s*(?:[.)]|$)|\s+(?:sure|certain|correct|right|the)\b))\b)",
    re.IGNORECASE,
)

_CUE = re.compile(
    r"""
    \#\#\#\#
  | \banswer\b (?:\s(?:to|of|for|in)\s[^.\n:]{1,60}?)? [*_"'`]{0,3} \s* (?:\bis\b|\bequals\b|[:=：])
  | \bfinal\ answer\b [*_"'`]{0,3} [ \t]* \n
  | \b(?:antwort|endergebnis|ergebnis|lösung)\b [^.\n:]{0,40}? (?:\blautet\b|\bist\b|[:=])
  | \bla\ réponse\b (?:\ finale)? [^.\n:]{0,40}? (?:\best\b|[:=])
  | \bla\ respuesta\b (?:\ final)? [^.\n:]{0,40}? (?:\bes\b|[:=])
  | \bla\ risposta\b (?:\ finale)? [^.\n:]{0,40}? (?:\bè\b|[:=])
  | \ba\ resposta\b (?:\ final)? [^.\n:]{0,40}? (?:\bé\b|[:=])
  | \bответ\b [*_"'`]{0,3} \s* (?:[:=—-]|равен)
  | (?:最终)?答案 (?:是|为|[:：=])
  | 答えは
  | (?:정답|답)[은는] | (?:정답|답)\s*[:：]
  | \bđáp\ (?:án|số) \b [^.\n:]{0,30}? (?:\blà\b|[:=])
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TAG = re.compile(r"<answer>([^<]*(?:<(?!/?answer>)[^<]*)*)</answer>", re.IGNORECASE)
# "The largest $n$ is 34": what the answer is called, and the answer itself.
_SUBJECT = re.compile(
    r"\A(?:(?:the|so|thus|hence|therefore|there|a|an|der|die|das|le|la|el)\b|\$[a-zA-Z]\$)[^.\n=<>!?\d]{0,80}?\s(?:is|are|equals|ist|est|es)\s*:?\s+"
    r"(?!(?:not|at|no|about|approximately|either|neither|between|more|less|in|on|of|by|the|a|an|from|when|if|given|never)\b)(?=[-\d$\\(\[])",
    re.IGNORECASE,
)
_AFTER_CUE = re.compile(r"\A[\s:：=*_\"'`]*(?:(?:is|are)\b[\s:*_\"'`]*)?")
_SENTENCE_END = re.compile(r"\n|(?<!\\)[.!?。](?=[\s\"'*_)]|$)|;\s")
_REASON = re.compile(r"\s+(?:because|since|as|which|where|so|weil|da|wobei)\s", re.IGNORECASE)
_DELIMITED = re.compile(r"(?:\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\])(.*)", re.DOTALL)
_LEADING_NUMBER = re.compile(
    r"(\\?[$€£]?\s?-?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?%?)(?=[\s*_]|[^\x00-\x7f]|$)(.*)", re.DOTALL
)
_UNCOMMITTED = re.compile(
    r"(?:one|any|some|either|neither|not|none|unknown|unclear|between|among|probably|maybe|perhaps|possibly)\b",
    re.IGNORECASE,
)
_IN_PASSING = {
    "over",
    "above",
    "below",
    "under",
    "beyond",
    "within",
    "between",
    "about",
    "around",
    "if",
    "but",
    "would",
    "could",
    "should",
    "almost",
}
# Behind an answer: more maths, or words that bound it, take it back or offer another one.
_MORE_MATHS = re.compile(
    r"[\d=+*/^<>\\$?]|(?<![\w-])(?:"
    + "|".join(sorted(map(re.escape, HEDGES - _IN_PASSING), reverse=True))
    + r")(?![\w-])",
    re.IGNORECASE,
)

_KEYS = ("final_answer", "finalanswer", "answer", "solution", "result", "antwort", "ergebnis")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_LOST_ESCAPES = (("\x08", r"\b"), ("\x0c", r"\f"))
_LOST_TAB = re.compile(r"\t(?=ext|imes|heta|an|frac)")
_LONGEST_BARE = 40


def extract_answer(response: str) -> str | None:
    """Return the answer that ``response`` commits to, as written, or ``None`` where it commits to none.

    In this order: the last box that closes and is not empty (``\\boxed``, ``\\fbox``, in any case of letters;
    boxes joined by commas or "and" make one list); what follows the last "the answer is", "####", "Die
    Antwort lautet" or their like in other languages; a response that is nothing but one number. In a JSON
    object the value of its answer key is searched instead. Takes time linear in the length.
    """
    text = response.strip()
    from_json = _json_answer(text)
    if from_json is not None:
        return _boxed(from_json) or _after_cue(from_json) or _clause(from_json)
    found = _boxed(text)
    if found is None:
        tags = _TAG.findall(text)
        found = (_clause(tags[-1]) if tags else None) or _after_cue(text)
    if found or not text or len(text) > _LONGEST_BARE:
        return found
    return text if isinstance(read(canonical(text)), Number) else None


def _boxed(text: str) -> str | None:
    if "\\" not in text:
        return None
    # Each outermost box that closes and is not empty: where its command starts, its text starts and its brace ends.
    starts = {match.end(): match.start() for match in _BOX.finditer(text)}
    spans: list[tuple[int, int, int]] = []
    opened: list[int] = []
    for match in _BRACE.finditer(text, min(starts)) if starts else ():
        at, sign = match.start(), match[0]
        if sign == "{":
            opened.append(at)
        elif opened and sign == "}":
            brace = opened.pop()
            holds_box = brace in starts and bool(spans) and spans[-1][0] > brace
            # Only a span without a kept box is read here, so that nested boxes are read once.
            if brace not in starts or not (holds_box or text[brace + 1 : at].strip(" {}$\n\t")):
                continue
            while spans and spans[-1][0] > brace:
                spans.pop()
            spans.append((starts[brace], at + 1, brace + 1))
    boxes = [(start, end, text[inside : end - 1].strip()) for start, end, inside in spans]
    if not boxes:
        bare = [match[1] for match in _BARE_BOX.finditer(text)]
        return bare[-1] if bare else None
    contents = [boxes[-1][2]]
    for (_, end, before), (start, _, _) in zip(reversed(boxes[:-1]), reversed(boxes[1:]), strict=True):
        if not (_JOINED.fullmatch(text, end, start) or _OFFERS.fullmatch(text, end, start)):
            break
        if before not in contents:
            contents.insert(0, before)
    # What follows the last box can offer another answer, or take this one back.
    behind = text[boxes[-1][1] : boxes[-1][1] + 200]
    offer = _OFFERS_NEXT.match(behind)
    if offer:
        contents.append(_SENTENCE_END.split(behind[offer.end() :], maxsplit=1)[0].strip(" $"))
    return None if _TAKEN_BACK.match(behind) else ", ".join(contents)


def _after_cue(text: str) -> str | None:
    end = -1
    for cue in _CUE.finditer(text):
        end = cue.end()
    return None if end < 0 else _clause(_SUBJECT.sub("", _AFTER_CUE.sub("", text[end:], count=1)))


def _clause(text: str) -> str | None:
    """Return the answer at the start of ``text``: delimited maths, a number, or the first sentence."""
    text = text.strip()
    delimited = _DELIMITED.match(text[:10_000])
    if delimited and not _MORE_MATHS.search(_SENTENCE_END.split(delimited[4], maxsplit=1)[0]):
        return next(group for group in delimited.groups() if group).strip()
    end = _SENTENCE_END.search(text)
    if end and end[0] == "?":
        return None
    sentence = text[: end.start()] if end else text
    sentence = _REASON.split(sentence, maxsplit=1)[0].strip(" \t*_\"'`:")
    if not sentence or _UNCOMMITTED.match(sentence) or _BOX.search(sentence):
        return None
    number = _LEADING_NUMBER.fullmatch(sentence)
    if number and not _MORE_MATHS.search(number[2]):
        return " ".join([number[1], *(word for word in number[2].split()[:1] if word.isascii())])
    return sentence


def _json_answer(text: str) -> str | None:
    fenced = _FENCE.fullmatch(text)
    text = fenced[1] if fenced else text
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    by_key = {str(key).casefold().replace(" ", "_"): entry for key, entry in value.items()}
    entry = next((by_key[key] for key in _KEYS if key in by_key), None)
    if entry is None:
        return _restore("\n".join(entry for entry in by_key.values() if isinstance(entry, str)))
    if isinstance(entry, list):
        return ", ".join(_restore(str(part)) for part in entry)
    return "" if isinstance(entry, bool | dict) else _restore(str(entry))


def _restore(text: str) -> str:
    """Undo what JSON makes of LaTeX with single backslashes: ``"\\boxed"`` begins with a backspace."""
    for lost, command in _LOST_ESCAPES:
        text = text.replace(lost, command)
    return _LOST_TAB.sub(r"\\t", text)
