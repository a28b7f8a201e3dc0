"""What a remedy is: a way to answer a prompt that needs no training, around any model and for any suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from adhere.evaluation.generation import Generation, Generator, Sampling, Start
from adhere.evaluation.statistics import mean_of_scored
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.config import Strict
from adhere.rewards.errors import ConfigError, DataError, nearest
from adhere.rewards.registry import Registry
from adhere.rewards.segments import THINK_CLOSE, split_response

R = TypeVar("R", bound=type["Remedy"])


@dataclass(frozen=True, slots=True)
class Asked:
    """One response to draw, and where it stands: ``item`` is asked for its ``sample``-th response."""

    item: PromptItem
    sample: int

    @property
    def constraints(self) -> str:
        """The texts of the item's requirements, one after another; empty where it has none.

        What has no checklist, such as a message of a chat, may say them in ``meta["constraints"]``.
        """
        texts = [requirement.text.strip() for requirement in self.item.checklist]
        return " ".join(filter(None, texts)) or str(self.item.meta.get("constraints") or "")


class Model:
    """A model as a remedy uses it: it answers in passes, and counts what each response costs."""

    def __init__(self, generator: Generator, sampling: Sampling, load: Callable[[str], Generator]) -> None:
        """Wrap a model.

        Args:
            generator: the model behind a back end.
            sampling: how responses are drawn; its ``max_new_tokens`` bounds a response over all its passes.
            load: loads another model by its folder or hub id, behind the same back end.
        """
        self.sampling, self.load = sampling, load
        self.generator = generator
        self._passes = 0
        self.spent: dict[tuple[str, int], int] = {}
        self.unknown: set[tuple[str, int]] = set()

    def answer(
        self,
        asked: Sequence[Asked],
        *,
        messages: Sequence[Sequence[Message]] | None = None,
        starts: Sequence[Start] | None = None,
        by: Generator | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Generation]:
        """Return one generation for each of ``asked``, in order.

        A call with nothing but ``asked`` draws what the model answers without a remedy.

        Args:
            asked: the responses to draw.
            messages: what is asked instead of the items' own messages.
            starts: how the responses begin.
            by: the model that answers; default: the one that is measured.
            max_new_tokens: length limit, where it is not the sampling's.
        """
        if not asked:
            return []
        plain = messages is None and starts is None and by is None and max_new_tokens is None
        generator, number = by or self.generator, self._passes
        self._passes += 1
        if plain:
            # All samples of an item in one call: each has its own draws, the same as without a remedy.
            items = list({one.item.id: one.item for one in asked}.values())
            samples = dict(zip([item.id for item in items], generator.generate(items, self.sampling), strict=True))
            drawn = [samples[one.item.id][one.sample] for one in asked]
        else:
            sampling = replace(self.sampling, samples=1, max_new_tokens=max_new_tokens or self.sampling.max_new_tokens)
            items = [
                replace(
                    one.item,
                    id=f"{one.item.id}#{one.sample}#pass{number}",
                    messages=one.item.messages if messages is None else tuple(messages[i]),
                )
                for i, one in enumerate(asked)
            ]
            drawn = [found[0] for found in generator.generate(items, sampling, starts)]
        for one, generation in zip(asked, drawn, strict=True):
            key = (one.item.id, one.sample)
            if generation.tokens is None:
                self.unknown.add(key)
            added = generation.tokens if generation.spent is None else generation.spent
            self.spent[key] = self.spent.get(key, 0) + (added or 0)
        return drawn


class Remedy(Strict):
    """One remedy. Subclass it, define ``respond``, and decorate it: ``@remedy("name")``. Its fields are its options."""

    name: ClassVar[str]

    continues: ClassVar[bool] = False
    """Whether it goes on with responses that are begun, which an endpoint's chat cannot do."""

    files: ClassVar[Sequence[str]] = ()
    """Options that name a file; its content counts in a stage's key."""

    models: ClassVar[Sequence[str]] = ()
    """Options that name a model."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        """Return one response for each of ``asked``, in order; ``applied`` is false where nothing was to be changed."""
        raise NotImplementedError


def _problem(name: str, kind: type[Remedy]) -> str | None:
    if not (isinstance(kind, type) and issubclass(kind, Remedy)):
        return "is not a subclass of adhere.evaluation.remedies.Remedy"
    if kind.respond is Remedy.respond:
        return "has no method respond(self, model, asked) that returns one response for each"
    return None


REMEDIES: Registry[type[Remedy]] = Registry("remedy", _problem)
"""The remedies that ``evaluation.remedy`` can name, ours and those of plug-ins."""


def remedy(name: str) -> Callable[[R], R]:
    """Return a decorator that enters a subclass of :class:`Remedy` as the remedy ``name``.

    Raises:
        ConfigError: the name is taken, or the class lacks something; it is said in a sentence.
    """

    def enter(kind: R) -> R:
        REMEDIES.add(name, kind, kind.__module__)
        kind.name = name
        return kind

    return enter


def parse_remedy(given: str | Mapping[str, Any]) -> Remedy:
    """Return the remedy that a recipe names: its name, or ``{name, option: value, …}``.

    Raises:
        ConfigError: there is no such remedy, or it has no such option.
    """
    options = {"name": given} if isinstance(given, str) else dict(given)
    if not isinstance(name := options.pop("name", None), str):
        raise ConfigError(f"name one of {', '.join(REMEDIES)}")
    kind = REMEDIES[name]
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = nearest(key, kind.model_fields)
            known = ", ".join(kind.model_fields) or "none"
            raise ConfigError(f"{key}: {name} has no such option{hint}; it has {known}") from error
        raise ConfigError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from error


@remedy("none")
class Plain(Remedy):
    """No remedy: the model answers, and its cost is counted, as the line that the others are compared with."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        return [unchanged(generation) for generation in model.answer(asked)]


