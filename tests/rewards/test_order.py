"""Order and company of a batch do not matter, whatever kind of component scores it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adhere.rewards import Rollout
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.components import COMPONENTS
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine

pytest.importorskip("httpx", reason="needs the judge extra")
from support.judge_server import Reply, ScriptedServer

FUNCTION = """
import os

def odd(rollouts):
    if any("EXIT" in r.response for r in rollouts):
        os._exit(3)
    if any("RAISE" in r.response for r in rollouts):
        raise ValueError("this text")
    return [float("NaN") if "NAN" in r.response else len(r.response) % 2 for r in rollouts]
"""

CHECKLIST = parse_checklist(
    [
        {"id": "c", "text": "No comma.", "check": {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}},
        {"id": "j", "text": "Is it kind?", "check": {"type": "judge"}},
    ],
    "here",
)
TEXTS = [
    r"\boxed{4}", r"\boxed{5}", r"\boxed{x_1+\sqrt{y^2}}", r"\boxed{\binom{10^9}{5\cdot 10^8}}", "EXIT", "RAISE now",
    "a, b", "FAIL \\boxed{4}", "MUMBLE", "<think>open", "", r"<think>a</think>\boxed{2+2}",
]  # fmt: skip
ROLLOUTS = [Rollout("What is 2 + 2?", text, "4", CHECKLIST, tokens=len(text) + 1) for text in TEXTS]


def grades(message: str, body: dict[str, Any]) -> Reply:
    code = re.search(r"^<<<RESPONSE (\w+)>>>$", message, re.MULTILINE)[1]
    response = re.search(rf"(?s)<<<RESPONSE {code}>>>\n(.*)\n<<<END RESPONSE", message)[1]
    return "I would rather not say" if "MUMBLE" in response else f"Score: {len(response) % 90 + 10}"


class Endpoint(BaseHTTPRequestHandler):
    """Gives each response its length modulo 2; fails on a request with a response that says so."""

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rollouts"]
        raw = json.dumps({"scores": [len(row["response"]) % 2 for row in rows]}).encode()
        self.send_response(500 if any("FAIL" in row["response"] for row in rows) else 200)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def composite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composite]:
    folder, before = tmp_path_factory.mktemp("lab"), Path.cwd()
    (folder / "odd_lab.py").write_text(FUNCTION)
    os.chdir(folder)
    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    with ScriptedServer(grades) as server, Engine(workers=2) as engine:
        judge = {"base_url": server.url, "model": "m", "reply": "line", "backoff": 0.01, "retries": 0}
        url = f"http://127.0.0.1:{endpoint.server_address[1]}/"
        components = {
            "math": {"kind": "math"},
            "checklist": {"kind": "checklist", "judge": judge},
            "judge": {"kind": "judge", "judge": judge},
            "format": {"kind": "format"},
            "length": {"kind": "length", "target": 20},
            "random": {"kind": "random"},
            "python": {"kind": "python", "function": "odd_lab:odd", "timeout": 60.0},
            "http": {"kind": "http", "url": url, "retries": 0, "backoff": 0.01},
        }
        # A reward model is the same process as a Python function, and needs a model.
        assert {*components, "reward_model"} >= {kind for kind in COMPONENTS if COMPONENTS.package(kind) == "adhere"}
        made = Composite(RewardConfig.model_validate({"components": components}), engine)
        yield made
        made.close()
    endpoint.shutdown()
    os.chdir(before)


def verdicts(composite: Composite, places: list[int]) -> dict[int, dict[str, tuple[float | None, str]]]:
    """Return score and status by place and component."""
    scored = composite.score([ROLLOUTS[place] for place in places])
    return {
        place: {name: (column[i].score, column[i].status.value) for name, column in scored.verdicts.items()}
        for i, place in enumerate(places)
    }


@pytest.fixture(scope="module")
def alone(composite: Composite) -> dict[int, dict[str, tuple[float | None, str]]]:
    """What each rollout gets by itself, after one ordinary batch."""
    composite.score([ROLLOUTS[0]])
    return {place: verdicts(composite, [place])[place] for place in range(len(ROLLOUTS))}


def test_a_response_that_a_component_fails_on_scores_0_by_itself(
    alone: dict[int, dict[str, tuple[float | None, str]]],
) -> None:
    scores = {text: {name: one[0] for name, one in alone[i].items()} for i, text in enumerate(TEXTS)}
    assert scores["EXIT"]["python"] == scores["RAISE now"]["python"] == 0.0
    assert scores["FAIL \\boxed{4}"]["http"] == 0.0 and scores["FAIL \\boxed{4}"]["math"] == 1.0
    assert scores[r"\boxed{\binom{10^9}{5\cdot 10^8}}"]["math"] == 0.0
    assert scores["MUMBLE"]["judge"] is None, "that is what the judge said"


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(len(ROLLOUTS))), st.integers(2, len(ROLLOUTS)))
def test_order_and_company_of_a_batch_do_not_matter(
    composite: Composite, alone: dict[int, dict[str, tuple[float | None, str]]], order: list[int], size: int
) -> None:
    for place, found in verdicts(composite, order[:size]).items():
        assert found == alone[place], TEXTS[place]
