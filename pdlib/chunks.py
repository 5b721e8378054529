"""A cohort in parts that fit into memory, each part's results kept under its own key, and all of them as one array.

A cohort of no more than `CHUNK` recordings is one part, which is the cohort itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pdlib import parallel, paths
from pdlib.provenance import Arrays, Store
from pdlib.recordings import Cohort

CHUNK = 256  # recordings; as pictures of 224 pixels 38 MB


def parts(cohort: Cohort) -> Iterator[Cohort]:
    """The cohort in parts of `CHUNK` recordings, in order; the last may be smaller."""
    names, size = cohort.names, CHUNK
    for first in range(0, len(names), size):
        yield cohort.subset(names[first : first + size])


def results(
    cohort: Cohort,
    step: str,
    inputs: Mapping[str, object],
    work: Callable[..., Arrays],
    modules: Sequence[str],
    store: Store | None = None,
) -> Iterator[Arrays]:
    """What ``work(part, **inputs)`` gives of each part, in order; an interrupted run goes on at the next part.

    Parameters
    ----------
    cohort : Cohort
    step, modules, store
        See `provenance.Store.get`.
    inputs : mapping
        All that ``work`` is given beside the recordings; with the part's fingerprint it makes the key.
    work : callable
        A function of a module, so that another process can be sent it with the part it is to work on.
    """
    split = list(parts(cohort))

    def run(places: Iterator[int]) -> Iterator[tuple[int, Arrays]]:
        return parallel.each(
            partial(work, **inputs),
            ((place, _to_send(split[place])) for place in places),
            modules=modules,
            name=lambda place: f"{step}, part {place + 1} of {len(split)}",
        )

    keyed = [{"cohort": part.fingerprint, **inputs} for part in split]
    return (store or Store()).get_all(step, keyed, run, modules)


def _to_send(part: Cohort) -> Cohort:
    """The part with its signals where it may go to a machine that keeps the recordings elsewhere, or not at all."""
    if part.kind == "synthetic" or not parallel.scheduler():
        return part
    return replace(part, held=dict(part.signals()))


def joined(arrays: Iterable[NDArray], total: int) -> NDArray:
    """Arrays with ``total`` rows in all as one array; never more than one of them is in memory.

    Several are written one after the other to a file in the folder for results, from which the system reads
    the rows that are looked at. The file has no name: it is gone with the last array that shows it, also when
    the process is killed.

    Raises
    ------
    WriteError
        When the file cannot be written.
    """
    arrays = iter(arrays)
    first = np.asarray(next(arrays))
    if len(first) == total:
        return first
    folder = paths.results_dir()
    with paths.writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)
    with file:
        for array in chain([first], arrays):
            with paths.writing_errors(folder):
                file.write(np.ascontiguousarray(array).data)
        with paths.writing_errors(folder):
            file.flush()
        return np.memmap(file, dtype=first.dtype, mode="r", shape=(total, *first.shape[1:]))


def rows(array: NDArray, places: Sequence[int]) -> NDArray:
    """Some rows of an array, in the order of ``places``: in memory, or in a file where the array is in one."""
    places = np.asarray(places, dtype=int)
    if not isinstance(array, np.memmap) or len(places) <= CHUNK:
        return np.asarray(array[places])
    return joined((array[places[i : i + CHUNK]] for i in range(0, len(places), CHUNK)), len(places))
