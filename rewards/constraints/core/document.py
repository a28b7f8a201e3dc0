"""Write the reference page: ``python -m adhere.rewards.constraints.core.document > docs/constraints.md``."""

from __future__ import annotations

import sys

from adhere.rewards.constraints.core.composing import transform_order
from adhere.rewards.constraints.core.constraint import Constraint
from adhere.rewards.constraints.core.library import registry
from adhere.rewards.constraints.core.pools import DEFAULT_RANGES
from adhere.rewards.plugins import load_plugins

_INTRODUCTION = """# Constraints

A constraint is one instruction whose fulfilment a deterministic checker decides. This page is generated from
the registry by `python -m adhere.rewards.constraints.core.document > docs/constraints.md`.

```python
from adhere.rewards.constraints import check, describe, transform

check("detectable_format:number_bullet_lists", "* one\\n* two", {"num_bullets": 2})  # Verdict(score=1.0, ...)
describe("punctuation:no_comma", {}, variant=1)  # 'Do not use a single comma.'
transform("startend:quotation", "It is 5.", {})  # '"It is 5."'
```

`compat` decides as the official evaluator of the collection does: MathIF's (arXiv 2505.14810), IFEval's (arXiv
2311.07911), ReasonIF's (arXiv 2510.15211); comparisons with published numbers use it. `hardened` decides what the
instruction says, and training uses it. A blank text fails every constraint in both. Where IFEval or ReasonIF use
an id of MathIF's, it is listed once, under MathIF. Constraints of ReasonIF are decided on the finished reasoning
block, all others on the answer. Formulas are what `$...$`, `$$...$$`, `\\(...\\)`, `\\[...\\]` and LaTeX environments
enclose; an unclosed one is prose, and so are three or more words of two letters or more in a row inside one.
"""

_DIFFERENCES = """## Where `compat` differs from the official code

- A blank text fails everything. The official drivers of MathIF and IFEval do the same; their checkers do not.
- It agrees with NLTK 3.10.4 and langdetect 1.0.9 (seed 0). NLTK 3.10 takes curly quotes as closing ones, and matches
  words with the `regex` package: combining marks belong to words, `²` does not. Older versions differ in both.
- `length_constraints:number_sentences`: IFEval counts with NLTK's trained Punkt model, which is downloaded at run time.
  The same steps are followed here, with the model's abbreviations. Its statistics on words are replaced by tables of
  common ones, so that a rare word with a capital after an abbreviation, an initial or an ellipsis can count otherwise.
  The words come from NLTK's data package `punkt_tab` (Strunk and Kiss; trained on the Wall Street Journal of the Penn
  Treebank). NLTK's code is under Apache-2.0; the README of the data package names no licence of its own.
- MathIF's driver cuts a response at `<think>`, `</think>` and `<answer>`; IFEval's does not. In evaluation a row is
  IFEval's if a constraint of it is, or if it has neither a gold answer nor a source of another name.
- `change_case:capital_word_frequency`: the Treebank's rules for tokens, without Punkt's sentences before them.
- langdetect is seeded for every call. Unseeded, as the official code leaves it, it answers differently from call to
  call.
- `keywords:letter_frequency`: a character other than a letter, such as `#`, is counted. Some later versions of IFEval's
  code draw a random letter in its place.
- `reasoning:language` and `reasoning:english_capital`: langdetect, where ReasonIF's code uses fastText.
- Arguments that are missing or out of range are errors. IFEval's code draws random ones in their place.
"""

_ADDING = """## Adding a constraint

Write one class in a module of your own and decorate it with `register`. `rewards.constraints.Constraint` says what the
class holds; what is missing is said when it registers, in one sentence. Name the module under `plugins:` of a recipe.

```python
from adhere.rewards.constraints import Constraint, Step, decided, register


@register
class NoSemicolon(Constraint):
    \"\"\"No semicolons.\"\"\"

    id = "my_lab:no_semicolon"
    collection = "my_lab"
    step = Step.REMOVE
    phrasings = ("Use no semicolon.", "Write without semicolons.", "Semicolons are not allowed.")
    compat_rule = hardened_rule = "the character `;` does not occur"

    def hardened(self, text, kwargs):
        return decided(";" not in text, f"{text.count(';')} semicolons")

    compat = hardened

    def rewrite(self, text, kwargs):
        return text.replace(";", ".")
```

Recipes name it, or its collection, in `constraints.ids`. A prompt is given a constraint only where `rewrite` shows that
it can be met together with the gold answer. A class that ships stands in the file of `rewards/constraints/families/`
that its prefix names, and its id in `SHIPPED`. This page with your constraints on it:
`python -m adhere.rewards.constraints.core.document my_lab.rules`.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    sections = [_section(constraint) for constraint in registry().values()]
    return "\n".join([_INTRODUCTION, *sections, _tables(), _DIFFERENCES, _ADDING])


def _section(constraint: Constraint) -> str:
    arguments = "".join(f"- `{param.name}`: {param.doc}\n" for param in constraint.params) or "No arguments.\n"
    # A pair of words in square brackets would be a link.
    phrasings = [" ".join(phrasing.split()).replace("] [", "] \\[") for phrasing in constraint.wordings]
    asks = "".join(f"- {phrasing}\n" for phrasing in phrasings)
    summary = (constraint.__doc__ or "").strip().splitlines()[0]
    return (
        f"## `{constraint.id}`\n\n{summary}\n\nCollection: {constraint.collection}.\n\n{arguments}\n"
        f"| mode | passes if |\n|---|---|\n| compat | {constraint.compat_rule} |\n"
        f"| hardened | {constraint.hardened_rule} |\n\n"
        f"Asked for as:\n\n{asks}"
    )


def _tables() -> str:
    known = registry()
    ranges = {name: bounds for constraint in known.values() for name, bounds in constraint.ranges.items()}
    rows = "".join(f"| `{name}` | {low} to {high} |\n" for name, (low, high) in {**DEFAULT_RANGES, **ranges}.items())
    order = "".join(f"1. `{key}`{'' if known[key].rewritable else ' (no transform)'}\n" for key in transform_order())
    return (
        "## Ranges that training samples from\n\n| range | default |\n|---|---|\n"
        f"{rows}\n## Order of transforms\n\n{order}"
    )


if __name__ == "__main__":
    load_plugins(sys.argv[1:])
    print(reference(), end="")
