"""What generating checklists costs beside the model: prompt sizes, and rows per second against a server that waits.

Run ``python bench/checklist_generation.py [ROWS]``. A server on loopback answers every call after 50 ms with the same
checklist, so the figures show how far concurrency hides latency, and what reading, review, mapping and writing take.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from adhere.prompts.checklists import generate, read_sources
from adhere.rewards.checklist.generation import GenerationConfig
from adhere.rewards.checklist.generation.prompts import checklist_messages, rubric_messages

LATENCY = 0.05
QUESTIONS = (
    "Does the response contain at least 150 words?",
    "Does the response contain no commas?",
    "Does the response name the mayor of Paris?",
    "Does the response give the year of the first Tour de France?",
    "Does the response warn of the closing days of museums?",
)
REPLY = json.dumps({"analysis": "x", "requirements": [{"question": q, "weight": 75} for q in QUESTIONS]})


class Endpoint(BaseHTTPRequestHandler):
    """Answers every call after ``LATENCY`` seconds."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(LATENCY)
        choice = {"index": 0, "message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


def timed(folder: Path, url: str, count: int, concurrency: int) -> float:
    """Return the seconds that ``count`` rows take."""
    source = folder / f"in{count}.jsonl"
    rows = (json.dumps({"question": f"Plan day {n} in Paris."}) for n in range(count))
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = GenerationConfig(base_url=url, model="m", concurrency=concurrency)
    started = time.perf_counter()
    summary = generate(read_sources(source), folder / f"out{count}-{concurrency}.jsonl", config)
    assert summary.written == count
    return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, messages in (
        ("direct", checklist_messages("", items=(1, 7))),
        ("rar", rubric_messages("", items=(7, 20), reference="")),
    ):
        text = "".join(message["content"] for message in messages)
        print(f"{name}: {len(text)} characters, {len(text.split())} words around the instruction")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with tempfile.TemporaryDirectory() as folder:
        timed(Path(folder), url, 2, 1)
        for concurrency in (1, 8, 32):
            seconds = timed(Path(folder), url, count, concurrency)
            waited = count / concurrency * LATENCY
            print(
                f"concurrency {concurrency:2}: {count / seconds:4.0f} rows/s, {seconds:.2f} s, latency {waited:.2f} s"
            )
    server.shutdown()


if __name__ == "__main__":
    main()
