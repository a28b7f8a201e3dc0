"""Inputs that coverage-guided fuzzing found to reach different code, replayed: none raises, none is slow."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/data/fuzz"
TARGETS = ("extraction", "verification", "constraints", "checklists")


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_rewards", ROOT / "bench/fuzz_rewards.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_runs_without_an_exception(target: str, fuzzer: ModuleType) -> None:
    inputs = fuzzer.read_corpus(CORPUS / f"{target}.jsonl")
    assert len(inputs) > 20, f"the corpus of {target} is missing"
    for data in inputs:
        start = time.process_time()
        fuzzer.TARGETS[target](data)
        assert time.process_time() - start < 10, f"{data[:80]!r} takes more than a moment"


def test_every_fuzzing_target_is_replayed(fuzzer: ModuleType) -> None:
    assert tuple(fuzzer.TARGETS) == TARGETS
