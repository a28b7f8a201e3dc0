"""The copy of the code that queued jobs run: editing it after submitting changes nothing for them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import adhere
from adhere.rewards.errors import StageError
from adhere.rewards.plugins import files_below, package_files


def snapshot(root: Path, packages: Iterable[str] = ()) -> Path:
    """Copy our code and users' to ``root/code/<hash of their content>``, unless it is there; return that folder.

    Args:
        root: folder of all runs.
        packages: top-level packages or modules of plug-ins and rewards in Python, as they are found here. What belongs
            to Python, and installed packages with compiled parts, stay where they are.

    Raises:
        ConfigError: there is no such package.
        StageError: the folder cannot be written.
    """
    source = Path(adhere.__file__).resolve().parent.parent
    # recipes/local holds a user's own paths; a worker composes nothing and needs none.
    ours = files_below(source / "adhere", left_out=source / "adhere" / "recipes" / "local")
    files = {str(path.relative_to(source)): path for path in ours}
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    for package in sorted(set(packages) - sys.stdlib_module_names - {"adhere"}):
        python = package_files(package)
        files |= {name: path for name, path in python.items() if os.sep not in name}
        # A package without __init__.py may have several folders; the first on the path wins.
        for place in {path.parents[name.count(os.sep)]: None for name, path in python.items() if os.sep in name}:
            found = files_below(place / package, left_out=root)
            if place.resolve() not in installed or not any(path.suffix == ".so" for path in found):
                files = {str(path.relative_to(place)): path for path in found} | files

    content = hashlib.sha256()
    for name in sorted(files):
        content.update(f"{name}\0{files[name].stat().st_size}\0".encode())
        content.update(files[name].read_bytes())
    target = root / "code" / content.hexdigest()[:12]
    if target.is_dir():
        return target
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for name, path in files.items():
            copy = temporary / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.is_dir():
            return target
        raise StageError(
            f"{target}: the code cannot be copied there ({error.strerror}); choose another run.root"
        ) from error
    return target
