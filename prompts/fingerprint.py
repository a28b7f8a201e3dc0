"""A content hash of data, cheap enough for the driver: it reads files but neither generates nor downloads."""

from __future__ import annotations

import hashlib
import inspect
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from adhere.prompts.config import DataConfig, SourceConfig
from adhere.prompts.generators import GENERATORS
from adhere.rewards.errors import DataError

Role = Literal["train", "evaluation"]

# Raised when the same configuration gives other items than before: new wording, another order of draws.
ITEMS_VERSION = 2


def fingerprint(config: DataConfig, role: Role | None = None) -> str:
    """Return a sha256 (64 hex digits) that changes when the items of ``role`` may; null: those of both roles.

    Files count by their content and not by their place, data sets by id, configuration, split and revision (a
    folder by its files' content), generators by the version of reasoning-gym or, if they are ours, by their
    source. Evaluation items do not depend on training sources; training items depend on evaluation sources, whose
    questions are kept out of them.

    Raises:
        DataError: a file or folder does not exist.
    """
    state = config.model_dump(mode="json", exclude={"train", "evaluation", "decontaminate_against"})
    if not config.targets.preview:  # a key that came later: without it stages keep the names that they had
        del state["targets"]["preview"]
    state["version"] = ITEMS_VERSION
    state["evaluation"] = [_source(source) for source in config.evaluation]
    if role != "evaluation":
        if role == "train":
            del state["evaluation_size"]  # every evaluation question is kept out, however many are asked
        state["train"] = [_source(source) for source in config.train]
        state["against"] = [_hash_file(Path(path)) for path in config.decontaminate_against]
    else:
        for key in ("train_size", "targets", "decontaminate", "ngram"):
            del state[key]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _source(config: SourceConfig) -> dict[str, Any]:
    state = config.model_dump(mode="json", exclude={"path"}) | {"source": config.source}
    if config.path is not None:
        return state | {"content": _hash_file(Path(config.path))}
    generator = config.generator
    if generator is not None and generator in GENERATORS and GENERATORS.package(generator) == "adhere":
        module = Path(inspect.getsourcefile(GENERATORS[generator]) or "")
        files = [module, *module.parent.glob(f"{module.stem}.toml")]
        return state | {"generator_version": [_hash_file(file) for file in files]}
    if config.generator is not None:
        return state | {"generator_version": version("reasoning-gym")}
    folder = Path(config.dataset or "")
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        listing = [(path.relative_to(folder).as_posix(), _hash_file(path)) for path in files]
        content = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
        return state | {"dataset": None, "content": content}
    return state


def _hash_file(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file (looked from {Path.cwd()})")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
