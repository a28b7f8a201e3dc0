"""Problems made by reasoning-gym's generators, with worked solutions where they can be had."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

from adhere.prompts.config import SourceConfig
from adhere.prompts.generators import GENERATORS
from adhere.prompts.item import Row
from adhere.rewards.errors import DataError, nearest

# Problem i of a generator is made from the seed `seed + i`, so neighbouring seeds would share all but one
# problem.
SEED_STRIDE = 1_000_000

_SIGNS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {"+": operator.add, "-": operator.sub}


def read_generator(config: SourceConfig) -> Iterator[Row]:
    """Yield ``config.size`` problems: ``question``, ``answer``, ``solution`` (where there is one) and the metadata.

    Raises:
        DataError: an unknown generator, or arguments that it does not take.
    """
    from reasoning_gym.factory import DATASETS, create_dataset

    generator = config.generator or ""
    if generator not in DATASETS:
        near = nearest(generator, [*DATASETS, *GENERATORS])
        raise DataError(f"generator '{generator}': neither reasoning-gym nor a plug-in has it{near}")
    known = {field.name for field in dataclasses.fields(DATASETS[generator][1])}
    for key in config.params:
        if key not in known - {"seed", "size"}:
            raise DataError(f"generator '{generator}': params.{key} is not one of its arguments{nearest(key, known)}")
    try:
        problems = create_dataset(generator, size=config.size, seed=config.seed * SEED_STRIDE, **config.params)
    except (AssertionError, TypeError, ValueError) as error:
        raise DataError(f"generator '{generator}': params {config.params} were refused ({error})") from error
    for index in range(len(problems)):
        problem = problems[index]
        metadata = dict(problem["metadata"])
        solution = metadata.pop("answer_cot", None) or worked_sum(metadata.get("expression", ""))
        values = {
            **metadata,
            "question": problem["question"],
            "answer": problem["answer"],
            "solution": solution,
        }
        yield Row(values, f"{config.seed}-{index}", f"generator '{generator}' (seed {config.seed}) problem {index}")


def worked_sum(expression: str) -> str | None:
    """Solve a chain of additions and subtractions one step a sentence: ``4 + 3 - 2`` gives ``4 + 3 = 7. 7 - 2 = 5.``.

    Exact for decimals too. ``None`` where the expression is anything else than ``number (± number)+``.
    """
    tokens = expression.split()
    if len(tokens) < 3 or len(tokens) % 2 == 0 or any(sign not in _SIGNS for sign in tokens[1::2]):
        return None
    try:
        numbers = [Decimal(token) for token in tokens[::2]]
    except InvalidOperation:
        return None
    total, steps = numbers[0], []
    for sign, number in zip(tokens[1::2], numbers[1:], strict=True):
        result = _SIGNS[sign](total, number)
        steps.append(f"{total} {sign} {number} = {result}.")
        total = result
    return " ".join(steps)
