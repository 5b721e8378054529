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

import asyncio
import logging
import os
import pickle
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

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
#: How often an item is tried when processes of this machine die; a scheduler has a setting of its own.
TRIES = 3
#: Seconds after which idle processes of this machine end.
IDLE_SECONDS = 60
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
    after: Callable[[], None] | None = None,
    processes: int | None = None,
) -> Iterator[tuple[K, R]]:
    """``function`` of every item, as pairs of the item's key and its result, each as soon as it is there.

    Parameters
    ----------
    function : callable
        Of a module, or a `functools.partial` of such; what it holds and the items must be picklable.
    items : iterable of (key, item)
        Taken when there is room for them. Serially the results come in their order.
    modules : sequence of str
        The pdlib modules whose code does the work; what they import is added.
    name : callable
        What an error calls the item with this key.
    same : callable, optional
        Of a module; what it returns must be equal here and in every worker, such as `networks.arithmetic`.
    after : callable, optional
        Of a module; called in a worker after each item, to give back memory.
    processes : int, optional
        Wins over ``PDLIB_WORKERS``.

    Raises
    ------
    WorkerError
        When there is no scheduler or worker, one differs from this process, or all that tried an item died.
    PdlibError
        Whatever ``function`` raises. What was given back before is the caller's.
    """
    address, count = scheduler(), 1 if _inside() else processes or workers()
    if not address:
        waiting = iter(items)
        begun = list(islice(waiting, 2)) if count > 1 else []
        items = chain(begun, waiting)
        if len(begun) < 2:
            for key, item in items:
                yield key, function(item)
            return
    work = _Work(function, tuple(modules), same, after)
    with _cluster(address, work) if address else _processes(count) as pool:
        yield from _through(pool, work, items, name)


def in_order(function: Callable[[T], R], items: Iterable[T], **settings: Any) -> list[R]:
    """``function`` of every item, in the order of ``items``; see `each` for the settings."""
    found = dict(each(function, enumerate(items), **settings))
    return [found[place] for place in range(len(found))]


# ── what must be equal ─────────────────────────────────────────────────────────────────────────────────
#: Code of each module as this process first met it: a file changed later is not what the process has loaded.
_met: dict[str, str] = {}


def conditions(modules: Sequence[str], same: Callable[[], Mapping] | None = None) -> dict[str, dict]:
    """Code and library versions of this process and what else has to be the same, each by name."""
    return {
        "module": {
            n: _met.setdefault(n, code) for n, code in provenance.code_parts(*modules, "parallel").items()
        },
        "library": provenance.versions(*modules, "parallel"),
        "setting": dict(same()) if same else {},
    }


def _compare(here: Mapping, there: Mapping, where: str) -> None:
    """Raise `WorkerError` where ``there``, the conditions of a worker, are not those of this process."""
    said = []
    for kind in ("module", "library", "setting"):
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
_one_at_a_time = threading.Lock()  # networks are kept per process, and a Dask worker may have several threads
_working = threading.Event()  # of the process: a task may have threads of its own


def _inside() -> bool:
    return _working.is_set()


@contextmanager
def _as_worker() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with _one_at_a_time, threadpool_limits(1):
        _working.set()
        try:
            yield
        finally:
            _working.clear()


def _address() -> str:
    try:
        from distributed import get_worker

        return f"{get_worker().address} on {socket.gethostname()}"
    except (ImportError, ValueError):
        return f"process {os.getpid()}"


@dataclass(frozen=True)
class _Work:
    """What all tasks of one call of `each` have in common."""

    function: Callable
    modules: tuple[str, ...]
    same: Callable[[], Mapping] | None
    after: Callable[[], None] | None

    def packed(self, item: object) -> tuple[bytes, dict, tuple[str, ...], Callable | None]:
        """The arguments of `_task` for one item."""
        return pickle.dumps((self, item)), self.here, self.modules, self.same

    @cached_property
    def here(self) -> dict[str, dict]:
        """The conditions of this process."""
        return conditions(self.modules, self.same)


def _task(payload: bytes, here: Mapping, modules: tuple[str, ...], same: Callable | None) -> Any:
    """What a worker runs. The payload is opened only after the check, for other code might not know its names."""
    with _as_worker():
        _compare(here, conditions(modules, same), _address())
        work, item = pickle.loads(payload)
        result = work.function(item)
        if work.after:
            work.after()
        return result


# ── several at a time ──────────────────────────────────────────────────────────────────────────────────
class _Died(Exception):
    """The worker of a task died; where it was, and how often it may be tried again."""

    def __init__(self, problem: str, way_out: str, tries: int) -> None:
        super().__init__(problem)
        self.problem, self.way_out, self.tries = problem, way_out, tries


class _Pool(Protocol):
    """Workers that tasks can be sent to; a sent task is a future."""

    def room(self) -> int:
        """How many tasks may be under way at a time."""

    def send(self, task: tuple) -> Hashable:
        """Start a task, the arguments of `_task`."""

    def finished(self, running: Sequence) -> list:
        """Those that have ended; waits for a while, and may be empty."""

    def result(self, future: Any) -> Any:
        """What an ended task returned; raises what it raised, or `_Died`."""


