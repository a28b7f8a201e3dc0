"""Servers beside a stage: real processes on loopback, with every way in which one can fail."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import LauncherConfig
from adhere.train.config.stage import StageSpec, read_spec
from adhere.train.launch.serve import serving as serve
from adhere.train.launch.serve.servers import (
    Server,
    check_servers,
    free_port,
    server_command,
    servers_of,
    showing,
    split_gpus,
    visible_gpus,
)
from adhere.train.launch.serve.serving import Servers, running_servers, wait_healthy

FAKE = Path(__file__).resolve().parents[1] / "support" / "fake_server.py"
LONG = 120.0


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """Return ``build(mood)``: a server whose command is the scripted one, everything around it being the real thing."""

    def command(server: Server, host: str, port: int, *, cpu: bool = False) -> list[str]:
        return [sys.executable, str(FAKE), server.name, "serve", server.model, "--host", host, "--port", str(port)]

    monkeypatch.setattr(serve, "server_command", command)

    def build(mood: str, seconds: float = LONG, port: int | None = None) -> Server:
        return Server(mood, ("grpo.vllm",), "vllm", str(tmp_path), 0, port, seconds)

    return build


def gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits to be collected has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(holds: Callable[[], bool], seconds: float = LONG) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def child(tmp_path: Path) -> int:
    assert eventually(lambda: (tmp_path / "pids").exists() and bool((tmp_path / "pids").read_text()))
    return int((tmp_path / "pids").read_text())


@pytest.mark.slow
def test_a_server_is_waited_for_and_ended_with_its_children(started: Callable[..., Server], tmp_path: Path) -> None:
    with running_servers([started("stubborn")], [[]], tmp_path / "logs") as (running,):
        wait_healthy(running.url, LONG)
        assert running.death() is None
        engine = child(tmp_path)
        assert not gone(engine)
    assert gone(engine) and running.process.returncode is not None
    assert "loading" in running.log.read_text()


def test_a_server_that_dies_at_its_start_is_met_at_once_with_its_last_lines(
    started: Callable[..., Server], tmp_path: Path
) -> None:
    with (
        pytest.raises(StageError, match=r"(?s)server of grpo.vllm .*exit code 3.*OutOfMemoryError.*log: .*server_dies"),
        running_servers([started("dies", seconds=3600)], [[]], tmp_path / "logs"),
    ):
        raise AssertionError("it never got healthy")


@pytest.mark.slow
def test_the_key_of_a_run_stands_in_the_environment_only_and_no_proxy_is_asked(
    started: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    judge = replace(started("healthy"), suffix="/v1")
    with running_servers([judge], [[]], tmp_path / "logs") as (running,):
        key = os.environ[serve.KEY]
        assert len(key) == 48 and running.reached == {"base_url": running.url, "api_key_env": serve.KEY}
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "example.org,localhost,127.0.0.1,127.0.0.1"
        proc = Path(f"/proc/{running.process.pid}")
        assert f"VLLM_API_KEY={key}" in (proc / "environ").read_text().split("\0")
        assert key not in (proc / "cmdline").read_text()
    assert serve.KEY not in os.environ and "NO_PROXY" not in os.environ and os.environ["no_proxy"] == "example.org"
    assert not any(key in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_share_of_the_gpus_is_shown_by_the_variable_of_their_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):
        monkeypatch.delenv(name, raising=False)
    assert showing(["3"]) == {"CUDA_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "4,6")
    assert visible_gpus() == ["0", "1"], "HIP counts what ROCR leaves from 0"
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ["1"] and showing(["1"]) == {"HIP_VISIBLE_DEVICES": "1"}
    monkeypatch.delenv("HIP_VISIBLE_DEVICES")
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0,2")
    assert visible_gpus() == ["0", "2"] and showing([]) == {"ZE_AFFINITY_MASK": ""}


@pytest.mark.slow
def test_a_server_that_never_gets_healthy_is_given_up_and_ended(
    started: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "TELL_EVERY", 0.5)
    with (
        pytest.raises(StageError, match=r"grpo.vllm: the server at .* was not healthy within 3 s"),
        running_servers([started("silent", seconds=3)], [[]], tmp_path / "logs"),
    ):
        raise AssertionError("it never got healthy")
    assert "waiting for the server of grpo.vllm" in capsys.readouterr().out
    assert eventually(lambda: gone(child(tmp_path)))


@pytest.mark.slow
def test_a_server_that_dies_midway_takes_the_trainer_with_it(started: Callable[..., Server], tmp_path: Path) -> None:
    with running_servers([started("healthy")], [[]], tmp_path / "logs") as running:
        servers = Servers(running, {})
        trainer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        servers.guard(trainer)
        (tmp_path / "die").touch()
        trainer.wait(timeout=LONG)
        servers.release()
    assert servers.failure is not None
    assert "exit code 7" in servers.failure and "the engine core died" in servers.failure


def test_a_port_that_is_taken_is_named(started: Callable[..., Server], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(StageError, match=rf"grpo.vllm.port: port {port} is taken on 127.0.0.1"),
            running_servers([started("healthy", port=port)], [[]], tmp_path / "logs"),
        ):
            raise AssertionError("the port was taken")
    assert free_port("127.0.0.1", None, "any") > 0


@pytest.mark.slow
def test_a_killed_driver_leaves_no_server(tmp_path: Path) -> None:
    driver = f"""
import sys, time
from pathlib import Path
from adhere.train.launch.serve import serving as serve
from adhere.train.launch.serve.servers import Server

