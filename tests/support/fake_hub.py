"""A hub on loopback that serves folders as repositories: enough of the API for huggingface_hub to fetch a snapshot."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def commit_of(folder: Path) -> str:
    """Return the commit that the hub shows for a folder: a hash of its content."""
    content = hashlib.sha1()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return content.hexdigest()


@contextmanager
def fake_hub(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve the folders by ``models/OWNER/NAME`` or ``datasets/OWNER/NAME``; yield the endpoint and the paths asked."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            asked.append(self.path)
            path = self.path.partition("?")[0].strip("/")
            for name, folder in repositories.items():
                kind, _, rest = name.partition("/")
                files = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]
                if path.startswith(f"api/{name}/tree/"):
                    rows = [
                        {"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": "0" * 40} for f in files
                    ]
                    return self.send(json.dumps(rows).encode(), body, "0" * 40)
                if path == f"api/{name}" or path.startswith(f"api/{name}/revision/"):
                    known = {
                        "id": rest,
                        "sha": commit_of(folder),
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                    }
                    return self.send(
                        json.dumps(known | {"siblings": [{"rfilename": f} for f in files]}).encode(), body, "x"
                    )
                place = rest if kind == "models" else name
                if path.startswith(f"{place}/resolve/"):
                    file = folder / path.removeprefix(f"{place}/resolve/").partition("/")[2]
                    if file.is_file():
                        return self.send(file.read_bytes(), body, commit_of(folder))
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, content: bytes, body: bool, commit: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
