"""The back ends of GRPO's rollouts: what does not fit together, seeds, and real runs of those that a CPU has."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_run import ONE_ARM, adhere, fails, stage

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.stage import StageSpec
from adhere.train.launch.serve.servers import check_servers, engine_seed, server_command, servers_of
from adhere.train.run.graph import stage_settings


def composed(*overrides: str):  # type: ignore[no-untyped-def]
    return compose_recipe(["recipe=quickstart", "~arms", *overrides])


SERVER = "grpo.generation=vllm_server"
COLOCATE = "grpo.generation=vllm_colocate"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([COLOCATE, "grpo.vllm.gpus=2"], r"grpo.vllm.gpus: is for a server, grpo.generation is vllm_colocate"),
        ([COLOCATE, "grpo.vllm.tensor_parallel=2"], r"tensor_parallel: 2 does not divide the 1 ranks"),
        ([COLOCATE, "grpo.vllm.max_model_length=64"], r"max_model_length: 64 has no room for .* 72 of completion"),
        ([SERVER, "launcher.device=cpu"], r"vllm_server receives weights over NCCL, so it needs GPUs"),
        ([SERVER, "grpo.vllm.sleep=true"], r"grpo.vllm.sleep: a server has GPUs of its own"),
        ([SERVER, "grpo.vllm.gpus=3", "grpo.vllm.tensor_parallel=2"], r"2 does not divide the server's 3 GPUs"),
        ([SERVER, "grpo.vllm.base_url=http://h:1", "grpo.vllm.port=2"], r"port: is for a server that the launcher"),
        ([SERVER, "launcher.nodes=2"], r"grpo.vllm.base_url: training on 2 nodes"),
        ([COLOCATE, "+grpo.trl.vllm_mode=server"], r"grpo.trl.vllm_mode: is set by grpo.generation"),
        ([COLOCATE, "grpo.vllm.gpu_memory_utilization=1.5"], r"grpo.vllm.gpu_memory_utilization: .*less than or equal"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_starts(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(*overrides)


@pytest.mark.slow
def test_where_vllm_runs_is_no_part_of_the_key_but_what_it_generates_is() -> None:
    def key(*overrides: str) -> object:
        return stage_settings("grpo", composed(*overrides))

    assert key() == key("grpo.vllm.max_model_length=512")
    assert key(COLOCATE) == key(COLOCATE, "grpo.vllm.sleep=true", "grpo.vllm.gpu_memory_utilization=0.5")
    assert key(COLOCATE) != key(COLOCATE, "grpo.vllm.max_model_length=512")
    assert key(SERVER) == key(SERVER, "grpo.vllm.base_url=http://h:1")


@pytest.mark.slow
def test_the_server_of_rollouts_gets_what_trl_needs_and_a_seed_of_its_own(tmp_path: Path) -> None:
    def line(*overrides: str) -> list[str]:
        recipe = composed(SERVER, "grpo.vllm.gpus=4", "grpo.vllm.tensor_parallel=2", *overrides)
        spec = StageSpec(kind="grpo", label="grpo", key="k", artifact=tmp_path, inputs={}, recipe=recipe)
        (server,) = servers_of(spec)
        assert server.variables == {"VLLM_SERVER_DEV_MODE": "1"} and server.url("h", 5) == "http://h:5"
        return server_command(server, "127.0.0.1", 5)

    given = line()
    after = dict(itertools.pairwise(given))
    assert json.loads(after["--weight-transfer-config"]) == {"backend": "nccl"}
    assert after["--logprobs-mode"] == "processed_logprobs" and after["--max-logprobs"] == "-1"
    assert after["--tensor-parallel-size"] == "2" and after["--data-parallel-size"] == "2"
    assert line() == line() and line() != line("seed=1") and line() != line("grpo.seed=1")


def test_engines_have_seeds_of_their_own() -> None:
    seeds = [engine_seed(seed, replica) for seed in range(20) for replica in range(8)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**31 for seed in seeds)


def test_a_colocated_engine_starts_from_the_recipes_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.generation import vllm_generation

    from adhere.train.stages import generation

    def engine(**settings: object) -> dict[str, object]:
        return settings

    monkeypatch.setattr(vllm_generation, "LLM", engine, raising=False)
    monkeypatch.setattr(generation, "_keep_loadable", lambda: None)

    def built(seed: int, group: int) -> dict[str, object]:
        with generation.seeded_engine(seed):
            return vllm_generation.LLM(model="m", seed=group)  # type: ignore[no-any-return]

    assert built(0, 0) == built(0, 0) == {"model": "m", "seed": engine_seed(0, 0)}
    assert len({str(built(seed, group)) for seed in (0, 1) for group in (0, 1)}) == 4
    assert vllm_generation.LLM is engine


def test_a_failed_engine_is_no_empty_answer() -> None:
    from adhere.train.stages.generation import check_generated

    check_generated([[1], [2]], [[3], [4]])
    with pytest.raises(StageError, match="of 2 completions 1 are missing and 0 empty: the engine has failed"):
        check_generated([[1], [2]], [[3]])
    with pytest.raises(StageError, match="0 are missing and 1 empty"):
        check_generated([[1], [2]], [[3], []])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"grpo.generation: vllm_server needs vllm.*pip install 'adhere\[vllm\]'"):
        check_servers([("grpo", composed(SERVER))])
    said = fails(tmp_path, *ONE_ARM, COLOCATE, "stages=[grpo]")
    assert "pip install 'adhere[vllm]'" in said


SHORT = [*ONE_ARM, "stages=[grpo]", "grpo.max_steps=1", "grpo.max_completion_length=24"]


@pytest.mark.slow
def test_continuous_batching_trains_and_pairs_completions_with_their_prompts(tmp_path: Path) -> None:
    """The tiny base repeats numbers of its prompt in nearly every answer, so that a wrong pairing would show."""
    adhere(tmp_path, *SHORT, "grpo.generation=continuous_batching", "grpo.max_completion_length=48")
    files = sorted((stage(tmp_path, "grpo") / "rollouts").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(rows) == 8 and all(row["response"] and row["tokens"] <= 48 for row in rows)
    operands = [set(row["prompt"].split("\n")[0].replace(".", "").replace("?", "").split()) for row in rows]
    own = sum(bool(set(row["response"].split()) & mine - {"+", "-"}) for row, mine in zip(rows, operands, strict=True))
    assert own >= len(rows) // 2
