"""The printed network: every construction raises what the book says it does."""

from __future__ import annotations

from pdlib import printed_network


def test_every_printed_construction_still_fails_and_with_the_error_the_book_names():
    faults = printed_network.printed_faults()
    errors = {fault.where: fault.error for fault in faults}
    assert errors == {
        "p. 24, function header": "SyntaxError",
        "p. 24 and p. 26, function name": "NameError",
        "p. 25, input layer, shape": "NameError",
        "p. 25, input layer, no channel axis": "ValueError",
        "p. 28, Algorithm 3, input layer, no channel axis": "ValueError",
        "p. 25, eq. 24 in the network, undefined channels": "NameError",
        "p. 25, eq. 24 on the four-channel input layer": "NotImplementedError",
        "p. 25, input of depth 4, alpha removed": "ValueError",
        "p. 26 and p. 28, middle flow, Add": "ValueError",
        "p. 26, exit flow, first Add": "ValueError",
        "p. 28, Algorithm 3, exit flow, Add": "ValueError",
        "p. 26, exit flow, first Add, parenthesis": "SyntaxError",
        "p. 26, exit flow, second Add with the same residual": "ValueError",
        "p. 28, Algorithm 3, no output layer": "ValueError",
    }
    assert all(fault.message and "\n" not in fault.message for fault in faults)
    assert [fault.where for fault in faults if fault.is_reading] == [
        "p. 25, eq. 24 on the four-channel input layer",
        "p. 25, input of depth 4, alpha removed",
        "p. 28, Algorithm 3, no output layer",
    ]


def test_the_messages_are_the_same_at_a_second_call():
    assert printed_network.printed_faults() == printed_network.printed_faults()


def test_a_construction_that_runs_is_reported_and_not_hidden(monkeypatch):
    monkeypatch.setattr(printed_network, "_constructions", lambda: (("p. 0", "1 + 1", lambda: 1 + 1),))
    assert printed_network.printed_faults()[0].error == "none"
