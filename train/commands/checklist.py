"""``adhere checklist generate|inspect``: have a model write checklists, and look at checklists before training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError, nearest

if TYPE_CHECKING:
    from adhere.prompts.checklists import Summary
    from adhere.rewards.checklist.generation import GenerationConfig

GENERATE = (
    "adhere checklist generate IN OUT.jsonl base_url=URL model=NAME [method=direct|candidates|rar] [key=value ...]"
)
INSPECT = "adhere checklist inspect FILE [limit=N]"
SHOWN = 20


def checklist(arguments: Sequence[str]) -> int:
    """Run ``generate`` or ``inspect``."""
    commands = {"generate": generate, "inspect": inspect}
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        print(f"usage: {GENERATE}\n       {INSPECT}\n\n{_keys()}")
        return 0
    if name not in commands:
        raise ConfigError(f"usage: {GENERATE}, or {INSPECT}{nearest(name, commands) if name else ''}")
    return commands[name](arguments[1:])


def generate(arguments: Sequence[str]) -> int:
    """Write checklists for the prompts of a file; 1 if some of them failed."""
    words, keys = _split(arguments)
    if len(words) != 2:
        raise ConfigError(f"usage: {GENERATE}")
    limit = _whole("limit", keys.pop("limit", None))
    answer_instruction = keys.pop("answer_instruction", None)
    config = _config(keys)
    from tqdm import tqdm

    from adhere.prompts import checklists

    checklists.check_output(Path(words[0]), Path(words[1]))
    sources = checklists.read_sources(Path(words[0]), answer_instruction, limit)
    with tqdm(total=len(sources), unit="row", desc="checklists", disable=None) as bar:
        summary = checklists.generate(sources, Path(words[1]), config, bar.update)
    return _tell(summary, config, Path(words[1]))


def inspect(arguments: Sequence[str]) -> int:
    """Print what the checklists of a file hold; 1 if a row is invalid."""
    words, keys = _split(arguments)
    limit = _whole("limit", keys.pop("limit", str(SHOWN)))
    for key in keys:
        raise ConfigError(f"{key}: there is no such key{nearest(key, ['limit'])}; usage: {INSPECT}")
    if len(words) != 1:
        raise ConfigError(f"usage: {INSPECT}")
    from adhere.prompts.checklist_table import inspect_file, show

    found = inspect_file(Path(words[0]))
    show(found, limit or SHOWN)
    for message in found.invalid:
        print(f"adhere checklist: {message}", file=sys.stderr)
    return 1 if found.invalid else 0


def _split(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    words = [a for a in arguments if "=" not in a]
    return words, dict(a.split("=", 1) for a in arguments if "=" in a)


def _whole(key: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{key}: '{value}' is no whole number of at least 1")
    return int(value)


def _config(keys: dict[str, str]) -> GenerationConfig:
    from pydantic import ValidationError

    from adhere.rewards.checklist.generation import GenerationConfig

    try:
        return GenerationConfig.model_validate(keys)
    except ValidationError as error:
        lines = []
        for one in error.errors():
            key = ".".join(map(str, one["loc"]))
            if one["type"] == "extra_forbidden":
                known = [*GenerationConfig.model_fields, "limit", "answer_instruction"]
                lines.append(f"{key}: there is no such key{nearest(key, known)}; adhere checklist --help lists them")
            elif one["type"] == "missing":
                lines.append(f"{key}: is required; usage: {GENERATE}")
            else:
                message = one["msg"].removeprefix("Value error, ")
                lines.append(f"{key}: {message}, got {one['input']!r}" if key else message)
        raise ConfigError("\n".join(lines)) from error


def _keys() -> str:
    from adhere.rewards.checklist.generation import GenerationConfig

    lines = ["keys of generate:"]
    for name, field in GenerationConfig.model_fields.items():
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        lines.append(f"  {name} ({default}): {' '.join((field.description or '').split())}")
    lines.append("  limit (None): Read at most this many rows.")
    lines.append("  answer_instruction (None): Sentence put after the question of raw rows that have a gold answer.")
    return "\n".join(lines)


def _tell(summary: Summary, config: GenerationConfig, out: Path) -> int:
    usage = summary.usage
    print(f"{out}: {summary.before} rows kept, {summary.written} written, {len(summary.failed)} failed")
    kinds = "  ".join(f"{kind} {count}" for kind, count in sorted(summary.kinds.items())) or "none"
    print(f"requirements: {kinds}  dropped {summary.dropped}  flagged {summary.flagged}")
    cost = usage.cost(config.prompt_price, config.completion_price)
    priced = f"  cost {cost:.4f}" if config.prompt_price or config.completion_price else ""
    missing = f" ({usage.uncounted} calls without a count)" if usage.uncounted else ""
    print(
        f"calls {usage.calls}  prompt tokens {usage.prompt_tokens}  completion tokens {usage.completion_tokens}"
        f"{missing}{priced}"
    )
    for where, reason in summary.failed[:SHOWN]:
        print(f"adhere checklist: {where}: {reason}", file=sys.stderr)
    if summary.failed:
        report = out.with_name(f"{out.stem}.report.jsonl")
        print(f"adhere checklist: {report} has all reasons; the same command tries failed rows again", file=sys.stderr)
    return 1 if summary.failed else 0
