"""The same work here, in processes of this machine, or on a Dask cluster that somebody has started.

Folds, seeds, rungs and parts of a cohort do not depend on one another. `each` takes them one after the other in this
process unless the environment says more:

``PDLIB_WORKERS=N``
    N processes of this machine, through joblib.
``PDLIB_DASK=tcp://host:8786``
    The workers of this Dask scheduler. It wins over ``PDLIB_WORKERS``.

Results are given back as they finish, so that the caller can keep each at once; workers share no disk with it. Before
a worker is given anything it has to show the same code, the same libraries and the same arithmetic as this process.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pdlib import provenance
from pdlib.errors import ParameterError, WorkerError

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K")

WORKERS, DASK, WAIT = "PDLIB_WORKERS", "PDLIB_DASK", "PDLIB_DASK_WAIT"
#: Seconds the scheduler has to answer.
ANSWER_SECONDS = 30
#: Seconds without any worker before the work is given up; ``PDLIB_DASK_WAIT`` says another number.
WAIT_SECONDS = 120
_LOOK_SECONDS = 1.0  # between two looks at whether scheduler and workers are still there


# ── where the work goes ────────────────────────────────────────────────────────────────────────────────
def scheduler() -> str:
    """Address of the Dask scheduler in ``PDLIB_DASK``; empty where there is none, and inside a worker."""
    return "" if _inside() else os.environ.get(DASK, "").strip()


def workers() -> int:
    """Processes of this machine that ``PDLIB_WORKERS`` asks for; 1 where it is not set, and inside a worker.

    Raises
    ------
    ParameterError
        When it is not a whole number above 0.
    """
    said = os.environ.get(WORKERS, "").strip() or "1"
    if not said.isdecimal() or int(said) < 1:
        raise ParameterError(
            f"{WORKERS} = {said!r} is not a number of processes", "give a whole number above 0"
        )
    return 1 if _inside() else int(said)


def alone() -> bool:
    """Whether all work is done in this process."""
    return not scheduler() and workers() == 1


def kernel_environment(processes: int | None = None) -> dict[str, str]:
    """Variables for a kernel that is to use so many processes; None leaves it what this process was given.

    A kernel that a worker starts does its work alone.
    """
    if _inside():
        return {DASK: "", WORKERS: "1"}
    return {} if processes is None else {WORKERS: str(processes)}


def each(
    function: Callable[[T], R],
    items: Iterable[tuple[K, T]],
    *,
    modules: Sequence[str],
    name: Callable[[K], str] = str,
    same: Callable[[], Mapping] | None = None,
    processes: int | None = None,
) -> Iterator[tuple[K, R]]:
    """``function`` of every item, as pairs of the item's key and its result, each as soon as it is there.

    Parameters
    ----------
    function : callable
        Of a module, or a `functools.partial` of such; what it holds and the items must be picklable.
    items : iterable of (key, item)
        Serially they are taken one by one, and the results come in their order.
    modules : sequence of str
        The pdlib modules whose code does the work; what they import is added.
    name : callable
        What an error calls the item with this key.
    same : callable, optional
        Of a module; what it returns must be equal here and in every worker, such as `networks.arithmetic`.
    processes : int, optional
        Wins over ``PDLIB_WORKERS``.

    Raises
    ------
    WorkerError
        When there is no scheduler or worker, one differs from this process, or all that tried an item died.
    PdlibError
        Whatever ``function`` raises. What was given back before is the caller's.
    """
    if address := scheduler():
        yield from _on_cluster(address, function, list(items), tuple(modules), name, same)
        return
    count = 1 if _inside() else processes or workers()
    if count == 1:
        for key, item in items:
            yield key, function(item)
        return
    listed = list(items)
    if len(listed) < 2:
        for key, item in listed:
            yield key, function(item)
    else:
        yield from _in_processes(min(count, len(listed)), function, listed, tuple(modules), name, same)


def in_order(function: Callable[[T], R], items: Iterable[T], **settings: Any) -> list[R]:
    """``function`` of every item, in the order of ``items``; see `each` for the settings."""
    found = dict(each(function, enumerate(items), **settings))
    return [found[place] for place in range(len(found))]


# ── what must be equal ─────────────────────────────────────────────────────────────────────────────────
#: Code of each module as this process first met it: a file changed later is not what the process has loaded.
_met: dict[str, str] = {}


def conditions(modules: Sequence[str], same: Callable[[], Mapping] | None = None) -> dict[str, dict]:
    """Code, library versions and arithmetic of this process, each by name."""
    return {
        "module": {
            n: _met.setdefault(n, code) for n, code in provenance.code_parts(*modules, "parallel").items()
        },
        "library": provenance.versions(*modules, "parallel"),
        "arithmetic": dict(same()) if same else {},
    }


def _compare(here: Mapping, there: Mapping, where: str) -> None:
    """Raise `WorkerError` where ``there``, the conditions of a worker, are not those of this process."""
    said = []
    for kind in ("module", "library", "arithmetic"):
        mine, its = here[kind], there.get(kind, {})
        for one in sorted({*mine, *its}):
            if mine.get(one) != its.get(one):
                values = (
                    "" if kind == "module" else f" ({its.get(one, 'none')}, here {mine.get(one, 'none')})"
                )
                said.append(f"{kind} {'pdlib.' if kind == 'module' else ''}{one}{values}")
    if said:
        more = f" and {len(said) - 6} more" if len(said) > 6 else ""
        raise WorkerError(
            f"the worker {where} would compute something else: it differs in {', '.join(said[:6])}{more}",
            "bring its checkout and environment to the state of this one (same commit, requirements.lock) and "
            "start it again",
        )


# ── in a worker ────────────────────────────────────────────────────────────────────────────────────────
_here = threading.local()
_one_at_a_time = threading.Lock()  # networks are kept per process, and a Dask worker may have several threads


def _inside() -> bool:
    return getattr(_here, "inside", False)


@contextmanager
def _as_worker() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with _one_at_a_time, threadpool_limits(1):
        _here.inside = True
        try:
            yield
        finally:
            _here.inside = False


def _address() -> str:
    try:
        from distributed import get_worker

        return f"{get_worker().address} on {socket.gethostname()}"
    except (ImportError, ValueError):
        return f"process {os.getpid()}"


def _task(payload: bytes, here: Mapping, modules: tuple[str, ...], same: Callable | None) -> Any:
    """What a worker runs. The payload is opened only after the check, for other code might not know its names."""
    with _as_worker():
        _compare(here, conditions(modules, same), _address())
        function, item = pickle.loads(payload)
        return function(item)


# ── processes of this machine ──────────────────────────────────────────────────────────────────────────
def _with_key(key: K, parent: int, *task: Any) -> tuple[K, Any]:
    _end_with(parent)
    return key, _task(*task)


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it, which may have been killed."""
    if getattr(_end_with, "watching", None) == parent:
        return
    _end_with.watching = parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


