"""Cutting a text into sentences and words: as the official checkers do, and as readers do.

| sentences | who needs them |
|---|---|
| ``punkt.sentence_count`` | IFEval's ``compat``: NLTK's Punkt |
| ``ifevalg_sentences`` | IFTrain's ``compat``: a chain of substitutions |
| ``prose_sentences`` | ``hardened`` counts of sentences: each knows whether a mark closes it |
| ``read_sentences`` | IFTrain's ``hardened``: first and last words of sentences |
| ``split_sentences`` | transforms: formulas, boxes and code stay whole |

| words | who needs them |
|---|---|
| ``word_runs``, ``words`` | counts of words, ``compat`` and ``hardened`` |
| ``spoken`` | words as written, signs at their edges removed |
| ``nltk_tokens`` | IFTrain's ``compat``: NLTK's tokens, compared one by one |
| ``treebank_tokens`` | MathIF's ``compat`` count of words in capitals |
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from adhere.rewards.constraints.text.views import MASK, exempt_spans, has_content, masked, visible, without_commands

WORD = re.compile(r"[^\W_]++(?:[-'’][^\W_]++)*")
"""A word; hyphens and apostrophes inside do not cut it."""

_ABBREVIATIONS = """
a.m aug capt co col corp dec dr e.g feb gen i.e inc jan jr lt ltd mr mrs ms nov oct p.m ph.d prof rep sen sept sr st u.k
u.n u.s vs
"""
ABBREVIATIONS: frozenset[str] = frozenset(_ABBREVIATIONS.split())
"""Words without their last period, in lower case."""

_TITLES: frozenset[str] = ABBREVIATIONS | {"bros", "d.c", "gov", "sgt"}
"""What a period after does not end a sentence of prose, whatever follows."""

IFEVALG_ABBREVIATIONS: frozenset[str] = ABBREVIATIONS | {"mt", "rev"}
"""What a period after does not end a sentence, where IFTrain's words and sentences are cut."""

_HELD, _CUT = "<prd>", "<stop>"
_SUBJECT = (
    "(?:Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt|Wherever"
    r"|(?:He|She|It|They|Their|Our|We|But|However|That|This)\s)"
)
_FIRM = "(?:Inc|Ltd|Jr|Sr|Co)"
_BEFORE_PHD = (
    (re.compile(r"(?<=Mr|St|Ms|Dr)\.|(?<=Mrs)\."), _HELD),
    (re.compile(r"\.(?=com|net|org|io|gov|edu|me)"), _HELD),
    (re.compile(r"([0-9])\.([0-9])"), rf"\1{_HELD}\2"),
    (re.compile(r"\.{2,}"), lambda m: _HELD * len(m.group()) + _CUT),
)
_AFTER_PHD = (
    (re.compile(r"\s([A-Za-z])\. "), rf" \1{_HELD} "),
    (re.compile(rf"([A-Z]\.[A-Z]\.(?:[A-Z]\.)?) (?={_SUBJECT})"), rf"\1{_CUT} "),
    (re.compile(r"([A-Za-z])\.([A-Za-z])\.([A-Za-z])\."), rf"\1{_HELD}\2{_HELD}\3{_HELD}"),
    (re.compile(r"([A-Za-z])\.([A-Za-z])\."), rf"\1{_HELD}\2{_HELD}"),
    (re.compile(rf" ({_FIRM})\. (?={_SUBJECT})"), rf" \1{_CUT} "),
    (re.compile(rf" ({_FIRM})\."), rf" \1{_HELD}"),
    (re.compile(r" ([A-Za-z])\."), rf" \1{_HELD}"),
)
_QUOTED_ENDS = ((".”", "”."), ('."', '".'), ('!"', '"!'), ('?"', '"?'))


def ifevalg_sentences(text: str) -> list[str]:
    """Return the sentences that IFEvalG sees (open-instruct, Apache-2.0): IFTrain's ``compat``.

    They are cut after every ``.``, ``?`` and ``!`` that no rule of a chain of substitutions holds back.
    """
    text = f" {text}  ".replace("\n", " ")
    for pattern, replacement in _BEFORE_PHD:
        text = pattern.sub(replacement, text)
    text = text.replace("Ph.D.", f"Ph{_HELD}D{_HELD}")
    for pattern, replacement in _AFTER_PHD:
        text = pattern.sub(replacement, text)
    for quoted, swapped in _QUOTED_ENDS:
        text = text.replace(quoted, swapped)
    for sign in ".?!":
        text = text.replace(sign, sign + _CUT)
    sentences = [sentence.strip() for sentence in text.replace(_HELD, ".").split(_CUT)]
    return sentences if sentences[-1] else sentences[:-1]


