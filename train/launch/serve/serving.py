"""Servers beside a stage: started, waited for, watched, and ended for certain.

``serving`` does all of it for a local stage. The same for a batch script, on one node or several:

    … around STAGE.YAML -- COMMAND …  start its servers here, run COMMAND beside them
    … run STAGE.YAML --host NODE  start its servers here, and stay until a signal comes
    … wait URL --seconds 900 [--pid PID]  until URL/health answers; 1 if PID ends first
    … wait STAGE.YAML --seconds 900  until ``run`` has written the addresses
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

from adhere.records.artifact import Artifact
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import AdhereError, StageError
from adhere.rewards.files import write_json
from adhere.train.config.schema import Recipe
from adhere.train.config.stage import StageSpec, read_spec
from adhere.train.launch.serve.servers import (
    LOOPBACK,
    Server,
    check_judges,
    free_port,
    judge_servers,
    judges_of,
    server_command,
    servers_of,
    showing,
    split_gpus,
    visible_gpus,
)
from adhere.train.launch.serve.supervise import GRACE_SECONDS, end_group

POLL_SECONDS = 0.2
TELL_EVERY = 15.0
"""Seconds between two messages about a server that is still loading."""

KEY = "ADHERE_SERVER_KEY"
"""The environment variable with the key of the run's own servers; a cluster's job makes one for all its nodes."""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of our own servers, which no proxy knows."""

TAIL_LINES = 12
TAIL_BYTES = 16384
Alive = Callable[[], str | None]


@dataclass(slots=True)
class Running:
    """A started server: its supervisor, its address, and where it writes."""

    server: Server
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def reached(self) -> dict[str, str]:
        """What the keys of its address are set to. The key itself stands in the environment, and nowhere else."""
        checks = self.server.command == "vllm" and self.server.suffix
        return {"base_url": self.url} | ({"api_key_env": KEY} if checks else {})

    def death(self) -> str | None:
        """Return how the server ended, with its last lines, or ``None`` while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        return f"the server of {self.server.keys[0]} ({self.server.model}) ended with {how}{last_lines(self.log)}"


@dataclass(slots=True)
class Servers:
    """The servers of a stage, all healthy; ``environment`` is what the stage's processes need besides their own."""

    running: Sequence[Running]
    environment: dict[str, str]
    failure: str | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _watch: threading.Thread | None = None

    def guard(self, process: subprocess.Popen[bytes]) -> None:
        """End ``process``, which leads a group, as soon as a server ends; :attr:`failure` then says which and how."""
        if self.running:
            self._watch = threading.Thread(target=self._guard, args=(process,), daemon=True)
            self._watch.start()

    def death(self) -> str | None:
        """Return how the first server ended that did, or ``None``."""
        return next((death for running in self.running if (death := running.death()) is not None), None)

    def release(self) -> None:
        """Stop watching. A server that ended together with the trainer is found even so."""
        self._over.set()
        if self._watch is not None:
            self._watch.join()

    def _guard(self, process: subprocess.Popen[bytes]) -> None:
        while not self._over.wait(POLL_SECONDS):
            if (death := self.death()) is not None:
                self.failure = death
                end_group(process)
                return


@contextlib.contextmanager
def serving(
    spec: StageSpec, artifact: Artifact, ranks: int, *, host: str = LOOPBACK, bind: str = LOOPBACK
) -> Iterator[Servers]:
    """Run the stage's servers for as long as the block lasts; its worker finds their addresses beside ``stage.yaml``.

    Args:
        spec: the stage.
        artifact: its folder, for logs and addresses.
        ranks: how many GPUs of this machine training takes.
        host: the name under which workers reach this machine.
        bind: the address that servers listen on.

    Raises:
        ConfigError: the GPUs do not suffice.
        StageError: a port is taken; a server ends while it starts, or is not healthy in time. The message has its last
            lines. After the block: a server ended, and took the stage with it.
    """
    servers = servers_of(spec)
    training, shares = split_gpus(spec.recipe.launcher, servers, visible_gpus() if servers else [], ranks)
    addresses = artifact.servers
    addresses.unlink(missing_ok=True)
    with running_servers(servers, shares, artifact.logs, host, bind) as running:
        if running:
            found: dict[str, dict[str, Any]] = {key: r.reached for r in running for key in r.server.keys}
            if "grpo.vllm" in found:
                # TRL's own port for weights is fixed, so that two runs on a machine would collide.
                port = free_port(bind, spec.recipe.grpo.vllm.group_port, "grpo.vllm.group_port")
                found["grpo.vllm"]["group_port"] = port
            write_json(addresses, found)
        beside = Servers(running, showing(training) if any(shares) else {})
        try:
            yield beside
        finally:
            beside.release()
            addresses.unlink(missing_ok=True)
        if beside.failure is not None:
            raise StageError(f"{spec.label}: {beside.failure}")


