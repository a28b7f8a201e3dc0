"""A server with the moods of a real one and the arguments of ``vllm serve``, for tests of who starts it.

python fake_server.py MOOD serve MODEL --host H --port P …     MOOD: healthy, stubborn, dies, silent
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("mood", "serve", "model"):
        parser.add_argument(name)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given, _ = parser.parse_known_args()
    print(f"loading {given.model}", flush=True)
    if given.mood == "dies":
        print("torch.OutOfMemoryError: no room for the weights", flush=True)
        sys.exit(3)
    # Stubborn is a child in the same group that ignores a polite word, as an engine core in a kernel may.
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" if given.mood == "stubborn" else ""
    child = subprocess.Popen([sys.executable, "-c", f"{ignore}import time; time.sleep(600)"])
    (Path(given.model) / "pids").write_text(f"{child.pid}")
    if given.mood == "silent":
        time.sleep(600)
    server = HTTPServer((given.host, given.port), Healthy)
    server.timeout = 0.1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    while not (Path(given.model) / "die").exists():
        server.handle_request()
    print("the engine core died", flush=True)
    sys.exit(7)


if __name__ == "__main__":
    main()
