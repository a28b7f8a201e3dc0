"""The pool of killable processes, with workers that keep its protocol and workers that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.pool import Lost, Pool, PoolTask, cpu_share, per_process

WORKER = """
import json, os, subprocess, sys, time
def send(value, size=None, number=0):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    os.write(1, (len(body) if size is None else size).to_bytes(4, "big") + number.to_bytes(4, "big") + body)
def read(size):
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data
send({"ready": os.getpid()})
while True:
    size, number = int.from_bytes(read(4), "big"), int.from_bytes(read(4), "big")
    job = json.loads(read(size))
    if job == "exit": sys.exit(7)
    if job == "sleep": time.sleep(600)
    if job == "close stdout": os.close(1); time.sleep(600)
    if job == "half": send("torn", 100); time.sleep(600)
    if job == "garbage": send(b"{no json")
    if job == "nested": send(b"[" * 200_000)
    if job == "too long": send(b"x", 2**31)
    if job == "nothing": send(b"", 0)
    if job == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
        open(sys.argv[1], "w").write(str(child.pid))
        time.sleep(600)
    if job == "bytewise":
        for byte in len(b'"slow"').to_bytes(4, "big") + number.to_bytes(4, "big") + b'"slow"':
            os.write(1, bytes([byte])); time.sleep(0.01)
        continue
    if job == "twice": send("twice", number=number)
    send(job, number=number)
    if job == "twice late": time.sleep(0.05); send("late", number=number)
"""

Make = Callable[..., Pool]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Pool] = []

    def build(workers: int = 1, source: str = WORKER, **options: Any) -> Pool:
        command = [sys.executable, "-c", source, str(tmp_path / "grandchild")]
        made.append(Pool(command, workers, lambda: dict(os.environ), **options))
        return made[-1]

    yield build
    for pool in made:
        pool.close()


def ask(pool: Pool, *jobs: Any, seconds: float = 2.0) -> list[Any]:
    """Return the replies to ``jobs`` in their order."""
    found: dict[int, Any] = {}
    asked = (PoolTask(n, json.dumps(job).encode(), seconds) for n, job in enumerate(jobs))
    pool.exchange(asked, lambda job, reply, _: found.update({job.key: reply}))
    return [found[n] for n in range(len(jobs))]


def test_jobs_are_answered_by_as_many_workers_as_they_need(make: Make) -> None:
    pool = make(workers=3)
    assert ask(pool) == [] and pool.worker_pids() == []
    assert ask(pool, "a") == ["a"] and len(pool.worker_pids()) == 1
    assert ask(pool, *range(20)) == list(range(20)) and len(pool.worker_pids()) == 3


def test_an_empty_frame_brings_what_a_worker_reports(make: Make) -> None:
    pool, found = make(), []
    pool.exchange([PoolTask(None, b"", 1.0)], lambda job, reply, _: found.append(reply))
    assert found == pool.worker_pids()
    pool.exchange([PoolTask(None, b"", 60.0)], lambda job, reply, _: found.append(reply))
    assert found == pool.worker_pids() * 2


@pytest.mark.parametrize(
    ("job", "late"),
    [
        ("exit", False), ("garbage", False), ("nested", False), ("too long", False), ("nothing", False),
        ("close stdout", False), ("sleep", True), ("half", True),
    ],
)  # fmt: skip
def test_a_worker_that_breaks_the_protocol_loses_its_job_alone(make: Make, job: str, late: bool) -> None:
    pool = make()
    start = time.monotonic()
    before, lost, after = ask(pool, "before", job, "after")
    assert (before, after) == ("before", "after")
    assert isinstance(lost, Lost) and lost.ready and lost.late is late
    assert lost.status == (7 if job == "exit" else -9)
    assert time.monotonic() - start < 10


def test_a_reply_that_comes_in_pieces_is_whole(make: Make) -> None:
    assert ask(make(), "bytewise") == ["slow"]


def test_jobs_that_do_not_fit_into_a_pipe_arrive_and_one_that_is_not_read_ends(make: Make) -> None:
    pool, long = make(), "x" * 3_000_000
    assert ask(pool, long, seconds=20.0) == [long]
    deaf = make(source="import os, time\nos.write(1, b'\\0\\0\\0\\x0b\\0\\0\\0\\0{\"ready\":1}')\ntime.sleep(600)")
    (lost,) = ask(deaf, long)
    assert lost.late and lost.ready


def test_a_reply_that_waits_is_not_late(make: Make) -> None:
    pool, found = make(workers=2), {}

    def settle(job: PoolTask, reply: Any, seconds: float) -> None:
        found[job.key] = reply
        time.sleep(1.5 if job.key == 0 else 0.0)

    assert ask(pool, "a", "b") == ["a", "b"]
    pool.exchange([PoolTask(0, b'"quick"', 1.0), PoolTask(1, b'"bytewise"', 1.0)], settle)
    assert found == {0: "quick", 1: "slow"}


@pytest.mark.parametrize("job", ["twice", "twice late"])
def test_a_reply_that_comes_late_is_not_read_as_that_to_the_next_job(make: Make, job: str) -> None:
    pool = make()
    for _ in range(3):
        assert ask(pool, job) == [job]
        time.sleep(0.2)  # the second reply now waits in the pipe
        assert ask(pool, "next", "and next") == ["next", "and next"]


BUSY = """
import json, os, sys, time
def read(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data)) or sys.exit(0)
    return data
