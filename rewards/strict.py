"""The base of every configuration model, and the types of addresses in them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys, documents each field by the text below it, and shows no value in errors."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)


def _address(url: str, pattern: str, without: str) -> str:
    if not re.fullmatch(pattern, url):
        raise ValueError(
            f"is not an address like http://127.0.0.1:8000/v1 without {without}, which messages would show; name the "
            f"environment variable that holds a key in api_key_env"
        )
    return url


Root = Annotated[
    str, AfterValidator(lambda url: _address(url, r"https?://[^/\s@?#]+(/[^\s?#]*)?", "password or query"))
]
"""Root of an OpenAI-compatible endpoint."""

Server = Annotated[str, AfterValidator(lambda url: _address(url, r"https?://[^/\s@?#]+/?", "password or path"))]
"""Root of a server, without a path."""

Address = Annotated[str, AfterValidator(lambda url: _address(url, r"https?://[^/\s@?#]+([/?]\S*)?", "a password"))]
"""Address to which requests are posted; its query is left out of messages."""
