"""The component that an HTTP endpoint of the user's scores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from adhere.rewards.components.base import COMPONENTS, Bounded, Context, own_faults
from adhere.rewards.errors import ConfigError
from adhere.rewards.rollout import Rollout
from adhere.rewards.strict import Address
from adhere.rewards.verdict import Verdict


@COMPONENTS.register("http")
class HttpComponent(Bounded):
    """What an HTTP endpoint answers: ``{"rollouts": [...]}`` is posted, ``{"scores": [...]}`` comes back.

    An endpoint that goes down makes GRPO pause, then write a checkpoint and stop, as a judge's does.
    """

    kind: Literal["http"] = "http"
    url: Address
    """Address to which requests are posted. It holds no password; a query is left out of messages."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Object that each request carries as ``params``."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, sent as a bearer token. ``null`` sends none."""

    batch_size: int = Field(default=64, ge=1)
    """Rollouts of one request."""

    concurrency: int = Field(default=4, ge=1)
    """Requests in flight at once, for each rank."""

    timeout: float = Field(default=60.0, gt=0.0)
    """Seconds that one try of one request may take. One that takes longer while the endpoint answers others is asked
    again rollout by rollout. A response that fails again scores 0 where an ordinary one to the same prompt is scored,
    else it is ``timeout`` or ``error``."""

    deadline: float = Field(default=600.0, gt=0.0, le=1500.0)
    """Seconds that all requests of a rank's batch may take; what is open then is ``timeout``."""

    retries: int = Field(default=4, ge=0)
    """Further tries of a request that met a dead connection, a timeout, 408, 409, 425, 429, 5xx or a reply that is not
    JSON."""

    backoff: float = Field(default=0.5, gt=0.0)
    """Seconds before the second try; they double with each further one, ± 50 %. ``Retry-After`` goes first."""

    patience: float = Field(default=600.0, ge=0.0)
    """Seconds that training waits for an endpoint that went down before it writes a checkpoint and stops."""

    operational: ClassVar = frozenset(
        {"url", "api_key_env", "batch_size", "concurrency", "timeout", "deadline", "retries", "backoff", "patience"}
    )

    def open(self, name: str) -> Any:
        """Return the client; nothing is connected before the first batch.

        Raises:
            ConfigError: the named environment variable holds no key.
        """
        key = f"rewards.components.{name}"
        token = os.environ.get(self.api_key_env) if self.api_key_env else None
        if self.api_key_env and not token:
            raise ConfigError(f"{key}.api_key_env: the environment has no {self.api_key_env}; export the key there")
        from adhere.rewards.http_client import HttpClient

        settings = self.model_dump(include=set(self.operational) - {"url", "api_key_env"})
        return HttpClient(self.url, key=key, params=self.params, token=token, **settings)

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Ask for the scores; what has none is ``timeout`` or ``error``.

        Raises:
            ConfigError: the first replies are not as documented.
            StageError: the endpoint refuses the key or does not know the path.
        """
        client = context.resource
        rows = client.call(rollouts)
        key = f"{context.key}.url"
        verdicts = self.verdicts(rows, key, strict=not client.proven)
        client.proven = client.proven or any(verdict.score is not None for verdict in verdicts)
        if client.outage is not None:
            return verdicts

        def again(rollout: Rollout, seconds: float) -> Verdict:
            return self.verdicts(client.call([rollout], max(seconds, self.timeout)), key, strict=False)[0]

        return own_faults(rollouts, verdicts, [i for i, v in enumerate(verdicts) if v.undecided], again)
