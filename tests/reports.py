"""Reports made once for several test files: tiny networks on twelve synthetic voices."""

from __future__ import annotations

import functools
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from pdlib import report, transfer
from pdlib.recordings import RATE
from tests import sounds

FOLDER = tempfile.TemporaryDirectory(prefix="pdlib-reports-")


@contextmanager
def tiny():
    """Two of the four networks of the smoke profile, in a store of their own."""
    recipes = transfer.notebook_recipes

    def few(*arguments, **options):
        made = recipes(*arguments, **options)
        return {model: made[model] for model in ("mobilenet_025", "plain_cnn")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDLIB_RESULTS", str(Path(FOLDER.name) / "results"))
        patch.setattr(transfer, "notebook_recipes", few)
        yield


def own_file(samples=None, name: str = "my voice.wav") -> str:
    path = Path(FOLDER.name) / name
    soundfile.write(path, sounds.vowel(77, 1) if samples is None else samples, RATE)
    return str(path)


@functools.cache
def of_own_file() -> report.Report:
    """A file that nobody has seen; its networks are trained here."""
    with tiny():
        return report.make(own_file(), profile="smoke", age=50, sex="m", train=True)


@functools.cache
def of_member() -> report.Report:
    """A recording of the cohort by name; nothing may be trained for it."""
    of_own_file()
    with tiny():
        return report.make("PD-02", profile="smoke")


@functools.cache
def of_speech() -> report.Report:
    """A refused file."""
    with tiny():
        return report.make(own_file(sounds.speech(), "talk.wav"), profile="smoke")
