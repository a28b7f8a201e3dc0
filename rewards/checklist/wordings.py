"""How people and models word what the constraint library can check, beyond the library's own phrasings.

A text is brought to the form of a bare predicate ("Does the response contain no commas?" → "contain no commas"), which
one of the patterns has to match from its first word to its last. So a qualification that a pattern does not know ("in
the first paragraph", "about", "unless") leaves the text unmapped, and a negation is never dropped on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from adhere.rewards.checklist.numerals import BOUND, NUMBER, TIMES, bound, number
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import registry
from adhere.rewards.constraints.text.languages import LANGUAGES
from adhere.rewards.errors import ConstraintError

Found = re.Match[str]
Arguments = Callable[[Found], dict[str, Any] | None]

_SUBJECT = (
    r"(?:(?:the|your|this|its) )?(?:(?:entire|whole|complete|full|model's|assistant's) )*"
    r"(?:response|answer|output|reply|completion|generated text|text)"
)
_PLACE = rf"(?:anywhere |somewhere )?(?:in|within|across|throughout) {_SUBJECT}"
_TAIL = re.compile(
    rf",? (?:in total|overall|altogether|throughout|{_PLACE})$",
    re.IGNORECASE,
)
_FRAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (rf"(?:does|do|did|will) {_SUBJECT} (.+)", r"\1"),
        (rf"(?:is|are|was) {_SUBJECT} (not )?(.+)", r"\1be \2"),
        (rf"(?:are|is) there (.+) in {_SUBJECT}", r"contain \1"),
        (rf"{_SUBJECT} (?:must|should|shall|has to|needs to|ought to|will) (.+)", r"\1"),
        (rf"{_SUBJECT} (?:does not|doesn't) (.+)", r"not \1"),
        (rf"{_SUBJECT} is (not )?(.+)", r"\1be \2"),
        (r"(?:do not|don't|never) (.+)", r"not \1"),
        (rf"(?:in {_SUBJECT}, )?(the (?:word|letter) .+) (?:should|must|has to|needs to) (appear .+)", r"does \1 \2"),
    )
)
_VERBS = (
    "contain", "include", "use", "mention", "avoid", "end", "exclude", "omit", "refrain", "conclude", "close",
    "highlight", "consist",
)  # fmt: skip
_INFLECTED = {f"{verb}s": verb for verb in _VERBS} | {"has": "have", "finishes": "finish"}


def predicate(text: str) -> str:
    """Return what a question, demand or order says of the response, as a bare predicate: ``not contain commas``."""
    flat = " ".join(re.sub("[“”]", '"', re.sub("[‘’]", "'", text)).split()).rstrip("?.! ")
    for pattern, form in _FRAMES:
        match = pattern.fullmatch(flat)
        if match is not None:
            flat = match.expand(form)
            break
    else:
        flat = re.sub(rf"^{_SUBJECT} (?=\w+s\b)", "", flat, count=1, flags=re.IGNORECASE)
    head, space, rest = flat.partition(" ")
    return _TAIL.sub("", _INFLECTED.get(head.lower(), head) + space + rest)


def from_wording(text: str, *, english: bool = False) -> RuleCheck | None:
    """Return the rule that a known wording of ``text`` stands for; ``english`` is explained at ``map_requirement``."""
    said = predicate(text)
    known = registry()
    found: list[RuleCheck] = []
    for wording in WORDINGS:
        constraint = next((name for name in wording.ids if name in known), None)
        match = wording.pattern.fullmatch(said)
        if constraint is None or match is None or (wording.english_only and not english):
            continue
        kwargs = wording.arguments(match)
        if kwargs is None:
            continue
        try:
            check = RuleCheck(constraint, kwargs)
        except ConstraintError:
            # a number that the checker does not take, such as "at least 0 words": no rule says the same
            continue
        if check not in found:
            found.append(check)
    return found[0] if len(found) == 1 else None


class Wording(NamedTuple):
    """A pattern over predicates, the ids that it may stand for (the first registered one is taken), their arguments.

    ``english_only`` keeps it back where a response in another language would do as well.
    """

    ids: tuple[str, ...]
    pattern: re.Pattern[str]
    arguments: Arguments
    english_only: bool = False


_QUOTE = r"""(?:"[^"]+"|'[^']+'|`[^`]+`)"""
_ALL = rf"(?P<words>{_QUOTE}(?:, {_QUOTE})*(?:,? (?:and|&) {_QUOTE})?)"
_ANY = rf"(?P<words>{_QUOTE}(?:, {_QUOTE})*(?:,? (?:and|or|nor|&) {_QUOTE})?)"
_LETTER = r"""["'`]?(?P<letter>[a-z])["'`]?"""
_NOUN = r"(?:word|keyword|key word|term|phrase|expression)"
_HAS = r"(?:contain|have|include|use|feature)"
_COUNT = rf"(?P<bound>{BOUND})"
_EXACT = rf"(?:exactly|precisely) (?P<count>{NUMBER})"
_BE = r"be (?:(?:entirely|completely|exclusively|solely|only|fully|strictly|written) ){0,2}"
_SMALL = r"(?:all )?(?:lower[- ]?case|small)"
_CAPITAL = r"(?:all )?(?:capital|upper[- ]?case)"
_LETTERS = r"(?: (?:letters?|characters?))?(?: only)?"
_IN_CAPITALS = rf"(?:{_CAPITAL}{_LETTERS}|(?:all )?(?:caps|capitals))"
_TONGUES = {name.lower(): code for code, name in LANGUAGES.items()}
_TONGUE = rf"(?P<language>{'|'.join(re.escape(name) for name in sorted(_TONGUES, key=len, reverse=True))})"
_WORD_COUNT = ("length_constraint_checkers:number_words", "length_constraints:number_words")
_SENTENCE_COUNT = ("length_constraints:number_sentences",)
_LOWER, _UPPER = ("change_case:english_lowercase",), ("change_case:english_capital",)
_CAPITALS = ("change_case:capital_word_frequency",)
_EXISTENCE, _FREQUENCY = ("keywords:existence",), ("keywords:frequency",)
_FORBIDDEN = ("keywords:forbidden_words",)
_LANGUAGE = ("language:response_language",)
_HIGHLIGHTS = ("detectable_format:number_highlighted_sections",)
_NO_COMMA = ("punctuation:no_comma",)


