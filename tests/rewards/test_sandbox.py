"""Programs that nobody has read: what they decide, and what they cannot do, under each layer of isolation alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread, Timer

import pytest

from adhere.rewards import checklist
from adhere.rewards.checklist import ProgramCall, Sandbox, SandboxLimits
from adhere.rewards.verdict import Status, Verdict

LAYERS = {"both": ("namespaces", "seccomp"), "namespaces": ("namespaces",), "seccomp": ("seccomp",)}
LIMITS = SandboxLimits(timeout=5.0, memory_mb=128)

Run = Callable[..., Verdict]


@pytest.fixture(scope="module", params=LAYERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    os.environ["ADHERE_TEST_SECRET"] = "hunter2"
    with Sandbox(LIMITS, layers=LAYERS[request.param]) as shared:
        missing = {layer: why for layer, why in shared.isolation().items() if layer in LAYERS[request.param] and why}
        if missing:
            pytest.skip(f"this machine does not have the layer: {missing}")
        yield shared
    del os.environ["ADHERE_TEST_SECRET"]


@pytest.fixture(scope="module", params=LAYERS)
def impatient(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(timeout=0.3), layers=LAYERS[request.param]) as shared:
        if any(shared.isolation()[layer] for layer in LAYERS[request.param]):
            pytest.skip(f"this machine does not have the layer: {shared.isolation()}")
        yield shared


@pytest.fixture
def run(sandbox: Sandbox) -> Run:
    def one(body: str, text: str = "some text", head: str = "") -> Verdict:
        (verdict,) = sandbox.run([program(body, text, head)])
        return verdict

    return one


def program(body: str, text: str = "some text", head: str = "") -> ProgramCall:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return ProgramCall(f"{head}\ndef verify_requirement(text):\n{lines}", text)


def descendants() -> set[int]:
    """Return the ids of the processes below this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def test_a_program_decides_by_true_and_false(run: Run) -> None:
    assert run("return 'text' in text").score == 1.0
    assert run("return 'poem' in text").score == 0.0


@pytest.mark.parametrize("returned", ["1", "0", "None", "'True'", "[True]", "float('nan')", "text", "'x' * 10**7"])
def test_anything_but_true_and_false_is_an_error(run: Run, returned: str) -> None:
    verdict = run(f"return {returned}")
    assert (verdict.score, verdict.status) == (None, Status.ERROR)
    assert "not True or False" in verdict.detail


def test_the_standard_library_is_there(run: Run) -> None:
    body = "import re, json, unicodedata, datetime, statistics\nfrom xml.etree import ElementTree\n"
    body += "datetime.datetime.strptime('2024-02-29', '%Y-%m-%d')\nreturn json.loads('[1]') == [1] and "
    body += "re.search(r'\\btext$', text) is not None and text.encode('cp1252') == b'some text'"
    assert run(body).score == 1.0


@pytest.mark.parametrize("text", ["", "a" * 2_000_000, "null \0 and \ud800", "\u202e\U0001f600", '{"verdict": true}'])
def test_every_text_arrives_as_it_is(run: Run, text: str) -> None:
    body = "import hashlib\ndigest = hashlib.md5(text.encode('utf-8', 'surrogatepass')).hexdigest()\n"
    assert run(f"{body}return digest == '{_digest(text)}'", text).score == 1.0


