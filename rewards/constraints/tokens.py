r"""Word tokens as the Penn Treebank cuts them, which the official count of all-capital words is made on.

The conventions are those of the Treebank's ``tokenizer.sed`` (1995) as NLTK's ``word_tokenize`` applies them
after Punkt has cut the sentences. Only boundaries that can change how many tokens are all upper case matter
here, so a final period is cut off wherever a token ends in one, and no model of sentences is needed.
"""

from __future__ import annotations

import re

_OPENING_QUOTE = re.compile(r"(?<!\w)'(?!(?i:re|ve|ll|m|t|s|d|n)\b)(?=\w)")
_SPACED = re.compile(r"\.{2,}|--|''|[\[\](){}<>«»“”‘’„;@#$%&?!*\"`\u2012-\u2015]|[:,](?!\d)")
_FINAL_PERIOD = re.compile(r"(?<=[^.\s])\.(?=[\])}>\"'»”’]*+(?:\s|$))")
_CLITIC = re.compile(
    r"(?<=[^'\s])(?='(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?(?:\s|$))"
    r"|(?<=[^'\s])(?=(?:n't|N'T)(?:\s|$))"
)
_FUSED = re.compile(
    r"\b(can|d|gim|lem|gon|got|more|wan)((?<=can)not\b|(?<=d)'ye\b|(?<=[gl][ie]m)me\b|(?<=gon)na\b|(?<=got)ta\b"
    r"|(?<=more)'n\b|(?<=wan)na(?=\s|$))",
    re.IGNORECASE,
)


_TELLING = re.compile(r"[A-Z\x80-\U0010ffff](?!(?!n't|not|me|na|ta)[a-z])")
"""A capital, or a character that nothing is known of, that no small letter of its own token follows (before ``n't`` and
the tails of ``_FUSED`` a token ends): no token without one is all upper case."""

_AFTER_WORD = ".,:;!?)"
_TWO_TOKENS = frozenset({"CANNOT", "GIMME", "LEMME", "GONNA", "GOTTA", "WANNA"})


def treebank_tokens(text: str) -> list[str]:
    """Return the tokens of ``text``, equal to NLTK's as far as counting all-capital ones is concerned."""
    text = _OPENING_QUOTE.sub("' ", text)
    text = _SPACED.sub(lambda m: f" {m.group()} ", text)
    text = _FINAL_PERIOD.sub(" .", text)
    text = _CLITIC.sub(" ", text)
    return _FUSED.sub(r" \1 \2 ", text).split()


def capital_tokens(text: str) -> int:
    """Count the tokens in all capitals. No rule looks across white space, so only runs that may hold one are cut."""
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
