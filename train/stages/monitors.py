"""The drift monitors of a training run: figures of each generation, alarms once each, files that a resume loads."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.audit import Cases, Form, audit_failures, build_cases, response_form
from adhere.evaluation.audit.audit import capped
from adhere.prompts.item import PromptItem
from adhere.records.artifact import Artifact
from adhere.records.jsonl import read_jsonl
from adhere.rewards.composite import Composite
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import write_text
from adhere.train.config.monitors import MonitorsConfig
from adhere.train.config.schema import Recipe
from adhere.train.stages.drift import CHECKS, Alarm, alarms


class Unaudited(list[str]):
    """No finding, because nothing could be audited."""


class Monitors:
    """Watches the generations of one stage, equally on every rank; only rank 0 writes and prints.

    ``monitors.jsonl`` has the figures of every generation, ``alarms.jsonl`` the first alarm of each kind. Both are
    loaded by ``resume``, so that a resumed run raises what an uninterrupted one would have.
    """

    def __init__(
        self, config: MonitorsConfig, artifact: Artifact, *, writes: bool, rehearsed: tuple[int, int] | None = None
    ) -> None:
        """Watch nothing yet.

        Args:
            config: thresholds.
            artifact: where the files go.
            writes: whether this rank writes and prints.
            rehearsed: live groups, and groups in all, of a rehearsal of the stage.
        """
        self.config = config
        self._rehearsed = rehearsed
        self._artifact = artifact
        self._writes = writes
        self._history: list[dict[str, float]] = []
        self._raised: dict[str, Alarm] = {}

    def resume(self, step: int) -> None:
        """Load what was recorded before optimizer step ``step``; what came after it is forgotten."""
        rows = [row for row in read_jsonl(self._artifact.figures).rows if row["step"] < step]
        self._history = [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]
        kept = [Alarm(**row) for row in read_jsonl(self._artifact.alarms).rows if row["step"] < step]
        self._raised = {alarm.name: alarm for alarm in kept}
        if self._writes:
            write_text(self._artifact.figures, "".join(json.dumps(row) + "\n" for row in rows))
            write_text(self._artifact.alarms, "".join(json.dumps(alarm.to_dict()) + "\n" for alarm in kept))

    def observe(self, step: int, figures: Mapping[str, float], audited: Sequence[str] = ()) -> dict[str, float]:
        """Add one generation and return its metrics.

        They are ``monitors/<figure>`` where it is known, and ``alarms/<name>``: 1.0 while the alarm holds, else 0.0.
        ``audited`` says which probes an audit at this step found to earn too much; where it could look at none,
        ``alarms/audit`` is left out.

        Raises:
            StageError: an alarm of ``stop_on`` is raised.
        """
        self._history.append({"step": step, **figures})
        if self._writes:
            _append(self._artifact.figures, {n: None if math.isnan(v) else v for n, v in self._history[-1].items()})
        holding = alarms(self._history, self.config, self._rehearsed)
        if audited:
            text = f"probes earn what an honest right answer does: {', '.join(audited)}"
            holding.append(Alarm("audit", step, float(len(audited)), 0.0, text))
        for alarm in holding:
            self._raise(alarm)
        names = {alarm.name for alarm in holding}
        audits = self.config.audit_every and not isinstance(audited, Unaudited)
        known = [*CHECKS, "live_groups", *(["masked"] if "masked_long" in figures else [])]
        known += [*(["rehearsed"] if self._rehearsed else []), *(["audit"] if audits else [])]
        decided = {f"monitors/{name}": value for name, value in figures.items() if not math.isnan(value)}
        return decided | {f"alarms/{name}": float(name in names) for name in known}

    def _raise(self, alarm: Alarm) -> None:
        if alarm.name not in self._raised:
            self._raised[alarm.name] = alarm
            if self._writes:
                _append(self._artifact.alarms, alarm.to_dict())
                print(f"\nalarm {alarm.name} at step {alarm.step}: {alarm.text}", file=sys.stderr)
        if alarm.name in self.config.stop_on:
            raise StageError(
                f"alarm {alarm.name} at step {alarm.step}: {alarm.text} (grpo.monitors.stop_on names it; change the "
                f"recipe, or remove it from the list to go on from the newest checkpoint)"
            )


class TrainingAudit:
    """Scores the probes of ``adhere audit`` on prompts of a batch, by the composite that the batch was paid by."""

    def __init__(self, items: Sequence[PromptItem], config: MonitorsConfig, form: Form) -> None:
        self._items = {item.id: item for item in items}
        self._config = config
        self._form = form
        self._told = False

    def due(self, step: int) -> bool:
        """Whether an audit is due at optimizer step ``step``."""
        return self._config.audit_every > 0 and step > 0 and step % self._config.audit_every == 0

    def __call__(self, ids: Sequence[str], composite: Composite) -> list[str]:
        """Return the probes that earn too much on the first few prompts of ``ids``, each as ``name on item``.

        Where none of them can be audited, the reason is printed the first time, and the list is `Unaudited`.
        """
        items = [self._items[name] for name in dict.fromkeys(ids)][: self._config.audit_prompts]
        try:
            cases: Cases = build_cases(items, self._form)
        except DataError as error:
            if not self._told:
                self._told = True
                print(f"\n{error} (grpo.monitors.audit_every: this audit is left out)", file=sys.stderr)
            return Unaudited()
        found = audit_failures(composite.under(capped(composite.config.with_weights(composite.weights))), cases)
        return [f"{finding.name} on {finding.item}" for finding in found]


def training_audit(items: Sequence[PromptItem], recipe: Recipe) -> TrainingAudit:
    """Return the audit of GRPO on ``items``, with probes in the form that the recipe's responses have."""
    reasoning, prefilled = recipe.data.targets.think, recipe.model.prefilled_reasoning
    form = response_form(recipe.rewards, reasoning=reasoning, prefilled=prefilled)
    return TrainingAudit(items, recipe.grpo.monitors, form)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
