r"""Coverage-guided fuzzing of what model text reaches: extraction, the verifier's static path, checkers, checklists.

    pip install atheris && python bench/fuzz_rewards.py [--seconds 600] [--corpus tests/data/fuzz] [--only TARGET ...]

An exception, or an input of at most 4,096 bytes that takes longer than a second, is a failure: atheris prints it and
writes the input to ``crash-*`` in the working directory. Inputs that reach new code are added to
``--corpus``, one file for each target; ``--keep`` bytes of each are kept, smallest first. The tests replay them without
atheris.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

SLOW_SECONDS = 1.0


def extraction(data: bytes) -> None:
    """Find the committed answer, bring it into form, read it."""
    from adhere.rewards.math import extract_answer
    from adhere.rewards.math.canonical import canonical
    from adhere.rewards.math.parsed_answer import read

    found = extract_answer(data.decode("utf-8", "surrogateescape"))
    if found is not None:
        read(canonical(found)[:2000])


def verification(data: bytes) -> None:
    """Decide a pair as far as that goes without a worker; the first line is the gold answer."""
    from adhere.rewards.math.verify import decide_here

    gold, _, answer = data.decode("utf-8", "surrogateescape").partition("\n")
    decide_here(gold, f"\\boxed{{{answer}}}")
    decide_here("5", f"\\boxed{{{gold}}}")


def constraints(data: bytes) -> None:
    """Check a text against every constraint in both modes, its arguments drawn with the first byte as seed."""
    import random

    from adhere.rewards.constraints import check, registry, sample

    if not data:
        return
    text, rng = data[1:].decode("utf-8", "surrogateescape"), random.Random(data[0])
    for constraint_id in registry():
        kwargs = sample(constraint_id, rng, question="What is 2 + 2?")
        check(constraint_id, text, kwargs, "compat")
        check(constraint_id, text, kwargs, "hardened")


def checklists(data: bytes) -> None:
    """Parse a checklist from JSON: it is read, or refused with an error of this project."""
    from adhere.rewards.checklist import parse_checklist
    from adhere.rewards.errors import AdhereError

    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        parse_checklist(rows, where="fuzz")
    except AdhereError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "extraction": extraction,
    "verification": verification,
    "constraints": constraints,
    "checklists": checklists,
}


class SlowInputError(RuntimeError):
    """An input took longer than a second."""


def timed(target: Callable[[bytes], None], data: bytes) -> None:
    """Run ``target`` on ``data``; CPU seconds are counted, so that a busy machine fails nothing."""
    start = time.process_time()
    target(data)
    seconds = time.process_time() - start
    if seconds > SLOW_SECONDS:
        raise SlowInputError(f"{seconds:.1f} s for {len(data)} bytes")


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz one target in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["rewards"]):
        TARGETS[name](b"1\nx")
        TARGETS[name](b"[]")
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=30", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: timed(TARGETS[name], data))
    atheris.Fuzz()


def read_corpus(file: Path) -> list[bytes]:
    """Return the inputs of a corpus file: JSON strings, one a line, each character a byte."""
    return (
        [json.loads(line).encode("latin-1") for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


def write_corpus(file: Path, inputs: list[bytes], budget: int) -> int:
    """Write the smallest of ``inputs`` that fit into ``budget`` bytes; return how many they are."""
    lines = sorted({json.dumps(data.decode("latin-1")) for data in inputs}, key=lambda line: (len(line), line))
    sizes = accumulate(len(line) + 1 for line in lines)
    kept = [line for line, size in zip(lines, sizes, strict=True) if size <= budget]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return len(kept)


def fuzz_apart(name: str, file: Path, seconds: int, keep: int) -> bool:
    """Fuzz one target in a process of its own, print executions and findings, and keep what reached new code."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for i, data in enumerate(read_corpus(file)):
            (folder / f"{i:05}").write_bytes(data)
        command = [sys.executable, __file__, "--target", name, "--seconds", str(seconds), "--corpus", temporary]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        executions = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        kept = write_corpus(file, [path.read_bytes() for path in folder.iterdir()], keep)
    count = executions[1] if executions else "unknown"
    status = f"exit status {done.returncode}"
    print(f"{name:13} {seconds} s, executions {count}, corpus {kept} inputs, {status}", flush=True)
    if done.returncode != 0:
        print(done.stderr[-3000:], flush=True)
    return done.returncode == 0


def main() -> None:
    """Fuzz every target in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="altogether, shared by the targets")
    parser.add_argument("--corpus", type=Path, default=Path("tests/data/fuzz"))
    parser.add_argument("--keep", type=int, default=40_000, help="bytes of corpus kept for each target")
    parser.add_argument("--only", nargs="*", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.target:
        fuzz(arguments.target, arguments.corpus, arguments.seconds)
        return
    share = max(1, arguments.seconds // len(arguments.only))
    clean = [fuzz_apart(n, arguments.corpus / f"{n}.jsonl", share, arguments.keep) for n in arguments.only]
    sys.exit(0 if all(clean) else 1)


if __name__ == "__main__":
    main()
