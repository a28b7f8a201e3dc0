"""A scripted OpenAI-compatible server on loopback, which tests and benches start, starve and break."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

Reply = str | tuple[int, dict[str, str], bytes] | None
"""What a script returns: the model's text, or (status, headers, body), or ``None`` to close the connection half-way."""

Script = Callable[[str, dict[str, Any]], Reply]


def completion(text: str | None, **choice: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    message = {"role": "assistant", "content": text}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
    }


class ScriptedServer:
    """Answers each request by ``script(message, body)`` after ``latency`` seconds; counts what arrives.

    ``most`` is the largest number of requests that were in flight at once. A context manager; ``stop`` and ``start``
    may be called again and keep the port.
    """

    def __init__(self, script: Script, latency: float = 0.0) -> None:
        self.script, self.latency, self.port = script, latency, 0
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.flying = self.most = 0

    def __enter__(self) -> ScriptedServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            listening = asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
            self._server = self._loop.run_until_complete(listening)
            self.port = self._server.sockets[0].getsockname()[1]
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        ready.wait(10)

    def stop(self) -> None:
        if self._loop.is_closed():
            return

        async def end() -> None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        self.requests.append(body)
        self.keys.append(fields.get("authorization"))
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            reply = self.script(body["messages"][0]["content"], body)
            if reply is None:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
                await writer.drain()
                return False
            if reply == "SPACES":
                return await self._spaces(writer)
            status, extra, raw = (200, {}, json.dumps(completion(reply)).encode()) if isinstance(reply, str) else reply
        finally:
            self.flying -= 1
        if status == 0:
            await asyncio.sleep(3600)
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(raw)}", *(f"{k}: {v}" for k, v in extra.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
        await writer.drain()
        return True

    async def _spaces(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
        return False


HANGS = (0, {}, b"")
"""A reply that never comes."""