def send(value, number):
    body = json.dumps(value).encode()
    os.write(1, len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + body)
def use(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
use(START)
send({"ready": 1}, 0)
while True:
    size, number = int.from_bytes(read(4), "big"), int.from_bytes(read(4), "big")
    job = json.loads(read(size))
    use(job) if job > 0 else time.sleep(600)
    send("done", number)
"""


@pytest.mark.slow
def test_on_the_clock_of_the_processor_only_computing_counts(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adhere.rewards.pool.IDLE_SECONDS", 2.5)
    pool = make(source=BUSY.replace("START", "0.3"), clock="cpu")
    long, done, idle = ask(pool, 60, 0.1, -1, seconds=0.5)
    assert isinstance(long, Lost) and (long.late, long.ready, long.spent) == (True, True, True)
    assert done == "done"
    assert isinstance(idle, Lost) and (idle.late, idle.ready, idle.spent) == (True, True, False)


def test_a_worker_that_starts_slowly_is_waited_for_with_a_warning(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    pool = make(
        source=BUSY.replace("use(START)", "[(time.sleep(0.5), use(0.02)) for _ in range(4)]"), start_seconds=0.2
    )
    assert ask(pool, 0.01, seconds=5.0) == ["done"]
    assert "the machine is busy" in caplog.text
    (lost,) = ask(make(source=BUSY.replace("START", "60"), start_seconds=0.2), 0.01)
    assert isinstance(lost, Lost) and (lost.ready, lost.spent) == (False, True)


def test_a_fresh_job_meets_a_process_that_has_seen_no_other(make: Make) -> None:
    pool, found = make(), []
    pool.exchange([PoolTask(0, b'"a"', 5.0)], lambda *_: None)
    before = pool.worker_pids()
    pool.exchange([PoolTask(0, b'"a"', 5.0, fresh=True)], lambda job, reply, _: found.append(reply))
    assert found == ["a"] and not set(before) & set(pool.worker_pids())


def test_a_worker_that_never_starts_is_told_from_one_that_fails(make: Make) -> None:
    (lost,) = ask(make(source="raise SystemExit(3)"), "a")
    assert lost == Lost(late=False, status=3, ready=False)


def test_what_a_worker_has_started_is_killed_with_it(make: Make, tmp_path: Path) -> None:
    (lost,) = ask(make(), "grandchild", seconds=3.0)
    assert lost.late
    pid, end = int((tmp_path / "grandchild").read_text()), time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "it outlived its worker"
        time.sleep(0.05)


def test_an_error_of_the_caller_ends_the_workers_that_are_busy(make: Make) -> None:
    pool = make(workers=2)

    def settle(job: PoolTask, reply: Any, seconds: float) -> None:
        raise KeyError(job.key)

    jobs = [PoolTask(n, json.dumps(word).encode(), 60.0) for n, word in enumerate(("sleep", "quick"))]
    with pytest.raises(KeyError, match="1"):
        pool.exchange(jobs, settle)
    assert len(pool.worker_pids()) == 1
    assert ask(pool, "on", "and on") == ["on", "and on"]


def test_a_closed_pool_starts_again(make: Make) -> None:
    pool = make()
    assert ask(pool, 1) == [1]
    (pid,) = pool.worker_pids()
    pool.close()
    assert pool.worker_pids() == [] and not Path(f"/proc/{pid}").exists()
    assert ask(pool, 2) == [2]


def test_no_worker_is_left_at_the_exit_of_a_process(tmp_path: Path) -> None:
    script = (
        "import os, sys, threading, time\nfrom adhere.rewards.pool import Pool, PoolTask\n"
        f"pool = Pool([sys.executable, '-c', {WORKER!r}], 2, lambda: dict(os.environ))\n"
        "jobs = [PoolTask(n, b'\"sleep\"', 600.0) for n in range(2)]\n"
        "threading.Thread(target=pool.exchange, args=(jobs, lambda *_: None), daemon=True).start()\n"
        "while len(pool.worker_pids()) < 2: time.sleep(0.01)\n"
        "print(*pool.worker_pids())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.split()) == 2, done.stderr
    assert not [pid for pid in done.stdout.split() if Path(f"/proc/{pid}").exists()]


def test_ranks_share_the_cpus_of_their_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert cpu_share() == 8
    for ranks, workers in (("4", 3), ("12", 1), ("64", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert cpu_share() == workers


def test_what_a_process_shares_is_made_once_for_all_threads_and_anew_in_a_fork() -> None:
    @per_process
    def thing(name: str) -> list[str]:
        time.sleep(0.05)
        return [name]

    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(thing("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1 and thing("b") == ["b"]
    found[0].append("changed")
    child = os.fork()
    if child == 0:
        os._exit(0 if thing("a") == ["a"] else 1)
    assert os.waitpid(child, 0)[1] == 0
