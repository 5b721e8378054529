"""The drawn faces: the droop is where the mask says, on the side the label says, and nothing else tells."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pdlib.errors import DataError, ParameterError
from pdlib.faces import HEAD, Half, draw_face, faces, render

SEED, MANY, SMALL = 4, 300, 32


def plain_face(seed: int, index: int):
    """The face behind a picture of the set, before any droop."""
    return draw_face(np.random.default_rng([seed, index]))


def along_face(row, size: int) -> np.ndarray:
    """Signed distance of each pixel's middle from the face's midline, in half head heights; (size, size)."""
    middle = (np.arange(size) + 0.5) / size
    x, y = middle[None, :] - row.centre_x, middle[:, None] - row.centre_y
    tilt = np.deg2rad(row.tilt)
    return (x * np.cos(tilt) + y * np.sin(tilt)) / (HEAD * row.scale) - row.turn


def auc_of(features: np.ndarray, labels: np.ndarray) -> float:
    """Out-of-fold AUC of a logistic regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    score = cross_val_predict(model, features, labels, cv=5, method="decision_function")
    return roc_auc_score(labels, score)


def pooled_difference(pictures: np.ndarray) -> np.ndarray:
    """Left half minus mirrored right half, in grey, in blocks of 4 × 4 pixels; (n, size² / 32)."""
    grey = pictures.mean(axis=-1)
    n, size, _ = grey.shape
    half = (grey - grey[:, :, ::-1])[:, :, : size // 2]
    return half.reshape(n, size // 4, 4, size // 8, 4).mean(axis=(2, 4)).reshape(n, -1)


@pytest.fixture(scope="module")
def drawn():
    return faces(40, size=96, seed=SEED)


@pytest.fixture(scope="module")
def many():
    return faces(MANY, size=SMALL, seed=SEED)


# ── determinism and form ───────────────────────────────────────────────────────────────────────────────
def test_the_same_arguments_give_the_same_bytes_and_another_seed_others():
    first, second, other = faces(6, size=48, seed=1), faces(6, size=48, seed=1), faces(6, size=48, seed=2)
    np.testing.assert_array_equal(first.set.pictures, second.set.pictures)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert first.truth.equals(second.truth)
    assert (first.set.pictures != other.set.pictures).any(axis=(1, 2, 3)).all()


def test_a_face_does_not_depend_on_how_many_there_are(drawn):
    few = faces(5, size=96, seed=SEED)
    np.testing.assert_array_equal(few.set.pictures, drawn.set.pictures[:5])
    np.testing.assert_array_equal(few.masks, drawn.masks[:5])
    assert few.truth.equals(drawn.truth[:5])


def test_a_face_is_the_same_at_another_size(drawn):
    """Averaged down, the large picture is the small one, but for the camera's grain and the edges' steps."""
    large = faces(2, size=192, seed=SEED).set.pictures.astype(float)
    down = large.reshape(2, 96, 2, 96, 2, 3).mean(axis=(2, 4))
    assert np.abs(down - drawn.set.pictures[:2]).mean() < 3
    assert np.abs(down[::-1] - drawn.set.pictures[:2]).mean() > 15


def test_the_set_has_the_form_of_every_other_picture_set(drawn):
    assert drawn.class_names == ("Left", "Right")
    assert drawn.set.pictures.shape == (40, 96, 96, 3) and drawn.set.pictures.dtype == np.uint8
    assert drawn.masks.shape == (40, 96, 96) and drawn.masks.dtype == bool
    assert drawn.set.names[0] == "FACE-001" and len(set(drawn.set.names)) == len(drawn) == 40
    assert drawn.truth["name"].tolist() == list(drawn.set.names)
    assert drawn.truth["label"].tolist() == drawn.set.labels.tolist()
    assert drawn.truth["side"].tolist() == [drawn.class_names[label] for label in drawn.set.labels]
    assert drawn.truth["strength"].between(0.5, 1).all()
    assert drawn.source.startswith("SYNTHETIC")


@pytest.mark.parametrize("n", [2, 7, 30])
def test_the_classes_are_equal_but_for_an_odd_face(n):
    labels = faces(n, size=32, seed=0).set.labels
    assert abs(int((labels == 0).sum()) - int((labels == 1).sum())) == n % 2


def test_faces_taken_by_name_keep_their_masks_and_truth(drawn):
    taken = drawn.take(["FACE-009", "FACE-002"])
    np.testing.assert_array_equal(taken.masks, drawn.masks[[8, 1]])
    np.testing.assert_array_equal(taken.set.pictures, drawn.set.pictures[[8, 1]])
    assert taken.truth["name"].tolist() == ["FACE-009", "FACE-002"]
    with pytest.raises(DataError, match="FACE-999"):
        drawn.take(["FACE-999"])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n": 1}, "n"), ({"n": 2.0}, "n"), ({"n": True}, "n"), ({"n": 10_001}, "n"),
        ({"size": 31}, "size"), ({"size": 513}, "size"), ({"size": "96"}, "size"),
        ({"seed": -1}, "seed"), ({"seed": None}, "seed"), ({"seed": True}, "seed"),
        ({"strength": (0, 1)}, "strength"), ({"strength": (0.9, 0.5)}, "strength"),
        ({"strength": (0.5, 1.1)}, "strength"), ({"strength": 0.5}, "strength"),
        ({"strength": (0.5, float("nan"))}, "strength"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused_by_name(arguments, name):
    with pytest.raises(ParameterError, match=f"^{name} ="):
        faces(**({"n": 2, "size": 32} | arguments))


def test_a_side_or_strength_that_is_none_is_refused():
    face = draw_face(0)
    for wrong in ({"side": 2, "strength": 1}, {"side": True, "strength": 1}):
        with pytest.raises(ParameterError, match="side"):
            render(face, 32, **wrong)
    with pytest.raises(ParameterError, match="strength"):
        render(face, 32, side=0, strength=1.5)


# ── the mask and the side ──────────────────────────────────────────────────────────────────────────────
def test_the_mask_holds_every_pixel_the_droop_changes_and_little_more(drawn):
    for index in range(20):
        plain = render(plain_face(SEED, index), 96)
        changed = (drawn.set.pictures[index] != plain).any(axis=-1)
        assert changed.any() and drawn.masks[index][changed].all()
        grown = np.pad(changed, 3)
        near = sum(grown[3 + i : 99 + i, 3 + j : 99 + j] for i in range(-3, 4) for j in range(-3, 4)) > 0
        assert not (drawn.masks[index] & ~near).any()
        assert changed.sum() > 0.4 * drawn.masks[index].sum()


@pytest.mark.parametrize(("n", "size", "seed"), [(40, 96, SEED), (40, 32, 1), (40, 48, 2), (6, 224, 3)])
def test_the_mask_is_small_and_on_the_labelled_side_of_the_midline(n, size, seed):
    drawn = faces(n, size=size, seed=seed)
    for row, mask in zip(drawn.truth.itertuples(), drawn.masks, strict=True):
        where = along_face(row, size)[mask]
        inwards = where if row.side == "Right" else -where
        # At 32 pixels the margin alone is a tenth of the face: a quarter of a pixel is let pass there.
        assert inwards.min() > (-0.25 / (32 * HEAD * row.scale) if size == 32 else 0), row.name
        assert 0.03 < mask.mean() < 0.25, row.name
        # Left is the left edge of the picture: the first columns of the array.
        columns = np.flatnonzero(mask.any(axis=0)).mean()
        assert (columns < size / 2) == (row.side == "Left")


def test_the_mask_reaches_from_the_brow_to_the_mouth(drawn):
    for row, mask in zip(drawn.truth.itertuples(), drawn.masks, strict=True):
        rows = (np.flatnonzero(mask.any(axis=1)) / 96 - row.centre_y) / (HEAD * row.scale)
        assert rows.min() < -0.25 and rows.max() > row.mouth_height


def test_a_droop_of_strength_zero_is_none_and_more_strength_changes_more():
    for index in range(5):
        face = plain_face(SEED, index)
        plain = render(face, 64).astype(int)
        np.testing.assert_array_equal(render(face, 64, side=1, strength=0.0), plain)
        change = [np.abs(render(face, 64, side=1, strength=s) - plain).sum() for s in (0.25, 0.5, 0.75, 1.0)]
        assert (np.diff(change) > 0).all()


def test_what_droops_sinks_closes_flattens_and_smooths():
    half = draw_face(0).halves[0]
    weak = half.drooped(1.0)
    assert weak.corner > half.corner and weak.brow > half.brow and weak.eye > half.eye  # y points down
    assert weak.opening < half.opening and weak.arch < half.arch and weak.fold < half.fold
    assert half.drooped(0.0) == half


# ── nothing else tells ─────────────────────────────────────────────────────────────────────────────────
def test_a_mirrored_face_is_drawn_as_the_mirrored_picture():
    """So no step of the drawing favours a side. Grain is averaged out over blocks of 8 × 8 pixels."""
    for index in range(12):
        face, side = plain_face(7, index), index % 2
        picture = render(face, 96, side=side, strength=0.8).astype(float)
        mirror = render(face.mirrored(), 96, side=1 - side, strength=0.8).astype(float)
        difference = (picture - mirror[:, ::-1]).reshape(12, 8, 12, 8, 3).mean(axis=(1, 3))
        assert np.abs(difference).max() < 2.5, index
        assert face.mirrored().halves == face.halves[::-1]


def test_what_has_a_left_and_a_right_is_even_over_many_faces():
    """Means of 1000 faces within four standard errors of no side at all."""
    many = [draw_face(seed) for seed in range(1000)]
    uneven = {
        "centre": [face.centre_x - 0.5 for face in many],
        "tilt": [face.tilt for face in many],
        "turn": [face.turn for face in many],
        "parting": [face.parting for face in many],
        "light": [face.light_x for face in many],
        "background": [np.cos(face.background_angle) for face in many],
    } | {
        name: [getattr(face.halves[0], name) - getattr(face.halves[1], name) for face in many]
        for name in vars(many[0].halves[0])
    }
    for name, values in uneven.items():
        assert np.std(values) > 0, name
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values)), name


def test_both_halves_differ_in_every_face_by_less_than_the_droop():
    """Asymmetry alone is no sign: it is everywhere, and in any one feature it can pass for a weak droop."""
    many = [draw_face(seed) for seed in range(300)]
    zero = Half(0, 1, 0, 0, 1, 0, 1, 0)
    for name in ("corner", "opening", "brow", "arch", "fold"):
        weak = abs(getattr(zero.drooped(0.5), name) - getattr(zero, name))
        differences = np.abs([getattr(f.halves[0], name) - getattr(f.halves[1], name) for f in many])
        assert 0.15 * weak < np.median(differences) < 0.75 * weak, name
    assert all(face.halves[0] != face.halves[1] for face in many)


def test_corners_light_and_pose_give_no_side_away(many):
    """AUC within about four standard errors (0.033 each at 150 and 150) of a coin."""
    pictures, labels = many.set.pictures.astype(float), many.set.labels
    edge = SMALL // 8
    corners = [
        pictures[:, a, b]
        for a in (slice(edge), slice(-edge, None))
        for b in (slice(edge), slice(-edge, None))
    ]
    shortcuts = {
        "mean colour of the corners": np.concatenate([c.mean(axis=(1, 2)) for c in corners], axis=1),
        "mean colour": pictures.mean(axis=(1, 2)),
        "spread": pictures.std(axis=(1, 2)),
        "light and pose": many.truth[
            ["light_x", "light_y", "tilt", "turn", "centre_x", "parting"]
        ].to_numpy(),
        "asymmetry without its sign": np.abs(pooled_difference(pictures)),
        "strength": many.truth[["strength"]].to_numpy(),
    }
    for name, features in shortcuts.items():
        assert auc_of(features, labels) == pytest.approx(0.5, abs=0.12), name


def test_the_side_can_be_read_off_held_out_faces_and_only_from_the_droop(many):
    labels = many.set.labels
    assert auc_of(pooled_difference(many.set.pictures.astype(float)), labels) > 0.9
    plain = np.stack([render(plain_face(SEED, index), SMALL) for index in range(MANY)]).astype(float)
    assert auc_of(pooled_difference(plain), labels) == pytest.approx(0.5, abs=0.12)


def test_the_masked_pixels_alone_carry_the_side(many):
    """Every pixel that is in any face's mask, or mirrors one, is hidden in all: so the hole tells nothing."""
    hidden = (many.masks | many.masks[:, :, ::-1]).any(axis=0)
    assert hidden.mean() < 0.5
    covered = np.where(hidden[..., np.newaxis], 128.0, many.set.pictures)
    assert auc_of(pooled_difference(covered), many.set.labels) == pytest.approx(0.5, abs=0.12)
