"""Serve a report on this machine alone, until it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from adhere.evaluation.report.write import FIGURES, PAGE

LOOPBACK = "127.0.0.1"


class ReportHandler(SimpleHTTPRequestHandler):
    """Answers with the page and its figures, and nothing else of the disk, to who asks for this machine by name."""

    def send_head(self) -> Any:
        """Refuse what is not a part of the report; ``/`` is the page."""
        # A foreign name in Host is a web page that had its own name point here.
        if self.headers.get("Host", "").rpartition(":")[0] not in (LOOPBACK, "localhost"):
            return self.send_error(403, "This report is served to this machine alone")
        path = self.path.partition("?")[0]
        self.path = f"/{PAGE}" if path == "/" else path
        wanted, folder = Path(self.translate_path(self.path)).resolve(), Path(self.directory).resolve()
        if (wanted != folder / PAGE and wanted.parent != folder / FIGURES) or not wanted.is_file():
            return self.send_error(404, "There is no such part of the report")
        return super().send_head()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the address."""


def serve(folder: Path, port: int = 0, ready: Callable[[str], None] = print) -> None:
    """Serve the report in ``folder`` to this machine until an interrupt; ``ready`` gets the address.

    Args:
        folder: that of ``report.html``.
        port: 0 takes a free one.
        ready: called once, when the server answers.

    Raises:
        OSError: the port is taken.
    """
    with ThreadingHTTPServer((LOOPBACK, port), partial(ReportHandler, directory=str(folder))) as server:
        ready(f"http://{LOOPBACK}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
