"""The configuration of a judge."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.parse import MOST_ITEMS
from adhere.rewards.strict import Root, Strict

JudgeScoring = Literal["scale", "binary", "logprobs"]

OPERATIONAL = frozenset(
    {
        "base_url",
        "serve",
        "api_key_env",
        "concurrency",
        "timeout",
        "deadline",
        "retries",
        "backoff",
        "patience",
        "cache",
        "price_input",
        "price_output",
    }
)
"""Keys that decide how a judge is reached, not what it answers: a run goes on under others of these."""


OWN_FIELDS = {
    "temperature": "set judge.temperature",
    "max_tokens": "set judge.max_tokens",
    "logprobs": "set judge.scoring",
    "top_logprobs": "set judge.scoring",
    "response_format": "set judge.reply",
    "seed": "null leaves it out",
}
"""Fields of a request that have a key of their own, or a value that replies depend on."""


class JudgeServer(Strict):
    """A server of the judge's model that the launcher starts beside a stage, and ends with it."""

    command: Literal["vllm", "transformers"] = "vllm"
    """``vllm serve``, or ``transformers serve``: slow, without log-probabilities, runs where training runs."""

    gpus: int = Field(default=1, ge=0)
    """GPUs of the server, the machine's last; 0 runs it on the CPU."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port; ``null`` takes a free one."""

    start_seconds: float = Field(default=900.0, gt=0.0)
    """Seconds that it may take to load the model before the stage fails."""

    options: list[str] = Field(default_factory=list)
    """Further arguments of the command, as they are."""


class JudgeConfig(Strict):
    """A model behind an OpenAI-compatible endpoint that grades each requirement of a response."""

    base_url: Root | None = None
    """Root of the endpoint, such as ``http://localhost:8000/v1``; ``/chat/completions`` is added to it. It holds no
    password and no query: it appears in messages. Required without ``serve``."""

    serve: JudgeServer | None = None
    """Let the launcher start a server of ``model``, a folder or hub id, in place of ``base_url``; ``{}`` is vLLM."""

    model: str = Field(min_length=1)
    """Name of the model, as the endpoint knows it."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself. ``null`` sends none."""

    scoring: JudgeScoring = "scale"
    """``scale``: 0–100, the mean of the samples that can be read. ``binary``: yes or no, the share of yes.
    ``logprobs``: the probability of yes against no in the first token's log-probabilities."""

    samples: int = Field(default=1, ge=1, le=100)
    """Replies drawn per question. RLCF draws 25 at temperature 1.3; 5 keep most of the effect for 55 % less time."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Sampling temperature of the judge; several samples need one above 0."""

    reply: Literal["auto", "json", "line"] = "auto"
    """The form of a reply. ``json`` asks for a JSON object by a schema (``response_format``), ``line`` for one fixed
    line; ``auto`` is the first until the endpoint refuses or ignores a schema. Nothing else in a reply is read."""

    max_tokens: int = Field(default=64, ge=1)
    """Tokens per graded requirement that the judge may write; a reply that is cut there is not read. Raise it for a
    judge that reasons first."""

    items_per_call: int = Field(default=1, ge=1, le=MOST_ITEMS)
    """Requirements of one response that share a call. More are cheaper and much worse: judges notice 55–59 % of
    violations one at a time, 20–33 % with many at once (Precision over Diversity, arXiv 2601.04954)."""

    max_response_chars: int = Field(default=20_000, ge=100)
    """Longer responses are cut in the middle, with a visible mark."""

    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, such as ``chat_template_kwargs``; ``null`` takes one of ours out."""

    concurrency: int = Field(default=32, ge=1)
    """Requests in flight at once, for each rank."""

    timeout: float = Field(default=60.0, gt=0.0)
    """Seconds that one try of one call may take."""

    deadline: float = Field(default=600.0, gt=0.0, le=1500.0)
    """Seconds that one batch may take; what is open then is ``timeout``. Ranks give each other up after 1800."""

    retries: int = Field(default=4, ge=0)
    """Further tries of a call that met a dead connection, a timeout, 408, 409, 425, 429, 5xx or an unreadable reply."""

    backoff: float = Field(default=0.5, gt=0.0)
    """Seconds before the second try; they double with each further one, ± 50 %. ``Retry-After`` goes first."""

    patience: float = Field(default=600.0, ge=0.0)
    """Seconds that training waits for an endpoint that went down before it writes a checkpoint and stops."""

    cache: str | None = None
    """File that keeps replies (SQLite; several ranks and runs may share it, on a local disk). ``null`` keeps the newest
    in memory only."""

    price_input: float = Field(default=0.0, ge=0.0)
    """Price of a million prompt tokens; the unit is that of the logged cost."""

    price_output: float = Field(default=0.0, ge=0.0)
    """Price of a million completion tokens."""

    @property
    def address(self) -> str:
        """Root of the endpoint without a slash at its end.

        Raises:
            ConfigError: the launcher was to start a server, and has not.
        """
        if self.base_url is None:
            raise ConfigError(
                f"judge.serve: no server of '{self.model}' runs; adhere train, evaluate and audit start it, elsewhere "
                f"name judge.base_url"
            )
        return self.base_url.rstrip("/")

    @model_validator(mode="after")
    def _reachable(self) -> JudgeConfig:
        if self.base_url is None and self.serve is None:
            raise ValueError("base_url: is required: the endpoint's root; or let judge.serve start one")
        if self.base_url is not None and self.serve is not None:
            raise ValueError("serve: starts an endpoint, and base_url names one; leave one of them out")
        return self

    @model_validator(mode="after")
    def _extra_adds(self) -> JudgeConfig:
        for key, value in self.extra.items():
            if key in ("model", "messages", "n", "stream") or (key in OWN_FIELDS and value is not None):
                raise ValueError(f"extra.{key}: the judge sets it itself; {OWN_FIELDS.get(key, 'leave it out')}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> JudgeConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError(f"temperature: {self.samples} samples at 0 are one sample; raise it, or set samples to 1")
        if self.scoring == "logprobs" and self.samples > 1:
            raise ValueError("samples: log-probabilities need one sample; the expected value is the mean of many")
        if self.scoring == "logprobs" and self.items_per_call > 1:
            raise ValueError("items_per_call: log-probabilities are read from one answer; set it to 1")
        return self
