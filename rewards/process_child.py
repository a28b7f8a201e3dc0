"""The child of :class:`adhere.rewards.process.FunctionProcess`: load a user's function, call it with batches.

Started as ``python -P -m adhere.rewards.process_child``, with the frames of :mod:`adhere.rewards.pool`. A request is
``{load, params, plugins, check, rollouts}``. The first one loads the function; its answer is ``{"ready": true}``, or
``{key, problem}`` where the function cannot be used. Every request is then answered by ``{rows}``, a row a rollout: a
number, ``null``, ``{"verdict": [...]}``, ``{"error": reason}`` where the function raised, ``{"wrong": reason}`` where
its value is of another type. ``{"wrong": reason}`` without rows is about the whole batch. With ``check`` the reply is
empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import itertools
import json
import numbers
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adhere.rewards.errors import AdhereError, nearest
from adhere.rewards.plugins import load_plugins, search_working_folder
from adhere.rewards.pool import watch_parent
from adhere.rewards.rollout import Rollout, parse_rollout
from adhere.rewards.verdict import Verdict

Scorer = Callable[[list[Rollout]], Any]

RAISED = (Exception, SystemExit)
"""What a function may raise without ending the process."""


def main() -> None:
    """Serve requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch_parent, args=[os.getppid()], daemon=True).start()
    # What the function reads or prints must not touch the frames; what it prints belongs to the log.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    # A fork of the function's must neither answer nor keep the pipe open.
    os.register_at_fork(after_in_child=replies.close)
    own = os.getpid()

    def send(reply: dict[str, Any], number: bytes) -> None:
        body = json.dumps(reply).encode()
        frame = memoryview(len(body).to_bytes(4, "big") + number + body)
        while frame:
            frame = frame[replies.write(frame) or 0 :]

    with asyncio.Runner() as runner:
        call: Scorer | None = None
        while head := requests.read(8):
            request, number = json.loads(requests.read(int.from_bytes(head[:4], "big"))), head[4:]
            try:
                if call is None:
                    call = load_function(request["load"], request["params"], request["plugins"], check=request["check"])
                    send({"ready": True}, bytes(4))
                reply = {}
                if not request["check"]:
                    reply = score_rollouts(call, [parse_rollout(r) for r in request["rollouts"]], runner)
            except LoadError as error:
                reply = {"key": error.key, "problem": str(error)}
            finally:
                if os.getpid() != own:
                    os._exit(0)
            send(reply, number)


class LoadError(Exception):
    """A function that cannot be used; ``key`` is the key of the component that is to blame."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


def load_function(name: str, params: Mapping[str, Any], plugins: Sequence[str], *, check: bool) -> Scorer:
    """Import ``package.module:name`` and return it with ``params`` filled in.

    Args:
        name: of a function that takes ``(rollouts, **params)``, or of a class that takes ``(**params)`` and whose
            objects take ``(rollouts)``.
        params: the keyword arguments.
        plugins: modules that have to be imported first, for constraints of users' that checklists may name.
        check: do not make an object of a class.

    Raises:
        LoadError: there is no such thing, or it cannot be called like that.
    """
    module_name, _, attribute = name.partition(":")
    search_working_folder()
    try:
        load_plugins(plugins)
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            where = f"neither installed nor below {os.getcwd()}"  # noqa: PTH109 - only text
            raise LoadError("function", f"there is no module '{module_name}', {where}") from error
        raise LoadError("function", f"{module_name} needs the module '{error.name}', which is not installed") from error
    except RAISED as error:
        raise LoadError("function", f"importing {module_name} raised {_said(error)}") from error
    try:
        target: Any = module
        for part in attribute.split("."):
            target = getattr(target, part)
    except AttributeError as error:
        known = [n for n, thing in vars(module).items() if callable(thing) and not n.startswith("_")]
        raise LoadError("function", f"{module_name} has no '{attribute}'{nearest(attribute, known)}") from error
    if not callable(target):
        raise LoadError("function", f"{name} is {_a(target)}, which cannot be called")
    made = inspect.isclass(target)
    signature = None
    with contextlib.suppress(ValueError, TypeError):  # a builtin may have none
        signature = inspect.signature(target)
    if signature is not None:
        try:
            signature.bind(*([] if made else [[]]), **params)
        except TypeError as error:
            key = "params" if params or "required" in str(error) or "missing" in str(error) else "function"
            form = "(**params)" if made else "(rollouts, **params)"
            raise LoadError(key, f"{name}{signature} cannot be called as {form}: {error}") from error
    if not made:
        return lambda rollouts: target(rollouts, **params)
    if "__call__" not in dir(target):
        raise LoadError("function", f"objects of the class {name} cannot be called; give it __call__(self, rollouts)")
    if check:
        return lambda rollouts: []
    try:
        scorer: Scorer = target(**params)
    except RAISED as error:
        problem = str(error) if isinstance(error, AdhereError) else f"{name}(**params) raised {_said(error)}"
        raise LoadError("function", problem) from error
    return scorer


def score_rollouts(call: Scorer, rollouts: list[Rollout], runner: asyncio.Runner) -> dict[str, Any]:
    """Return the reply to a batch; where the function raises, each rollout is tried by itself."""
    try:
        return _called(call, rollouts, runner)
    except RAISED as error:
        if len(rollouts) == 1:
            return {"rows": [{"error": _said(error)}]}
    rows = []
    for rollout in rollouts:
        try:
            reply = _called(call, [rollout], runner)
        except RAISED as error:
            reply = {"rows": [{"error": _said(error)}]}
        if "wrong" in reply:
            return reply
        rows += reply["rows"]
    return {"rows": rows}


def _called(call: Scorer, rollouts: Sequence[Rollout], runner: asyncio.Runner) -> dict[str, Any]:
    result = call(list(rollouts))
    if inspect.isawaitable(result):
        result = runner.run(_awaited(result))
    if isinstance(result, str | bytes | Mapping | Verdict) or not isinstance(result, Iterable):
        return {"wrong": f"returned {_a(result)}; return a list of one float, None or Verdict for each rollout"}
    values = list(itertools.islice(result, len(rollouts) + 1))
    if len(values) != len(rollouts):
        more = "more than " if len(values) > len(rollouts) else ""
        count = min(len(values), len(rollouts))
        return {"wrong": f"returned {more}{count} values for {len(rollouts)} rollouts; return one for each, in order"}
    return {"rows": [_row(value) for value in values]}


async def _awaited(result: Any) -> Any:
    return await result


def _row(value: Any) -> Any:
    """Return the JSON form of one value: of numbers, those of numpy and torch too."""
    if value is None:
        return None
    if isinstance(value, Verdict):
        return {"verdict": value.encode()}
    if inspect.iscoroutine(value):
        value.close()
        return {"wrong": "the value is a coroutine that nobody awaited; make the function async, and await it there"}
    if not isinstance(value, numbers.Real) and hasattr(value, "item"):
        try:
            value = value.item()
        except RAISED:
            return {"wrong": f"the value is {_a(value)}, not one number"}
    if isinstance(value, numbers.Real):
        return float(value)
    return {"wrong": f"the value is {_a(value)}, not a number, None or Verdict"}


def _a(thing: Any) -> str:
    return f"{repr(thing)[:60]} ({type(thing).__name__})"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


if __name__ == "__main__":
    main()
