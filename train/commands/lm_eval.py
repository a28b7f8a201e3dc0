"""``adhere evaluate MODEL suite=lm_eval tasks=…``: lm-evaluation-harness in its own environment, its results read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.launch.harness import run_harness

ENVIRONMENT = "ADHERE_LM_EVAL"
KEYS = ("suite", "tasks", "environment", "limit", "few_shot", "batch_size", "device", "chat", "include", "to")
INSTALL = "python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[hf]', then environment=lm-eval"
TAIL = 20


def lm_eval(words: Sequence[str]) -> int:
    """Run tasks of the harness on a model, and write our results of each below the folder ``to``.

    Args:
        words: MODEL, then ``tasks=[a,b]``, and as wanted ``environment=FOLDER`` of its virtual environment (else the
            variable ADHERE_LM_EVAL, else ``lm_eval`` on the path), ``limit``, ``few_shot``, ``batch_size``, ``device``,
            ``chat=false`` to ask without the chat template, ``include=FOLDER`` of further tasks, and ``to=FOLDER``.

    Raises:
        ConfigError: a word is unknown, no task is named, or the harness is not found.
        StageError: the harness failed; its last lines are in the message.
    """
    from adhere.evaluation.harness import read_harness
    from adhere.evaluation.run import write_results
    from adhere.evaluation.table import cell

    model, *rest = words
    given: dict[str, str] = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals or key.removeprefix("suite.") not in KEYS:
            raise ConfigError(f"{word}: suite=lm_eval takes {', '.join(KEYS[1:])}")
        given[key.removeprefix("suite.")] = value
    tasks = [task.strip() for task in given.get("tasks", "").strip("[]").split(",") if task.strip()]
    if not tasks:
        raise ConfigError("tasks: name the harness's tasks, tasks=[ifeval,gsm8k]")
    chat = given.get("chat", "true")
    if chat not in ("true", "false"):
        raise ConfigError(f"chat: '{chat}' is neither true nor false")
    place = given.get("environment") or os.environ.get(ENVIRONMENT)
    if place is not None:
        program = Path(place) / "bin" / "lm_eval" if Path(place).is_dir() else Path(place)
    else:
        program = Path(shutil.which("lm_eval") or "lm_eval")
    if not program.is_file():
        raise ConfigError(f"environment: lm-evaluation-harness is not at {program}; {INSTALL}")

    to = Path(given.get("to", "lm_eval"))
    raw = to / "harness"
    raw.mkdir(parents=True, exist_ok=True)
    path = str(Path(model).resolve()) if Path(model).is_dir() else model
    command = [
        str(program), "--model", "hf", "--model_args", f"pretrained={path}", "--tasks", ",".join(tasks),
        "--output_path", str(raw), "--log_samples", "--batch_size", given.get("batch_size", "8"),
        *(["--limit", given["limit"]] if "limit" in given else []),
        *(["--num_fewshot", given["few_shot"]] if "few_shot" in given else []),
        *(["--include_path", given["include"]] if "include" in given else []),
        *(["--device", given["device"]] if "device" in given else []),
        *(["--apply_chat_template"] if chat == "true" else []),
    ]  # fmt: skip
    log = raw / "harness.log"
    print(f"lm-evaluation-harness: {', '.join(tasks)} on {model}; log: {log}", flush=True)
    if (code := run_harness(command, log)) != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
        raise StageError(f"lm-evaluation-harness ended with exit code {code}; the end of {log}:\n{last}")
    for task, evaluation in read_harness(raw, model).items():
        folder = to / task
        write_results(folder, evaluation, {"program": str(program), "command": command[1:]})
        headline = evaluation.results["headline"]
        print(f"{task}: {headline} {cell(evaluation.results['metrics'][headline])}, {folder / 'results.json'}")
    return 0
