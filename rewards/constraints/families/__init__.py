"""The constraints that ship: an id's prefix names the file that defines it. All files here are imported at once."""

from __future__ import annotations

import importlib
import pkgutil

for _family in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_family.name)

_SHIPPED = """
change_case:english_capital change_case:english_lowercase change_case:capital_word_frequency keywords:existence
keywords:frequency keywords:forbidden_words keywords:letter_frequency detectable_content:number_placeholders
detectable_content:postscript detectable_format:title copy:repeat_phrase copy:copy copy:copying_simple
copy:copying_multiple new:copy_span_idx count:lowercase_counting count:count_increment_word count:count_unique
count:counting_composition first_word:first_word_answer last_word:last_word_answer first_word:first_word_sent
last_word:last_word_sent detectable_format:json_format detectable_format:constrained_response
language:response_language detectable_format:number_bullet_lists detectable_format:number_highlighted_sections
detectable_format:multiple_sections length_constraint_checkers:number_words length_constraints:number_words
letters:letter_counting letters:letter_counting2 punctuation:punctuation_exclamation punctuation:punctuation_dot
paragraphs:paragraphs paragraphs:paragraphs2 length_constraints:number_paragraphs
length_constraints:nth_paragraph_first_word combination:two_responses keywords:word_once
keywords:word_count_different_numbers keywords:exclude_word_harder keywords:no_adjacent_consecutive
keywords:palindrome keywords:keyword_specific_position keywords:start_end punctuation:no_comma
combination:repeat_prompt startend:end_checker startend:quotation reasoning:language reasoning:number_words
reasoning:end_checker reasoning:json_format reasoning:english_capital reasoning:no_comma
length_constraints:number_sentences detectable_format:square_brackets detectable_format:bigram_wrapping
detectable_format:sentence_hyphens
"""

SHIPPED: tuple[str, ...] = tuple(_SHIPPED.split())
"""The ids that ship, in the order in which they are drawn from. A seed's draws depend on it: new ones come last."""
