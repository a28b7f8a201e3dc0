"""The configuration reference, made from the schema: ``make docs`` writes it to ``docs/configuration.md``."""

from __future__ import annotations

import re
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from adhere.rewards.components import COMPONENTS, Component
from adhere.rewards.strict import field_texts
from adhere.train.config.schema import Recipe

INTRODUCTION = """\
# Configuration

Every key of a recipe, with its type, its default and what it does. This page is generated from the schema by
`python -m adhere.train.config.document > docs/configuration.md`; the schema also validates each run, so an unknown key
or a value of another type is an error that names the key.

The defaults are those of the schema. The groups under `recipes/` are composed on top of them and may set other
values: `adhere train recipe=NAME --cfg job` prints what a recipe comes to. [recipes.md](recipes.md) says how to
override keys, and [concepts.md](concepts.md) what the words mean.
"""

HEADER = "| key | type | default | meaning |\n| --- | --- | --- | --- |"

WORDS: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "any value",
}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "entries ≥", "max_length": "entries ≤"}


@dataclass(frozen=True, slots=True)
class Section:
    """One table: the fields of ``model``, which stand under each of ``keys`` (the empty key is the recipe itself).

    ``defaults`` is the instance that the schema puts there, ``None`` where it has none. ``kind`` tells models apart
    that may stand at one key.
    """

    model: type[BaseModel]
    keys: tuple[str, ...]
    defaults: BaseModel | None
    kind: str | None = None

    @property
    def title(self) -> str:
        """The heading, such as ``data.train[i], data.evaluation[i]``."""
        names = ", ".join(self.keys) or "The recipe"
        return f"{names} of kind {self.kind}" if self.kind else names

    @property
    def link(self) -> str:
        """A markdown link to the heading, with the target as GitHub makes it."""
        anchor = re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")
        return f"[{self.kind or self.keys[0]}](#{anchor})"


def sections(root: type[BaseModel]) -> list[Section]:
    """Return the sections below ``root`` in the order of the schema; a model used at two keys has one section."""
    places: dict[type[BaseModel], list[tuple[str, BaseModel | None]]] = {}
    for key, model, defaults in _models_below(root, "", None):
        places.setdefault(model, []).append((key, defaults))
    owners = Counter(found[0][0] for found in places.values())
    return [
        Section(
            model,
            tuple(dict.fromkeys(key for key, _ in found)),
            defaults=found[0][1],
            kind=str(model.model_fields["kind"].default) if owners[found[0][0]] > 1 else None,
        )
        for model, found in places.items()
    ]


def configuration_page(root: type[BaseModel] = Recipe) -> str:
    """Return the whole page on the keys below ``root`` as markdown.

    Raises:
        ValueError: a field has no docstring, or a type that ``WORDS`` does not name.
    """
    found = sections(root)
    links = {section.model: section.link for section in found}
    lines = [INTRODUCTION]
    for section in found:
        lines += [f"## {section.title}", "", _prose(section.model.__doc__ or ""), "", HEADER]
        for name, field in section.model.model_fields.items():
            written = field.alias or name
            bounds = [
                f"{sign} {value:,}"
                for bound in field.metadata
                for attribute, sign in BOUNDS.items()
                if (value := getattr(bound, attribute, None)) is not None
            ]
            kind = ", ".join([_type(field.annotation, links), *bounds])

            # The default in YAML; nothing for a section, whose own table has the defaults.
            value = _value(field, name, section.defaults)
            if isinstance(value, dict):
                value = {
                    key: inner.model_dump(exclude_defaults=True) if isinstance(inner, BaseModel) else inner
                    for key, inner in value.items()
                }
            plain = list(value) if isinstance(value, tuple) else value
            if field.is_required():
                default = "required"
            elif isinstance(value, BaseModel):
                default = ""
            else:
                dumped = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1000)
                default = f"`{dumped.strip().removesuffix('...').strip()}`"

            # The field's docstring: its own, the one it inherits, or that of the section it opens.
            texts = [text] if (text := field_texts(section.model).get(name)) else []
            opened = [inner for _, inner in _models_in(field.annotation, "")]
            if not texts and len(opened) == 1:
                texts = [opened[0].__doc__ or ""]
            if not texts and get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
                texts = ["Which kind this section is."]
            if not texts:
                raise ValueError(f"{section.model.__name__}.{name}: has no docstring; write one below the field")

            key = f"{section.keys[0]}.{written}" if section.keys[0] else written
            cells = (f"`{key}`", kind, default, _prose(texts[0]))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _models_below(
    model: type[BaseModel], key: str, defaults: BaseModel | None
) -> Iterator[tuple[str, type[BaseModel], BaseModel | None]]:
    yield key, model, defaults
    for name, field in model.model_fields.items():
        value = _value(field, name, defaults)
        for below, inner in _models_in(field.annotation, f"{key}.{name}" if key else name):
            yield from _models_below(inner, below, value if isinstance(value, inner) else None)


def _models_in(annotation: Any, key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models that a value of type ``annotation`` may hold, and the key each of them stands at."""
    if annotation is Component:
        yield from ((key, model) for name, model in COMPONENTS.items() if COMPONENTS.package(name) == "adhere")
        return
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield key, annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, tuple):
        key = f"{key}[i]"
    elif origin is dict:
        key, arguments = f"{key}.NAME", arguments[1:]
    for argument in arguments:
        yield from _models_in(argument, key)


def _value(field: FieldInfo, name: str, defaults: BaseModel | None) -> Any:
    """Return the value that holds where nothing is written: the section's, else the field's own."""
    return (
        getattr(defaults, name)
        if defaults is not None
        else field.get_default(call_default_factory=True, validated_data={})
    )


def _type(annotation: Any, links: dict[type[BaseModel], str]) -> str:
    if annotation in WORDS:
        return WORDS[annotation]
    if annotation in links:
        return links[annotation]
    if annotation is Component:
        return f"{', '.join(links[model] for _, model in _models_in(Component, ''))} or a kind of your own"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([f"`{value}`" for value in arguments])
    if origin is Annotated:
        return _type(arguments[0], links)
    if origin in (Union, types.UnionType):
        return _either([_type(argument, links) for argument in arguments])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"[{', '.join(_type(argument, links) for argument in arguments)}]"
    if origin in (list, tuple):
        return f"list of {_type(arguments[0], links)}"
    if origin is dict:
        return f"map from name to {_type(arguments[1], links)}"
    raise ValueError(f"{annotation}: the reference does not know this type; add it to WORDS")


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _prose(text: str) -> str:
    """Return a docstring as one line of markdown."""
    return " ".join(text.split()).replace("``", "`").replace("`None`", "`null`")


if __name__ == "__main__":
    print(configuration_page(), end="")
