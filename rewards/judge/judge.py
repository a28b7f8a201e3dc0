"""The judge: questions in, verdicts out, in order, from any thread."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from types import TracebackType

from adhere.rewards.chat import Background, check_key
from adhere.rewards.checklist.judge_protocol import JudgeQuestion, OverallQuestion
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.batch import Draw, Grade, Session
from adhere.rewards.judge.config import OPERATIONAL, JudgeConfig
from adhere.rewards.judge.prompts import PROMPT_VERSION, GradingTask
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.verdict import Status, Verdict, failed, unscored

BLANK = "the response is blank"


class Judge:
    """Grades responses by a model behind an endpoint; satisfies :class:`rewards.checklist.judge_protocol.Decider`.

    Threads may share one, also under a running event loop; a forked child gets connections of its own. Whatever could
    not be graded has no score: ``timeout``, ``error`` or ``unparsed``. A blank response meets nothing, without a call.
    """

    title = "the judge"
    keys = ("judge.patience", "judge.base_url")

    def __init__(self, config: JudgeConfig) -> None:
        """Read the key; nothing is connected before the first question.

        Raises:
            ConfigError: the named environment variable holds no key, or one that cannot be sent.
        """
        key = os.environ.get(config.api_key_env) if config.api_key_env else None
        if config.api_key_env and not key:
            raise ConfigError(f"judge.api_key_env: the environment has no {config.api_key_env}; export the key there")
        check_key("judge.api_key_env", key)
        self.config = config
        self._key = key
        self._usage = JudgeUsage()
        self._outage: str | None = None
        self._lock = threading.Lock()
        self._pid = -1
        self._identity = json.dumps(
            [PROMPT_VERSION, config.model_dump(mode="json", exclude=set(OPERATIONAL) | {"samples"})], sort_keys=True
        )

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def usage(self) -> JudgeUsage:
        """What was asked and spent since the judge was made."""
        return self._usage + JudgeUsage()

    @property
    def patience(self) -> float:
        """Seconds that training waits for an endpoint that went down."""
        return self.config.patience

    @property
    def outage(self) -> str | None:
        """Why the endpoint did not answer at all in a batch since :meth:`forget_outage`, or ``None``."""
        return self._outage

    def forget_outage(self) -> None:
        """Start afresh: the next batch decides whether there is an outage."""
        self._outage = None

    def probe(self) -> str | None:
        """Ask the endpoint for one token; return why there was no answer, or ``None``."""
        return self._background().run(self._session.probe())

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        """Return one verdict per question: how well the response meets the requirement.

        Raises:
            StageError: the endpoint refuses the key, does not know the model, or gives no log-probabilities.
        """
        size = self.config.items_per_call
        chunks: list[list[int]] = []
        for i, question in enumerate(questions):
            last = questions[chunks[-1][0]] if chunks else None
            same = last is not None and (last.prompt, last.response) == (question.prompt, question.response)
            if same and len(chunks[-1]) < size:
                chunks[-1].append(i)
            else:
                chunks.append([i])
        tasks = [
            GradingTask(
                "each",
                questions[c[0]].prompt,
                tuple((questions[i].requirement, 100.0) for i in c),
                questions[c[0]].response,
            )
            for c in chunks
        ]
        return [verdict for verdicts in self._grade(tasks) for verdict in verdicts]

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        """Return one verdict per response over all of its items in one call (implicit aggregation, arXiv 2507.17746).

        Without items it is how good the response is as an answer. Always on the scale of 0–100, whatever ``scoring``
        says of single requirements.

        Raises:
            StageError: the endpoint refuses the key or does not know the model.
        """
        tasks = [
            GradingTask("overall" if q.items else "rating", q.prompt, tuple(q.items), q.response) for q in questions
        ]
        return [verdicts[0] for verdicts in self._grade(tasks)]

    def close(self) -> None:
        """Close all connections and the cache; the judge may be used again."""
        with self._lock:
            if self._pid == os.getpid():
                self._thread.run(self._session.close())
                self._thread.stop()
            self._pid = -1

    def _background(self) -> Background:
        with self._lock:
            if self._pid != os.getpid():
                self._thread = Background("judge")
                self._session = self._thread.run(Session.open(self.config, self._key, self._usage))
                self._pid = os.getpid()
            return self._thread

    def _grade(self, tasks: Sequence[GradingTask]) -> list[list[Verdict]]:
        samples = range(self.config.samples)
        asked = [
            (task, [self._draw(task, n) for n in samples]) if task.response.strip() else (task, []) for task in tasks
        ]
        draws = {draw.key: draw for _, drawn in asked for draw in drawn}
        if not draws:
            return [[failed(BLANK)] * task.scores for task in tasks]
        repeated = sum(len(drawn) for _, drawn in asked) - len(draws)
        grades, outage = self._background().run(self._session.answer(list(draws.values()), repeated))
        self._outage = self._outage or outage
        return [
            [_verdict([grades[d.key] for d in drawn], i) if drawn else failed(BLANK) for i in range(task.scores)]
            for task, drawn in asked
        ]

    def _draw(self, task: GradingTask, sample: int) -> Draw:
        content = [self._identity, task.kind, task.prompt, task.requirements, task.response, sample]
        return Draw(hashlib.sha256(json.dumps(content).encode()).digest(), task)


def _verdict(grades: Sequence[Grade], place: int) -> Verdict:
    """Return the mean over the samples that gave a score, or the reason why none did."""
    seconds = sum(grade.seconds for grade in grades)
    scores = [s for grade in grades if grade.scores and (s := grade.scores[place]) is not None]
    if scores:
        said = ", ".join(f"{100 * score:.4g}" for score in scores)
        return Verdict(sum(scores) / len(scores), detail=f"judge: {said}", seconds=seconds)
    for status in (Status.ERROR, Status.TIMEOUT):
        for grade in grades:
            if grade.status is status:
                return unscored(status, grade.detail, seconds)
    return unscored(Status.UNPARSED, grades[0].detail, seconds)
