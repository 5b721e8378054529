"""Diagrams: what is drawn is what is listed."""

import pytest
from matplotlib.figure import Figure

from pdlib.diagrams import Box, flow
from pdlib.errors import ParameterError


def axes():
    return Figure().subplots()


def test_every_box_and_arrow_is_drawn_and_listed():
    ax = axes()
    table = flow(ax, [Box("a", "first\nstep", 0, 0), Box("b", "second", 1, 0, "fitted")], [("a", "b")])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["first\nstep", "second"]
    assert sum(getattr(text, "arrow_patch", None) is not None for text in ax.texts) == 1
    assert table.to_dict("records") == [
        {"box": "a", "kind": "data", "text": "first step", "leads_to": "b"},
        {"box": "b", "kind": "fitted", "text": "second", "leads_to": ""},
    ]


def test_boxes_lie_inside_the_axes():
    ax = axes()
    flow(ax, [Box("a", "a", 0, 0), Box("b", "b", 5, 3)], [])
    assert ax.get_xlim()[0] < -0.42 and ax.get_xlim()[1] > 5.42
    assert ax.get_ylim()[0] < -0.31 and ax.get_ylim()[1] > 3.31


@pytest.mark.parametrize(
    ("boxes", "arrows"),
    [
        ([Box("a", "", 0, 0), Box("a", "", 1, 0)], []),
        ([Box("a", "", 0, 0, "magic")], []),
        ([Box("a", "", 0, 0)], [("a", "nowhere")]),
    ],
)
def test_a_wrong_list_is_refused(boxes, arrows):
    with pytest.raises(ParameterError, match="a kind among"):
        flow(axes(), boxes, arrows)
