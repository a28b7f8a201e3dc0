"""What components ask outside this process, and that may be down: judges' endpoints and HTTP rewards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Service(Protocol):
    """One endpoint. An outage is found while a batch is scored; a fault of single questions is not an outage."""

    title: str
    """What messages call it, such as ``the judge``."""

    keys: tuple[str, str]
    """The keys of its patience and of its address, such as ``judge.patience`` and ``judge.base_url``."""

    @property
    def patience(self) -> float:
        """Seconds that training waits for it."""

    @property
    def outage(self) -> str | None:
        """Why it did not answer at all since :meth:`forget_outage`, or ``None``."""

    def forget_outage(self) -> None:
        """Start afresh: the next batch decides whether there is an outage."""

    def probe(self) -> str | None:
        """Ask it something small; return why there was no answer, or ``None``."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A service that does not answer: what it is called, the keys of its patience and its address, and why."""

    title: str
    keys: tuple[str, str]
    reason: str


class Services:
    """The services of one composite reward."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = list({id(service): service for service in services}.values())

    def __len__(self) -> int:
        return len(self._services)

    @property
    def outage(self) -> Outage | None:
        """The first service that did not answer since :meth:`forget_outage`, or ``None``."""
        return next((Outage(s.title, s.keys, s.outage) for s in self._services if s.outage), None)

    @property
    def patience(self) -> float:
        """Seconds that training waits: those of the most patient service."""
        return max((service.patience for service in self._services), default=0.0)

    def forget_outage(self) -> None:
        """Start afresh: the next batch decides whether there is an outage."""
        for service in self._services:
            service.forget_outage()

    def probe(self) -> str | None:
        """Return why a service does not answer now, or ``None`` when all do."""
        return next((reason for service in self._services if (reason := service.probe())), None)
