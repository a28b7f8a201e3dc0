"""One import name: archives hold each module once, and no file of the user's runs in place of one of ours.

Both ways to install are tried for real, the wheel and the checkout, each in an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("rewards", "prompts", "records", "evaluation", "train")
DATA = ("recipes", "slurm")
THEIRS = (
    "train.py", "rewards.py", "records.py", "recipes.py", "slurm.py", "worker.py",
    "prompts/__init__.py", "evaluation/__init__.py",
)  # fmt: skip
LIKE_LIBRARIES = ("yaml.py", "torch.py", "datasets/__init__.py", "json.py")
"""Whoever puts a folder on PYTHONPATH asks for what it holds; without that not even these may run."""

SMOKE = [
    "recipe=quickstart", "debug=smoke", "stages=[grpo]", "~arms", "launcher.device=cpu", "launcher.threads=1",
    "tracking.wandb=off",
]  # fmt: skip


def done(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run ``command`` without this process's own import path, expect it to end well, and return what it printed."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        command, cwd=cwd, env=kept | variables, capture_output=True, text=True, timeout=500, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def tracked(*folders: str) -> list[str]:
    """Return the files under version control that are there, by their paths from the root."""
    listed = done("git", "ls-files", "-z", *folders, cwd=ROOT).split("\0")
    return [name for name in listed if name and os.path.lexists(ROOT / name)]


@dataclass(frozen=True, slots=True)
class Archives:
    """What the checkout is built to, and the wheel that is built from the sdist."""

    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def build_wheel(source: Path, folder: Path) -> Path:
    pip = [sys.executable, "-P", "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    done(*pip, "-w", folder, source, cwd=folder.parent)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Build them from a copy of the checkout that also holds a user's own overlay, which is not part of the package."""
    folder = tmp_path_factory.mktemp("archives")
    copy = folder / "checkout"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    (copy / "recipes" / "local").mkdir()
    (copy / "recipes" / "local" / "default.yaml").write_text("# A user's own paths.\n")
    done(sys.executable, "-P", "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=copy)
    (sdist,) = folder.glob("*.tar.gz")
    return Archives(sdist, build_wheel(copy, folder / "of_checkout"), build_wheel(sdist, folder / "of_sdist"))


def members_of_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert all(entry.external_attr >> 28 in (0, 8) for entry in archive.infolist()), "an entry is not a real file"
        return archive.namelist()


def members_of_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        assert all(entry.isfile() or entry.isdir() for entry in archive), "an entry is a link"
        return [entry.name.partition("/")[2] for entry in archive if entry.isfile()]


def test_each_archive_holds_each_file_once_as_a_real_file(archives: Archives) -> None:
    wheel, sdist = members_of_wheel(archives.wheel), members_of_sdist(archives.sdist)
    ours = {
        "adhere/__init__.py",
        "hydra_plugins/adhere_slurm.py",
        *(f"adhere/{name}" for name in tracked(*ROOMS, *DATA)),
    }
    assert len(wheel) == len(set(wheel)) and len(sdist) == len(set(sdist))
    about = {name for name in wheel if name.startswith("adhere-") and name.split("/")[0].endswith(".dist-info")}
    assert set(wheel) - about == ours
    assert set(sdist) - {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", "constraints.txt", ".gitignore"} == ours
    assert sorted(members_of_wheel(archives.wheel_of_sdist)) == sorted(wheel)
    data = {
        "adhere/recipes/config.yaml",
        "adhere/recipes/assets/tiny_base/model.safetensors",
        "adhere/slurm/job.sbatch",
    }
    assert data <= set(wheel)


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the package in it; ``place`` is the folder that ``adhere`` has to come from."""

    bin: Path
    place: Path

    def adhere(self, *line: str, cwd: Path, **variables: str) -> str:
        return done(self.bin / "adhere", *line, cwd=cwd, **variables)

    def python(self, code: str, cwd: Path, **variables: str) -> str:
        return done(self.bin / "python", "-c", code, cwd=cwd, **variables).strip()


def install(wheel: Path | None, folder: Path) -> Installed:
    """Install ``wheel``, or else the checkout, where this environment's packages are seen but not its ``adhere``."""
    done(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    bin_ = folder / "venv" / "bin"
    where = done(bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    packages = Path(where.strip())
    # A path in a .pth file is searched, but the .pth files there are not read. Its name sorts before the checkout's.
    (packages / "0.pth").write_text(sysconfig.get_path("purelib") + "\n")
    flags = ["-q", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    pip = [sys.executable, "-P", "-m", "pip", "--python", bin_ / "python", "install", *flags]
    done(*pip, *([wheel] if wheel else ["-e", ROOT]), cwd=folder)
    return Installed(bin_, (packages if wheel else ROOT) / "adhere")


@pytest.fixture(scope="module", params=["wheel", "checkout"])
def installed(
    request: pytest.FixtureRequest, archives: Archives, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    return install(archives.wheel if request.param == "wheel" else None, tmp_path_factory.mktemp(request.param))


@dataclass(frozen=True, slots=True)
class Project:
    """A user's folder, full of files that leave a mark when they run, and the environment's variables beside it."""

    folder: Path
    marks: Path
    variables: dict[str, str]

    def ran(self) -> list[str]:
        return sorted(path.name for path in self.marks.iterdir())


def project(place: Path, names: tuple[str, ...], **variables: str) -> Project:
    made = Project(place / "project", place / "marks", variables)
    made.marks.mkdir()
    for name in names:
        path = made.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = made.marks / name.replace("/", ".")
        path.write_text(f"open({str(mark)!r}, 'w').close()\nraise RuntimeError({f'the file {name} ran'!r})\n")
    return made


@pytest.mark.parametrize("path", ["", "."], ids=["plain", "PYTHONPATH=."])
def test_the_command_plans_scores_and_trains_beside_files_named_as_ours(
    installed: Installed, tmp_path: Path, path: str
) -> None:
    users = project(tmp_path, THEIRS, PYTHONPATH=path) if path else project(tmp_path, THEIRS + LIKE_LIBRARIES)

    def adhere(*line: str) -> str:
        return installed.adhere(*line, cwd=users.folder, **users.variables)

    found = installed.python("import adhere; print(adhere.__file__)", users.folder, **users.variables)
    assert found == str(installed.place / "__init__.py")

    assert "grpo[composite]" in adhere("plan", "recipe=quickstart")
    constraints = [{"id": "punctuation:no_comma", "kwargs": None}]
    row = {"question": "2+2?", "answer": "4", "response": "so \\boxed{4}", "constraints": constraints}
    (users.folder / "in.jsonl").write_text(json.dumps(row) + "\n")
    adhere("score", "in.jsonl", "out.jsonl")
    assert json.loads((users.folder / "out.jsonl").read_text())["joint"] == 1.0
    adhere("train", *SMOKE)
    (stage,) = (users.folder / "runs" / "latest" / "stages").glob("grpo*")
    assert (stage / "DONE").exists() and (stage / "model" / "model.safetensors").exists()
    assert users.ran() == []

    # The marks do mean something: the user's own program gets the user's own module.
    with pytest.raises(AssertionError, match=r"the file train\.py ran"):
        installed.python("import train", users.folder, **users.variables)
    assert users.ran() == ["train.py"]


def test_stages_that_run_side_by_side_leave_the_users_files_alone(archives: Archives, tmp_path: Path) -> None:
    users = project(tmp_path, THEIRS + LIKE_LIBRARIES)
    both = "weights=[{checklist: 0},{checklist: 1}]"
    installed = install(archives.wheel, tmp_path)
    installed.adhere("ablate", *SMOKE, both, "parallel=2", cwd=users.folder)
    assert len(list((users.folder / "runs" / "latest" / "stages").glob("grpo*/DONE"))) == 2
    assert users.ran() == []


@pytest.mark.parametrize("name", [*ROOMS, *DATA])
def test_nothing_of_ours_is_importable_by_another_name(installed: Installed, tmp_path: Path, name: str) -> None:
    code = f"try:\n    import {name}\nexcept ModuleNotFoundError as error:\n    print('not found:', error.name)"
    assert installed.python(code, tmp_path) == f"not found: {name}"