def _through(
    pool: _Pool, work: _Work, items: Iterable[tuple[K, T]], name: Callable[[K], str]
) -> Iterator[tuple[K, R]]:
    """Every item through the pool: one task for each worker and no more, so that a worker that dies holds little."""
    waiting, again = iter(items), deque()
    running: dict[Hashable, tuple[K, tuple]] = {}
    tried: Counter[K] = Counter()
    while True:
        for _ in range(pool.room() - len(running)):
            if not again:
                again.extend((key, work.packed(item)) for key, item in islice(waiting, 1))
            if not again:
                break
            key, task = again.popleft()
            running[pool.send(task)] = key, task
        if not running:
            return
        for future in pool.finished(list(running)):
            key, task = running.pop(future)
            try:
                yield key, pool.result(future)
            except _Died as death:
                tried[key] += 1
                if tried[key] > death.tries:
                    raise WorkerError(f"{name(key)} was given up: {death.problem}", death.way_out) from death
                again.append((key, task))


# ── processes of this machine ──────────────────────────────────────────────────────────────────────────
def _end_with(parent: int) -> None:
    """Start of a process: it ends soon after the one that started it, which may have been killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Processes:
    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def executor(self) -> Any:
        """joblib's; after a death a new one."""
        from joblib.externals.loky import get_reusable_executor

        start = {"initializer": _end_with, "initargs": (os.getpid(),)}
        return get_reusable_executor(self.count, timeout=IDLE_SECONDS, **start)

    def room(self) -> int:
        return self.count

    def send(self, task: tuple) -> Hashable:
        return self.executor.submit(_task, *task)

    def finished(self, running: Sequence) -> list:
        return list(futures.wait(running, return_when=futures.FIRST_COMPLETED).done)

    def result(self, future: Any) -> Any:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            return future.result()
        except BrokenProcessPool as error:
            raise _Died(
                f"it was under way each of {TRIES} times that one of {self.count} processes died",
                "most often memory is short: run it again with fewer processes; what was finished is kept",
                TRIES - 1,
            ) from error


@contextmanager
def _processes(count: int) -> Iterator[_Pool]:
    pool = _Processes(count)
    try:
        yield pool
    except BaseException:
        # what is under way would go on for minutes and keep the processes from the next call
        pool.executor.shutdown(kill_workers=True)
        raise


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
    import distributed  # before the setting, for it brings the settings that this one is set among

    # What Dask writes about a broken connection, tracebacks included, is said in one sentence by the error here.
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    # pictures go with every task: only so can it be given to another worker when one dies with what it held
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        try:
            with _client(distributed.Client, address) as client:
                yield client
        finally:
            logger.setLevel(before)


@contextmanager
def _client(kind: type, address: str) -> Iterator[Any]:
    try:
        client = kind(address, timeout=ANSWER_SECONDS, set_as_default=False)
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


async def _conditions_aside(modules: tuple[str, ...], same: Callable | None) -> dict[str, dict]:
    # loading TensorFlow takes seconds, and a worker that does not answer for long is taken for lost
    return await asyncio.to_thread(conditions, modules, same)


def _check_workers(client: Any, work: _Work) -> None:
    """Every worker there is must be like this process; one that comes later is checked with its first task."""
    for where, there in client.run(_conditions_aside, work.modules, work.same, on_error="return").items():
        if isinstance(there, OSError):
            continue  # gone since it was counted
        if isinstance(there, BaseException):
            raise WorkerError(
                f"the worker {where} cannot load this book: {type(there).__name__}: {_first_line(there)}",
                "start it in a checkout of the same commit, with the environment of requirements.lock",
            ) from there
        _compare(work.here, there, where)


class _Cluster:
    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address

    def room(self) -> int:
        return len(_await_workers(self.client, self.address))

    def send(self, task: tuple) -> Hashable:
        return self.client.submit(_task, *task, pure=False)

    def finished(self, running: Sequence) -> list:
        from distributed import CancelledError, wait

        try:
            with self.client.as_current():
                return list(wait(running, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []
        except CancelledError as error:  # what becomes of all that is under way when the connection breaks
            raise _lost(self.address) from error

    def result(self, future: Any) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except CancelledError as error:
            raise _lost(self.address) from error
        except KilledWorker as error:  # the scheduler has tried it again as often as it is set to
            raise _Died(
                f"{error.allowed_failures + 1} workers died while they worked on it, the last was "
                f"{error.last_worker.address}",
                "look into the worker's log; most often its memory limit is too low",
                0,
            ) from error


@contextmanager
def _cluster(address: str, work: _Work) -> Iterator[_Pool]:
    with _connected(address) as client:
        _await_workers(client, address)
        _check_workers(client, work)
        yield _Cluster(client, address)  # what is under way is given up when the client closes


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