class Sentence(NamedTuple):
    """A piece of prose; ``ended`` says that a full stop, a question mark or an exclamation mark closes it."""

    text: str
    ended: bool


_LIST_MARK = re.compile(r"\s*(?:[#>*+•-]+\s+|\(?(?:\d{1,3}|[A-Za-z])[.)]\s+)*")
_SENTENCE_MARK = re.compile(r"[.!?…]+[\"'”’»)\]}*_`]*(?=\s|$)|[。！？।॥]+")
_PROSE_WORD = re.compile(WORD.pattern + "|" + MASK)
_SHORT = frozenset({"etc", "cf", "viz", "approx", "fig", "eq", "no", "vol", "pp", "ca", "al", "resp"}) | _TITLES
_MIN_LINE = 5


def prose_sentences(text: str) -> list[Sentence]:
    """Cut prose into sentences; list marks, abbreviations, initials, decimals, formulas and code end none.

    The ``hardened`` count of sentences is made on it. It differs from ``read_sentences`` in that marks at a line's
    start are cut off, that LaTeX commands are removed, and that a sentence knows whether a mark closes it.
    """
    found = []
    for line in without_commands(masked(text, exempt_spans(text))).split("\n"):
        at = _LIST_MARK.match(line).end()  # type: ignore[union-attr]
        for mark in _SENTENCE_MARK.finditer(line, at):
            if mark.group()[0] == "." and _goes_on(line, at, mark):
                continue
            found.append(Sentence(line[at : mark.end()].strip(), True))
            at = mark.end()
        found.append(Sentence(line[at:].strip(), False))
    return [sentence for sentence in found if has_content(sentence.text)]


