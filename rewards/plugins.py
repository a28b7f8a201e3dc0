"""Plug-ins: users' modules, imported in every process, whose content counts in the keys of the stages that use them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from adhere.rewards.errors import AdhereError, ConfigError
from adhere.rewards.registry import REGISTRIES

ENTRY_POINTS = "adhere.plugins"
"""Group of entry points by which an installed package offers its plug-ins without being named in a recipe."""


def load_plugins(modules: Any) -> None:
    """Import ``modules``, a list of names, and the installed packages' entry points: what they register can be named.

    The working folder is searched last: a file of the user's never stands in for a module of ours or of a library.

    Raises:
        ConfigError: ``modules`` is not a list of names, or a module is not found or cannot be imported.
    """
    if not isinstance(modules, Sequence) or isinstance(modules, str):
        raise ConfigError(f"plugins: {modules!r} is not a list of modules; write plugins: [my_lab.rewards]")
    for module in modules:
        if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(f"plugins: {module!r} is not the name of a module; write one such as my_lab.rewards")
    if modules:
        search_working_folder()
    _load_installed()
    for module in modules:
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                raise ConfigError(
                    f"plugins: there is no module '{module}', neither installed nor below {Path.cwd()}"
                ) from error
            raise ConfigError(f"plugins: {module} needs the module '{error.name}', which is not installed") from error
        except AdhereError:
            raise  # it says which registration was wrong
        except Exception as error:
            raise ConfigError(f"plugins: importing {module} raised {_raised(error)}") from error
        if not module.startswith("adhere.") and _is_ours(imported):
            raise ConfigError(
                f"plugins: '{module}' is a module of adhere's own, found from its checkout; run from another folder, "
                f"or give your module another name"
            )


def _raised(error: Exception) -> str:
    """Return an exception with the file and line that raised it."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    where = f" ({Path(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _is_ours(module: Any) -> bool:
    """Whether a module that is imported under another name is a file of ours."""
    ours = Path(__file__).resolve().parents[1]
    places = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", []))
    rooms = ("rewards", "prompts", "records", "evaluation", "train", "hydra_plugins")
    return any(Path(place).resolve().is_relative_to(ours / room) for place in places for room in rooms)


@cache
def _load_installed() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist else entry.module
            raise ConfigError(
                f"the installed package {package} names the plug-in {entry.value} in the entry-point group "
                f"{ENTRY_POINTS}, and importing it raised {_raised(error)}; repair the package or remove it"
            ) from error


def search_working_folder() -> None:
    """Append the working folder to the path, if it is not there."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def plugin_modules() -> list[str]:
    """Return the modules of users' that have registered something in this process: what a child has to import."""
    modules = {module for registry in REGISTRIES for module in registry.modules() if module != "__main__"}
    return sorted(module for module in modules if module.partition(".")[0] != "adhere")


def plugin_packages(settings: Any) -> set[str]:
    """Return the top-level packages of users that ``settings``, plain values of a recipe, name something of.

    A name of a registry counts, and ``function: "package.module:name"``.
    """
    return {package for package in _named(settings) if package != "adhere"}


def _named(settings: Any, key: str = "") -> Iterator[str]:
    if isinstance(settings, str):
        if key == "function":
            yield settings.partition(":")[0].partition(".")[0]
        yield from (registry.package(settings) for registry in REGISTRIES if settings in registry)
    elif isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _named(name)
            yield from _named(value, name)
    elif isinstance(settings, Sequence):
        for value in settings:
            yield from _named(value, key)


def package_files(package: str) -> dict[str, Path]:
    """Return the Python files of a top-level ``package`` by their path from the folder that it is imported from.

    Raises:
        ConfigError: there is no such package.
    """
    search_working_folder()
    spec = importlib.util.find_spec(package)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ConfigError(f"plugins: there is no package '{package}'")
    if not spec.submodule_search_locations and not spec.has_location:
        return {}  # built into the interpreter
    if not spec.submodule_search_locations:
        assert spec.origin is not None
        return {Path(spec.origin).name: Path(spec.origin)}
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    found = [(folder, path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    return {str(path.relative_to(folder.parent)): path for folder, path in found}


def files_below(package: Path, left_out: Path) -> list[Path]:
    """Return the files of a package, also behind links; not those of hidden folders and of the folder ``left_out``."""
    found = []
    for folder, names, files in os.walk(package, followlinks=True):
        here = Path(folder).resolve()
        # A link to a folder above would lead round and round.
        passed = {left_out.resolve(), here, *here.parents}
        inner = [name for name in names if name != "__pycache__" and not name.startswith(".")]
        names[:] = [name for name in inner if (here / name).resolve() not in passed]
        found += [Path(folder) / name for name in files if (here / name).is_file()]
    return found


def package_content(package: str, left_out: Path) -> str:
    """Return the SHA-256 of a top-level package's files, as hex: Python and data, as a snapshot holds them.

    Files below the folder ``left_out`` do not count, nor data of an installed package with compiled parts.
    """
    files = package_files(package)
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    for place in {path.parents[name.count(os.sep)] for name, path in files.items() if os.sep in name}:
        found = files_below(place / package, left_out)
        if place.resolve() not in installed or not any(path.suffix == ".so" for path in found):
            files = {str(path.relative_to(place)): path for path in found if path.suffix != ".pyc"} | files
    content = hashlib.sha256()
    for name, path in sorted(files.items()):
        content.update(f"{name}\0{path.stat().st_size}\0".encode())
        content.update(path.read_bytes())
    return content.hexdigest()
