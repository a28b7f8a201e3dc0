"""The base of every configuration model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys and documents each field by the text below it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)