def _goes_on(line: str, start: int, mark: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation or an initial, and the sentence goes on."""
    following = line[mark.end() : mark.end() + 40].split()[:1]
    if not following:
        return False
    word = line[max(start, mark.start() - 40) : mark.start()].rpartition(" ")[2].lstrip("(\"'“‘[*_")
    if word.lower() in _SHORT:
        return following[0][:1].islower() or word.lower() in _TITLES
    return len(word) == 1 and word.isupper() and following[0][:1].isupper()


def least_sentences(text: str) -> int:
    """Count what nobody doubts: closed by a mark, two words or more (four letters without spaces), no repetitions."""
    seen = set()
    for sentence in prose_sentences(text):
        words = tuple(word.casefold() for word in _PROSE_WORD.findall(sentence.text))
        if sentence.ended and (len(words) > 1 or (words and not words[0].isascii() and len(words[0]) > 3)):
            seen.add(words)
    return len(seen)


def most_sentences(text: str) -> int:
    """Count what may pass for a sentence: also a line of five words or more that no mark closes."""
    found = prose_sentences(text)
    return sum(sentence.ended or len(_PROSE_WORD.findall(sentence.text)) >= _MIN_LINE for sentence in found)


_READ_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|[。！？]+|\n")


def read_sentences(text: str) -> list[str]:
    """Cut ``text`` into the sentences that readers see: at line ends, and after ``.``, ``!`` and ``?`` before a space.

    IFTrain's ``hardened`` checkers look at the first and last words of what it returns, so nothing is cut off.

    Formulas, boxes and code are masked, abbreviations and initials end nothing, and pieces without a letter or digit
    (rules, lone formulas) are left out.
    """
    body = masked(text, exempt_spans(text))
    pieces, at = [], 0
    for match in _READ_END.finditer(body):
        if match.group() == ".":
            before = body[max(0, match.start() - 12) : match.start()]
            token = re.split(r"\s", before)[-1].lower().lstrip("(\"'“‘[")
            initial = len(token) == 1 and token.isalpha()
            if token in IFEVALG_ABBREVIATIONS or initial or (token.isdigit() and before == token):
                continue
        pieces.append(body[at : match.end()])
        at = match.end()
    pieces.append(body[at:])
    return [piece.strip() for piece in pieces if any(map(str.isalnum, piece))]


_BREAK = re.compile(r"(?<=[.!?])[ \t]+(?=[^\s\d])|(?<!\s)\s*\n\s*")


def split_sentences(text: str) -> list[str]:
    """Cut ``text`` at the ends of sentences and lines, never inside a formula, a box or code: for transforms, which
    have to keep those as they are.
    """
    spans = exempt_spans(text)
    pieces, at, k = [], 0, 0
    for match in _BREAK.finditer(text):
        while k < len(spans) and spans[k][1] <= match.start():
            k += 1
        if k < len(spans) and spans[k][0] < match.end():
            continue
        pieces.append(text[at : match.start()])
        at = match.end()
    pieces.append(text[at:])
    return [piece.strip() for piece in pieces if piece.strip()]


_WHOLE_WORD = re.compile(r"\w++(?:['’]\w++)*")
_CLASSES = bytes(ord("w" if chr(i).isalnum() or i == ord("_") else "'" if i == ord("'") else " ") for i in range(256))
"""For each ASCII character ``w`` (of a word), an apostrophe or a space: counting two signs is faster than matching."""


def word_runs(text: str) -> int:
    """Count maximal runs of word characters, as MathIF's and IFEval's checkers do with NLTK 3.10.4.

    That release matches with the ``regex`` package, whose word characters include combining marks and circled letters,
    but not superscripts and fractions such as ``²`` and ``½``.
    """
    if not text.isascii():
        return len(text.translate({ord(c): "w" if _in_word(c) else " " for c in set(text)}).split())
    classes = text.encode().translate(_CLASSES)
    return classes.count(b" w") + classes.count(b"'w") + classes.startswith(b"w")


def _in_word(char: str) -> bool:
    category = unicodedata.category(char)
    if category == "No":
        return False
    cased = char.isupper() or char.islower()
    return char.isalnum() or cased or category[0] == "M" or category == "Pc" or char in "\u200c\u200d"


def words(text: str) -> int:
    """Count words: LaTeX commands are none, and an apostrophe does not cut one in two."""
    seen = without_commands(text)
    if "_" in seen or not seen.isascii():
        return sum(bool(word.strip("_")) for word in _WHOLE_WORD.findall(seen))
    classes = b" " + seen.encode().translate(_CLASSES)
    return classes.count(b" w") + classes.count(b" 'w") + classes.count(b"''w")


_ALNUM = re.compile(r"[^\W_]")


def spoken(text: str) -> list[str]:
    """Return the words of ``text`` as written, signs at their edges removed; ``well-known`` is one word."""
    bare = (trimmed(token) for token in visible(text).split())
    return [word for word in bare if word]


def trimmed(token: str) -> str:
    """Return ``token`` without what comes before its first and after its last letter or digit."""
    first = _ALNUM.search(token)
    if first is None:
        return ""
    last = _ALNUM.search(token[::-1])
    return token[first.start() : len(token) - (last.start() if last else 0)]


def same_word(one: str, two: str) -> bool:
    """Whether two words are equal, signs at the edges and case ignored."""
    return trimmed(one).casefold() == trimmed(two).casefold()


_OPENING_QUOTE = re.compile(r"(?<!\w)'(?!(?i:re|ve|ll|m|t|s|d|n)\b)(?=\w)")
_OPENING_QUOTE_SIGN = re.compile(r"([«“‘„]|`+)")
_FIRST_QUOTE = re.compile(r'^"')
_QUOTE_INSIDE = re.compile(r"([ (\[{<]|[.?!]\s++)(?:\"|'')")
_LAST_PERIOD = re.compile(r"(?<=[^.])\.([\])}>\"'»”’ ]*+)\s*$")
_TOKEN = re.compile(r"(?<!\S)\S++(?=\s++(\S))")
_TOKEN_CLOSERS = "])}>\"'»”’*"
_NLTK_SPACED = re.compile(r"\.{2,}|[;@#$%&?!*\u2012-\u2015]|[\[\](){}<>]|--|[:,](?=\D|$)")
_CLOSING_QUOTE = re.compile(r"[»”’]|''|\"")
_APOSTROPHE = re.compile(r"(?<=[^' ])('(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?|n't|N'T)(?= )")
_NLTK_FUSED = re.compile(
    r"\b(can)(not)\b|\b(d)('ye)\b|\b(gim|lem)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(more)('n)\b|\b(wan)(na)(?=\s)",
    re.IGNORECASE,
)
_TIS = re.compile(r" ('t)(is|was)\b", re.IGNORECASE)


def nltk_tokens(text: str) -> list[str]:
    """Return the word tokens of ``text`` as NLTK's ``word_tokenize`` would, Punkt's model of abbreviations aside.

    These are Punkt's sentences, then the conventions of the Penn Treebank (1995). Of Punkt only common abbreviations
    are kept, which decides whether a period inside the text is a token of its own. IFTrain's ``compat`` compares the
    tokens themselves; ``bench/iftrain_agreement.py`` measures the difference.
    """
    text = _TOKEN.sub(_cut_period, text)
    text = _OPENING_QUOTE_SIGN.sub(r" \1 ", text)
    text = _FIRST_QUOTE.sub("`` ", text)
    text = _QUOTE_INSIDE.sub(r"\1 `` ", text)
    text = _OPENING_QUOTE.sub("' ", text)
    text = _LAST_PERIOD.sub(r" . \1 ", text)
    text = _NLTK_SPACED.sub(r" \g<0> ", text)
    text = _CLOSING_QUOTE.sub(lambda m: " '' " if m.group() == '"' else f" {m.group()} ", f" {text} ")
    text = re.sub(r"\s+", " ", text)
    text = _APOSTROPHE.sub(r" \1", text)
    text = _NLTK_FUSED.sub(lambda m: " ".join(["", *(part for part in m.groups() if part), ""]), text)
    return _TIS.sub(r" \1 \2 ", text).split()


def _cut_period(match: re.Match[str]) -> str:
    """Part a token from its last period, unless it is an abbreviation, an initial or the number of a list's item."""
    token = match.group()
    core = token.rstrip(_TOKEN_CLOSERS)
    if not core.endswith(".") or core.endswith("..") or core == ".":
        return token
    word = core[:-1].lower().lstrip("([{<\"'`«“‘")
    if (
        word in IFEVALG_ABBREVIATIONS
        or (len(word) == 1 and word.isalpha())
        or (word.isdigit() and match.group(1).islower())
    ):
        return token
    return f"{core[:-1]} .{token[len(core) :]}"


_SPACED = re.compile(r"\.{2,}|--|''|[\[\](){}<>«»“”‘’„;@#$%&?!*\"`\u2012-\u2015]|[:,](?!\d)")
_FINAL_PERIOD = re.compile(r"(?<=[^.\s])\.(?=[\])}>\"'»”’]*+(?:\s|$))")
_CLITIC = re.compile(
    r"(?<=[^'\s])(?='(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?(?:\s|$))"
    r"|(?<=[^'\s])(?=(?:n't|N'T)(?:\s|$))"
)
_TREEBANK_FUSED = re.compile(
    r"\b(can|d|gim|lem|gon|got|more|wan)((?<=can)not\b|(?<=d)'ye\b|(?<=[gl][ie]m)me\b|(?<=gon)na\b|(?<=got)ta\b"
    r"|(?<=more)'n\b|(?<=wan)na(?=\s|$))",
    re.IGNORECASE,
)
_TELLING = re.compile(r"[A-Z\x80-\U0010ffff](?!(?!n't|not|me|na|ta)[a-z])")
"""A capital, or a character that nothing is known of, that no small letter of its own token follows (before ``n't`` and
the tails of ``_TREEBANK_FUSED`` a token ends): no token without one is all upper case."""

_AFTER_WORD = ".,:;!?)"
_TWO_TOKENS = frozenset({"CANNOT", "GIMME", "LEMME", "GONNA", "GOTTA", "WANNA"})


def treebank_tokens(text: str) -> list[str]:
    """Return the tokens of ``text`` as the Penn Treebank cuts them, as far as counting all-capital ones is concerned.

    MathIF's ``compat`` counts those. It differs from ``nltk_tokens`` in that a period is cut off wherever a token ends
    in one, so that no model of sentences is needed and no rule looks across white space. The counts are equal on the
    responses of MathIF and IFEval; they differ on texts such as ``CAN'T.“``.
    """
    text = _OPENING_QUOTE.sub("' ", text)
    text = _SPACED.sub(lambda m: f" {m.group()} ", text)
    text = _FINAL_PERIOD.sub(" .", text)
    text = _CLITIC.sub(" ", text)
    return _TREEBANK_FUSED.sub(r" \1 \2 ", text).split()


def capital_tokens(text: str) -> int:
    """Count the ``treebank_tokens`` in all capitals.

    No rule looks across white space, so only runs that may hold one are cut.
    """
    flat, end, count = " ".join(text.split()), 0, 0
    unclear = []
    for found in _TELLING.finditer(flat):
        at = found.start()
        if at < end:
            continue
        start, end = flat.rfind(" ", 0, at) + 1, flat.find(" ", at)
        end = len(flat) if end < 0 else end
        run = flat[start:end]
        word = run.rstrip(_AFTER_WORD)
        if word.isalpha() and word.isupper() and word.isascii() and word not in _TWO_TOKENS:
            count += 1
        else:
            unclear.append(run)
    return count + sum(map(str.isupper, treebank_tokens(" ".join(unclear)))) if unclear else count
