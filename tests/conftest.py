"""Fixtures shared by all tests: a small synthetic cohort, the real one where it is there, and a clean store."""

import os

import pytest

from pdlib.provenance import Store

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def small_cohort():
    """Twelve synthetic voices, six of each class."""
    from pdlib.synthetic import synthetic_cohort

    return synthetic_cohort(size=12, seed=0)


@pytest.fixture(scope="session")
def real_cohort():
    """The 81 recordings; tests that ask for them are skipped where ``PDLIB_DATA`` is not set."""
    if not os.environ.get("PDLIB_DATA"):
        pytest.skip("PDLIB_DATA is not set: the 81 recordings are not on this machine")
    from pdlib.cohort import load_cohort

    return load_cohort("real")


@pytest.fixture
def store(tmp_path):
    """An empty result store."""
    return Store(tmp_path / "results")
