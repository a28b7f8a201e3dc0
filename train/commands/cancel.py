"""``adhere cancel``: take the jobs of a run out of Slurm's queue. No torch."""

from __future__ import annotations


def cancel(run: str, /, *, shared: bool = False) -> int:
    """Cancel the jobs of a run by their ids; jobs that other queued runs wait for stay.

    Args:
        run: A run's folder, or its name below runs/.
        shared: Cancel also jobs that other runs wait for.
    """
    from adhere.records.run import find_run
    from adhere.train.launch.slurm.cancel import cancel_run

    cancelled, kept = cancel_run(find_run(run), shared=shared)
    for label, job in cancelled.items():
        print(f"  cancelled  {label:<24} job {job}")
    for label, runs in kept.items():
        print(f"  kept       {label:<24} {', '.join(runs)} waits for it; --shared cancels it too")
    if not cancelled and not kept:
        print("nothing to cancel: no job of this run is in the queue")
    return 0
