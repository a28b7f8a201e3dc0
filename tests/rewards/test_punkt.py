"""Sentences counted as NLTK's English Punkt counts them; the counts below are NLTK 3.10.4's own."""

import pytest

from adhere.rewards.constraints.text.punkt import sentence_count
from adhere.rewards.constraints.text.segmentation import word_runs


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("One.", 1),
        ("One. Two.", 2),
        # closing quotes and brackets stay with the sentence before them
        ('He said "Go." Then he left.', 2),
        ("He said “Go.” Then he left.", 2),
        ("He said «Go!» Then he left.", 2),
        ("(It rains.) We stay.", 2),
        ("**It rains.** We stay.", 2),
        ('"It rains."* We stay.', 2),
        ("It rains.“ We stay.", 2),
        ('It rains." "We stay."', 2),
        # a mark without white space or a closing sign behind it is inside a word
        ("See adhere.md for 3.5 of it.", 1),
        ("Really?!No.", 2),
        # abbreviations of the model, and those that it does not know
        ("Mr. Smith met Dr. Jones in the U.S. yesterday.", 1),
        ("The U.S. Government paid. The U.S. However it did.", 3),
        ("It rains, e.g. here, i.e. there, etc. and so on.", 4),
        ("Add a postscript with P.S. at the end.", 2),
        # initials and numbers before capitals and small letters
        ("J. Smith adds.", 1),
        ("A. Brief words\nB. Overview of it", 2),
        ("1. One.\n2. Two.", 4),
        ("1. one\n2. two", 1),
        ("In 1995. Review of it", 1),
        # an ellipsis ends a sentence before a word that starts sentences
        ("Wait... The end.", 2),
        ("Wait... However it ends.", 2),
        ("Wait... what?", 1),
        # a mark that opens a run of characters counts beside the last one
        ("key !'!'1* 2", 3),
        ("a . b ? c", 3),
    ],
)
def test_sentences_are_counted_as_punkt_does(text, count):
    assert sentence_count(text) == count


def test_a_long_run_of_marks_is_counted_in_linear_time():
    assert sentence_count("." * 200_000 + " A") >= 1
    assert sentence_count('"' * 200_000 + ". A") >= 1
    assert sentence_count("a.b?" * 50_000) >= 1


@pytest.mark.parametrize(
    ("text", "count"), [("x² + ½", 1), ("ಸ್ಯಾಂಡ್ವಿಚ್ಗಳು", 1), ("คำตอบคือ", 1), ("Ⓐ b", 2), ("don't", 2), ("a_b‿c", 1)]
)
def test_word_characters_are_those_of_the_regex_package(text, count):
    assert word_runs(text) == count
