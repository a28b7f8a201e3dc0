"""Ranks that stop together: an error on one of them reaches the others before any waits in a collective."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import PartialState
from accelerate.utils import gather_object

from adhere.rewards.errors import StageError


def raise_on_all_ranks(act: Callable[[], object], what: str) -> None:
    """Run ``act`` on this rank; where it raises on any rank, raise on all of them, with the reason.

    Without this the ranks whose ``act`` succeeded would wait in the next collective for the one that is gone, half an
    hour under torch's default timeout. Every rank has to call it. A lone rank's error is raised unchanged.

    Raises:
        StageError: ``what`` failed on a rank; says on which and why.
    """
    state = PartialState()
    if state.num_processes == 1:
        act()
        return
    error: Exception | None = None
    try:
        act()
    except Exception as caught:  # noqa: BLE001 - whatever it is, the other ranks have to learn of it before it is raised
        error = caught
    own = None if error is None else f"rank {state.process_index}: {type(error).__name__}: {error}"
    reasons = [reason for reason in gather_object([own]) if reason is not None]
    if reasons:
        raise StageError(f"{what} failed on {len(reasons)} of {state.num_processes} ranks; {reasons[0]}") from error
