"""Checks that take a network: counted by hand on small layers, and by Keras where it counts too."""

import subprocess
import sys

import numpy as np
import pytest

from pdlib import network_checks as checks
from pdlib import networks, paths
from pdlib.networks import keras, layers


def test_importing_the_module_does_not_import_tensorflow():
    code = "import sys, pdlib.network_checks; print('tensorflow' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


def test_multiplications_of_single_layers_by_hand():
    picture = keras.Input((8, 8, 3))
    found = {
        "conv": layers.Conv2D(4, 3, strides=2, padding="same"),
        "depthwise": layers.DepthwiseConv2D(3, padding="same"),
        "pointwise": layers.Conv2D(5, 1),
        "separable": layers.SeparableConv2D(5, 3, padding="same"),
        "norm": layers.BatchNormalization(),
    }
    for layer in found.values():
        layer(picture)
    count = {name: checks.multiplications([layer]) for name, layer in found.items()}
    assert count["conv"] == 4 * 4 * (3 * 3 * 3 * 4)
    assert count["depthwise"] == 8 * 8 * (3 * 3 * 3)
    assert count["separable"] == count["depthwise"] + count["pointwise"] == 8 * 8 * (27 + 15)
    assert count["norm"] == 0


def test_multiplications_of_a_dense_layer_after_pooling_by_hand():
    picture = keras.Input((8, 8, 3))
    model = keras.Model(picture, layers.Dense(2)(layers.GlobalAveragePooling2D()(picture)))
    assert checks.multiplications(model.layers) == 3 * 2


def test_separable_and_ordinary_weights_are_those_keras_makes():
    for row, (inwards, outwards) in zip(checks.separable().itertuples(), checks.SEPARABLE, strict=True):
        picture = keras.Input((4, 4, inwards))
        parts = [
            layers.SeparableConv2D(outwards, 3, use_bias=False),
            layers.Conv2D(outwards, 3, use_bias=False),
        ]
        for part in parts:
            part(picture)
        assert [row.separable, row.ordinary] == [part.count_params() for part in parts]


def test_alpha_adds_the_weights_that_the_first_layer_of_the_printed_network_would_have_more():
    first = next(
        layer for layer in networks.CustNetConfig(32, 1.0).build().layers if type(layer).__name__ == "Conv2D"
    )
    with_alpha = layers.Conv2D(first.filters, first.kernel_size)
    with_alpha(keras.Input((32, 32, 4)))
    assert checks.alpha_weights() == with_alpha.count_params() - first.count_params()


def test_xception_is_counted_with_the_halves_of_its_separable_layers():
    found = checks.xception_size()
    assert found == {"side": 299, "layers": 71, "separable": 34, "beside": 4}
    assert found["separable"] + 2 == 36  # the convolutional layers that its author counts


def test_the_cost_leaves_out_repairs_and_grows_with_blocks_and_area(monkeypatch):
    monkeypatch.setattr(networks, "PRINTED_SIZE", {"text": 72})
    found = checks.network_cost()
    assert found["middle blocks"].tolist() == [1, 8]
    block = 3 * (9 * 128 + 128 * 128) * 36**2  # three separable layers on the halved picture
    assert found["multiply–adds as printed"].diff().iloc[1] == 7 * block
    repairs = 36**2 * 64 * 128 + 18**2 * 1024 * 244 + 9**2 * 1024 * 728
    # the second projection of the text halves the picture again
    assert (found["repaired"] - found["multiply–adds as printed"]).tolist() == [repairs] * 2
    assert (found["weights"] < found["Xception's weights"]).all()
    assert np.allclose(
        found["as printed over Xception"], found["multiply–adds as printed"] / found["Xception's"]
    )


def test_the_filters_of_the_last_layer_do_not_fit_the_picture():
    row = checks.last_filters().iloc[0]
    assert (row["channels of the picture"], row["channels they need"]) == (3, 728)
    assert row["outcome"].startswith("cannot be applied")


def test_one_set_of_weights_takes_every_shape():
    found = checks.rectangle(((32, 32, 3), (16, 48, 3), (20, 60, 3)))
    assert found["weights"].nunique() == 1 and found["classes out"].tolist() == [2, 2, 2]


def test_algorithm_2_fails_with_each_further_name_and_in_the_end_because_a_module_is_called():
    said = checks.algorithm_2()["what Python says"]
    assert [text.partition(":")[0] for text in said] == ["NameError", "NameError", "TypeError"]
    assert "not callable" in said.iloc[-1]


@pytest.mark.parametrize("line", ["img = 1", "img = size[0]"])
def test_a_line_that_can_run_would_be_found_to_run(line, monkeypatch):
    monkeypatch.setattr(checks, "ALGORITHM_2", line)
    assert set(checks.algorithm_2()["what Python says"]) == {"it runs"}
