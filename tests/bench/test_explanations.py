"""What the bench of the explanations compares gives the same maps, and its rows are whole."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import explanations as bench


@pytest.fixture(scope="module")
def things():
    return bench.things(small=True)


def test_all_ways_explain_alike(things):
    assert [len(thing.ways) >= 2 for thing in things] == [True] * 4
    for thing in things:
        expected = thing.ways[bench.OURS]()
        # flat, one-sided or empty maps would equal anything
        assert expected.std() > 0 and (expected.max(axis=(1, 2)) > 0).all()
        for name, way in thing.ways.items():
            assert thing.apart(way(), expected) <= thing.tolerance, (thing.what, name)


def test_distances_see_a_difference_and_a_shift(things):
    maps = things[0].ways[bench.OURS]()
    assert bench.share(maps, maps) == bench.largest(maps, maps) == 0
    assert bench.share(1.02 * maps, maps) == pytest.approx(0.02, rel=1e-3)
    assert bench.share(np.roll(maps, 1, axis=2), maps) > bench.PATH_TOLERANCE
    cams = things[1].ways[bench.OURS]()
    assert bench.largest(np.roll(cams, 1, axis=2), cams) > bench.CAM_TOLERANCE


def test_another_map_stops_the_bench(things):
    """A time is worth nothing where the result is another."""
    thing = things[1]
    wrong = bench.replace(
        thing, ways={**thing.ways, "shifted": lambda: np.roll(thing.ways[bench.OURS](), 1, axis=2)}
    )
    with pytest.raises(AssertionError, match="shifted is .* from pdlib"):
        bench._rows([wrong], 1, "1 thread")


def test_the_part_is_whole_and_says_what_it_leaves_out(things, monkeypatch):
    monkeypatch.setattr(bench, "things", lambda small: things)  # traced already
    part = bench.measure(rounds=1, small=True)
    assert len(part.rows) == sum(len(thing.ways) for thing in things)
    assert all(0 < row.low <= row.median <= row.high and row.ratio > 0 for row in part.rows)
    assert sum(row.name == bench.OURS for row in part.rows) == len(things) == len(part.facts)
    assert any("Captum" in one for one in part.left_out) == (not bench.has_captum())


def test_the_twin_in_pytorch_is_the_same_network():
    torch = pytest.importorskip("torch")
    from pdlib.networks import CustNetConfig, custnet, logit_model
    from tests.bench.torch_twin import Twin

    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    model = custnet(CustNetConfig(32, 0.125), seed=1)
    expected = logit_model(model)(pictures, training=False).numpy()
    found = Twin(model)(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())).detach().numpy()
    assert found == pytest.approx(expected, abs=1e-5)
