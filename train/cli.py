"""The ``adhere`` command line, declared once; a command's file is imported only when the command runs."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import get_args

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)

from adhere.rewards.errors import AdhereError, ConfigError, nearest

AS_PYTHON_DOES = warnings.formatwarning

COMMANDS = {
    "train": (
        "recipe=NAME [key=value ...]",
        "run a recipe: SFT, GRPO with a composite reward, evaluation",
        "adhere train recipe=quickstart rewards.components.checklist.weight=0.5",
    ),
    "plan": (
        "recipe=NAME [key=value ...] [--check]",
        "show its stages, what is done already, and what would start",
        "adhere plan recipe=smollm2_gsm8k strategy=zero3",
    ),
    "fetch": (
        "recipe=NAME [key=value ...]",
        "bring its models and data from the hub into the cache",
        "adhere fetch recipe=smollm2_gsm8k launcher=slurm launcher.slurm.profile=gpu",
    ),
    "rehearse": (
        "[STAGE] recipe=NAME [key=value ...]",
        "would this reward teach? draw groups from where GRPO starts, and see",
        "adhere rehearse composite recipe=quickstart rehearse.groups=32",
    ),
    "audit": (
        "recipe=NAME [prompts=FILE]",
        "what would hacks earn under its rewards? exit 1 if as much as honesty",
        "adhere audit recipe=quickstart prompts=items.jsonl items=50",
    ),
    "ablate": (
        "recipe=NAME weights=[...] seeds=[...]",
        "compare points of a grid, each with every seed, from one SFT",
        "adhere ablate recipe=quickstart 'weights=[{checklist: 0},{checklist: 1}]' seeds=[0,1] --plan",
    ),
    "evaluate": (
        "MODEL suite=mathif|FILE [to=FOLDER]",
        "measure a model folder, a hub id, an endpoint's model, or responses from a file",
        "adhere evaluate Qwen/Qwen3-0.6B suite=mathif suite.path=MATHIF",
    ),
    "compare": (
        "A B [C ...] [to=FOLDER]",
        "paired differences of finished evaluations, suite by suite",
        "adhere compare results/base results/grpo to=comparison",
    ),
    "diagnose": (
        "MODEL [--against BASE]",
        "why does it lose its instructions while it reasons? attention, and controls",
        "adhere diagnose runs/latest/stages/grpo/model --against Qwen/Qwen3-0.6B prompts=items.jsonl",
    ),
    "chat": (
        "MODEL [remedy=NAME]",
        "talk to a model, with a remedy in between",
        "adhere chat Qwen/Qwen3-0.6B remedy=repeat",
    ),
    "selector": (
        "THINK DIRECT [to=FILE]",
        "learn from two evaluations on which prompts to reason",
        "adhere selector runs/latest/stages/none-base runs/latest/stages/direct-base to=selector.json",
    ),
    "score": (
        "IN.jsonl[.gz] OUT.jsonl[.gz] [mode=compat|hardened] [prefilled=true]",
        "score a JSONL file of responses against answers and constraints",
        "adhere score responses.jsonl scored.jsonl mode=compat",
    ),
    "checklist generate": (
        "IN OUT.jsonl base_url=URL model=NAME [key=value ...]",
        "have a model write the prompts' checklists",
        "adhere checklist generate items.jsonl out.jsonl base_url=http://localhost:8000/v1 model=NAME",
    ),
    "checklist inspect": (
        "FILE [limit=N]",
        "show what checklists hold, and what is doubtful about them",
        "adhere checklist inspect out.jsonl limit=5",
    ),
    "reweight": (
        "RUN [STAGE] key=value ...",
        "what would other rewards have made of its rollouts? no model needed",
        "adhere reweight runs/latest rewards.components.checklist.weight=0,0.5,1",
    ),
    "report": (
        "RUN [RUN ...] [--open|--serve]",
        "write a run's report, or one of several runs: one HTML page, and its figures for papers",
        "adhere report runs/latest --open",
    ),
    "watch": ("RUN [--once]", "show how a run is going, in the terminal", "adhere watch runs/latest"),
    "export": (
        "RUN --format FORMAT [--to D]",
        "write what MathIF's scripts, lm-eval or the hub take",
        "adhere export runs/latest --format mathif",
    ),
    "import-gguf": (
        "FILE.gguf FOLDER",
        "turn a GGUF file into a model folder",
        "adhere import-gguf model.gguf models/mine",
    ),
    "status": ("RUN [STAGE]", "how far are its stages, here or on a cluster?", "adhere status runs/latest"),
    "logs": ("RUN [STAGE] [-f]", "the newest log of a stage", "adhere logs runs/latest sft -f"),
    "cancel": ("RUN [--shared]", "take its jobs out of Slurm's queue", "adhere cancel runs/latest"),
    "doctor": (
        "[RUN]",
        "check versions, devices, disk and tracking; of a run, its files",
        "adhere doctor runs/latest",
    ),
}
"""Each command's arguments, what it does, and an example."""

PIPED = 120
"""Columns of a command's help where it does not go to a terminal."""

COMPOSING = ("train", "plan", "fetch", "rehearse", "ablate", "audit", "evaluate")
"""The commands that take Hydra's words, and hand them on as they are."""

OVERVIEW = f"""\
adhere: fine-tune models that reason and still do what they were told

{{}}

{", ".join(COMPOSING[:-1])} and {COMPOSING[-1]} speak Hydra: key=value overrides, --cfg job, -m for sweeps.
  adhere COMMAND --help shows a command's arguments and an example; adhere --version the version.
  adhere train --help shows the groups; the recipes are in recipes/recipe/.
  eval "$(adhere train -sc install=bash)" completes commands, groups and keys.
"""

