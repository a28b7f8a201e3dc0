"""The component that a user's Python function scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from adhere.rewards.components.base import COMPONENTS, Bounded, Context, Valued
from adhere.rewards.process import BatchLost, FunctionProcess, check_function
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Verdict, unscored


def scored_by(process: FunctionProcess, component: Valued, rollouts: Sequence[Rollout]) -> list[Verdict]:
    """Return the verdicts that ``process`` gives; a rollout on which it hangs or ends, alone as well, has none.

    Raises:
        ConfigError: the function cannot be loaded, or what it returns for the first batch cannot be used.
    """
    if not rollouts:
        return []
    rows = process.call_each(rollouts)
    found = [row for row in rows if not isinstance(row, BatchLost)]
    scored = iter(component.verdicts(found, f"{process.key}.{process.blame}", strict=not process.proven))
    process.proven = process.proven or bool(found)
    return [unscored(row.status, row.detail) if isinstance(row, BatchLost) else next(scored) for row in rows]


@COMPONENTS.register("python")
class PythonComponent(Bounded):
    """What your Python function returns: a number, ``None`` (does not apply) or a ``Verdict`` for each rollout."""

    kind: Literal["python"] = "python"
    function: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    """The function as ``package.module:name``, called with ``(rollouts, **params)``; it may be ``async``. A class is
    made into an object once, with ``(**params)``, and the object called with ``(rollouts)``: for models to load."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""

    timeout: float = Field(default=60.0, gt=0.0, le=1500.0)
    """Seconds that one batch of a rank may take before the function's process is killed. The rollouts are then tried
    one by one, each for its share of these seconds, and one on which it hangs again is ``timeout``. Importing the
    module, and making an object of a class, does not count."""

    operational: ClassVar = frozenset({"timeout"})

    def check(self, name: str) -> None:
        """Import the function in a process of its own and compare its signature with ``params``.

        Raises:
            ConfigError: it cannot be called like that.
        """
        check_function(self.function, self.params, f"rewards.components.{name}")

    def open(self, name: str) -> FunctionProcess:
        """Return the function's process, which starts with the first batch."""
        return FunctionProcess(self.function, self.params, key=f"rewards.components.{name}", timeout=self.timeout)

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Call the function once with all rollouts."""
        return scored_by(context.resource, self, rollouts)
