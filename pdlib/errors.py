"""Errors a reader can act on: each says what is wrong, where, and the way out."""

from __future__ import annotations

import re

LONGEST = 4000  # characters of a problem; a file that is wrong may say anything at any length
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class PdlibError(Exception):
    """Base of every error the book raises on purpose.

    Parameters
    ----------
    problem : str
        What is wrong, naming the file, notebook, cell or parameter.
    way_out : str
        What the reader can do next.

    Attributes
    ----------
    exit_code : int
        What the command line leaves with: 1 for a failed step, 2 for wrong use.
    """

    exit_code = 1

    def __init__(self, problem: str, way_out: str = "") -> None:
        self.problem = problem = _plain(problem)
        self.way_out = way_out = _plain(way_out)
        super().__init__(f"{problem}\n  → {way_out}" if way_out else problem)

    def __reduce__(self) -> tuple:
        # An error of a worker process travels to this one; by default it would be made anew from its whole text.
        return _as_raised, (type(self), self.args, self.__dict__)


def _as_raised(kind: type[PdlibError], args: tuple, state: dict) -> PdlibError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def _plain(text: str) -> str:
    """Text that a terminal can show: of bounded length, and what is no character written out."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class UsageError(PdlibError):
    """The command, profile, chapter or parameter as asked for does not exist or has the wrong type."""

    exit_code = 2


class ParameterError(UsageError):
    """A parameter is unknown, or its value is of the wrong type or outside its range."""


class DataError(PdlibError):
    """The data set, its workbook or its registry is not what it should be."""


class FetchError(DataError):
    """A download or an archive could not be had whole and right."""


class RecordingError(DataError):
    """One recording cannot be used; the message names the file and the reason."""


class WriteError(PdlibError):
    """A file could not be written: no space, no permission, or a read-only folder."""


class BusyError(PdlibError):
    """Another process is at work in the same folder."""


class LeakageError(PdlibError):
    """Something was fitted on a speaker it is tested on."""


class PrivacyError(PdlibError):
    """A single real speaker's spectrogram or voice was about to be shown or committed."""


class ModelError(PdlibError):
    """A network cannot be built, trained or explained as asked."""


class ChapterError(PdlibError):
    """A chapter did not run to its end."""


class WorkerError(PdlibError):
    """The worker processes, or the scheduler they belong to, cannot do the work they were given."""


class PublishError(PdlibError):
    """The pages cannot be published as they are."""
