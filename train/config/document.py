"""The configuration reference, generated from the schema: ``python -m train.config.document > docs/configuration.md``."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from train.config.schema import Recipe

INTRODUCTION = """\
# Configuration

Every key of a recipe, with its type, its default and what it does. This page is generated from the schema by
`python -m train.config.document > docs/configuration.md`; the schema also validates each run, so an unknown key
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
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True, slots=True)
class Section:
    """One table: the fields of ``model``, which stand under each of ``keys`` (none for the recipe itself)."""

    model: type[BaseModel]
    keys: tuple[str, ...]

    @property
    def title(self) -> str:
        """The heading, such as ``data.train[i], data.evaluation[i]``."""
        if self.keys == ("",):
            return "The recipe"
        names = ", ".join(self.keys)
        kind = self.model.model_fields.get("kind")
        return f"{names} of kind {kind.default}" if kind is not None and _only_value(kind) else names

    @property
    def anchor(self) -> str:
        """The heading as the target of a link, the way GitHub makes it."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def sections() -> list[Section]:
    """Return the sections of the reference in the order of the schema; a model used at two keys has one section."""
    keys: dict[type[BaseModel], list[str]] = {}
    for key, model in _models_below(Recipe, ""):
        keys.setdefault(model, []).append(key)
    return [Section(model, tuple(found)) for model, found in keys.items()]


def configuration_page() -> str:
    """Return the whole page as markdown.

    Raises:
        ValueError: a field of the schema has no description.
    """
    found = sections()
    links = {section.model: f"[{section.title}](#{section.anchor})" for section in found}
    return "\n".join([INTRODUCTION, *(_table(section, links) for section in found)])


def _models_below(model: type[BaseModel], key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield key, model
    for name, field in model.model_fields.items():
        here = f"{key}.{name}" if key else name
        for below, inner in _models_in(field.annotation, here):
            yield from _models_below(inner, below)


def _models_in(annotation: Any, key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models that a value of type ``annotation`` may hold, and the key each of them stands at."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield key, annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    inner = {list: f"{key}[i]", tuple: f"{key}[i]", dict: f"{key}.NAME"}.get(origin, key)  # type: ignore[call-overload]
    for argument in arguments[-1:] if origin is dict else arguments:
        yield from _models_in(argument, inner)


def _table(section: Section, links: dict[type[BaseModel], str]) -> str:
    rows = [_row(section, name, field, links) for name, field in section.model.model_fields.items()]
    text = _prose(section.model.__doc__ or "")
    return "\n".join([f"## {section.title}", "", *([text, ""] if text else []), HEADER, *rows, ""])


def _row(section: Section, name: str, field: FieldInfo, links: dict[type[BaseModel], str]) -> str:
    prefix = section.keys[0]
    key = f"{prefix}.{name}" if prefix else name
    bounds = ", ".join(_bounds(field))
    kind = f"{_type(field.annotation, links)}{f', {bounds}' if bounds else ''}"
    cells = (f"`{key}`", kind, _default(field), _meaning(section.model, name, field))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(annotation: Any, links: dict[type[BaseModel], str]) -> str:
    if annotation in WORDS:
        return WORDS[annotation]
    if annotation in links:
        return links[annotation]
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
    raise ValueError(f"{annotation}: the reference has no word for this type; add one to WORDS")


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        yield from (f"{sign} {getattr(bound, name):g}" for name, sign in BOUNDS.items() if hasattr(bound, name))
        if hasattr(bound, "min_length"):
            yield f"at least {bound.min_length}"
        if hasattr(bound, "max_length"):
            yield f"at most {bound.max_length}"


def _default(field: FieldInfo) -> str:
    """Return the default in YAML; nothing for a section, whose own fields have their defaults."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel) or (
        isinstance(value, dict) and any(isinstance(v, BaseModel) for v in value.values())
    ):
        return ""
    plain = list(value) if isinstance(value, tuple) else value
    written = yaml.safe_dump(plain, default_flow_style=True, width=1000, allow_unicode=True)
    return f"`{written.removesuffix(chr(10)).removesuffix('...').strip()}`"


def _meaning(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    """Return the field's docstring: its own, the one it inherits, or that of the section it opens."""
    inherited = (base.model_fields[name].description for base in model.__mro__[1:] if _has(base, name))
    opened = [inner for _, inner in _models_in(field.annotation, "")]
    text = field.description or next((text for text in inherited if text), None)
    if text is None and len(opened) == 1:
        text = opened[0].__doc__
    if text is None and _only_value(field):
        text = "Which kind of component this is."
    if text is None:
        raise ValueError(f"{model.__name__}.{name}: has no docstring; write one below the field")
    return _prose(text)


def _has(base: type, name: str) -> bool:
    return issubclass(base, BaseModel) and name in base.model_fields


def _only_value(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _prose(text: str) -> str:
    """Return a docstring as one line of markdown."""
    return " ".join(text.split()).replace("``", "`")


if __name__ == "__main__":
    print(configuration_page(), end="")
