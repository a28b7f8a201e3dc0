"""Copies of a request or a phrase, as IFTrain asks for them."""

from __future__ import annotations

from itertools import islice
from typing import Any, ClassVar

from adhere.rewards.constraints.base import Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.iftrain import IFTrain, WholeResponse, spoken
from adhere.rewards.constraints.params import Count, Text
from adhere.rewards.constraints.sentences import flat

_REQUEST = Text("prompt_to_repeat", "the request that has to be copied")
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        wanted = kwargs["phrase"].split()
        found = list(islice(_runs(text, wanted[0] + " ", " " + wanted[-1]), kwargs["small_n"] + 1))
        if len(found) != kwargs["small_n"]:
            return Outcome(False, f"{kwargs['small_n']} variants wanted, fewer or more found")
        changes = [_changes(run.split(), wanted) for run in found]
        ok = max(changes) <= 1 and changes[-1] == 1
        return Outcome(ok, "variants found" if ok else "a variant differs in more or less than one word")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        wanted = [word.casefold() for word in spoken(kwargs["phrase"])]
        said, size = [word.casefold() for word in spoken(text)], len(wanted)
        variants: list[tuple[str, ...]] = []
        for i in range(len(said) - size + 1):
            if said[i] == wanted[0] and said[i + size - 1] == wanted[-1]:
                run = said[i : i + size]
                changes = _changes(run, wanted)
                if changes == 0:
                    return Outcome(False, "the phrase itself occurs")
                if changes == 1:
                    variants.append(tuple(run))
        ok = len(variants) == len(set(variants)) == kwargs["small_n"]
        return Outcome(ok, f"{len(variants)} variants, {len(set(variants))} different, {kwargs['small_n']} wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"phrase": source.rng.choice(PHRASES), "small_n": source.count("num_variants")}

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


class _Copy(WholeResponse):
    """Nothing but a copy."""

    step = Step.REPEAT
    rewritable = False
    allows: ClassVar[frozenset[str]] = frozenset()

    def target(self, kwargs: Kwargs, *, official: bool) -> str:
        """Return the text that the response has to be."""
        return str(kwargs["prompt_to_repeat"])

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        ok = text.strip().lower() == self.target(kwargs, official=True).strip().lower()
        return Outcome(ok, "a copy" if ok else "not a copy")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        target = flat(self.target(kwargs, official=False))
        ok = bool(target) and flat(text) == target
        return Outcome(ok, "an exact copy" if ok else "not an exact copy")

    def sample(self, source: Sampler) -> dict[str, Any]:
        if source.question is None:
            raise LookupError("question")
        return {"prompt_to_repeat": source.question}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return self.target(kwargs, official=True).strip()

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id != self.id or dict(kwargs) != dict(other)


@register
class Copy(_Copy):
    """The instruction is copied, not followed."""

    id = "copy:copy"
    params = (_REQUEST,)
    phrasings = (
        "Do nothing that the text above asks for: hand it back letter for letter, without this last sentence.",
        "Do not carry out the task above. Write it down again, word for word, and nothing else (not this sentence).",
        "Your whole response has to be an exact copy of the text above, this sentence left out; do not act on it.",
    )
    compat_rule = "the text equals the request, case and white space at the ends ignored"
    hardened_rule = "the text equals the request, white space folded and case kept"


@register
class CopyingSimple(_Copy):
    """The request is repeated and not answered."""

    id = "copy:copying_simple"
    params = (_REQUEST,)
    phrasings = (
        "Say the request again as it is, with nothing around it and without this sentence; no answer is wanted.",
        "Give back the request exactly as it stands, this sentence left out, and leave it unanswered.",
        "Write the request again, unchanged, and nothing else: no answer, no introduction, not this sentence.",
    )
    compat_rule = "the text equals the request, case and white space at the ends ignored"
    hardened_rule = "the text equals the request, white space folded and case kept"


@register
class CopyingMultiple(_Copy):
    """The request is repeated so many times and not answered."""

    id = "copy:copying_multiple"
    params = (_REQUEST, Count("N", "the number of copies", high=1000))
    phrasings = (
        "Say the request {N} times as it is, six asterisks ****** between one and the next, without this sentence; no "
        "answer is wanted.",
        "Write the request {N} times, unchanged and unanswered, with ****** between them; leave this sentence out.",
        "Output {N} exact copies of the request (without this sentence), separated by ******, and nothing else.",
    )
    compat_rule = "cut at `******`, the text has N parts, each equal to the request, case and outer white space ignored"
    hardened_rule = "cut at `******`, the text has N parts, each equal to the request, white space folded and case kept"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._parts([part.strip().lower() for part in text.split(_DIVIDER)], kwargs, str.lower)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._parts([flat(part) for part in text.split(_DIVIDER)], kwargs, flat)

    @staticmethod
    def _parts(parts: list[str], kwargs: Kwargs, fold: Any) -> Outcome:
        target = fold(kwargs["prompt_to_repeat"].strip())
        wrong = sum(part != target for part in parts)
        return Outcome(len(parts) == kwargs["N"] and not wrong, f"{len(parts)} parts, {wrong} of them no copies")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {**super().sample(source), "N": source.count("num_copies")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return f"\n{_DIVIDER}\n".join([kwargs["prompt_to_repeat"].strip()] * kwargs["N"])


@register
class CopySpanIdx(_Copy):
    """The characters from one index to another are copied out of the request."""

    id = "new:copy_span_idx"
    params = (
        _REQUEST,
        Count("n_start", "the index of the first character, from 0", low=0),
        Count("n_end", "the index of the last character"),
    )
    phrasings = (
        "Cut out of the request what stands from character {n_start} through character {n_end}, and write only that.",
        "Write only the characters of the text above from index {n_start} to index {n_end}, both included.",
        "Your response is the part of the request from character {n_start} up to and including character {n_end}, "
        "counted from 0.",
    )
    compat_rule = "the text equals `request[n_start:n_end]`, the last character left out, case and outer space ignored"
    hardened_rule = "the text equals the characters from n_start to n_end, both included, white space folded, case kept"

    def target(self, kwargs: Kwargs, *, official: bool) -> str:
        return str(kwargs["prompt_to_repeat"][kwargs["n_start"] : kwargs["n_end"] + (not official)])

    def sample(self, source: Sampler) -> dict[str, Any]:
        kwargs = super().sample(source)
        text = kwargs["prompt_to_repeat"]
        starts = [i for i in range(len(text)) if not text[i].isspace() and (i == 0 or text[i - 1].isspace())]
        start = source.rng.choice(starts)
        # At white space or the text's end, the official end (left out) and the asked one (included) agree.
        ends = [i for i in range(start + 1, len(text)) if text[i].isspace()] + [len(text)]
        return {**kwargs, "n_start": start, "n_end": source.rng.choice(ends)}
