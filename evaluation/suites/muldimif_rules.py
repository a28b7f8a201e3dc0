"""MulDimIF's rules (arXiv 2505.07591): what the text of a constraint asks for, and whether a response does it.

The benchmark has no arguments. Its scripts read the number, the keyword or the level out of the constraint's own
words, by patterns that are tried in a fixed order, and what they overlook is part of its verdicts: a table is whatever
lies between the first and the last bar, and a demand that no pattern knows is met by every response in some families
and by none in others. These functions decide as those scripts do. What the test split cannot reach is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adhere.evaluation.suites.muldimif_formats import (
    identifiers,
    markdown,
    nesting_met,
    other_format,
    table_met,
)
from adhere.evaluation.suites.muldimif_words import (
    chinese,
    english,
    keywords,
    paragraphs,
    punctuation,
    sentences_met,
    words_met,
)

RULES: Mapping[str, Callable[[str, str], bool]] = {
    "Content_Keywords": keywords,
    "Content_Punctuation": punctuation,
    "Content_Identifiers": identifiers,
    "Length_Words": words_met,
    "Length_Sentences": sentences_met,
    "Length_Paragraphs": paragraphs,
    "Language_English": english,
    "Language_Chinese": chinese,
    "Format_Table": table_met,
    "Format_Markdown": markdown,
    "Format_Json": nesting_met,
    "Format_Others": other_format,
}
"""The rule of each kind; ``rule_kind`` brings the data's names to these."""

ALIASES = {
    "Table_Row limit": "Format_Table", "Table_Column limit": "Format_Table", "Table_Table": "Format_Others",
    "Markdown_Heading levels": "Format_Markdown", "Markdown_Block quotes": "Format_Markdown",
    "Json_Object nesting levels": "Format_Json", "Json_Number of attributes": "Format_Json",
    "XML_Number of attributes": "Format_Others", "Format_XML": "Format_Others", "Format_Text": "Format_Others",
    "Format_Blurb": "Format_Others", "Format_Bullet Points": "Format_Others", "References_Format": "Format_Others",
    "Format_Markdown: Block quotes": "Format_Others", "Format_Length": "Format_Others",
    "Punctuation_Ending punctuation": "Content_Punctuation", "Paragraphs_At most": "Length_Paragraphs",
    "Sentences_At most": "Length_Sentences", "Sentences_At least": "Length_Sentences", "Words_At most": "Length_Words",
    "Format_Word Count": "Length_Words", "Content_Length": "Content_Identifiers", "Citations_In-text":
    "Content_Identifiers", "Content_Quotes": "Content_Identifiers", "Content_Sources": "Content_Identifiers",
    "Content_Mention": "Content_Identifiers",
}  # fmt: skip


def rule_kind(category: str, kind: str) -> str | None:
    """Return which of ``RULES`` decides a constraint of the data, by its two names; ``None`` where none does."""
    name = f"{category}_{kind}"
    found = ALIASES.get(name) or name.partition(":")[0]
    return found if found in RULES else None