def not_loaded(path: str) -> Generator:
    """Refuse to load another model, where none can be loaded.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"remedy: the model '{path}' cannot be loaded here")


class Remedied:
    """A generator that answers through a remedy; it counts the tokens of all passes, and the seconds."""

    def __init__(self, generator: Generator, chosen: Remedy, load: Callable[[str], Generator] = not_loaded) -> None:
        """Wrap a model; ``load`` loads another one by its folder or hub id, for a remedy that asks two."""
        self.name = f"{generator.name}+{chosen.name}"
        self._generator, self._remedy, self._load = generator, chosen, load

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order; ``starts`` are not taken."""
        if starts is not None:
            raise DataError("remedy: a remedy begins responses itself")
        begun = time.perf_counter()
        model = Model(self._generator, sampling, self._load)
        asked = [Asked(item, sample) for item in items for sample in range(sampling.samples)]
        drawn = self._remedy.respond(model, asked)
        seconds = (time.perf_counter() - begun) / max(len(asked), 1)
        counted = [
            replace(
                generation,
                spent=None if (key := (one.item.id, one.sample)) in model.unknown else model.spent.get(key, 0),
                seconds=seconds,
                applied=True if generation.applied is None else generation.applied,
            )
            for one, generation in zip(asked, drawn, strict=True)
        ]
        n = sampling.samples
        return [counted[i * n : (i + 1) * n] for i in range(len(items))]


def remedy_report(chosen: Remedy, generations: Sequence[Generation]) -> dict[str, Any]:
    """Return what a remedy cost over the responses of an evaluation.

    Args:
        chosen: the remedy.
        generations: all its responses.

    Returns:
        ``name`` and ``options``; ``applied``, the share of responses that it had something to change in; ``tokens``,
        the mean number that was generated for a response over all passes; ``seconds`` of all responses together.
    """
    drawn = [generation for generation in generations if not generation.error]
    return {
        "name": chosen.name,
        "options": chosen.model_dump(mode="json"),
        "applied": mean_of_scored(float(bool(generation.applied)) for generation in drawn),
        "tokens": mean_of_scored(generation.spent for generation in drawn),
        "seconds": round(sum(generation.seconds or 0.0 for generation in drawn), 3),
    }


def reasoning_of(generation: Generation) -> str | None:
    """Return the response up to the end of its finished reasoning block, without the closing tag; ``None`` without."""
    if split_response(generation.text, prefilled=generation.prefilled).finished_reasoning is None:
        return None
    return generation.text.rpartition(THINK_CLOSE)[0]


def answer_of(generation: Generation) -> str:
    """Return the answer of a response, or all of it where its reasoning never ended."""
    found = split_response(generation.text, prefilled=generation.prefilled).answer
    return generation.text.strip() if found is None else found


def unchanged(generation: Generation) -> Generation:
    """Return a response that the remedy leaves as it is."""
    return replace(generation, applied=False)
