"""Replies that a judge gave before, in one SQLite file that ranks and runs share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from adhere.rewards.errors import ConfigError, StageError

MEMORY_ROWS = 200_000
WAIT_SECONDS = 30.0

Scores = tuple[float, ...]


class ReplyCache:
    """Scores by key; to be used by one thread of one process, beside any number of other processes.

    Without ``path`` it lives in memory and holds the newest ``MEMORY_ROWS`` replies. Readers never wait (write-ahead
    log, which is why the file belongs on a local disk); a writer waits up to 30 s for another one.
    """

    def __init__(self, path: str | None) -> None:
        """Open the file, and make it where there is none.

        Raises:
            ConfigError: it cannot be opened, or is not such a file.
        """
        self._path = path
        try:
            if path is not None:
                Path(path).expanduser().parent.mkdir(parents=True, exist_ok=True)
            name = ":memory:" if path is None else str(Path(path).expanduser())
            self._db = sqlite3.connect(name, timeout=WAIT_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, scores TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"judge.cache: '{path}' cannot be used as a cache ({error}); name a new file on a local disk"
            ) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scores]:
        """Return what is known of ``keys``."""
        found: dict[bytes, Scores] = {}
        try:
            for key in keys:
                row = self._db.execute("SELECT scores FROM replies WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = tuple(json.loads(row[0]))
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return found

    def put(self, replies: Iterable[tuple[bytes, Scores]]) -> None:
        """Keep replies, all or none of them; a key that another process was faster with stays as it is."""
        rows = [(key, json.dumps(scores)) for key, scores in replies]
        if not rows:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?)", rows)
            if self._path is None:
                self._db.execute(
                    "DELETE FROM replies WHERE rowid <= (SELECT max(rowid) FROM replies) - ?", (MEMORY_ROWS,)
                )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._broken(error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _broken(self, error: sqlite3.Error) -> StageError:
        return StageError(f"judge.cache: '{self._path}' fails ({error}); free the disk, or name another file")