def _none(found: Found) -> dict[str, Any]:
    return {}


def _quoted(text: str) -> list[str]:
    """Return the quoted strings; MathIF quotes a whole list, as in ``"['note', 'total']"``."""
    parts = [part[1:-1] for part in re.findall(_QUOTE, text)]
    return re.findall(r"'([^']+)'", parts[0]) if len(parts) == 1 and parts[0].startswith("['") else parts


def _words(name: str) -> Arguments:
    def arguments(found: Found) -> dict[str, Any] | None:
        words = _quoted(found["words"])
        return None if any(re.search(r"[\[\]\"]", word) for word in words) else {name: words}

    return arguments


def _bounded(name: str, relation: str = "relation") -> Arguments:
    def arguments(found: Found) -> dict[str, Any]:
        said, count = bound(found["bound"])
        return {name: count, relation: said}

    return arguments


def _at_most(name: str) -> Arguments:
    return lambda found: {name: number(found["count"]) + 1, "relation": "less than"}


def _or(name: str) -> Arguments:
    def arguments(found: Found) -> dict[str, Any]:
        said, count = bound(f"{found['count']} or {found['way']}")
        return {name: count, "relation": said}

    return arguments


def _at_least(name: str) -> Arguments:
    def arguments(found: Found) -> dict[str, Any] | None:
        said, count = bound(found["bound"])
        return {name: count} if said == "at least" else None

    return arguments


def _frequency(found: Found) -> dict[str, Any]:
    said, count = bound(found["times"])
    return {"keyword": _quoted(found["word"])[0], "frequency": count, "relation": said}


