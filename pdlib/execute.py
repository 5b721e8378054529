"""One notebook through papermill, in a kernel of the running interpreter, with errors a reader can act on."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from pdlib import paths
from pdlib.errors import ChapterError, PdlibError

INJECTED = "injected-parameters"
_MARKER = "papermill-error-cell-tag"
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_START_SECONDS = 120
_clients: set[Any] = set()


class _ThisInterpreter(AsyncKernelManager):
    """Starts the interpreter that runs the book, whatever kernelspecs the machine has under this name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


class _Engine(NBClientEngine):
    """papermill's own engine, which also tells which cell is running and takes a kernel environment."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        on_cell: Callable[[int], None],
        env: Mapping[str, str],
        folder: Path,
        log: Path,
        execution_timeout: int | None = None,
        **_: Any,
    ) -> Any:
        start_cell = nb_man.cell_start

        def cell_start(cell: Any, cell_index: int, **more: Any) -> None:
            on_cell(cell_index)
            start_cell(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        client = PapermillNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            kernel_manager_class=_ThisInterpreter,
            timeout=execution_timeout,
            startup_timeout=_START_SECONDS,
            log=logging.getLogger("pdlib.execute"),
        )
        _clients.add(client)
        try:
            with log.open("wb") as said:
                # not papermill's own `cwd`, which moves the whole process and so every chapter beside this one
                return client.execute(env=dict(env), cwd=str(folder), stdout=said, stderr=said)
        finally:
            _clients.discard(client)


papermill_engines.register("pdlib", _Engine)


def stop_kernels() -> None:
    """End every kernel that `execute` has running, in any thread; it then fails as with a dead kernel."""
    for client in list(_clients):
        process = getattr(getattr(client.km, "provisioner", None), "process", None)
        if process is not None:
            process.kill()


def kernel_environment(page_dir: Path, root: Path, build: Path) -> dict[str, str]:
    """Environment of a chapter's kernel: where its side files go, and what makes two runs equal."""
    path = dict.fromkeys([str(root), str(paths.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PDLIB_PAGE_DIR": str(page_dir),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or str(build / "numba"),
        "IPYTHONDIR": str(build / "ipython"),  # no start-up file of the user changes a page
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONHASHSEED": "0",
        # tqdm, which librosa brings along, would ask every page for a notebook bar that no chapter shows
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"])),
        # TensorFlow's start-up notes would land on the page as output
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL") or "2",
    }


def execute(
    source: Path,
    target: Path,
    injected: Mapping[str, Any],
    *,
    env: Mapping[str, str],
    folder: Path,
    cell_timeout: int,
    on_cell: Callable[[int], None] = lambda index: None,
) -> Any:
    """Execute ``source`` into ``target`` and return the executed notebook, papermill's own marks taken off.

    Parameters
    ----------
    source, target : Path
        The clean notebook and the file that holds the state so far; never the same.
    injected : mapping
        Values that replace the notebook's own; papermill adds one cell for them when there are any.
    env : mapping
        The kernel's whole environment.
    folder : Path
        The kernel's working folder.
    cell_timeout : int
        Seconds one cell may take.
    on_cell : callable
        Told the index of each cell as it starts.

    Raises
    ------
    ChapterError
        When a cell fails or takes too long, or the kernel cannot start or dies; names the cell.
    WriteError
        When ``target`` cannot be written.
    """
    if target.resolve() == source.resolve():
        raise ChapterError(f"{source.name} would be written over itself", "give another output folder")
    at = [-1]
    log = target.with_suffix(".log")  # what the kernel's process says outside the notebook

    def note(index: int) -> None:
        at[0] = index
        on_cell(index)

    try:
        notebook = papermill.execute_notebook(
            _literal(source),
            _literal(target),
            dict(injected) or None,
            engine_name="pdlib",
            kernel_name="python3",
            progress_bar=False,
            folder=folder,
            execution_timeout=cell_timeout,
            autosave_cell_every=60,
            on_cell=note,
            env=env,
            log=log,
        )
    except PapermillExecutionError as error:
        said = _ANSI.sub("", f"{error.ename}: {error.evalue}").strip(": ")
        raise _failure(source, target, at[0], f"failed: {_short(said)}") from error
    except DeadKernelError as error:
        problem = f"ended the kernel: the process died, most often for want of memory{_last_line(log)}"
        raise _failure(source, target, at[0], problem) from error
    except CellTimeoutError as error:
        problem = (
            f"was still running after {cell_timeout} s, the longest time one cell may take (--cell-timeout)"
        )
        raise _failure(source, target, at[0], problem) from error
    except (PdlibError, KeyboardInterrupt):
        raise
    except OSError as error:
        if error.errno in _CANNOT_WRITE:
            with paths.writing_errors(target):
                raise
        raise _failure(source, target, at[0], f"failed in the runner: {error}") from error
    except (RuntimeError, TimeoutError) as error:
        if at[0] < 0:
            raise ChapterError(
                f"{source.name}: the kernel did not start: {_short(str(error))}{_last_line(log)}",
                "check that `python -m ipykernel_launcher --version` runs in this environment",
            ) from error
        raise _failure(source, target, at[0], f"failed in the runner: {_short(str(error))}") from error
    return tidy(notebook)


def _literal(path: Path) -> str:
    """The path with braces doubled, for papermill fills in what stands between single ones."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _short(text: str, limit: int = 600) -> str:
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" ({_short(lines[-1], 200)})" if lines else ""


def _failure(source: Path, target: Path, index: int, what: str) -> ChapterError:
    cell, first = _cell_of_source(target, index)
    return ChapterError(f"{source.name}, cell {cell} (`{first}`) {what}")


def _cell_of_source(target: Path, index: int) -> tuple[int, str]:
    """Number of a running cell as the source counts it (from 1, text cells too), and its first line."""
    try:
        cells = nbformat.read(target, as_version=4).cells
    except (OSError, ValueError):
        return index + 1, "?"
    cells = [cell for cell in cells if _MARKER not in cell.metadata.get("tags", [])]
    before = sum(INJECTED in cell.metadata.get("tags", []) for cell in cells[: index + 1])
    lines = [line.strip() for line in cells[index].source.splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith("#")]
    return index + 1 - before, _short((code or lines or ["empty"])[0], 100)


def tidy(notebook: Any) -> Any:
    """Take off papermill's marks (machine paths, times), so that equal runs give equal files."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if INJECTED in cell.metadata.get("tags", []):
            cell["id"] = INJECTED
            cell.source = cell.source.replace("# Parameters\n", "# values of this run\n", 1)
    return notebook
