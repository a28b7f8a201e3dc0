"""Views of a text: sentences, words, languages, formulas masked, and the sentences that transforms add."""
