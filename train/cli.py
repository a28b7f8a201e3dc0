"""The ``adhere`` command: a thin dispatcher that imports a command's code only when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rewards.errors import AdhereError, ConfigError, nearest

USAGE = """\
adhere: fine-tune models that reason and still do what they were told

  adhere train recipe=NAME [key=value ...]    run a recipe: SFT, GRPO with a composite reward, evaluation
  adhere plan recipe=NAME [key=value ...]     show its stages, what is done already, and what would start
  adhere evaluate MODEL suite=mathif [...]    measure a model folder or hub id
  adhere score IN OUT [mode=compat|hardened]  score a JSONL file of responses against answers and constraints
  adhere export RUN --format FORMAT [--to D]  write what MathIF's scripts, lm-eval or the hub take
  adhere import-gguf FILE FOLDER              turn a GGUF file into a model folder
  adhere doctor                               check versions, devices, disk and tracking

train and plan speak Hydra: key=value overrides, --cfg job, -m for sweeps, --shell-completion.
  adhere train --help shows the groups; the recipes are in recipes/recipe/.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error meant for the user is printed without a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    try:
        return _command(arguments[0])(arguments[1:])
    except AdhereError as error:
        print(f"adhere {arguments[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        print(
            "\nadhere: interrupted; finished stages are kept, the same command goes on from here",
            file=sys.stderr,
        )
        return 130


def _command(name: str) -> Callable[[list[str]], int]:
    commands = {
        "train": _train,
        "plan": _plan,
        "evaluate": _evaluate,
        "score": _score,
        "export": _export,
        "import-gguf": _import_gguf,
        "doctor": _doctor,
    }
    if name not in commands:
        raise ConfigError(f"there is no such command{nearest(name, commands)}; adhere --help lists them")
    return commands[name]


def _train(arguments: list[str]) -> int:
    from train.commands import train

    return train(arguments)


def _plan(arguments: list[str]) -> int:
    from train.commands import plan

    return plan(arguments)


def _evaluate(arguments: list[str]) -> int:
    from train.commands import evaluate

    return evaluate(arguments)


def _score(arguments: list[str]) -> int:
    from train.commands import score

    return score(arguments)


def _export(arguments: list[str]) -> int:
    from train.commands import export

    return export(arguments)


def _import_gguf(arguments: list[str]) -> int:
    from train.gguf import import_gguf

    return import_gguf(arguments)


def _doctor(arguments: list[str]) -> int:
    from train.doctor import doctor

    return doctor()


if __name__ == "__main__":
    sys.exit(main())