serve.server_command = lambda server, host, port, cpu: [
    sys.executable, {str(FAKE)!r}, "healthy", "serve", server.model, "--host", host, "--port", str(port)
]
path = Path({str(tmp_path)!r})
with serve.running_servers([Server("x", ("k",), "vllm", str(path), 0, None, 100.0)], [[]], path / "logs") as (running,):
    (path / "up").write_text(str(running.process.pid))
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", driver])
    assert eventually(lambda: (tmp_path / "up").exists() and bool((tmp_path / "up").read_text()))
    engine = child(tmp_path)
    process.kill()
    process.wait()
    supervisor = int((tmp_path / "up").read_text())
    assert eventually(lambda: gone(engine) and gone(supervisor))


@pytest.mark.slow
def test_the_command_line_waits_and_says_who_has_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    line = [sys.executable, "-m", "adhere.train.launch.serve.serving", "wait"]
    done = subprocess.run(
        [*line, "http://127.0.0.1:9", "--seconds", "60", "--pid", str(ended.pid)], capture_output=True, text=True
    )
    assert done.returncode == 1 and f"process {ended.pid} has ended before" in done.stderr
    done = subprocess.run([*line, str(tmp_path / "stage.yaml"), "--seconds", "0.1"], capture_output=True, text=True)
    assert done.returncode == 1 and "were not up within 0.1 s" in done.stderr


def spec_of(overrides: list[str], folder: Path, kind: str = "grpo") -> StageSpec:
    from adhere.train.config.compose import compose_recipe

    composed = compose_recipe(["recipe=quickstart", "~arms", *overrides])
    return StageSpec(kind=kind, label=kind, key="k", artifact=folder, inputs={}, recipe=composed)  # type: ignore[arg-type]


JUDGE = "rewards.components.checklist.judge"


def test_equal_judges_share_a_server_and_the_worker_finds_its_address(tmp_path: Path) -> None:
    served = "{serve: {command: transformers, gpus: 0}, model: the/judge}"
    spec = spec_of([f"{JUDGE}={served}", f"+rewards.components.rating={{kind: judge, judge: {served}}}"], tmp_path)
    (server,) = servers_of(spec)
    assert server.keys == (JUDGE, "rewards.components.rating.judge") and server.url("h", 9) == "http://h:9/v1"
    line = server_command(server, "127.0.0.1", 9, cpu=True)
    assert line[1:3] == ["-P", "-m"], "the working folder would come first"
    assert line[4:] == ["serve", "the/judge", "--host", "127.0.0.1", "--port", "9", "--device", "cpu"]
    assert servers_of(spec.model_copy(update={"kind": "sft"})) == []

    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    (tmp_path / "servers.json").write_text(json.dumps({key: {"base_url": "http://h:9/v1"} for key in server.keys}))
    found = read_spec(tmp_path / "stage.yaml").recipe.rewards.components["checklist"].judge  # type: ignore[union-attr]
    assert found is not None and found.address == "http://h:9/v1" and found.serve is None


def test_a_judge_is_reached_or_served_and_where_is_no_part_of_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"judge.base_url: is required"):
        spec_of([f"{JUDGE}={{model: m}}"], tmp_path)
    with pytest.raises(ConfigError, match=r"judge.serve: starts an endpoint, and base_url names one"):
        spec_of([f"{JUDGE}={{model: m, base_url: 'http://h/v1', serve: {{}}}}"], tmp_path)
    from adhere.train.run.graph import stage_settings

    a = spec_of([f"{JUDGE}={{model: m, serve: {{gpus: 2}}}}"], tmp_path).recipe
    b = spec_of([f"{JUDGE}={{model: m, base_url: 'http://h/v1'}}"], tmp_path).recipe
    assert stage_settings("grpo", a) == stage_settings("grpo", b)
    served = a.rewards.components["checklist"].judge  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"judge.serve: no server of 'm' runs"):
        _ = served.address  # type: ignore[union-attr]


def test_ranks_take_the_first_gpus_and_servers_the_last() -> None:
    rollouts = Server("vllm", ("grpo.vllm",), "vllm", "m", 2, None, 1.0, variables={"A": "1"})
    judge = Server("judge", (JUDGE,), "vllm", "j", 1, None, 1.0)
    gpus = [str(i) for i in range(8)]
    assert split_gpus(LauncherConfig(), [rollouts, judge], gpus, 4) == (["0", "1", "2", "3"], [["5", "6"], ["7"]])
    with pytest.raises(ConfigError, match=r"6 ranks and 3 GPUs of servers \(2 for grpo.vllm, 1 for .*need 9 GPUs.*8"):
        split_gpus(LauncherConfig(), [rollouts, judge], gpus, 6)
    assert split_gpus(LauncherConfig(device="cpu"), [judge], gpus, 1) == ([], [[]])
    with pytest.raises(ConfigError, match="needs GPUs, and this machine shows none"):
        split_gpus(LauncherConfig(), [rollouts], [], 1)


@pytest.mark.slow
def test_a_signal_ends_what_runs_beside_a_command(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    spec = spec_of(["launcher.device=cpu"], folder)
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    script = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    line = [
        sys.executable,
        "-m",
        "adhere.train.launch.serve.serving",
        "around",
        str(folder / "stage.yaml"),
        "--",
        sys.executable,
        "-c",
    ]
    process = subprocess.Popen([*line, script])
    assert eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=LONG) == 143
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_served_judge_is_looked_for_before_anything_starts(tmp_path: Path) -> None:
    judge = f"{{model: {tmp_path / 'nowhere'}, serve: {{command: transformers, gpus: 0}}}}"
    recipe = compose_recipe(["recipe=quickstart", f"rewards.components.checklist.judge={judge}"])
    with pytest.raises(ConfigError, match=r"rewards.components.checklist.judge.model: there is no folder '.*nowhere'"):
        check_servers([("grpo", recipe)])
