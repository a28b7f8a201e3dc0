"""Sentences and word tokens as the official IFEvalG checkers cut them, without NLTK and its downloads.

IFEvalG (open-instruct, Apache-2.0) cuts sentences with a chain of substitutions, which ``official_sentences``
reproduces, and words with NLTK's ``word_tokenize``: Punkt sentences, then the conventions of the Penn Treebank (1995).
``official_words`` has the Treebank's part; of Punkt's trained model only common abbreviations are kept, which decides
whether a period inside the text is a token of its own. ``bench/iftrain_agreement.py`` measures the difference.
"""

from __future__ import annotations

import re

_HELD, _END = "<prd>", "<stop>"
_SUBJECT = (
    "(?:Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt|Wherever"
    r"|(?:He|She|It|They|Their|Our|We|But|However|That|This)\s)"
)
_FIRM = "(?:Inc|Ltd|Jr|Sr|Co)"
_BEFORE_PHD = (
    (re.compile(r"(?<=Mr|St|Ms|Dr)\.|(?<=Mrs)\."), _HELD),
    (re.compile(r"\.(?=com|net|org|io|gov|edu|me)"), _HELD),
    (re.compile(r"([0-9])\.([0-9])"), rf"\1{_HELD}\2"),
    (re.compile(r"\.{2,}"), lambda m: _HELD * len(m.group()) + _END),
)
_AFTER_PHD = (
    (re.compile(r"\s([A-Za-z])\. "), rf" \1{_HELD} "),
    (re.compile(rf"([A-Z]\.[A-Z]\.(?:[A-Z]\.)?) (?={_SUBJECT})"), rf"\1{_END} "),
    (re.compile(r"([A-Za-z])\.([A-Za-z])\.([A-Za-z])\."), rf"\1{_HELD}\2{_HELD}\3{_HELD}"),
    (re.compile(r"([A-Za-z])\.([A-Za-z])\."), rf"\1{_HELD}\2{_HELD}"),
    (re.compile(rf" ({_FIRM})\. (?={_SUBJECT})"), rf" \1{_END} "),
    (re.compile(rf" ({_FIRM})\."), rf" \1{_HELD}"),
    (re.compile(r" ([A-Za-z])\."), rf" \1{_HELD}"),
)
_QUOTED_ENDS = ((".”", "”."), ('."', '".'), ('!"', '"!'), ('?"', '"?'))


def official_sentences(text: str) -> list[str]:
    """Return the sentences that IFEvalG sees: cut after every ``.``, ``?`` and ``!`` that no rule holds back."""
    text = f" {text}  ".replace("\n", " ")
    for pattern, replacement in _BEFORE_PHD:
        text = pattern.sub(replacement, text)
    text = text.replace("Ph.D.", f"Ph{_HELD}D{_HELD}")
    for pattern, replacement in _AFTER_PHD:
        text = pattern.sub(replacement, text)
    for quoted, swapped in _QUOTED_ENDS:
        text = text.replace(quoted, swapped)
    for sign in ".?!":
        text = text.replace(sign, sign + _END)
    sentences = [sentence.strip() for sentence in text.replace(_HELD, ".").split(_END)]
    return sentences if sentences[-1] else sentences[:-1]


_ABBREVIATED = """
a.m aug capt co col corp dec dr e.g feb gen i.e inc jan jr lt ltd mr mrs ms mt nov oct p.m ph.d prof rep rev sen sept
sr st u.k u.n u.s vs
"""

ABBREVIATIONS = frozenset(_ABBREVIATED.split())
"""Words, without their last period and in lower case, that a period after them does not end a sentence for."""

_OPENING = re.compile(r"([«“‘„]|`+)")
_FIRST_QUOTE = re.compile(r'^"')
_QUOTE_INSIDE = re.compile(r"([ (\[{<]|[.?!]\s++)(?:\"|'')")
_SINGLE = re.compile(r"(?<!\w)'(?!(?i:re|ve|ll|m|t|s|d|n)\b)(?=\w)")
_LAST_PERIOD = re.compile(r"(?<=[^.])\.([\])}>\"'»”’ ]*+)\s*$")
_TOKEN = re.compile(r"(?<!\S)\S++(?=\s++(\S))")
_CLOSERS = "])}>\"'»”’*"
_SEPARATE = re.compile(r"\.{2,}|[;@#$%&?!*\u2012-\u2015]|[\[\](){}<>]|--|[:,](?=\D|$)")
_CLOSING = re.compile(r"[»”’]|''|\"")
_APOSTROPHE = re.compile(r"(?<=[^' ])('(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?|n't|N'T)(?= )")
_FUSED = re.compile(
    r"\b(can)(not)\b|\b(d)('ye)\b|\b(gim|lem)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(more)('n)\b|\b(wan)(na)(?=\s)",
    re.IGNORECASE,
)
_TIS = re.compile(r" ('t)(is|was)\b", re.IGNORECASE)


def official_words(text: str) -> list[str]:
    """Return the word tokens of ``text`` as NLTK's ``word_tokenize`` would, Punkt's model of abbreviations aside."""
    text = _TOKEN.sub(_cut_period, text)
    text = _OPENING.sub(r" \1 ", text)
    text = _FIRST_QUOTE.sub("`` ", text)
    text = _QUOTE_INSIDE.sub(r"\1 `` ", text)
    text = _SINGLE.sub("' ", text)
    text = _LAST_PERIOD.sub(r" . \1 ", text)
    text = _SEPARATE.sub(r" \g<0> ", text)
    text = _CLOSING.sub(lambda m: " '' " if m.group() == '"' else f" {m.group()} ", f" {text} ")
    text = re.sub(r"\s+", " ", text)
    text = _APOSTROPHE.sub(r" \1", text)
    text = _FUSED.sub(lambda m: " ".join(["", *(part for part in m.groups() if part), ""]), text)
    return _TIS.sub(r" \1 \2 ", text).split()


def _cut_period(match: re.Match[str]) -> str:
    """Part a token from its last period, unless it is an abbreviation, an initial or the number of a list's item."""
    token = match.group()
    core = token.rstrip(_CLOSERS)
    if not core.endswith(".") or core.endswith("..") or core == ".":
        return token
    word = core[:-1].lower().lstrip("([{<\"'`«“‘")
    if word in ABBREVIATIONS or (len(word) == 1 and word.isalpha()) or (word.isdigit() and match.group(1).islower()):
        return token
    return f"{core[:-1]} .{token[len(core) :]}"