@contextlib.contextmanager
def judged(recipe: Recipe, folder: Path) -> Iterator[RewardConfig]:
    """Run the servers of the judges in a recipe's rewards, and yield the rewards with their addresses.

    Raises:
        ConfigError, StageError: as :func:`serving`.
    """
    judges = judges_of("grpo", recipe)
    check_judges(judges)
    servers = judge_servers(judges)
    _, shares = split_gpus(recipe.launcher, servers, visible_gpus() if servers else [], 0)
    with running_servers(servers, shares, folder / "logs") as running:
        components = dict(recipe.rewards.components)
        for started in running:
            for name in (key.split(".")[2] for key in started.server.keys):
                judge = judges[f"rewards.components.{name}.judge"].model_copy(update={**started.reached, "serve": None})
                components[name] = components[name].model_copy(update={"judge": judge})
        yield recipe.rewards.model_copy(update={"components": components})


@contextlib.contextmanager
def running_servers(
    servers: Sequence[Server], shares: Sequence[Sequence[str]], logs: Path, host: str = LOOPBACK, bind: str = LOOPBACK
) -> Iterator[list[Running]]:
    """Start ``servers``, yield when all are healthy, and end them with the block.

    Within it the environment has a key that only these servers take, and no proxy stands before them.

    Args:
        servers: what to start.
        shares: identifiers of the GPUs of each, in the same order; empty for the CPU.
        logs: folder of their logs.
        host: the name in their addresses.
        bind: the address that they listen on.
    """
    running: list[Running] = []
    known = {name: os.environ.get(name) for name in (KEY, "NO_PROXY", "no_proxy")}
    if servers:
        os.environ.setdefault(KEY, secrets.token_hex(24))
        direct = known["no_proxy"] or known["NO_PROXY"]
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [direct, "localhost", LOOPBACK, host]))
    try:
        for server, share in zip(servers, shares, strict=True):
            running.append(_start(server, share, logs, host, bind))
        for started in running:
            wait_healthy(started.url, started.server.seconds, started.death, name=started.server.keys[0])
        yield running
    finally:
        for started in running:
            started.process.terminate()  # all at once: each may take its whole grace
        for started in running:
            try:
                started.process.wait(timeout=GRACE_SECONDS + 5.0)
            except subprocess.TimeoutExpired:
                started.process.kill()  # the server goes with its supervisor, by the kernel
                started.process.wait()
        for name, value in known.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


def wait_healthy(url: str, seconds: float, alive: Alive = lambda: None, *, name: str = "server") -> None:
    """Wait until ``GET /health`` below the root of ``url`` answers 200.

    Args:
        url: of the server, with or without ``/v1``.
        seconds: how long to wait at most.
        alive: returns how the server ended, or ``None``. It is asked after every look, so that a dead server is found
            at once, and another one on the same port is not taken for it.
        name: of the server in messages.

    Raises:
        StageError: the server has ended, or ``seconds`` are over.
    """
    root = url.rstrip("/").removesuffix("/v1")
    started = told = time.monotonic()
    while True:
        healthy = _healthy(root)
        if (death := alive()) is not None:
            raise StageError(death)
        if healthy:
            return
        now = time.monotonic()
        if now - started > seconds:
            raise StageError(
                f"{name}: the server at {root} was not healthy within {seconds:g} s; look at its log, or raise "
                f"start_seconds"
            )
        if now - told > TELL_EVERY:
            told = now
            print(f"  waiting for the server of {name}: {now - started:.0f} of {seconds:g} s", flush=True)
        time.sleep(POLL_SECONDS)


