r"""Word tokens as the Penn Treebank cuts them, which the official count of all-capital words is made on.

The conventions are those of the Treebank's ``tokenizer.sed`` (1995) as NLTK's ``word_tokenize`` applies them after
Punkt has cut the sentences. Only boundaries that can change how many tokens are all upper case matter here, so a
final period is cut off wherever a token ends in one.
"""

from __future__ import annotations

import re

_SPACED = re.compile(r"\.{2,}|--|''|[\[\](){}<>«»“”‘’„;@#$%&?!*\"`]|[:,](?!\d)")
_OPENING_QUOTE = re.compile(r"'(?!(?i:re|ve|ll|m|t|s|d|n))(?=\w(?!\w))")
_FINAL_PERIOD = re.compile(r"(?<=[^.\s])\.(?=[\])}>\"'»”’]*(?:\s|$))")
_CLITIC = re.compile(
    r"(?<=[^'\s])(?='(?:[sSmMdD]|ll|LL|re|RE|ve|VE)?(?:\s|$))|(?<=[^'\s])(?=(?:n't|N'T)(?:\s|$))"
)
_FUSED = re.compile(
    r"(?i)\b(can)(?=not\b)|\b(d)(?='ye\b)|\b(gim|lem)(?=me\b)|\b(gon)(?=na\b)|\b(got)(?=ta\b)"
)


def treebank_tokens(text: str) -> list[str]:
    """Return the tokens of ``text``, equal to NLTK's as far as counting all-capital ones is concerned."""
    text = _OPENING_QUOTE.sub("' ", text)
    text = _SPACED.sub(lambda m: f" {m.group()} ", text)
    text = _FINAL_PERIOD.sub(" .", text)
    text = _CLITIC.sub(" ", text)
    return _FUSED.sub(lambda m: f"{m.group()} ", text).split()
