"""From a data configuration to the items of a run: load, check golds, decontaminate, mix, attach, filter, target.

Below ``build`` stand the filters, whose counts say what was left out of each source, and the arithmetic of mixing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adhere.prompts.attach import Sampler
from adhere.prompts.config import DataConfig, SourceConfig
from adhere.prompts.decontaminate import (
    IFEVAL_FILE,
    MATHIF_FILE,
    check_keywords,
    mathif_words,
    read_questions,
    remove_known,
    remove_overlap,
)
from adhere.prompts.fingerprint import Role
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, load, unique_ids
from adhere.prompts.targets import TargetCounts, build_targets
from adhere.rewards.errors import DataError
from adhere.rewards.math.gold import check_gold

CountTokens = Callable[[PromptItem], int]


@dataclass(frozen=True, slots=True)
class Built:
    """The items of one role in their final order, and a report of every step (plain dicts, ready for JSON)."""

    items: list[PromptItem]
    report: dict[str, Any]


def build(
    config: DataConfig, role: Role, *, count_tokens: CountTokens | None = None, with_targets: bool = False
) -> Built:
    """Build the training or evaluation items. The same configuration and files give the same items in the same order.

    Steps: load every source, leave out golds that do not verify, leave out training questions that overlap
    evaluation questions, then walk each source in a seeded order and take items (constraints attached, short
    enough, with an SFT target where wanted) until its share of the mixture is full.

    Args:
        config: where items come from and what is done to them.
        role: which items to build.
        count_tokens: counts the tokens of an item's rendered prompt; needed where ``max_prompt_tokens`` is set.
        with_targets: also build SFT targets; items that none can be built for are left out and counted.

    Raises:
        DataError: a source cannot be read or is too small, or nothing is left after a step.
        ConstraintError: the configuration names a constraint that does not exist.
    """
    if config.max_prompt_tokens is not None and count_tokens is None:
        raise DataError("max_prompt_tokens is set, but build() got no count_tokens to measure a prompt with")
    sources = {source.source: source for source in (config.train if role == "train" else config.evaluation)}
    if not sources:
        raise DataError(f"{role}: no source is named; add one, `{{path: FILE}}` for instance")
    report: dict[str, Any] = {"role": role}

    # Load each source, in its seeded order, without the items whose gold does not verify.
    style = PromptStyle(config.system_prompt, config.answer_instruction)
    skipped: dict[str, Counter[str]] = {name: Counter() for name in sources}
    loaded = {name: load(source, style, skipped[name]) for name, source in sources.items()}
    checked = {name: verifiable_gold(items, config.max_bad_gold) for name, items in loaded.items()}
    if any(skipped.values()):
        report["skipped"] = {name: dict(count.most_common()) for name, count in skipped.items() if count}
    report["loaded"] = {name: len(items) for name, items in loaded.items()}
    report["bad_gold"] = {name: result.to_dict() for name, result in checked.items()}
    pools = {name: shuffled(result.kept, config.seed) for name, result in checked.items()}

    # Leave out MathIF's and IFEval's questions, and those that overlap an evaluation question.
    if role == "train":
        for key, fingerprints in (("mathif_questions", MATHIF_FILE), ("ifeval_questions", IFEVAL_FILE)):
            found = {name: remove_known(pool, fingerprints) for name, pool in pools.items()}
            report[key] = {name: overlap.report for name, overlap in found.items()}
            pools = {name: overlap.kept for name, overlap in found.items()}
        # Rows of an open mix bring constraints of their own, some with words that MathIF asks for.
        clear = {
            name: [item for item in pool if "mix" not in item.meta or not mathif_words(item)]
            for name, pool in pools.items()
        }
        removed = {name: len(pools[name]) - len(clear[name]) for name in pools if len(clear[name]) < len(pools[name])}
        pools = clear
    if role == "train" and config.decontaminate:
        written = [question for path in config.decontaminate_against for question in read_questions(Path(path))]
        made: list[str] = []
        for source in config.evaluation:
            (made if source.generator else written).extend(item.question for item in load(source, PromptStyle()))
        overlap = remove_overlap(
            [item for pool in pools.values() for item in pool],
            written,
            made,
            generated={name for name, source in sources.items() if source.generator},
            n=config.ngram,
        )
        report["decontamination"] = overlap.report
        kept = {item.id for item in overlap.kept}
        if not kept:
            raise DataError(
                f"train: each of {overlap.report['checked']} questions overlaps an evaluation question; "
                f"use another split, or divide a file by skip and limit"
            )
        pools = {name: [item for item in pool if item.id in kept] for name, pool in pools.items()}

    # Take prepared items of each source until its share is full.
    size = config.train_size if role == "train" else config.evaluation_size
    weights = {name: source.weight for name, source in sources.items()}
    quota = {name: len(pool) for name, pool in pools.items()} if size is None else counts(weights, size)
    preparation = _Preparation(config, count_tokens, with_targets)
    chosen = {name: preparation.fill(pools[name], quota[name], sources[name]) for name in sources}
    if size is not None:
        available = {name: len(items) for name, items in chosen.items()}
        check_supply(quota, available, size, f"{role}_size", preparation.why_none())
    items = shuffled([item for pool in chosen.values() for item in pool], config.seed)
    unique_ids(items)
    if not items:
        raise DataError(f"{role}: no item is left; {preparation.why_none()}")
    if role == "train":
        report["mathif_keywords"] = {"checked": check_keywords(items), "found": 0}
        if removed:
            report["mathif_keywords"]["removed"] = removed
    ids = Counter(requirement.id for item in items for requirement in item.checklist)
    summary = {
        "items": len(items),
        "by_source": dict(sorted(Counter(item.source for item in items).items())),
        "by_constraint_count": dict(sorted(Counter(str(len(item.checklist)) for item in items).items())),
        "by_constraint": dict(sorted(ids.items())),
    }
    return Built(items, report | preparation.report() | summary)


@dataclass(slots=True)
class _Preparation:
    """Makes loaded items ready, and counts what is left out on the way."""

    config: DataConfig
    count_tokens: CountTokens | None
    with_targets: bool
    too_long: Counter[str] = field(default_factory=Counter)
    too_long_examples: list[str] = field(default_factory=list)
    targets: TargetCounts = field(default_factory=TargetCounts)

    def fill(self, pool: Sequence[PromptItem], quota: int, source: SourceConfig) -> list[PromptItem]:
        """Prepare items from the front of ``pool`` until ``quota`` are ready, or the pool is used up."""
        sampler = Sampler(self.config.constraints, source.held_out) if self.config.constraints is not None else None
        ready: list[PromptItem] = []
        start = 0
        while len(ready) < quota and start < len(pool):
            items = list(pool[start : start + quota - len(ready)])
            start += len(items)
            if sampler is not None and source.constrained:
                items = [item if item.checklist else sampler.attach(item) for item in items]
            if self.config.max_prompt_tokens is not None and self.count_tokens is not None:
                fitting = within_length(items, self.config.max_prompt_tokens, self.count_tokens)
                self.too_long.update(fitting.dropped)
                self.too_long_examples = [*self.too_long_examples, *fitting.examples][:5]
                items = fitting.kept
            if self.with_targets:
                items = build_targets(items, self.config.targets, self.targets)
            # Last, for attaching and targets look at the gold answer.
            ready.extend(items if source.verified else [replace(item, answer=None) for item in items])
        if source.shuffled:
            # They are in a seeded order already; half way round, so that even two prompts exchange theirs.
            turn = len(ready) // 2
            lists = [item.checklist for item in ready[turn:] + ready[:turn]]
            ready = [replace(item, checklist=other) for item, other in zip(ready, lists, strict=True)]
        return ready

    def why_none(self) -> str:
        """Say what took all items, and what to do."""
        return (
            f"{sum(self.too_long.values())} prompts are longer than max_prompt_tokens, "
            f"{self.targets.without_solution} have no worked solution to make an SFT target from "
            f"(columns.solution names the column), {self.targets.wrong_answer} targets have a wrong answer"
        )

    def report(self) -> dict[str, Any]:
        """Return the counts of what was left out."""
        steps: dict[str, Any] = {}
        if self.config.max_prompt_tokens is not None:
            steps["too_long"] = {"dropped": dict(self.too_long), "examples": self.too_long_examples}
        return steps | ({"targets": self.targets.to_dict()} if self.with_targets else {})


@dataclass(frozen=True, slots=True)
class Filtered:
    """The items that stay, and how many of each source do not.

    ``examples`` says why for the first few of all, ``first`` for the first of each source.
    """

    kept: list[PromptItem]
    dropped: dict[str, int]
    examples: list[str]
    first: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {"kept": len(self.kept), "dropped": self.dropped, "examples": self.examples}


def _split(items: Sequence[PromptItem], complaint: Callable[[PromptItem], str | None]) -> Filtered:
    kept: list[PromptItem] = []
    dropped: Counter[str] = Counter()
    examples: list[str] = []
    first: dict[str, str] = {}
    for item in items:
        reason = complaint(item)
        if reason is None:
            kept.append(item)
            continue
        dropped[item.source] += 1
        first.setdefault(item.source, f"{item.id}: {reason}")
        if len(examples) < 5:
            examples.append(f"{item.id}: {reason}")
    return Filtered(kept, dict(dropped), examples, first)


def verifiable_gold(items: Sequence[PromptItem], max_bad_share: float) -> Filtered:
    """Leave out the items whose gold answer does not verify against itself; items without a gold stay.

    Raises:
        DataError: more than ``max_bad_share`` of a source's golds fail, or all of them.
    """

    def complaint(item: PromptItem) -> str | None:
        if item.answer is None:
            return None
        verdict = check_gold(item.answer)
        return None if verdict.passed else f"gold {item.answer!r} ({verdict.detail or verdict.status.value})"

    result = _split(items, complaint)
    golds = Counter(item.source for item in items if item.answer is not None)
    for source, bad in result.dropped.items():
        if bad == golds[source] or bad / golds[source] > max_bad_share:
            raise DataError(
                f"source '{source}': {bad} of {golds[source]} gold answers do not verify against themselves "
                f"(max_bad_gold is {max_bad_share}), the first {result.first[source]}; "
                f"is columns.answer the final answer?"
            )
    return result


def within_length(items: Sequence[PromptItem], max_tokens: int, count_tokens: CountTokens) -> Filtered:
    """Leave out the items whose prompt has more than ``max_tokens`` tokens, chat template included.

    ``count_tokens`` renders and counts one item: the tokenizer lives with the caller.
    """

    def complaint(item: PromptItem) -> str | None:
        tokens = count_tokens(item)
        return None if tokens <= max_tokens else f"{tokens} tokens, above max_prompt_tokens {max_tokens}"

    return _split(items, complaint)


def counts(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Divide ``total`` items by ``weights`` (positive, any scale): largest remainders, ties to the first named.

    The counts sum to ``total``, and each lies within 1 of its exact share.
    """
    scale = sum(weights.values())
    exact = {name: total * weight / scale for name, weight in weights.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(weights, key=lambda name: shares[name] - exact[name])
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def shuffled(items: Sequence[PromptItem], seed: int) -> list[PromptItem]:
    """Return the items in a seeded order that each item keeps relative to the others when some are left out."""
    return sorted(items, key=lambda item: random.Random(f"order:{seed}:{item.id}").random())


def check_supply(wanted: Mapping[str, int], available: Mapping[str, int], total: int, key: str, why: str) -> None:
    """Check that every source can fill its count.

    Args:
        wanted: items of each source that the mixture takes.
        available: items of each source that are ready.
        total: items of the whole mixture.
        key: the configuration key of ``total``.
        why: what took the items that are missing.

    Raises:
        DataError: naming each source that is too small, and the largest total that this mixture allows.
    """
    short = [f"'{name}' has {available[name]} of {wanted[name]}" for name in wanted if available[name] < wanted[name]]
    if short:
        reach = min(int(available[name] * total / wanted[name]) for name in wanted if wanted[name])
        raise DataError(
            f"{key}: {total} items cannot be mixed, {' and '.join(short)} wanted; "
            f"{f'set {key} to {reach} or less, or ' if reach else ''}give the source more rows or less weight ({why})"
        )