def _in_processes(
    count: int,
    function: Callable,
    items: list[tuple[K, T]],
    modules: tuple[str, ...],
    name: Callable[[K], str],
    same: Callable | None,
) -> Iterator[tuple[K, R]]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    here = conditions(modules, same)
    # batches of one and no look ahead: what is finished is given back at once
    pool = Parallel(n_jobs=count, backend="loky", return_as="generator_unordered", batch_size=1,
                    pre_dispatch=count, max_nbytes=None)  # fmt: skip
    left = [key for key, _ in items]
    tasks = (
        delayed(_with_key)(key, os.getpid(), pickle.dumps((function, item)), here, modules, same)
        for key, item in items
    )
    try:
        for key, result in pool(tasks):
            left.remove(key)
            yield key, result
    except TerminatedWorkerError as error:
        waiting = ", ".join(name(key) for key in left[:count])
        raise WorkerError(
            f"one of {count} processes died, most often for want of memory; still to do: {waiting}"
            + (f" and {len(left) - count} more" if len(left) > count else ""),
            f"run it again with a smaller {WORKERS} or --workers; what was finished is kept",
        ) from error


# ── a Dask cluster ─────────────────────────────────────────────────────────────────────────────────────
def _wait_seconds() -> float:
    said = os.environ.get(WAIT, "").strip()
    try:
        seconds = float(said) if said else float(WAIT_SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ParameterError(f"{WAIT} = {said!r} is not a number of seconds", "give a number above 0")
    return seconds


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    import dask

    # What Dask writes about a broken connection, tracebacks included, is said in one sentence by the error here.
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    # pictures go with every task: only so can it be given to another worker when one dies with what it held
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        try:
            with _client(address) as client:
                yield client
        finally:
            logger.setLevel(before)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, ImportError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {address} within {ANSWER_SECONDS} s ({_first_line(error)})",
            f"start it, or correct {DASK}; without {DASK} the work is done on this machine",
        ) from error
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)


