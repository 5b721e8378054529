"""A run that is killed goes on at the fold where it stopped, to the same digits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pdlib import paths
from pdlib.boosting import BoostConfig
from pdlib.custnetgc import Plan, cross_validate
from pdlib.networks import CustNetConfig
from pdlib.picture_sets import PictureSet
from pdlib.provenance import Store

PLAN = Plan(
    network=CustNetConfig(input_size=32, width=0.05),
    boosting=BoostConfig(iterations=5),
    epochs=2,
    batch_size=4,
    n_splits=3,
    cross_fits=2,
)


def voices():
    rng = np.random.default_rng(1)
    names = tuple(f"HC-{i:02d}" for i in range(1, 7)) + tuple(f"PD-{i:02d}" for i in range(1, 7))
    return PictureSet(names, np.repeat([0, 1], 6), rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8))


def finish(folder):
    store = Store(folder)
    results = cross_validate(
        voices(), PLAN, seeds=[0], store=store, each=lambda result: print("fold", result.fold.index, flush=True)
    )
    return results, store


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_fold_repeats_that_fold_only_and_ends_in_the_same_numbers(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
    )
    assert child.stdout.readline() == "fold 0\n"
    time.sleep(0.2)  # the second fold is under way
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert "fold 2" not in child.stdout.read()
    stored = len(list((tmp_path / "killed").rglob("*.npz")))
    assert 1 <= stored < 3
    resumed, store = finish(tmp_path / "killed")
    assert (store.loaded, store.computed) == (stored, 3 - stored)
    whole, store = finish(tmp_path / "whole")
    assert store.computed == 3
    for one, other in zip(resumed, whole, strict=True):
        assert one.arrays.keys() == other.arrays.keys()
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name)


if __name__ == "__main__":
    finish(sys.argv[1])
