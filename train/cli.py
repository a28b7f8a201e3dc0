"""The ``adhere`` command: a thin dispatcher that imports a command's code only when it runs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from adhere.rewards.errors import AdhereError, ConfigError, nearest

USAGE = """\
adhere: fine-tune models that reason and still do what they were told

  adhere train recipe=NAME [key=value ...]    run a recipe: SFT, GRPO with a composite reward, evaluation
  adhere plan recipe=NAME [key=value ...]     show its stages, what is done already, and what would start
  adhere audit recipe=NAME [prompts=FILE]     what would hacks earn under its rewards? exit 1 if as much as honesty
  adhere ablate recipe=NAME weights=[...] seeds=[...]
                                              compare points of a grid, each with every seed, from one SFT
  adhere evaluate MODEL suite=mathif|FILE     measure a model folder, a hub id or an endpoint's model
  adhere score IN OUT [mode=compat|hardened]  score a JSONL file of responses against answers and constraints
  adhere checklist generate IN OUT base_url=URL model=NAME
                                              have a model write the prompts' checklists
  adhere checklist inspect FILE               show what checklists hold, and what is doubtful about them
  adhere reweight RUN [STAGE] key=value ...   what would other rewards have made of its rollouts? no model needed
  adhere report RUN [--open]                  write a run's report: one HTML page, and its figures for papers
  adhere watch RUN                            show how a run is going, in the terminal
  adhere export RUN --format FORMAT [--to D]  write what MathIF's scripts, lm-eval or the hub take
  adhere import-gguf FILE FOLDER              turn a GGUF file into a model folder
  adhere status RUN                           how far are its stages, here or on a cluster?
  adhere logs RUN [STAGE] [-f]                the newest log of a stage
  adhere cancel RUN [--shared]                take its jobs out of Slurm's queue
  adhere doctor                               check versions, devices, disk and tracking

train and plan speak Hydra: key=value overrides, --cfg job, -m for sweeps, --shell-completion.
  adhere train --help shows the groups; the recipes are in recipes/recipe/.
  eval "$(adhere train -sc install=bash)" completes commands, groups and keys.
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
    except (NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError) as error:
        print(f"adhere {arguments[0]}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"adhere {arguments[0]}: {place}the disk or its quota is full; free some space and run the same command "
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


def _command(name: str) -> Callable[[list[str]], int]:
    if name in ("-sc", "--shell-completion"):
        return _complete
    if name not in COMMANDS:
        raise ConfigError(f"there is no such command{nearest(name, COMMANDS)}; adhere --help lists them")
    return COMMANDS[name]


def _complete(arguments: list[str]) -> int:
    """Answer a shell that asks for completions: the command's name, then what Hydra knows of its overrides."""
    from adhere.train.commands.recipe import train

    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) == 1:
        print(" ".join(name for name in COMMANDS if name.startswith(words[0])))
    elif words and words[0] in ("train", "plan"):
        os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
        return train(["--shell-completion", *arguments])
    return 0


def _train(arguments: list[str]) -> int:
    from adhere.train.commands.recipe import train

    return train(arguments)


def _plan(arguments: list[str]) -> int:
    from adhere.train.commands.recipe import plan

    return plan(arguments)


def _audit(arguments: list[str]) -> int:
    from adhere.train.commands.audit import audit

    return audit(arguments)


def _ablate(arguments: list[str]) -> int:
    from adhere.train.commands.ablate import ablate

    return ablate(arguments)


def _evaluate(arguments: list[str]) -> int:
    from adhere.train.commands.recipe import evaluate

    return evaluate(arguments)


def _score(arguments: list[str]) -> int:
    from adhere.train.commands.recipe import score

    return score(arguments)


def _checklist(arguments: list[str]) -> int:
    from adhere.train.commands.checklist import checklist

    return checklist(arguments)


def _reweight(arguments: list[str]) -> int:
    from adhere.train.commands.reweight import reweight

    return reweight(arguments)


def _report(arguments: list[str]) -> int:
    from adhere.train.commands.report import report

    return report(arguments)


def _watch(arguments: list[str]) -> int:
    from adhere.train.commands.report import watch

    return watch(arguments)


def _export(arguments: list[str]) -> int:
    from adhere.train.commands.recipe import export

    return export(arguments)


def _import_gguf(arguments: list[str]) -> int:
    from adhere.train.model.gguf import import_gguf

    return import_gguf(arguments)


def _status(arguments: list[str]) -> int:
    from adhere.train.commands.cluster import status

    return status(arguments)


def _cancel(arguments: list[str]) -> int:
    from adhere.train.commands.cluster import cancel

    return cancel(arguments)


def _logs(arguments: list[str]) -> int:
    from adhere.train.commands.cluster import logs

    return logs(arguments)


def _doctor(arguments: list[str]) -> int:
    from adhere.train.commands.doctor import doctor

    return doctor()


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "plan": _plan,
    "audit": _audit,
    "ablate": _ablate,
    "evaluate": _evaluate,
    "score": _score,
    "checklist": _checklist,
    "reweight": _reweight,
    "report": _report,
    "watch": _watch,
    "export": _export,
    "import-gguf": _import_gguf,
    "status": _status,
    "cancel": _cancel,
    "logs": _logs,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
