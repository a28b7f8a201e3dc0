"""The cache of replies: many processes on one file, bounds in memory, and what a fork makes of a judge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adhere.rewards.judge import cache
from adhere.rewards.judge.cache import ReplyCache

WRITER = """
import sys
from adhere.rewards.judge.cache import ReplyCache
shared = ReplyCache(sys.argv[1])
for start in range(0, 600, 20):
    shared.put([(b"%d" % n, (n / 600,)) for n in range(start, start + 20)])
    shared.put([(b"%s-%d" % (sys.argv[2].encode(), n), (0.5, 0.25)) for n in range(start, start + 20)])
"""


def test_processes_that_start_together_share_one_file(tmp_path: Path) -> None:
    file = str(tmp_path / "cache.sqlite3")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, file, name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    assert [(w.communicate(timeout=60)[1], w.returncode) for w in writers] == [("", 0)] * 3
    known = ReplyCache(file).get([b"%d" % n for n in range(600)] + [b"%s-599" % name for name in (b"a", b"b", b"c")])
    assert len(known) == 603
    assert known[b"300"] == (0.5,) and known[b"b-599"] == (0.5, 0.25)


def test_memory_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MEMORY_ROWS", 10)
    small = ReplyCache(None)
    for n in range(50):
        small.put([(b"%d" % n, (0.5,))])
    assert list(small.get([b"%d" % n for n in range(50)])) == [b"%d" % n for n in range(40, 50)]


def test_a_forked_child_may_go_on_asking() -> None:
    from judge_server import ScriptedServer

    from adhere.rewards.checklist.judge_protocol import JudgeQuestion
    from adhere.rewards.judge import JudgeConfig, load_judge

    def scores(start: int) -> list[float | None]:
        return [v.score for v in judge.decide([JudgeQuestion("q", "r", f"{n}") for n in range(start, start + 4)])]

    with (
        ScriptedServer(lambda message, body: "75") as server,
        load_judge(JudgeConfig(base_url=server.url, model="m", timeout=10.0)) as judge,
    ):
        assert scores(0) == [0.75] * 4
        child = os.fork()
        if child == 0:
            os._exit(0 if scores(10) == [0.75] * 4 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert scores(20) == [0.75] * 4
