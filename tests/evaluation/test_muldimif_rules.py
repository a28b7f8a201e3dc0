"""MulDimIF's rules: the demand is read out of the constraint's words, as the official scripts read it."""

import importlib.util

import pytest

from adhere.evaluation.suites.muldimif_formats import (
    identifiers,
    markdown,
    nesting_met,
    other_format,
    table_met,
)
from adhere.evaluation.suites.muldimif_rules import RULES, rule_kind
from adhere.evaluation.suites.muldimif_words import (
    chinese,
    english,
    keywords,
    paragraphs,
    punctuation,
    sentences_met,
    words_met,
)

TWO_BY_THREE = "| A | B |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |"


@pytest.mark.parametrize(
    ("rule", "constraint", "met", "missed"),
    [
        (sentences_met, "The answer must have at least three sentences", "A. B! C?", "A. B."),
        (sentences_met, "At most: 2 sentences", "A. B.", "A. B. C."),
        (sentences_met, "The text should contain 2 sentences", "A. B.", "A."),
        (sentences_met, "The answer must be a single sentence", "A.", "A. B."),
        (sentences_met, "between five and ten sentences", "A. " * 5, "A. " * 4),
        (sentences_met, "Range: 2-3 sentences", "A. B. C.", "A. B. C. D."),
        (sentences_met, "The answer must not exceed 1 sentences", "A.", "A. B."),
        (sentences_met, "至多包含三句话", "A. B. C.", "A. B. C. D."),
        (paragraphs, "at least two paragraphs", "A\n\nB", "A\nB"),
        (paragraphs, "divided into 2 to 3 paragraphs", "A\n\nB", "A"),
        (paragraphs, "must be a single paragraph", "A\nB", "A\n\nB"),
        (words_met, "The answer must be at most 3 words long", "a b c", "a b c d"),
        (words_met, "with a minimum of twenty words", "a " * 20, "a " * 19),
        (words_met, "exactly 1,000 words", "a " * 1000, "a " * 999),
        (words_met, "between 4 and 2 words", "a b c", "a"),
        (words_met, "a 2-3 word title", "a b", "a b c d"),
        (words_met, "a single word", "a", "a b"),
        (words_met, "at most 5 words and at most 2 sentences", "a. b.", "a. b. c."),
        (words_met, "at most 5 words, with 'Rhine'", "The rhine", "The river"),
        (words_met, "Each name must be at most two words", "1. A B\n2. C", "1. A B\n2. C D E"),
        (words_met, "Each cell must have at least 2 words", "| a b | c d |", "| a b | c |"),
        (words_met, "Each word must be at most 3 characters", "one two", "one three"),
        (words_met, "最多3个字", "你好", "你好你好"),
        (keywords, "Must include the keyword 'Rhine'", "The RHINE.", "Rhineland"),
        (keywords, "Must include 'C++' at least twice", "C++, C++", "C++"),
        (keywords, "Must include the keywords 'a' and 'b'", "a b", "a"),
        (keywords, "Must include 'a' or 'b'", "b", "c"),
        (keywords, "avoid using the term 'bad'", "good", "Bad!"),
        (keywords, "it includes the keyword 'yes' and avoids the keyword 'no'", "yes", "yes no"),
        (keywords, 'The names ""A B"" must appear multiple times', "a b, a b", "a b"),
        (keywords, "Each item must include the keyword 'x'", "1. x\n2. an x", "1. x\n2. y"),
        (keywords, "必须包含「河」", "大河", "大海"),
        (punctuation, "The answer must end with a period", "A.", "A"),
        (punctuation, "Must end with a question mark or an exclamation mark", "A?", "A."),
        (punctuation, "The title must not end with punctuation marks", "A", "A;"),
        (punctuation, "Each sentence must end with a period", "It is. So it is.", "It is. Is it?"),
        (punctuation, "Each paragraph must end with a period", "A! B.\nC.", "A.\nB!"),
        (punctuation, "Each cell must end with a period", "| A. | B. |", "| A. | B |"),
        (punctuation, "Each bullet point ends with a period", "- A.\n- B.", "- A.\n- B!"),
        (punctuation, "must end with a period followed by a `~`", "A.~", "A."),
        (english, "in all uppercase letters", "ABC 1", "ABc"),
        (english, "use capitalized letters for each word", "A Big 2nd River", "A big River"),
        (english, "written in lowercase letters", "abc", "aBc"),
        (english, "The headings should be capitalized", "# Big River\nsmall words", "# Big river\nBig"),
        (english, "The table headers must be capitalized", "| A | B |\n| c | d |", "| A | b |\n| C | D |"),
        (markdown, "include a level 2 heading", "## A", "# A"),
        (markdown, "Use at least two heading levels", "# A\n## B", "# A\n# B"),
        (markdown, "use heading levels 1 and 3", "# A\n### B", "# A\n## B"),
        (markdown, "include a level 2 heading titled 'Big River'", "## Big River", "## Small River"),
        (markdown, "The answer must include headings", "### A", "A"),
        (markdown, "heading levels must not exceed 2", "## A", "### A"),
        (markdown, "use block quotes", "> A", "A"),
        (table_met, "a table with exactly three rows", TWO_BY_THREE, TWO_BY_THREE + "\n| 7 | 8 |"),
        (table_met, "a table with no more than 2 columns", TWO_BY_THREE, "| A | B | C |\n|---|---|---|"),
        (table_met, "If a table is used, it must not exceed 3 rows", "no rows", TWO_BY_THREE + "\n| 7 | 8 |"),
        (table_met, "The table must not exceed 3 rows", TWO_BY_THREE, "no rows"),
        (table_met, "a table with columns: 'A', 'B'", TWO_BY_THREE, "| A | C |\n|---|---|"),
        (nesting_met, "a JSON object with exactly two levels of nesting", '{"a": {"b": 1}}', '{"a": 1}'),
        (nesting_met, "a maximum of two nesting levels", '```json\n{"a": [1]}\n```', '{"a": [[1]]}'),
        (nesting_met, "at least two levels of nesting", '{"a": {"b": 1}}', '{"a": '),
        (other_format, "no more than two attributes", "<a x='1' y='2'/>", "<a x='1' y='2' z='3'/>"),
        (other_format, "No bullet points", "A", "- A"),
        (other_format, "a short blurb", "A", "A" * 201),
        (identifiers, "must start with the identifier 'List:'", "## list: a", "A list:"),
    ],
)
def test_a_demand_is_read_and_decided(rule, constraint, met, missed):
    assert rule(constraint, met) is True
    assert rule(constraint, missed) is False


