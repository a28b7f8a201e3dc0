"""The one hierarchy of errors that adhere raises for a reason the user can act on.

Every member also derives from the standard error a caller would expect, so ``except ValueError`` keeps working.
A message says what was wrong, where (file, row or dotted key) and what to do; the command line prints it
without a traceback and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdhereError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code = 2


class ConfigError(AdhereError, ValueError):
    """A recipe, key or override that cannot be used as written."""


class DataError(AdhereError, ValueError):
    """A row, file or data set that cannot be used as written."""


class ConstraintError(AdhereError, ValueError):
    """An unknown constraint id, or keyword arguments that it does not take."""


class StageError(AdhereError, RuntimeError):
    """A stage that could not run to its end."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word nearest to ``word``, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