app = App(name="adhere", help_format="markdown", help_formatter="plain", help_flags=[], version_flags=[])
app.command(App(name="checklist", help_flags=[], version_flags=[]))
for name, (usage, _, example) in COMMANDS.items():
    group, _, last = name.rpartition(" ")
    composing = name in COMPOSING
    module = (group or last).replace("-", "_")
    (app[group] if group else app).command(
        f"adhere.train.commands.{module}:{last.replace('-', '_')}",
        name=last,
        usage=f"adhere {name} {usage}".rstrip(),
        help_epilogue=f"Example: `{example}`",
        default_parameter=Parameter(allow_leading_hyphen=composing, negative=(), allow_repeating=True),
        help_flags=[],
        end_of_options_delimiter="" if composing else "--",
    )


def in_plain_words(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return what a warning for the user says, without the line of code that raised it; others as Python shows them."""
    if category is UserWarning:
        return f"warning: {message}\n"
    return AS_PYTHON_DOES(message, category, filename, lineno, line)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error meant for the user is printed without a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = in_plain_words
    try:
        return dispatch(words)
    except AdhereError as error:
        print(f"adhere {words[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except (NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError) as error:
        print(f"adhere {words[0]}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"adhere {words[0]}: {place}the disk or its quota is full; free some space and run the same command "
            f"again, finished stages are kept",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(
            "\nadhere: interrupted; finished stages are kept, the same command goes on from here",
            file=sys.stderr,
        )
        return 130


def dispatch(words: list[str]) -> int:
    """Run the command that ``words`` name, or show help.

    Raises:
        ConfigError: there is no such command, or it does not take these words.
    """
    if not words or words[0] in ("-h", "--help", "help"):
        lines = [(f"adhere {name} {usage}".rstrip(), what) for name, (usage, what, _) in COMMANDS.items()]
        shown = (f"  {call:<43} {what}" if len(call) <= 43 else f"  {call}\n{'':46}{what}" for call, what in lines)
        print(OVERVIEW.format("\n".join(shown)), end="")
        return 0
    if words[0] == "--version":
        print(f"adhere {version('adhere')}")
        print("  ".join(f"{package} {version(package)}" for package in ("torch", "transformers", "trl", "hydra-core")))
        return 0
    top = list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    if words[0] in ("-sc", "--shell-completion"):
        from adhere.train.commands.completion import print_completions

        return print_completions(words[1:], top, COMPOSING)
    if words[0] not in top:
        raise ConfigError(f"there is no such command{nearest(words[0], top)}; adhere --help lists them")

    chain, path, rest = app.parse_commands(words)
    name, command = " ".join(chain), path[-1]
    if name in COMMANDS:
        usages = [f"adhere {name} {COMMANDS[name][0]}".rstrip()]
    else:
        usages = [f"adhere {known} {COMMANDS[known][0]}" for known in COMMANDS if known.startswith(f"{name} ")]
    if {"-h", "--help"} & set(rest):
        if name in COMMANDS:
            from rich.console import Console

            console = Console()
            app.help_print(chain, console=console if console.is_terminal else Console(width=PIPED))
        else:
            print("Usage: " + "\n       ".join(usages))
        if name in COMPOSING:
            from adhere.train.commands.through_hydra import print_groups

            print_groups()
        elif name in ("checklist", "checklist generate"):
            from adhere.train.commands.checklist import print_keys

            print_keys()
        return 0
    if name not in COMMANDS:
        members = [known.removeprefix(f"{name} ") for known in COMMANDS if known.startswith(f"{name} ")]
        raise ConfigError(f"usage: {', or '.join(usages)}{nearest(rest[0], members) if rest else ''}")

    if "" in rest:
        raise ConfigError("one of the words is empty: is a variable of the shell unset?")

    # key=value sets an option of the command itself, as --key value does.
    options = [option for argument in command.assemble_argument_collection() for option in argument.names]
    own = {option.removeprefix("--").replace("-", "_"): option for option in options if option.startswith("--")}
    for at, word in enumerate(rest):
        key, equals, value = word.removeprefix("--").partition("=")
        option = own.get(key.replace("-", "_"))
        if equals and option and not value:
            raise ConfigError(f"{key}: has no value; give one, or leave {key} out; usage: {usages[0]}")
        if equals and option:
            rest[at] = f"{option}={value}"
    try:
        function, bound, _ = app.parse_args([*chain, *rest], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise ConfigError("; ".join(filter(None, (problem(error, own), f"usage: {usages[0]}")))) from error
    code: int = function(*bound.args, **bound.kwargs)
    return code


def problem(error: CycloptsError, own: Mapping[str, str]) -> str:
    """Say what is wrong with a command's words; nothing where the command's usage says it.

    Args:
        error: What the parser raised.
        own: The keys of the command, and the options that they stand for.
    """
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        option = error.argument.name
        return f"{option}: is missing, or has no value" if option.startswith("-") else ""
    if isinstance(error, CoercionError) and error.token is not None and error.target_type is not None:
        key = (error.token.keyword or "").lstrip("-").replace("-", "_")
        names = [str(choice) for choice in get_args(error.target_type)]
        wanted = "not a number" if error.target_type is float else "not usable"
        if error.msg is not None:
            return f"{key}: {error.msg}"
        if names:
            wanted = f"neither {' nor '.join(names)}" if len(names) == 2 else f"not one of {', '.join(names)}"
        return f"{key}: '{error.token.value}' is {wanted}"
    if isinstance(error, UnknownOptionError):
        option = error.token.keyword or error.token.value
        return f"{option}: there is no such option{nearest(option, own.values())}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        key, equals, _ = error.unused_tokens[0].partition("=")
        return f"{key}: there is no such key{nearest(key, own)}" if equals else f"'{key}': is one word too many"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
