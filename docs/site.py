"""The site's hook: references of docstrings, written for Sphinx, are shown as plain code."""

from __future__ import annotations

import re
from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Return the page without the roles (``:func:``) before code, and without the ``~`` that shortens a name."""
    return re.sub(r":(?:mod|func|class|meth|attr|data|exc):<code>~?", "<code>", html)
