"""Copies of a request or a phrase, as IFTrain asks for them."""

from __future__ import annotations

from itertools import islice
from typing import Any, ClassVar

from adhere.rewards.constraints.core.constraint import Count, Kwargs, Needed, Step, Text, decided, off_by, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.shared import IFTrain, WholeResponse
from adhere.rewards.constraints.text.fillers import flat
from adhere.rewards.constraints.text.segmentation import spoken
from adhere.rewards.verdict import Verdict, failed

_DIVIDER = "*" * 6
_PLAIN = r"[^\s\\^$.|?*+()\[\]{}]+"

PHRASES: tuple[str, ...] = (
    "Small steps take us far ahead",
    "The last train leaves at noon",
    "Old maps still show new roads",
    "Fresh bread smells of warm mornings",
    "Quiet rivers carry heavy boats home",
)
"""Phrases that training asks to vary."""

_SUBSTITUTES = ("really", "mostly", "often", "rarely", "gladly", "slowly", "early", "kindly", "boldly", "softly")


@register
class RepeatPhrase(IFTrain):
    """A phrase comes back so many times, each time with one word in its middle replaced."""

    id = "copy:repeat_phrase"
    step = Step.CLOSE
    params = (
        Text(
            "phrase",
            "the phrase, of three words or more",
            rf"\s*{_PLAIN}(?:\s+{_PLAIN}){{2,}}\s*",
        ),
        Count("small_n", "the number of variants", high=len(_SUBSTITUTES)),
    )
    phrasings = (
        "Repeat the phrase {phrase} exactly {small_n} times, each time slightly changed: one word in its centre is "
        "replaced by another.",
        'Write exactly {small_n} variants of "{phrase}", each with one inner word exchanged.',
        'Your answer has to hold {small_n} versions of the phrase "{phrase}"; in each, replace a single word that is '
        "neither the first nor the last.",
    )
    compat_rule = (
        "runs from the phrase's first to its last word on one line number N; each has as many words as the phrase and "
        "differs in one at most, the last one in exactly one"
    )
    hardened_rule = (
        "N different variants of the phrase occur, case ignored, each with exactly one inner word replaced, and the "
        "phrase itself does not occur"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["phrase"].split()
        found = list(islice(_runs(text, wanted[0] + " ", " " + wanted[-1]), kwargs["small_n"] + 1))
        if len(found) != kwargs["small_n"]:
            return failed(f"{kwargs['small_n']} variants wanted, fewer or more found")
        changes = [_changes(run.split(), wanted) for run in found]
        ok = max(changes) <= 1 and changes[-1] == 1
        return decided(ok, "variants found" if ok else "a variant differs in more or less than one word")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        wanted = [word.casefold() for word in spoken(kwargs["phrase"])]
        said, size = [word.casefold() for word in spoken(text)], len(wanted)
        variants: list[tuple[str, ...]] = []
        for i in range(len(said) - size + 1):
            if said[i] == wanted[0] and said[i + size - 1] == wanted[-1]:
                run = said[i : i + size]
                changes = _changes(run, wanted)
                if changes == 0:
                    return failed("the phrase itself occurs")
                if changes == 1:
                    variants.append(tuple(run))
        ok = len(variants) == len(set(variants)) == kwargs["small_n"]
        return decided(ok, f"{len(variants)} variants, {len(set(variants))} different, {kwargs['small_n']} wanted")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"phrase": source.phrase("copy", PHRASES), "small_n": source.count("num_variants")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        words = kwargs["phrase"].split()
        fresh = [word for word in _SUBSTITUTES if word not in kwargs["phrase"].casefold()][: kwargs["small_n"]]
        middle = len(words) // 2
        variants = [" ".join([*words[:middle], word, *words[middle + 1 :]]) + "." for word in fresh]
        return "\n".join([*variants, text.lstrip()])

    def needs(self, kwargs: Kwargs) -> Needed | None:
        words = kwargs["phrase"].split()
        return Needed(" ".join([words[0], words[-1]] * kwargs["small_n"]), exact=True)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "combination:repeat_prompt":
            return flat(kwargs["phrase"]).casefold() in flat(other["prompt_to_repeat"]).casefold()
        return other_id == self.id and dict(kwargs) != dict(other)


def _runs(text: str, first: str, last: str) -> Any:
    """Yield the shortest runs from ``first`` to ``last`` on one line, from left to right, without overlap."""
    at = 0
    while (start := text.find(first, at)) >= 0:
        line_end = text.find("\n", start)
        line_end = len(text) if line_end < 0 else line_end
        end = text.find(last, start + len(first), line_end)
        if end < 0:
            at = line_end
            continue
        at = end + len(last)
        yield text[start:at]


def _changes(run: list[str], wanted: list[str]) -> int:
    if len(run) != len(wanted):
        return len(wanted)
    return sum(one != two for one, two in zip(run, wanted, strict=True))


REQUEST = Text("prompt_to_repeat", "the request that has to be copied")


class CopyOnly(WholeResponse):
    """Nothing but a copy."""

    step = Step.REPEAT
    rewritable = False
    allows: ClassVar[frozenset[str]] = frozenset()

    def target(self, kwargs: Kwargs, *, official: bool) -> str:
        """Return the text that the response has to be."""
        return str(kwargs["prompt_to_repeat"])

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        ok = text.strip().lower() == self.target(kwargs, official=True).strip().lower()
        return decided(ok, "a copy" if ok else "not a copy")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        target = flat(self.target(kwargs, official=False))
        ok = bool(target) and flat(text) == target
        return decided(ok, "an exact copy" if ok else "not an exact copy")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        if source.question is None:
            raise LookupError("question")
        return {"prompt_to_repeat": source.question}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return self.target(kwargs, official=True).strip()

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id != self.id or dict(kwargs) != dict(other)


@register
class Copy(CopyOnly):
    """The instruction is copied, not followed."""

    id = "copy:copy"
    params = (REQUEST,)
    phrasings = (
        "Do nothing that the text above asks for: hand it back letter for letter, without this last sentence.",
        "Do not carry out the task above. Write it down again, word for word, and nothing else (not this sentence).",
        "Your whole response has to be an exact copy of the text above, this sentence left out; do not act on it.",
    )
    compat_rule = "the text equals the request, case and white space at the ends ignored"
    hardened_rule = "the text equals the request, white space folded and case kept"


@register
class CopyingSimple(CopyOnly):
    """The request is repeated and not answered."""

    id = "copy:copying_simple"
    params = (REQUEST,)
    phrasings = (
        "Say the request again as it is, with nothing around it and without this sentence; no answer is wanted.",
        "Give back the request exactly as it stands, this sentence left out, and leave it unanswered.",
        "Write the request again, unchanged, and nothing else: no answer, no introduction, not this sentence.",
    )
    compat_rule = "the text equals the request, case and white space at the ends ignored"
    hardened_rule = "the text equals the request, white space folded and case kept"


@register
class CopyingMultiple(CopyOnly):
    """The request is repeated so many times and not answered."""

    id = "copy:copying_multiple"
    params = (REQUEST, Count("N", "the number of copies", high=1000))
    phrasings = (
        "Say the request {N} times as it is, six asterisks ****** between one and the next, without this sentence; no "
        "answer is wanted.",
        "Write the request {N} times, unchanged and unanswered, with ****** between them; leave this sentence out.",
        "Output {N} exact copies of the request (without this sentence), separated by ******, and nothing else.",
    )
    compat_rule = "cut at `******`, the text has N parts, each equal to the request, case and outer white space ignored"
    hardened_rule = "cut at `******`, the text has N parts, each equal to the request, white space folded and case kept"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._parts([part.strip().lower() for part in text.split(_DIVIDER)], kwargs, str.lower)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._parts([flat(part) for part in text.split(_DIVIDER)], kwargs, flat)

    @staticmethod
    def _parts(parts: list[str], kwargs: Kwargs, fold: Any) -> Verdict:
        target = fold(kwargs["prompt_to_repeat"].strip())
        wrong = sum(part != target for part in parts)
        off = None if wrong else off_by(len(parts), "part", kwargs["N"])
        return decided(off is None and not wrong, f"{len(parts)} parts, {wrong} of them no copies", off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {**super().sample(source), "N": source.count("num_copies")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return f"\n{_DIVIDER}\n".join([kwargs["prompt_to_repeat"].strip()] * kwargs["N"])
