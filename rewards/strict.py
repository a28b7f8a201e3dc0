"""The base of every configuration model, and the types of addresses in them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import partial
from itertools import pairwise
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys, and shows no value in errors; the text below a field documents it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def field_texts(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of ``model``: its own, or that of the nearest base that has one.

    It reads the source, which takes too long for every command that imports a model.
    """
    found = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        try:
            (defined,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError):  # made by a function, without a source of its own
            continue
        assert isinstance(defined, ast.ClassDef)
        for field, below in pairwise(defined.body):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
            if isinstance(field, ast.AnnAssign) and isinstance(text, str):
                found[ast.unparse(field.target)] = inspect.cleandoc(text)
    return found


def check_address(url: str, *, path: bool = True, query: bool = False) -> str:
    """Return ``url`` if requests can be sent to it and messages may show it.

    Args:
        url: the address.
        path: whether it may have one.
        query: whether it may have one; messages leave it out.

    Raises:
        ValueError: it is not an address, or holds what messages must not show; says which, without showing it.
    """
    if re.match(r"[^/]*//[^/?#]*@", url):
        raise ValueError(f"holds a password, {_KEYS_ELSEWHERE}")
    if "#" in url or ("?" in url and not query):
        raise ValueError(f"holds a query, {_KEYS_ELSEWHERE}")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that do not close, or a port that is not a number below 65536
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("is not the address of an endpoint; write it like http://127.0.0.1:8000/v1")
    if not path and parts.path not in ("", "/"):
        raise ValueError("has a path; write the root of the server, like http://127.0.0.1:8000")
    return url


_KEYS_ELSEWHERE = "which messages would show; name the environment variable that holds a key in api_key_env"

Root = Annotated[str, AfterValidator(check_address)]
"""Root of an OpenAI-compatible endpoint."""

Server = Annotated[str, AfterValidator(partial(check_address, path=False))]
"""Root of a server, without a path."""

Address = Annotated[str, AfterValidator(partial(check_address, query=True))]
"""Address to which requests are posted; its query is left out of messages."""