def _lost(address: str) -> WorkerError:
    return WorkerError(
        f"the Dask scheduler at {address} was lost while work was under way",
        "start it again and run the same command; what was finished is kept",
    )


def _there(client: Any, address: str) -> list[str]:
    """Addresses of the workers that the scheduler has now."""
    if client.status != "running":
        raise _lost(address)
    try:
        return sorted(client.ncores())
    except Exception as error:
        raise _lost(address) from error


def _await_workers(client: Any, address: str) -> list[str]:
    until = time.monotonic() + _wait_seconds()
    while not (found := _there(client, address)):
        if time.monotonic() > until:
            raise WorkerError(
                f"the Dask scheduler at {address} has had no worker for {_wait_seconds():g} s",
                f"start workers; where they wait in a queue first, set {WAIT} to the seconds that may take",
            )
        time.sleep(min(_LOOK_SECONDS, _wait_seconds()))
    return found


def _check_workers(client: Any, here: Mapping, modules: tuple[str, ...], same: Callable | None) -> None:
    """Every worker there is must be like this process; one that comes later is checked with its first task."""
    for where, there in client.run(conditions, modules, same, on_error="return").items():
        if isinstance(there, OSError):
            continue  # gone since it was counted
        if isinstance(there, BaseException):
            raise WorkerError(
                f"the worker {where} cannot load this book: {type(there).__name__}: {_first_line(there)}",
                "start it in a checkout of the same commit, with the environment of requirements.lock",
            ) from there
        _compare(here, there, where)


def _on_cluster(
    address: str,
    function: Callable,
    items: list[tuple[K, T]],
    modules: tuple[str, ...],
    name: Callable[[K], str],
    same: Callable | None,
) -> Iterator[tuple[K, R]]:
    if not items:
        return
    here = conditions(modules, same)
    with _connected(address) as client:
        _await_workers(client, address)
        _check_workers(client, here, modules, same)
        waiting, running = deque(items), {}
        try:
            while waiting or running:
                # one task for each worker and no more: what a dying worker held is little, and is sent again
                room = len(_await_workers(client, address)) - len(running)
                while waiting and room > 0:
                    key, item = waiting.popleft()
                    payload = pickle.dumps((function, item))
                    future = client.submit(_task, payload, here, modules, same, pure=False)
                    running[future] = key
                    room -= 1
                for future in _finished(client, running, address):
                    key = running.pop(future)
                    yield key, _result(future, name(key))
        finally:
            with suppress(Exception):
                client.cancel(list(running))


def _finished(client: Any, running: Mapping, address: str) -> list:
    from distributed import CancelledError, wait

    try:
        with client.as_current():
            return list(wait(list(running), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []
    except CancelledError as error:  # what becomes of all that is under way when the connection breaks
        raise _lost(address) from error


def _result(future: Any, name: str) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise WorkerError(
            f"{name} was given up: {error.allowed_failures + 1} workers died while they worked on it, "
            f"the last was {error.last_worker.address}",
            "look into the worker's log; most often its memory limit is too low",
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
