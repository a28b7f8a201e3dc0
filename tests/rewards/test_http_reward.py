"""HTTP rewards against a real server on loopback: what it is sent, what its replies mean, and what an outage costs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from adhere.rewards import Rollout, Status
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError, StageError

pytest.importorskip("httpx", reason="needs the judge extra")

Reply = tuple[int, bytes] | list[Any] | None
"""A status and a body, or scores, or ``None`` to close the connection without a reply."""


class Endpoint:
    """A server that answers by ``script(rollouts)``; ``stop`` and ``start`` keep its port."""

    def __init__(self, script: Callable[[list[dict[str, Any]]], Reply]) -> None:
        self.script, self.port = script, 0
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def start(self) -> None:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.requests.append(body)
                endpoint.keys.append(self.headers.get("authorization"))
                reply = endpoint.script(body["rollouts"])
                if reply is None:
                    self.close_connection = True
                    return
                status, raw = (200, json.dumps({"scores": reply}).encode()) if isinstance(reply, list) else reply
                self.send_response(status)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/score"


def words(rollouts: list[dict[str, Any]]) -> Reply:
    return [len(row["response"].split()) / 10 for row in rollouts]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint(words)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def composite(endpoint: Endpoint) -> Iterator[Callable[..., Composite]]:
    made: list[Composite] = []

    def make(**keys: Any) -> Composite:
        mine = {"kind": "http", "url": endpoint.url, "retries": 1, "backoff": 0.01, "timeout": 5.0} | keys
        made.append(Composite(RewardConfig.model_validate({"components": {"mine": mine}}), Engine()))
        return made[-1]

    yield make
    for one in made:
        one.close()


ROLLOUTS = [Rollout("q", "a " * n, "4", tokens=n, id=f"item-{n}", source="lab") for n in range(1, 6)]
SCORES = [0.1, 0.2, 0.3, 0.4, 0.5]


def reasons(scores: BatchScores) -> set[tuple[float | None, Status]]:
    return {(verdict.score, verdict.status) for verdict in scores.verdicts["mine"]}


def test_batches_are_posted_with_the_whole_rollout_and_come_back_in_order(
    endpoint: Endpoint, composite: Callable[..., Composite], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    scores = composite(batch_size=2, params={"strict": True}, api_key_env="MY_KEY").score(ROLLOUTS)
    assert scores.values["mine"] == pytest.approx(SCORES)
    assert sorted(len(request["rollouts"]) for request in endpoint.requests) == [1, 2, 2]
    assert all(request["params"] == {"strict": True} for request in endpoint.requests)
    assert set(endpoint.keys) == {"Bearer secret"}
    sent = {row["id"]: row for request in endpoint.requests for row in request["rollouts"]}
    assert sent["item-2"] == ROLLOUTS[1].to_dict()
    assert sent["item-2"]["segments"] == {"reasoning": None, "answer": "a a"}
    assert scores.outage is None


def test_null_and_errors_of_single_rollouts_have_no_score(
    endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    said = {1: None, 2: {"error": "no such language"}, 20: {"error": "no such language"}, 3: 3, 4: 4, 5: 5}
    endpoint.script = lambda rows: [said[row["tokens"]] for row in rows]
    found = composite(bounds=[1, 5]).score(ROLLOUTS).verdicts["mine"]
    assert [v.score for v in found] == [None, None, 0.5, 0.75, 1.0]
    assert [v.status for v in found[:2]] == [Status.NOT_APPLICABLE, Status.ERROR]
    assert found[1].detail == "no such language" and found[2].detail == "raw value 3"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b"<html>"), r"the reply is not JSON \(it begins '<html>'\)"),
        ((200, b"[1, 2, 3, 4, 5]"), "the reply is not an object with a list `scores`"),
        ([1.0, 1.0], "the reply has 2 scores for 5 rollouts"),
        (["1.0"] * 5, r'rollout 0 of the first batch: the score is "1\.0", not a number'),
        ([float("nan")] * 5, r"the value nan is not within bounds \[0, 1\]"),
        ([2.0] * 5, r"the value 2 is not within bounds \[0, 1\]"),
    ],
)
def test_first_replies_that_are_not_as_documented_are_an_error_with_the_key(
    reply: Reply, message: str, endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    endpoint.script = lambda rows: reply
    with pytest.raises(ConfigError, match=rf"^rewards\.components\.mine\.url: .*{message}"):
        composite(retries=0).score(ROLLOUTS)


def test_later_replies_that_are_not_as_documented_cost_their_rollouts_the_value(
    endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    made = composite()
    assert made.score(ROLLOUTS).values["mine"] == pytest.approx(SCORES)
    for reply in ([1.0] * 2, [7.0] * 5, (200, b"{}"), (422, b"cannot read this")):
        endpoint.script = lambda rows, reply=reply: reply
        scores = made.score(ROLLOUTS)
        assert reasons(scores) == {(None, Status.ERROR)} and scores.outage is None, reply
        assert scores.values["mine"] == [None] * 5 and not any(scores.decided)


@pytest.mark.parametrize(("status", "what"), [(401, "the key"), (403, "the key"), (404, "the path")])
def test_what_no_further_try_can_mend_stops(
    status: int, what: str, endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    endpoint.script = lambda rows: (status, b"go away")
    with pytest.raises(StageError, match=rf"mine\.url: http://127.* refuses {what} \({status} go away\)"):
        composite().score(ROLLOUTS)
    assert len(endpoint.requests) == 1


def test_a_failure_that_passes_is_tried_again(endpoint: Endpoint, composite: Callable[..., Composite]) -> None:
    failures: list[Reply] = [(503, b"busy"), None, (200, b"{"), (429, b"slowly")]
    endpoint.script = lambda rows: failures.pop() if failures else words(rows)
    assert composite(retries=4).score(ROLLOUTS).values["mine"] == pytest.approx(SCORES)
    assert len(endpoint.requests) == 5


def test_a_dead_endpoint_leaves_no_value_and_says_so_until_it_is_back(
    endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    made = composite(batch_size=1, patience=7.0)
    endpoint.stop()
    scores = made.score(ROLLOUTS)
    assert reasons(scores) == {(None, Status.ERROR)}
    assert scores.outage is not None and "ConnectError" in scores.outage
    outage = made.services.outage
    assert outage is not None and outage.title == "the endpoint of rewards.components.mine"
    assert outage.keys == ("rewards.components.mine.patience", "rewards.components.mine.url")
    assert made.services.patience == 7.0 and made.services.probe() is not None and not made.judges
    endpoint.start()
    assert made.services.probe() is None
    again = made.score(ROLLOUTS)
    assert again.values["mine"] == pytest.approx(SCORES) and again.outage is None and made.services.outage is None


@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_response_on_which_the_endpoint_fails_scores_0_and_costs_no_other(
    batch_size: int, endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    endpoint.script = lambda rows: (500, b"on these") if any(row["tokens"] == 3 for row in rows) else words(rows)
    scores = composite(batch_size=batch_size).score(ROLLOUTS)
    assert scores.values["mine"] == pytest.approx([0.1, 0.2, 0.0, 0.4, 0.5])
    assert scores.outage is None and "500 on these" in scores.verdicts["mine"][2].detail
    assert "this response cannot be scored, others can" in scores.verdicts["mine"][2].detail


def test_a_response_on_which_the_endpoint_hangs_scores_0_and_costs_no_other(
    endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    endpoint.script = lambda rows: time.sleep(4.0 * any(r["tokens"] == 3 for r in rows)) or words(rows)  # type: ignore[func-returns-value]
    scores = composite(timeout=1.0, retries=0).score(ROLLOUTS)
    assert scores.values["mine"] == pytest.approx([0.1, 0.2, 0.0, 0.4, 0.5]) and scores.outage is None


def test_a_prompt_on_which_the_endpoint_fails_whatever_the_response_has_no_score(
    endpoint: Endpoint, composite: Callable[..., Composite]
) -> None:
    endpoint.script = lambda rows: [{"error": "no such language"} for _ in rows] if rows[:1] else []
    found = composite(batch_size=1).score(ROLLOUTS[:2]).verdicts["mine"]
    assert [(v.score, v.status) for v in found] == [(None, Status.ERROR)] * 2


def test_a_reply_that_never_comes_is_a_timeout(endpoint: Endpoint, composite: Callable[..., Composite]) -> None:
    endpoint.script = lambda rows: time.sleep(3) or words(rows)  # type: ignore[func-returns-value]
    tried = composite(timeout=0.2, retries=0).score(ROLLOUTS[:1])
    assert reasons(tried) == {(None, Status.TIMEOUT)} and tried.outage is not None
    started = time.monotonic()
    late = composite(deadline=0.5, timeout=1.0).score(ROLLOUTS[:1])
    assert reasons(late) == {(None, Status.TIMEOUT)} and time.monotonic() - started < 3.0
    assert "longer than rewards.components.mine.deadline, 0.5 s" in late.verdicts["mine"][0].detail


def test_a_missing_key_fails_when_the_reward_is_built(composite: Callable[..., Composite]) -> None:
    with pytest.raises(ConfigError, match=r"mine\.api_key_env: the environment has no NO_SUCH_KEY"):
        composite(api_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize("url", ["localhost:8000", "http://me:secret@host/score", "ftp://host/score", ""])
def test_an_address_that_cannot_be_meant_is_refused(url: str, composite: Callable[..., Composite]) -> None:
    with pytest.raises(ValueError, match="url"):
        composite(url=url)