def last_lines(log: Path) -> str:
    """Return the end of a log for a message, with the log's path."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-TAIL_LINES:]
    said = "its last lines:\n" + "\n".join(f"  | {line}" for line in lines) if lines else "it said nothing"
    return f"; {said}\n  log: {log}"


def _start(server: Server, share: Sequence[str], logs: Path, host: str, bind: str) -> Running:
    port = free_port(bind, server.port, server.port_key)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"server_{server.name}_{len(list(logs.glob(f'server_{server.name}_*.log')))}.log"
    log.touch()
    command = server_command(server, bind, port, cpu=not share)
    print(f"  starting the server of {server.keys[0]}: {server.model} on port {port}, log {log}", flush=True)
    # vLLM reads its key there; on the command line every user of the machine would see it.
    key = {"VLLM_API_KEY": os.environ[KEY]} if server.command == "vllm" and server.suffix else {}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "adhere.train.launch.serve.supervise", str(os.getpid()), str(log), *command],
        env={**os.environ, **showing(share), **key, **(server.variables or {})},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    return Running(server, process, server.url(host, port), log)


def _healthy(root: str) -> bool:
    try:
        with DIRECT.open(f"{root}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError, ValueError):
        return False


def _around(path: Path, command: Sequence[str], host: str) -> int:
    artifact, spec = Artifact(path.parent), read_spec(path)
    ranks = -(-spec.recipe.launcher.processes // spec.recipe.launcher.nodes)
    with serving(spec, artifact, ranks, host=host, bind=host) as servers:
        process = subprocess.Popen(command, env={**os.environ, **servers.environment}, start_new_session=True)
        servers.guard(process)
        try:
            return process.wait()
        finally:
            end_group(process)


def _run(path: Path, host: str) -> int:
    artifact, spec = Artifact(path.parent), read_spec(path)
    with serving(spec, artifact, 0, host=host, bind=host) as servers:
        while (death := servers.death()) is None:
            time.sleep(POLL_SECONDS)
        raise StageError(f"{spec.label}: {death}")


def _wait(target: str, seconds: float, pid: int | None) -> int:
    def alive() -> str | None:
        return (
            None if pid is None or Path(f"/proc/{pid}").exists() else f"process {pid} has ended before {target} was up"
        )

    if target.startswith(("http://", "https://")):
        wait_healthy(target, seconds, alive)
        return 0
    addresses, until = Artifact(Path(target).parent).servers, time.monotonic() + seconds
    while not addresses.exists():
        if (death := alive()) is not None:
            raise StageError(death)
        if time.monotonic() > until:
            raise StageError(
                f"{addresses}: the servers of {target} were not up within {seconds:g} s; look at their logs"
            )
        time.sleep(POLL_SECONDS)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands in this module's first lines."""
    parser = argparse.ArgumentParser(prog="python -m adhere.train.launch.serve.serving")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("around", "run"):
        command = commands.add_parser(name)
        command.add_argument("stage", type=Path)
        command.add_argument("--host", default=LOOPBACK, help="name of this node, as workers reach it")
        if name == "around":
            command.add_argument("line", nargs=argparse.REMAINDER)
    waiting = commands.add_parser("wait")
    waiting.add_argument("target")
    waiting.add_argument("--seconds", type=float, default=900.0)
    waiting.add_argument("--pid", type=int, default=None)
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        match parsed.command:
            case "around":
                return _around(parsed.stage, parsed.line[parsed.line[:1] == ["--"] :], parsed.host)
            case "run":
                return _run(parsed.stage, parsed.host)
            case _:
                return _wait(parsed.target, parsed.seconds, parsed.pid)
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
