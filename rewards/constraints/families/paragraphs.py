"""IFTrain's two paragraphs, parted by a divider or by a blank line."""

from __future__ import annotations

import re
from typing import ClassVar

from adhere.rewards.constraints.core.constraint import Kwargs, Needed, Step, decided, off_by, plural, register
from adhere.rewards.constraints.families.shared import IFTrain
from adhere.rewards.constraints.text.fillers import fillers, flat, in_groups
from adhere.rewards.constraints.text.segmentation import split_sentences
from adhere.rewards.constraints.text.views import has_content, layout
from adhere.rewards.verdict import Verdict, failed

NUMBER_PARAGRAPHS = "length_constraints:number_paragraphs"
NTH_PARAGRAPH = "length_constraints:nth_paragraph_first_word"
_RULE = re.compile(r"^[ \t]*(?:\*[ \t]*+){3,}$\n?", re.MULTILINE)
_RULE_LINE = re.compile(r"^[ \t]*(?:\*[ \t]*+){3}$", re.MULTILINE)
_BLANK = re.compile(r"\n[^\S\n]*+(?:\n[^\S\n]*+)++")


class _TwoParagraphs(IFTrain):
    """Two parts with content."""

    step = Step.SECTION
    divider: ClassVar[str]
    official: ClassVar[str]

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        parts = re.split(self.official, text)
        blank = [i for i, part in enumerate(parts) if not part.strip()]
        if any(0 < i < len(parts) - 1 for i in blank):
            return failed("a paragraph is empty")
        count = len(parts) - len(blank)
        return decided(count == 2, f"{plural(count, 'paragraph')}, 2 wanted", off_by(count, "paragraph", 2))

    @staticmethod
    def _verdict(parts: list[str]) -> Verdict:
        empty = sum(not has_content(part) for part in parts)
        return decided(len(parts) == 2 and not empty, f"{plural(len(parts), 'paragraph')}, {empty} of them empty")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        lines = [line for line in _RULE.sub("", text).split("\n") if line.strip()]
        if len(lines) < 2:
            lines = [flat(sentence) for sentence in split_sentences("\n".join(lines))]
        lines = fillers(2 - len(lines)) + lines
        return self.divider.join("\n".join(group) for group in in_groups(lines, 2))


@register
class Paragraphs(_TwoParagraphs):
    """Two paragraphs with `***` between them."""

    id = "paragraphs:paragraphs"
    divider, official = "\n***\n", r"\s?\*\*\*\s?"
    phrasings = (
        "Use 2 paragraphs with the markdown divider *** in the middle.",
        "Write two paragraphs with a line *** between them.",
        "Divide your answer into 2 paragraphs by the markdown divider ***.",
    )
    compat_rule = "cut at `***`, wherever it stands, two parts are not blank; a blank part may stand at an end"
    hardened_rule = "exactly one line is `***` or `* * *`, and there is content before and after it"

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(_RULE_LINE.split(layout(text)))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return "***" in needed.text

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == NUMBER_PARAGRAPHS:
            return bool(other["num_paragraphs"] != 2)
        # six asterisks between two responses hold the three that part two paragraphs
        also = (Paragraphs2.id, "combination:two_responses", NTH_PARAGRAPH)
        return other_id in also


@register
class Paragraphs2(_TwoParagraphs):
    """Two paragraphs with a blank line between them."""

    id = "paragraphs:paragraphs2"
    divider = official = "\n\n"
    phrasings = (
        "Use 2 paragraphs; two line breaks part them and are found nowhere else.",
        "Write two paragraphs with a blank line between them, and no other blank line.",
        "Your response consists of 2 paragraphs, parted by two line breaks.",
    )
    compat_rule = "cut at two line breaks, two parts are not blank; a blank part may stand at an end"
    hardened_rule = "blank lines, with or without spaces on them, part the text into exactly two parts with content"

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(_BLANK.split(text.strip()))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return needed.exact and _BLANK.search(needed.text) is not None

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == NTH_PARAGRAPH:
            return bool(other["num_paragraphs"] != 2)
        return other_id == NUMBER_PARAGRAPHS
