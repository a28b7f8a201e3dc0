"""The client of OpenAI-compatible endpoints against scripted servers on loopback."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from judge_server import Reply, Script, ScriptedServer, completion

from adhere.rewards.chat import ChatClient, Completion, Usage
from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.posting import CallError

SETTINGS: dict[str, Any] = {"concurrency": 4, "timeout": 10.0, "retries": 0, "backoff": 0.01}
KEY = "sk-very-secret"


def says(*replies: Reply) -> Script:
    """A script that gives these replies in turn, and the last one for ever."""
    left = list(replies)
    return lambda message, body: left.pop(0) if len(left) > 1 else left[0]


def body(message: dict[str, Any], **changes: Any) -> Reply:
    whole = completion(None) | changes
    whole["choices"][0]["message"] = message
    return 200, {}, json.dumps(whole).encode()


def ask(script: Script, fields: dict[str, Any] | None = None, usage: Usage | None = None, **changes: Any) -> Completion:
    async def go(url: str) -> Completion:
        async with ChatClient("test", url, "m", KEY, **SETTINGS | changes) as client:
            return await client.complete([{"role": "user", "content": "q"}], fields or {}, usage or Usage())

    with ScriptedServer(script) as server:
        return asyncio.run(go(server.url))


NO_ADDRESSES = [
    "localhost:8000/v1", "ftp://host/v1", "http://", "", "http:///v1", "http://host:port/v1", "http://host:0/v1",
    "http://host:99999/v1", "http://[::1/v1", "http://host:8000/\x00", "http://ho st/v1", "http://host/v1 ", "http://host/\u2028v1",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_cannot_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^test: base_url: is not the address of an endpoint; write it like http://"):
        ChatClient("test", url, "m", None, **SETTINGS)


@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "http://secret@host:port/v1"])
def test_an_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^test: base_url: holds a password") as raised:
        ChatClient("test", url, "m", None, **SETTINGS)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", ["sk-1\n", "sk 1", "sk-\u00e9", "sk-\x00"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="the key has a character that a header cannot carry") as raised:
        ChatClient("test", "http://host/v1", "m", key, **SETTINGS)
    assert key not in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_the_server_repeats_is_not_shown(status: int) -> None:
    with pytest.raises((StageError, CallError), match=r"\*\*\* is wrong") as raised:
        ask(says((status, {}, f"{KEY} is wrong".encode())))
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    usage = Usage()
    assert ask(says((status, {}, b"later"), "yes"), usage=usage, retries=1).text == "yes"
    assert usage == Usage(calls=1, retries=1, prompt_tokens=100, completion_tokens=2)
    with pytest.raises(CallError, match=f"/v1/chat/completions: {status} later") as raised:
        ask(says((status, {}, b"later")), retries=1)
    assert raised.value.unavailable and raised.value.code == status


@pytest.mark.parametrize("status", [302, 400, 405, 413, 422])
def test_a_status_that_will_not_pass_is_not_tried_again(status: int) -> None:
    usage = Usage()
    with pytest.raises(CallError, match=f": {status} no") as raised:
        ask(says((status, {}, b"no"), "yes"), usage=usage, retries=3)
    assert not raised.value.unavailable and usage == Usage()


def test_retry_after_may_be_a_date() -> None:
    started = time.monotonic()
    later = {"retry-after": formatdate(time.time() + 2.0, usegmt=True)}
    assert ask(says((503, later, b""), "yes"), retries=1).text == "yes"
    assert time.monotonic() - started > 0.9
    assert ask(says((503, {"retry-after": "soon"}, b""), "yes"), retries=1).text == "yes"


@pytest.mark.parametrize(
    ("said", "stops"),
    [
        ("pinned to 'other'; requested 'm'", True),
        ("there is no model m here", True),
        ('{"error": {"code": "model_not_found"}}', True),
        ('{"error": {"message": "the prompt is too long for me"}}', False),
    ],
)
def test_a_400_stops_everything_only_where_it_is_about_the_model(said: str, stops: bool) -> None:
    with pytest.raises(StageError if stops else CallError, match="model 'm'" if stops else ": 400"):
        ask(says((400, {}, said.encode())))


def test_a_redirect_that_keeps_the_method_is_followed() -> None:
    with ScriptedServer(says("yes")) as there:
        moved = (307, {"location": f"{there.url}/chat/completions"}, b"")
        assert ask(says(moved)).text == "yes"
        assert there.keys == [None], "another origin does not get the key"


def test_fields_are_sent_and_none_leaves_one_out() -> None:
    seen: list[dict[str, Any]] = []

    def script(message: str, asked: dict[str, Any]) -> Reply:
        seen.append(asked)
        return "yes"

    ask(script, {"model": "other", "seed": None, "usage": 1})
    assert seen == [{"model": "other", "messages": [{"role": "user", "content": "q"}], "usage": 1}]


def test_reasoning_comes_beside_the_text() -> None:
    for name in ("reasoning", "reasoning_content"):
        reply = ask(says(body({"content": "4", name: "two and two"})))
        assert (reply.text, reply.reasoning, reply.finish_reason) == ("4", "two and two", "stop")
    assert ask(says(body({"content": None, "reasoning": {"effort": "low"}}))) == Completion(None, None, "stop", None, 2)


def test_tokens_that_the_server_does_not_count_are_named() -> None:
    usage = Usage()
    assert ask(says(body({"content": "4"}, usage=None)), usage=usage).tokens is None
    assert usage == Usage(calls=1, uncounted=1)
    usage.add(Usage(1, 2, 3_000_000, 1_000_000))
    assert usage.to_dict() == {
        "calls": 2, "retries": 2, "prompt_tokens": 3_000_000, "completion_tokens": 1_000_000, "uncounted": 1
    }  # fmt: skip
    assert usage.cost(2.0, 10.0) == 16.0


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has no choice with a message"),
        (b'{"choices": [{"message": null}]}', "has no choice with a message"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "is list, not text"),
        (b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [7]}}]}', "unreadable log-probabilities"),
        (b'{"choices": [{"message": {"content": "a"}}], "usage": 7}', "unreadable log-probabilities or usage"),
    ],
)
def test_a_reply_that_is_not_a_completion_is_tried_again_and_named(raw: bytes, what: str) -> None:
    assert ask(says((200, {}, raw), "yes"), retries=1).text == "yes"
    with pytest.raises(CallError, match=what) as raised:
        ask(says((200, {}, raw)))
    assert "/v1/chat/completions: " in str(raised.value) and not raised.value.unavailable