@pytest.mark.parametrize(
    ("rule", "constraint", "text", "met"),
    [
        (sentences_met, "The answer should be short", "A. B. C.", True),  # nothing is read: met by all
        (paragraphs, "at most five rows", "A", False),  # nothing is read: met by none
        (words_met, "The answer should be short", "a " * 500, True),
        (english, "entirely in uppercase letters", "ABC", False),  # only "all uppercase" is known
        (identifiers, "must be kind", "A", False),
        (table_met, "It must be tidy", "A", True),  # neither side speaks of a table
        (nesting_met, "in JSON", '{"a": 1}', False),
        (words_met, "at least twenty-five words", "a " * 10, True),  # a hyphen is read as a range, here from 5 to 20
        (words_met, "be at most 3 words", "你好吗朋友", False),  # Chinese is counted by character
    ],
)
def test_what_the_official_scripts_overlook_is_part_of_their_verdicts(rule, constraint, text, met):
    assert rule(constraint, text) is met


@pytest.mark.skipif(importlib.util.find_spec("zhconv") is None, reason="needs zhconv")
@pytest.mark.parametrize(
    ("constraint", "met", "missed"),
    [
        ("The answer must be in Simplified Chinese.", "这是简体", "這是繁體"),
        ("Must use Traditional Chinese characters", "這是繁體字", "这是简繁混合"),
        ("確保使用繁體中文書寫", "喜歡", "喜欢"),
    ],
)
def test_chinese_is_told_by_its_characters(constraint, met, missed):
    assert chinese(constraint, met) and not chinese(constraint, missed)


def test_every_kind_of_the_data_has_a_rule_and_others_have_none():
    names = [
        ("Length", "Words: At most"),
        ("Table", "Row limit"),
        ("XML", "Number of attributes"),
        ("Language", "English"),
    ]
    assert [rule_kind(*name) for name in names] == ["Length_Words", "Format_Table", "Format_Others", "Language_English"]
    assert rule_kind("Taste", "Sour") is None and set(RULES) >= {"Format_Json", "Content_Identifiers"}
