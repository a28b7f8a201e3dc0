"""Loading a model that is not there, or is none: one message that names the place and the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import ModelConfig
from adhere.train.model.load import context_length, load_for_inference, load_for_training, load_tokenizer

LOADERS: list[Callable[[ModelConfig, str], Any]] = [
    load_tokenizer,
    load_for_training,
    load_for_inference,
    context_length,
]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("config", [None, "{}"], ids=["no model", "a config without a type"])
def test_a_folder_that_holds_no_model_is_named(load: Any, config: str | None, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model\.path: no model could be loaded from .*; name a folder") as caught:
        load(ModelConfig(path=str(tmp_path)), str(tmp_path))
    assert str(tmp_path) in str(caught.value)