def _letters(found: Found) -> dict[str, Any]:
    said, count = bound(found["times"])
    return {"letter": found["letter"].lower(), "let_frequency": count, "let_relation": said}


def _sections(found: Found) -> dict[str, Any] | None:
    word = re.sub(r" (?:X|N|1)$", "", _quoted(found["word"])[0])
    named = re.fullmatch(r"[A-Za-z][A-Za-z ]*", word) is not None
    return {"section_spliter": word, "num_sections": number(found["count"])} if named else None


def _wording(ids: tuple[str, ...], pattern: str, arguments: Arguments, english_only: bool = False) -> Wording:
    return Wording(ids, re.compile(pattern, re.IGNORECASE), arguments, english_only)


WORDINGS: tuple[Wording, ...] = (
    _wording(_WORD_COUNT, rf"(?:{_HAS}|be|consist of) {_COUNT} words?(?: long| in length)?", _bounded("num_words")),
    _wording(
        _WORD_COUNT,
        rf"(?:{_HAS}|be|consist of) (?P<count>{NUMBER}) words or (?P<way>more|fewer|less)(?: long| in length)?",
        _or("num_words"),
    ),
    _wording(_WORD_COUNT, rf"not exceed (?P<count>{NUMBER}) words", _at_most("num_words")),
    _wording(_WORD_COUNT, rf"(?:be|stay) (?:within|no longer than) (?P<count>{NUMBER}) words", _at_most("num_words")),
    _wording(_SENTENCE_COUNT, rf"(?:{_HAS}|be|consist of) {_COUNT} sentences?(?: long)?", _bounded("num_sentences")),
    _wording(
        ("detectable_format:number_bullet_lists",),
        rf"(?:{_HAS}|consist of) {_EXACT} (?:markdown )?(?:bullet(?:ed)? ?points?|bullets?)(?: in markdown)?",
        lambda found: {"num_bullets": number(found["count"])},
    ),
    _wording(
        _HIGHLIGHTS,
        rf"{_HAS} {_COUNT} highlighted (?:sections?|passages?|parts?)(?: (?:in|with|using) markdown)?",
        _at_least("num_highlights"),
    ),
    _wording(
        _HIGHLIGHTS,
        rf"highlight {_COUNT} (?:sections?|passages?|parts?)(?: (?:in|of) {_SUBJECT})? (?:in|with|using) "
        r"(?:markdown|asterisks)(?:, (?:i\.e\.|e\.g\.|such as|for example) \*[^*\n]+\*)?",
        _at_least("num_highlights"),
    ),
    _wording(
        ("detectable_format:multiple_sections",),
        rf"(?:{_HAS}|be divided into|consist of) {_EXACT} sections,? (?:each )?"
        rf"(?:marked|beginning|starting|opened|headed|labell?ed) (?:with|by|as) (?P<word>{_QUOTE})",
        _sections,
    ),
    _wording(
        _NO_COMMA,
        r"(?:avoid|refrain from) (?:using |the use of |any use of )?(?:any |all )?commas?(?: entirely| completely)?",
        _none,
    ),
    _wording(_NO_COMMA, r"not (?:use|contain|include|have) (?:any |a single |a )?commas?", _none),
    _wording(_NO_COMMA, r"(?:contain|use|have|include) (?:no|zero) commas?(?: at all)?", _none),
    _wording(_NO_COMMA, rf"{_BE}(?:free (?:of|from)|without) (?:any |using (?:any )?|a single )?commas?", _none),
    _wording(_LOWER, rf"{_BE}in english,? and in {_SMALL}{_LETTERS}", _none),
    _wording(_LOWER, rf"{_BE}in {_SMALL} english{_LETTERS}", _none),
    _wording(_LOWER, rf"{_BE}in {_SMALL}{_LETTERS}", _none, english_only=True),
    _wording(_LOWER, rf"use only {_SMALL}{_LETTERS}", _none, english_only=True),
    _wording(_LOWER, rf"(?:contain|use|have) no {_CAPITAL} letters(?: at all)?", _none, english_only=True),
    _wording(_UPPER, rf"{_BE}in english,? and in {_IN_CAPITALS}", _none),
    _wording(_UPPER, rf"{_BE}in {_CAPITAL} english{_LETTERS}", _none),
    _wording(_UPPER, rf"{_BE}in {_IN_CAPITALS}", _none, english_only=True),
    _wording(_UPPER, rf"use only {_IN_CAPITALS}", _none, english_only=True),
    _wording(_UPPER, rf"(?:contain|use|have) no {_SMALL} letters(?: at all)?", _none, english_only=True),
    _wording(
        _CAPITALS,
        rf"{_HAS} {_COUNT} words? (?:(?:written )?in|with) (?:all )?(?:capital letters|capitals|caps|upper[- ]?case)",
        _bounded("capital_frequency", "capital_relation"),
    ),
    _wording(
        _CAPITALS,
        rf"{_HAS} {_COUNT} (?:all[- ]caps|fully capitali[sz]ed|all[- ]capital) words?",
        _bounded("capital_frequency", "capital_relation"),
    ),
    _wording(
        _EXISTENCE,
        rf"(?:contain|include|mention|use) (?:both |all )?(?:of )?(?:the )?(?:following )?(?:{_NOUN}s? )?{_ALL}",
        _words("keywords"),
    ),
    _wording(
        _EXISTENCE,
        rf"does the {_NOUN} (?P<words>{_QUOTE}) (?:appear|occur)",
        _words("keywords"),
    ),
    _wording(
        _FORBIDDEN,
        rf"(?:(?:avoid|refrain from)(?: using| including| mentioning)?|exclude|omit|be free of|"
        rf"not (?:use|contain|include|mention)) (?:both |any of )?(?:the )?(?:{_NOUN}s? )?{_ANY}",
        _words("forbidden_words"),
    ),
    _wording(_FREQUENCY, rf"(?:{_HAS}|mention) (?:the )?{_NOUN} (?P<word>{_QUOTE}) (?P<times>{TIMES})", _frequency),
    _wording(_FREQUENCY, rf"does the {_NOUN} (?P<word>{_QUOTE}) (?:appear|occur) (?P<times>{TIMES})", _frequency),
    _wording(
        ("keywords:letter_frequency",),
        rf"does the letter {_LETTER} (?:appear|occur) (?P<times>{TIMES})",
        _letters,
    ),
    _wording(
        ("startend:end_checker",),
        rf"(?:end|finish|conclude|close) with the (?:exact )?(?:{_NOUN}|sentence|words) (?P<word>{_QUOTE})",
        lambda found: {"end_phrase": _quoted(found["word"])[0]},
    ),
    _wording(
        ("startend:quotation",),
        rf"{_BE}(?:wrapped|enclosed|surrounded|placed|put) (?:entirely )?(?:in|with|by|within|between|inside) "
        r"(?:a pair of )?double (?:quotation marks|quotes)",
        _none,
    ),
    _wording(
        _LANGUAGE,
        rf"{_BE}in (?:the )?{_TONGUE}(?: language)?"
        r"(?: only|,? and in no other language|, no other language is allowed)?",
        lambda found: {"language": _TONGUES[found["language"].lower()]},
    ),
    _wording(_LANGUAGE, rf"use only {_TONGUE}", lambda found: {"language": _TONGUES[found["language"].lower()]}),
    _wording(("detectable_format:json_format",), rf"{_BE}(?:valid json|in (?:valid )?json(?: format)?)", _none),
    _wording(
        ("detectable_format:title",),
        r"(?:contain|have|include) a title (?:wrapped|enclosed) in double ang(?:le|ular) brackets",
        _none,
    ),
    _wording(
        ("detectable_content:number_placeholders",),
        rf"{_HAS} {_COUNT} placeholders? (?:(?:represented|marked|written) )?(?:by|in|with) square brackets",
        _at_least("num_placeholders"),
    ),
)
