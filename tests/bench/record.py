"""What was measured, kept in ``data/`` section by section with the machine and the day it was measured on.

The pages of the book read these files (`pdlib.measured`); who measures a section again
replaces it as a whole.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from pdlib import paths
from pdlib.errors import UsageError

FILES = ("bench.json", "robustness.json")
LIBRARIES = ("tensorflow", "keras", "numpy", "scipy", "librosa", "torch", "captum", "dask")


def machine() -> dict[str, Any]:
    """What a time depends on and nothing that names the machine or who runs it: processor, memory, system, libraries.

    BLAS is the one NumPy calls, with the threads it may use.
    """
    found = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    import numpy  # noqa: F401  its BLAS is then among the libraries that are loaded

    for one in threadpool_info():
        if one["user_api"] == "blas":
            found["BLAS"] = f"{one['internal_api']} {one['version']} ({one.get('architecture', '?')})"
            found["BLAS threads"] = one["num_threads"]
            break
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def record(file_name: str, section: str, content: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Put one section into ``data/<file_name>``, beside those that are there, with today's date and this machine.

    Parameters
    ----------
    file_name : str
        ``bench.json`` or ``robustness.json``.
    section : str
        Name of the part or harness.
    content : mapping
        ``title``, ``rows`` (a list of flat mappings) and ``facts`` (one flat mapping), and what else there is to keep.
        A number that is not finite is kept as null, for JSON has none.
    folder : Path, optional
        In place of the book's ``data``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        For another file, or content that cannot be laid out as a table.
    """
    if file_name not in FILES:
        raise UsageError(f"nothing is recorded in {file_name!r}", f"use one of {', '.join(FILES)}")
    if not content.get("title") or not all(isinstance(row, Mapping) for row in content.get("rows", ())):
        raise UsageError(
            f"section {section!r} has no title, or rows that are no mappings", "see tests.bench.record"
        )
    target = (folder or paths.DATA) / file_name
    known = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    known[section] = _plain({"date": time.strftime("%Y-%m-%d"), "machine": machine(), **content})
    text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False, allow_nan=False)
    return paths.write_text(target, text + "\n")


def _plain(value: Any) -> Any:
    """The value with what JSON knows: NumPy's numbers as Python's, tuples as lists, not finite as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
