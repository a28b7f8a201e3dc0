"""``adhere checklist generate|inspect``: have a model write checklists, and look at checklists before training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import yaml

from adhere.rewards.errors import ConfigError, nearest
from adhere.train.commands.words import WHOLE, load_named

GENERATE = "usage: adhere checklist generate IN OUT.jsonl base_url=URL model=NAME [key=value ...]"
SHOWN = 20


def generate(
    *words: str,
    limit: Annotated[int | None, WHOLE] = None,
    answer_instruction: str | None = None,
    columns: str | None = None,
    plugins: str | None = None,
) -> int:
    """Have a model write checklists for the prompts of a file; exit 1 if some of them failed.

    Args:
        words: IN (prompt items, or raw rows with a question), OUT.jsonl, and key=value of the keys below.
        limit: Read at most this many rows.
        answer_instruction: Sentence put after the question of raw rows that have a gold answer.
        columns: {question: prompt}: which columns of raw rows hold the question, answer, solution, id and options.
        plugins: [my_lab.rewards]: modules to import first.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit: '{limit}' is not a whole number of at least 1")
    files = [Path(word) for word in words if "=" not in word]
    if len(files) != 2:
        raise ConfigError(GENERATE)
    source, out = files
    from pydantic import ValidationError

    from adhere.rewards.checklist.generation import GenerationConfig

    try:
        config = GenerationConfig.model_validate(dict(word.split("=", 1) for word in words if "=" in word))
    except ValidationError as error:
        lines = []
        for one in error.errors():
            key = ".".join(map(str, one["loc"]))
            if one["type"] == "extra_forbidden":
                known = [*GenerationConfig.model_fields, "limit", "answer_instruction", "columns", "plugins"]
                lines.append(f"{key}: there is no such key{nearest(key, known)}; adhere checklist --help lists them")
            elif one["type"] == "missing":
                lines.append(f"{key}: is required; {GENERATE}")
            else:
                message = one["msg"].removeprefix("Value error, ")
                lines.append(f"{key}: {message}, got {one['input']!r}" if key else message)
        raise ConfigError("\n".join(lines)) from error
    from tqdm import tqdm

    from adhere.prompts import checklists

    load_named(plugins)
    checklists.check_output(source, out)
    sources = checklists.read_sources(source, answer_instruction, limit, None if columns is None else named(columns))
    with tqdm(total=len(sources), unit="row", desc="checklists", disable=None) as bar:
        summary = checklists.generate(sources, out, config, bar.update)

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


def named(columns: str) -> dict[str, str]:
    """Return the column of each role that ``columns`` names, as YAML writes a map.

    Raises:
        ConfigError: it is not a map, or one of its keys is not a role.
    """
    from adhere.prompts.config import COLUMN_ROLES

    try:
        found = yaml.safe_load(columns)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for pair in found.items() for name in pair):
        raise ConfigError(f"columns: '{columns}' is not a map; write columns='{{question: prompt, answer: target}}'")
    for role in found:
        if role not in COLUMN_ROLES:
            known = ", ".join(COLUMN_ROLES)
            raise ConfigError(f"columns.{role}: not one of {known}{nearest(role, COLUMN_ROLES)}")
    return found


def inspect(file: Path, /, *, limit: Annotated[int, WHOLE] = SHOWN, plugins: str | None = None) -> int:
    """Show what the checklists of a file hold, and what is doubtful about them; exit 1 if a row is invalid.

    Args:
        file: Prompt items with checklists.
        limit: How many doubtful requirements to show.
        plugins: [my_lab.rewards]: modules to import first.
    """
    if limit < 1:
        raise ConfigError(f"limit: '{limit}' is not a whole number of at least 1")
    from adhere.prompts.checklist_table import inspect_file, show

    load_named(plugins)
    found = inspect_file(file)
    show(found, limit)
    for message in found.invalid:
        print(f"adhere checklist: {message}", file=sys.stderr)
    return 1 if found.invalid else 0


def print_keys() -> None:
    """Print the keys that ``generate`` takes."""
    from adhere.rewards.checklist.generation import GenerationConfig
    from adhere.rewards.strict import field_texts

    print("keys of generate:")
    texts = field_texts(GenerationConfig)
    for name, field in GenerationConfig.model_fields.items():
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        print(f"  {name} ({default}): {' '.join(texts[name].split())}")
    print("  limit (None): Read at most this many rows.")
    print("  answer_instruction (None): Sentence put after the question of raw rows that have a gold answer.")
    print("  columns (None): Which columns of raw rows hold what, as columns='{question: prompt}'.")
    print("  plugins (None): Modules to import first, as plugins=[my_lab.rewards].")
