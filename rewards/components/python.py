"""The component that a user's Python function scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from adhere.rewards.components.base import COMPONENTS, Bounded, Context, Valued, own_faults
from adhere.rewards.process import FunctionProcess, check_function
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Verdict


def scored_by(process: FunctionProcess, component: Valued, rollouts: Sequence[Rollout]) -> list[Verdict]:
    """Return the verdicts that ``process`` gives; 0.0 where a response alone is at fault that there is none.

    Raises:
        ConfigError: the function cannot be loaded, or what it returns for the first batch cannot be used.
    """
    if not rollouts:
        return []
    key, share = f"{process.key}.{process.blame}", process.share(len(rollouts))
    rows = process.call_each(rollouts)
    verdicts = component.verdicts(rows, key, strict=not process.proven)
    process.proven = process.proven or not all(isinstance(row, dict) and row.keys() & {"late", "error"} for row in rows)

    def again(rollout: Rollout, seconds: float) -> Verdict:
        row = process.call_one(rollout, min(process.timeout, max(share, seconds)))
        return component.verdicts([row], key, strict=False)[0]

    lost = [
        i for i, row in enumerate(rows) if verdicts[i].undecided and not (isinstance(row, dict) and "verdict" in row)
    ]
    return own_faults(rollouts, verdicts, lost, again)


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
    one by one, each for its share of these seconds. One on which it hangs again scores 0 where an ordinary response to
    the same prompt is scored, else it is ``timeout``. Importing the module, and making an object of a class, does not
    count."""

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