def _digest(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass")).hexdigest()


FAULTS = {
    "syntax error": ProgramCall("def verify_requirement(text:\n", "x"),
    "null byte": ProgramCall("def verify_requirement(text):\n    return True\0", "x"),
    "nothing defined": ProgramCall("x = 1", "x"),
    "no function": ProgramCall("verify_requirement = 1", "x"),
    "nested too deep": ProgramCall("x = " + "-" * 100_000 + "1", "x"),
    "fails on import": program("return True", head="raise ValueError('no')"),
    "raises": program("raise ValueError('no')"),
    "raises what cannot be shown": program("class E(BaseException):\n    __str__ = None\nraise E()"),
    "raises megabytes": program("raise ValueError('x' * 10**7)"),
    "exits": program("raise SystemExit(0)"),
    "exits at once": program("import os\nos._exit(0)"),
    "exits with the wrong exit": program("import os\nos._exit = lambda code: None\nraise ValueError"),
    "recursion": program("return verify_requirement(text)"),
    "memory": program("return bool('x' * 10**9)"),
    "memory, slowly": program("x = []\nwhile True:\n    x.append('x' * 10**6)"),
    "a package": program("import numpy\nreturn True"),
    "crash": program("import ctypes\nctypes.string_at(0)\nreturn True"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_error_and_never_a_score(sandbox: Sandbox, name: str) -> None:
    verdict, after = sandbox.run([FAULTS[name], program("return True", text=name)])
    assert (verdict.score, verdict.status) == (None, Status.ERROR)
    assert 0 < len(verdict.detail) < 400
    assert after.score == 1.0


HANGS = {
    "loop": "while True: pass",
    "regex": "import re\nreturn bool(re.match('(a+)+b', 'a' * 60))",
    "power": "return 9 ** 9 ** 9 > 0",
    "sleep": "import time\ntime.sleep(60)\nreturn True",
    "deaf to signals": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
}


@pytest.mark.parametrize("name", HANGS)
def test_a_program_that_hangs_is_killed(impatient: Sandbox, name: str) -> None:
    impatient.isolation()
    before = descendants()
    (verdict,) = impatient.run([program(HANGS[name])])
    assert (verdict.score, verdict.status) == (None, Status.TIMEOUT)
    assert descendants() <= before


def test_no_connection_leaves(run: Run) -> None:
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        name = f"\0adhere-test-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        abstract.setblocking(False)
        tcp = f"import socket\nsocket.create_connection({listener.getsockname()!r}, 0.5)\nreturn True"
        local = f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})\nreturn True"
        for body in (tcp, local):
            assert run(body, head="import sys").status is Status.ERROR
        for server in (listener, abstract):
            with pytest.raises(BlockingIOError):
                server.accept()


def test_no_file_is_written_changed_or_read(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    there = tmp_path / "there.txt"
    there.write_text("hunter2", encoding="utf-8")
    there.chmod(0o666)
    for folder in (tmp_path, Path("/tmp"), Path("/dev/shm"), Path("/"), Path.home()):
        new = folder / f"adhere-test-{os.getpid()}"
        assert run(f"open({str(new)!r}, 'w').write('x')\nreturn True").status is Status.ERROR
        assert not new.exists()
    for act in (f"open({str(there)!r}, 'a').write('x')", f"os.remove({str(there)!r})", f"os.chmod({str(there)!r}, 0)"):
        assert run(f"import os\n{act}\nreturn True").status is Status.ERROR
    assert there.read_text(encoding="utf-8") == "hunter2"
    assert run(f"return 'hunter2' in open({str(there)!r}).read()").status is Status.ERROR
    assert run("return bool(open('/etc/passwd').read())").status is Status.ERROR


def test_the_environment_is_empty(run: Run) -> None:
    assert run("import os\nreturn len(os.environ) == 0").score == 1.0
    assert run("return 'hunter2' in open('/proc/self/environ').read()").status is Status.ERROR
    assert run("import ctypes\nreturn ctypes.CDLL(None).getenv(b'ADHERE_TEST_SECRET') == 0").score == 1.0


def test_nothing_outside_can_be_signalled(run: Run) -> None:
    for target in ("os.getppid()", "0", "-1", str(os.getpid()), *(str(pid) for pid in descendants())):
        run(f"import os\nos.kill({target}, 9)\nreturn True")
    assert run("return True").score == 1.0


def test_what_a_program_starts_ends_with_it(sandbox: Sandbox, run: Run) -> None:
    before = descendants()
    start = "    if os.fork() == 0:\n        os.setsid()\n        time.sleep(600)"
    run(f"import os, time\nfor _ in range(5):\n{start}\nreturn True")
    assert descendants() <= before
    assert run("return True").score == 1.0


def test_a_fork_bomb_comes_to_nothing(sandbox: Sandbox, run: Run) -> None:
    if sandbox.isolation()["seccomp"]:
        pytest.skip("without the filter of system calls only the clock ends a fork bomb; that is tested with few forks")
    before = descendants()
    assert run("import os\nwhile True: os.fork()").status is Status.ERROR
    assert descendants() <= before


def test_no_new_program_or_namespace(run: Run) -> None:
    assert run("import os\nos.execv('/bin/true', ['true'])").status is Status.ERROR
    assert run("import ctypes\nreturn ctypes.CDLL(None).unshare(0x10000000) == -1").score == 1.0
    assert run("import ctypes\nreturn ctypes.CDLL(None).mount(b'x', b'/', b'proc', 0, None) == -1").score == 1.0


def test_output_goes_nowhere(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    body = "import sys, os\nprint('x' * 10**7)\nsys.stderr.write('y' * 10**7)\nos.write(1, b'z' * 10**6)\nreturn True"
    assert run(body).score == 1.0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("forged", ["b'T'", "b'T' * 10**6", "b'E ' + b'x' * 10**6", "bytes(range(256))"])
def test_bytes_written_to_the_pipe_forge_no_verdict(run: Run, forged: str) -> None:
    body = f"import os\nfor fd in range(16):\n    try: os.write(fd, {forged})\n    except OSError: pass\nreturn False"
    verdict = run(body)
    assert verdict.score is None
    assert run("return False").score == 0.0


def test_what_a_program_patches_ends_with_its_text(sandbox: Sandbox) -> None:
    patch = (
        "import builtins, json, os, sys\nmain = sys.modules['__main__']\n"
        "main.run_program = main.try_to_escape = lambda job: b'T'\nos.write = json.dumps = lambda *a: 1\n"
        "builtins.len = builtins.type = lambda *a: 0\nbuiltins.exec = lambda *a: None\nseen = []"
    )
    state = program("seen.append(text)\nreturn seen == [text]", head="seen = []")
    calls = [program("return True", text=f"{i}", head=patch) for i in range(3)]
    calls += [ProgramCall(state.code, f"{i}") for i in range(3)]
    calls += [program("return len(text) == 2", text="ab"), program("return len(text) == 2", text="abc")]
    assert [verdict.score for verdict in sandbox.run(calls)[3:]] == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_a_program_finds_no_other_text(sandbox: Sandbox) -> None:
    search = (
        "import sys\nframe, seen = sys._getframe(), set()\nwhile frame:\n"
        "    seen |= {str(v['text']) for v in frame.f_locals.values() if isinstance(v, dict) and 'code' in v}\n"
        "    frame = frame.f_back\nreturn seen == {text}"
    )
    calls = [program("return True", text="before"), program(search), program("return True", text="after")]
    assert [verdict.score for verdict in sandbox.run(calls)] == [1.0, 1.0, 1.0]


HANGS_ON_X = "while text.startswith('x'): pass\nreturn True"


@pytest.mark.slow
def test_texts_that_make_a_program_hang_cost_only_themselves_wherever_they_stand() -> None:
    texts = ["x1", "x2", "x3", "x4", "a", "b"]
    with Sandbox(SandboxLimits(timeout=0.2), workers=2) as sandbox:
        for order in (texts, texts[::-1], ["a", "x1", "x2", "b", "x3", "x4"]):
            calls = [program(HANGS_ON_X, text=text) for text in order]
            found = {call.text: verdict for call, verdict in zip(calls, sandbox.run(calls), strict=True)}
            assert {text: found[text].score for text in texts} == {t: float(t in "ab") for t in texts}
            assert "took longer than 0.2 s" in found["x1"].detail


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("while True: pass", Status.TIMEOUT),
        ("while ' ' in text: pass\nreturn True", Status.TIMEOUT),
        ("return 1 / 0", Status.ERROR),
        ("import os\nos._exit(0)", Status.ERROR),
        ("return 'yes'", Status.ERROR),
    ],
)
def test_a_program_that_fails_on_the_texts_for_trial_decides_no_response(body: str, status: Status) -> None:
    with Sandbox(SandboxLimits(timeout=0.2)) as sandbox:
        calls = [program(body, text=text) for text in ("", "short", "a longer text")]
        assert [(v.score, v.status) for v in sandbox.run(calls)] == [(None, status)] * 3
        assert "excluded" in sandbox.probe([calls[0].code])[calls[0].code]


@pytest.mark.parametrize(
    "body",
    [
        "if text == 'bad': raise SystemExit\nreturn True",
        "if text == 'bad': return bytearray(10**10)\nreturn True",
        "import os\nif text == 'bad': os._exit(0)\nreturn True",
        "import ctypes\nif text == 'bad': ctypes.string_at(0)\nreturn True",
        "if text == 'bad': return None\nreturn True",
        "import json\njson.loads('1' if text != 'bad' else text)\nreturn True",
    ],
)
def test_a_text_on_which_a_program_fails_does_not_meet_it(run: Run, body: str) -> None:
    verdict = run(body, text="bad")
    assert (verdict.score, verdict.status) == (0.0, Status.OK) and "not met by this text" in verdict.detail
    assert run(body, text="good").score == 1.0


def test_a_program_that_needs_a_certain_form_is_not_excluded(run: Run) -> None:
    for body, good, bad in (("return int(text) > 6", "7", "a"), ("import json\nreturn 'answer' in json.loads(text)",
                            '{"answer": 1}', "{")):  # fmt: skip
        assert run(body, text=good).score == 1.0
        assert run(body, text=bad).score == 0.0


KEEPS = {
    "shared memory": "identifier = c.shmget(0x5EED, 4096, 0o1666)",
    "a message queue": "identifier = c.msgget(0x5EED, 0o1666)",
    "semaphores": "identifier = c.semget(0x5EED, 1, 0o1666)",
    "a POSIX message queue": "identifier = c.syscall(240 if 'x86' in machine else 180, b'adhere', 0o102, 0o666, 0)",
    "the user's keyring": "identifier = c.syscall(248 if 'x86' in machine else 217, b'user', b'adhere', b'x', 1, -4)",
    "a session's keyring": "identifier = c.syscall(248 if 'x86' in machine else 217, b'user', b'adhere', b'x', 1, -3)",
    "a process": "identifier = c.fork()",
}


@pytest.mark.parametrize("what", KEEPS)
def test_nothing_is_left_to_the_next_program(run: Run, what: str) -> None:
    before = [Path("/proc/sysvipc", name).read_text() for name in ("shm", "msg", "sem")]
    head = f"import ctypes\nc = ctypes.CDLL(None)\nmachine = {os.uname().machine!r}"
    assert run(f"{KEEPS[what]}\nreturn identifier == -1", head=head).score == 1.0
    assert [Path("/proc/sysvipc", name).read_text() for name in ("shm", "msg", "sem")] == before


@pytest.mark.parametrize("how", ["return True", "raise ValueError(text[:150])"])
def test_memory_that_was_freed_holds_no_earlier_text(run: Run, how: str) -> None:
    marked = "".join(map(chr, (81, 118, 55, 120, 75)))  # the program's own code must not spell it
    for _ in range(3):
        run(f"{how}\nreturn True", text=marked * 2_000)
    search = (
        "import ctypes, gc\nmark = bytes((81, 118, 55, 120, 75)) * 20\nlow = id(object()) & ~0xFFFFF\n"
        "heap = ctypes.CDLL(None).sbrk\nheap.restype = ctypes.c_void_p\ntop = heap(0)\n"
        "found = ctypes.string_at(top - 3 * 2**20, 3 * 2**20).count(mark)\n"
        "blocks = [bytes(bytearray(size)) for size in (10_000, 100_000)]\nlibc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\nlibc.malloc.argtypes = [ctypes.c_size_t]\n"
        "for size in (512, 2_048, 10_050, 12_000, 20_100, 40_000):\n    for _ in range(40):\n"
        "        found += ctypes.string_at(libc.malloc(size), size).count(mark)\nreturn found == 0"
    )
    assert run(search).score == 1.0


def test_without_isolation_nothing_runs_unless_that_is_allowed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    call = program(f"open({str(mark)!r}, 'x')\nreturn True")
    with Sandbox(LIMITS, layers=()) as closed:
        (verdict,) = closed.run([call])
        assert (verdict.score, verdict.status) == (None, Status.ERROR)
        assert "programs.allow_unisolated" in verdict.detail
        assert not mark.exists()
    with Sandbox(SandboxLimits(allow_unisolated=True), layers=()) as opened:
        assert opened.run([program("return True")])[0].score == 1.0


def test_verdicts_come_in_order_and_equal_calls_share_one() -> None:
    calls = [program("return int(text) % 3 == 0", text=str(i % 7)) for i in range(30)]
    with Sandbox(workers=2) as sandbox:
        assert [v.score for v in sandbox.run(calls)] == [float(i % 7 % 3 == 0) for i in range(30)]
        assert sandbox.run([]) == []


def kill(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_sandbox_that_was_killed_starts_again() -> None:
    with Sandbox() as sandbox:
        others = descendants()
        sandbox.isolation()
        kill(descendants() - others)
        first, second = sandbox.run([program("return True", text="a"), program("return True", text="b")])
        assert first.score == second.score == 1.0


def test_a_sandbox_that_is_killed_at_work_runs_the_text_again() -> None:
    with Sandbox(SandboxLimits(timeout=30.0)) as sandbox:
        others = descendants()
        slow = program("import time\ntime.sleep(2.0 * (text == 'slow'))\nreturn True", text="slow")
        assert not sandbox.probe([slow.code])
        killer = Timer(0.5, lambda: kill(descendants() - others))
        killer.start()
        first, second = sandbox.run([slow, program("return True")])
        killer.join()
        assert (first.score, second.score) == (1.0, 1.0)


def test_threads_share_a_sandbox_and_closing_ends_its_processes() -> None:
    before = descendants()
    found: list[float | None] = []
    with Sandbox() as sandbox:
        threads = [
            Thread(target=lambda: found.append(sandbox.run([program("return True")])[0].score)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1.0] * 4
        assert descendants() > before
    deadline = time.monotonic() + 5
    while descendants() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descendants() <= before


@pytest.mark.slow
def test_a_sandbox_ends_with_the_process_that_made_it() -> None:
    script = (
        "from adhere.rewards.checklist import ProgramCall, Sandbox, SandboxLimits\n"
        "sandbox = Sandbox(SandboxLimits(timeout=1.0)); sandbox.isolation(); print('ready', flush=True)\n"
        "sandbox.run([ProgramCall('def verify_requirement(text):\\n    while True: pass', 'x')])"
    )
    root, others = Path(__file__).parents[2], descendants()
    environment = {**os.environ, "PYTHONPATH": str(root)}
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, cwd=root)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    started = descendants() - others - {owner.pid}
    assert started
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 20
    while any(lives(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if lives(pid)]


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("denied", ["empty_filesystem", "enter_namespaces", "filter_system_calls"])
def test_a_layer_that_the_kernel_refuses_is_named_and_the_other_one_holds(denied: str) -> None:
    child = Path(checklist.__file__).with_name("sandbox_child.py")
    script = (
        f"import sys; sys.path.insert(0, {str(child.parent)!r}); import sandbox_child\n"
        "def denied(): raise PermissionError(1, 'the policy says no')\n"
        f"sandbox_child.layers.{denied} = denied\nsandbox_child.main('namespaces,seccomp', False)"
    )
    job = {
        "code": "def verify_requirement(text):\n    return text == 'a'",
        "timeout": 5.0,
        "cpu_seconds": 5,
        "memory_mb": 128,
    }
    frames = [json.dumps(job | {"text": text}).encode() for text in ("a", "b", "a")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        input=b"".join(struct.pack("!II", len(frame), number) + frame for number, frame in enumerate(frames, start=1)),
        capture_output=True,
        timeout=60,
        check=True,
    )
    replies, rest = [], done.stdout
    while rest:
        size, number = struct.unpack("!II", rest[:8])
        assert number == len(replies)
        replies.append(json.loads(rest[8 : 8 + size]))
        rest = rest[8 + size :]
    refused, held = ("seccomp", "namespaces") if denied == "filter_system_calls" else ("namespaces", "seccomp")
    assert "the policy says no" in replies[0]["ready"][refused]
    if not replies[0]["ready"][held]:
        assert [reply["verdict"] for reply in replies[1:]] == [True, False, True]


def test_senseless_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="timeout > 0"):
        SandboxLimits(timeout=0.0)
    with pytest.raises(ValueError, match="workers > 0"):
        Sandbox(workers=0)
