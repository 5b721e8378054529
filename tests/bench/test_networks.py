"""The ways to train CustNet that the bench compares give the same losses, and its part is whole."""

import pytest

from pdlib.networks import CustNetConfig
from tests.bench import network_ways, networks
from tests.bench.timing import Part

TORCH = pytest.mark.skipif(not networks.installed("torch"), reason="PyTorch is an extra")


def test_operations_are_counted_as_by_hand():
    # 2 × what each multiplies: 3×3×3 kernel to 8 channels at 8×8, 8 to 8 at 8×8, …
    model = CustNetConfig(16, 0.125).build()
    count = {
        layer.name: 2 * layer.get_weights()[0].size * layer.output.shape[1] * layer.output.shape[2]
        for layer in model.layers
        if "conv2d" in layer.name or layer.name.startswith("repair") and not layer.name.endswith("_bn")
    }
    first = next(name for name in count if not name.startswith("depthwise"))
    assert count[first] == 2 * 27 * 8 * 64
    assert network_ways.operations(model) == sum(count.values()) + 2 * 91 * 2


@pytest.fixture(scope="module")
def part():
    return networks.measure(rounds=1, small=True)


def test_the_part_is_whole(part):
    assert isinstance(part, Part)
    assert {row.what for row in part.rows} == {
        f"CustNet {what}, 32 px, width 0.125" for what in ("training", "prediction")
    }
    assert {row.name for row in part.rows} == {networks.KERAS_ALONE, networks.OURS_ALONE}
    assert all(0 < row.low <= row.median <= row.high and row.processor > 0 and row.note for row in part.rows)


def test_losses_and_scores_were_compared_with_keras_own(part):
    title = networks.SMALL.title
    loss = part.facts[f"difference of losses over {networks.STEPS} steps, {networks.OURS_ALONE}, {title}"]
    score = part.facts[f"difference of scores, {networks.OURS_ALONE}, {title}"]
    assert loss <= networks.SAME_LOSS and score <= networks.SAME_SCORE


class Told:
    """A process that gives what it was told to."""

    def __init__(self, losses, scores=((0.5, 0.5),)):
        self.given = {"losses": losses, "predict": scores}

    def ask(self, do, **_given):
        return self.given[do]


@pytest.mark.parametrize("other", [Told([1.0, 0.5]), Told([1.0, 0.9], [(0.6, 0.4)])])
def test_ways_that_differ_are_not_timed(other):
    teams = {networks.KERAS_ALONE: [Told([1.0, 0.9])], networks.OURS_ALONE: [other]}
    with pytest.raises(RuntimeError, match="differ by"):
        networks.differences(teams, networks.SMALL)


def test_a_process_that_dies_is_said_to_have():
    worker = networks.Worker("unknown", 1)
    with pytest.raises(RuntimeError, match="ended with status 1"):
        worker.found()
    worker.close()


@TORCH
def test_pytorch_gives_keras_losses(tmp_path):
    ways = {networks.OURS_ALONE: ("pdlib", 1, 1), networks.KERAS_ALONE: ("keras", 1, 1)} | {
        f"PyTorch {name}": (name, 1, 1) for name in ("torch", "torch-last")
    }
    with networks.workers(ways) as teams:
        networks.hand_over(teams, networks.SMALL, tmp_path)
        assert set(networks.differences(teams, networks.SMALL)) == set(ways)
