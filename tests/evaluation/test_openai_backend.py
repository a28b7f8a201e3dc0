"""The OpenAI-compatible back end against a real HTTP server on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from adhere.evaluation.backends import load_generator
from adhere.evaluation.generation import Sampling
from adhere.evaluation.scoring import score_responses
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, StageError


class Endpoint(BaseHTTPRequestHandler):
    """Answers by what the prompt asks for; counts requests and the most that were in flight at once."""

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.flying += 1
            server.most = max(server.most, server.flying)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append(asked)
        status, body = self.reply(asked)
        with server.lock:
            server.flying -= 1
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def reply(self, asked: dict) -> tuple[int, object]:
        prompt = asked["messages"][-1]["content"]
        if prompt == "flaky" and sum(r["messages"][-1]["content"] == "flaky" for r in self.server.requests) < 2:
            return 503, {"error": {"message": "busy"}}
        if prompt in ("down", "denied", "unknown"):
            return {"down": 500, "denied": 401, "unknown": 404}[prompt], {"error": {"message": prompt}}
        if prompt == "garbage":
            return 200, "<html>not json"
        if prompt == "hollow":
            return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": []}
        message = {"role": "assistant", "content": f"{prompt} \\boxed{{4}}"}
        if prompt == "reason":
            message |= {"reasoning_content": "two and two"}
        if prompt == "cut in thought":
            message = {"role": "assistant", "content": None, "reasoning_content": "two and"}
        reason = "length" if "cut" in prompt else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        usage = {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return 200, reply | {"usage": usage}

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    made.lock, made.flying, made.most, made.requests = threading.Lock(), 0, 0, []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def item(text: str, key: str | None = None) -> PromptItem:
    return PromptItem(key or text, ({"role": "user", "content": text},), "4")


def ask(server: ThreadingHTTPServer, *texts: str, retries: int = 0, **options):
    from adhere.evaluation.backends.openai import OpenAIGenerator

    url = f"http://127.0.0.1:{server.server_port}/v1"
    made = OpenAIGenerator("m", base_url=url, retries=retries, timeout=20, **options)
    return [answers[0] for answers in made.generate([item(t) for t in texts], Sampling(max_new_tokens=9))]


def test_replies_keep_the_order_and_say_how_they_ended(server):
    plain, cut = ask(server, "plain", "cut")
    assert (plain.text, plain.tokens, plain.finished, plain.error) == ("plain \\boxed{4}", 7, True, None)
    assert not cut.finished
    assert server.requests[0]["max_tokens"] == 9 and server.requests[0]["temperature"] == 0.0


def test_reasoning_beside_the_answer_becomes_a_block_again(server):
    whole, unfinished = ask(server, "reason", "cut in thought")
    assert whole.text.startswith("<think>\ntwo and two\n</think>")
    scores = score_responses([(item("reason"), whole), (item("cut"), unfinished)])
    assert [score.correct.score for score in scores] == [1.0, 0.0]


def test_a_failing_request_is_an_error_and_not_a_wrong_answer(server):
    down, garbage, hollow, fine = ask(server, "down", "garbage", "hollow", "fine")
    assert "/chat/completions: 500" in down.error and "is not JSON" in garbage.error and "no choice" in hollow.error
    assert fine.error is None
    scores = score_responses([(item("down"), down), (item("fine"), fine)])
    assert [score.correct.score for score in scores] == [None, 1.0]


def test_a_busy_endpoint_is_asked_again(server):
    (answer,) = ask(server, "flaky", retries=2)
    assert answer.error is None and len(server.requests) == 2


def test_what_no_retry_mends_stops_the_run(server):
    for text, what in (("denied", "the key"), ("unknown", "the model or the path")):
        with pytest.raises(StageError, match=rf"/v1/chat/completions refuses {what} for model 'm' \(40[14] .*{text}"):
            ask(server, text, retries=2)
    assert len(server.requests) == 2


def test_samples_are_requests_with_seeds_of_their_own_and_bounded_in_number(server):
    made = load_generator("openai", "m", base_url=f"http://127.0.0.1:{server.server_port}/v1", batch_size=3)
    drawn = made.generate([item("a"), item("b")], Sampling(temperature=1.0, samples=6, seed=1))
    assert [len(samples) for samples in drawn] == [6, 6]
    assert len({request["seed"] for request in server.requests}) == 12
    assert 1 <= server.most <= 3
    assert {samples[0].text for samples in drawn} == {"a \\boxed{4}", "b \\boxed{4}"}


def test_an_endpoint_that_is_not_there_gives_errors(server):
    from adhere.evaluation.backends.openai import OpenAIGenerator

    server.shutdown()
    server.server_close()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    ((answer,),) = OpenAIGenerator("m", base_url=url, retries=0).generate([item("x")], Sampling())
    assert url in answer.error and "ConnectError" in answer.error
    with pytest.raises(ConfigError, match="base_url"):
        load_generator("openai", "m")
