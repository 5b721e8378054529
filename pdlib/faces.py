"""Synthetic faces of which one side droops: pictures with a known class and a known place to look.

The second source notebook sorts photographs of faces by the side that a stroke has weakened. Nobody's face
is needed to try what it does: these are drawn from a few dozen random numbers each and are SYNTHETIC. They
are schematic, and what holds for them need not hold for a photograph.

The classes are the sides *as the viewer sees them*: in a face of class Left, the half towards the left edge
of the picture droops, which is the drawn person's own right. The notebook uses both meanings without saying
which.

What droops follows the lower and upper face in a weakness of the facial nerve: the corner of the mouth
sinks, the lids close, the brow is lower and flatter, and the fold between nose and mouth is smoothed out.
Both halves also differ a little in every face, so that no mere asymmetry gives the side away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from scipy.ndimage import binary_dilation

from pdlib.errors import ParameterError
from pdlib.picture_sets import PictureSet

CLASSES = ("Left", "Right")  # by label; the viewer's sides
SIZES = (32, 512)  # pixels
MAX_FACES = 10_000
STRENGTH = (0.5, 1.0)  # range of the droop in `faces`
MASK_MARGIN = 1 / 48  # of the picture's side, around the pixels that the droop changes
SUPERSAMPLING = 4
HEAD = 0.36  # half the head's height, of the picture's side; the unit of length in the face

_SKINS = ((255, 226, 205), (243, 205, 175), (222, 178, 140), (188, 140, 102), (146, 101, 70), (104, 70, 50))
_HAIRS = ((32, 26, 24), (62, 42, 30), (104, 70, 42), (160, 118, 66), (214, 184, 124), (150, 150, 152))
_IRISES = ((74, 48, 30), (104, 80, 44), (86, 112, 76), (84, 124, 158), (112, 124, 132))
_LIP = (188, 74, 80)
_WHITE = (244, 242, 238)
_HAIR_STYLES = ("cropped", "short", "long")

Colour = tuple[float, float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Half:
    """What one half of a face looks like; lengths in half head heights, y downwards.

    Attributes
    ----------
    corner : float
        How far the corner of the mouth lies below where a symmetric mouth would have it.
    opening : float
        How far the lids are open, 1 = as in the middle of all faces.
    eye : float
        How far the eye lies below its usual place.
    brow : float
        The same for the brow.
    arch : float
        Curvature of the brow, 1 = usual.
    slope : float
        How much lower the brow's outer end lies than its inner one.
    fold : float
        Depth of the fold between nose and mouth, 1 = usual.
    sag : float
        Depth of the shadow below the corner of the mouth.
    """

    corner: float
    opening: float
    eye: float
    brow: float
    arch: float
    slope: float
    fold: float
    sag: float

    def drooped(self, strength: float) -> Half:
        """The same half, weakened: 0 = not at all, 1 = hardly any tone left."""
        return Half(
            corner=self.corner + 0.13 * strength,
            opening=self.opening * (1 - 0.48 * strength),
            eye=self.eye + 0.015 * strength,
            brow=self.brow + 0.075 * strength,
            arch=self.arch * (1 - 0.8 * strength),
            slope=self.slope + 0.05 * strength,
            fold=self.fold * (1 - 0.9 * strength),
            sag=self.sag + 0.5 * strength,
        )


@dataclass(frozen=True)
class Face:
    """The true values behind one face without any droop.

    Lengths are in half head heights, x to the right and y down from the middle of the face; ``centre_x`` and
    ``centre_y`` are in picture sides from the upper left corner, ``tilt`` is in degrees, clockwise as seen.
    Everything that has a left and a right is drawn from a distribution that has none.
    """

    centre_x: float
    centre_y: float
    scale: float
    tilt: float
    turn: float  # shift of all features towards one side of the head
    width: float
    jaw: float  # exponent of the lower outline: the higher, the squarer
    eyes_apart: float
    eye_width: float
    eye_height: float
    iris: float
    brow_height: float
    brow_weight: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lips: float
    smile: float
    style: str
    parting: float
    glasses: bool
    light_x: float  # change of brightness from the middle to the edge
    light_y: float
    exposure: float
    skin: Colour = field(repr=False)
    hair: Colour = field(repr=False)
    iris_colour: Colour = field(repr=False)
    shirt: Colour = field(repr=False)
    background: tuple[Colour, Colour] = field(repr=False)  # at both ends of a gradient
    background_angle: float
    grain: int  # seed of the camera's noise
    halves: tuple[Half, Half] = field(repr=False)  # the viewer's left and right

    def mirrored(self) -> Face:
        """The face as a mirror shows it."""
        return replace(
            self,
            centre_x=1 - self.centre_x,
            tilt=-self.tilt,
            turn=-self.turn,
            parting=-self.parting,
            light_x=-self.light_x,
            background_angle=np.pi - self.background_angle,
            halves=self.halves[::-1],
        )


@dataclass(frozen=True)
class Faces:
    """Faces with a known drooping side.

    Attributes
    ----------
    set : PictureSet
        Names FACE-001 …, labels 0 = Left and 1 = Right, pictures uint8 (n, size, size, 3).
    masks : ndarray of bool, shape (n, size, size)
        The true region: pixels that the droop changes, and a narrow margin around them.
    class_names : (str, str)
        By label; the sides as the viewer sees them.
    truth : DataFrame
        One row per face: ``name``, ``label``, ``side``, ``strength`` of the droop, and the scalar fields of
        `Face`.
    source : str
        One sentence: that these are drawn.
    """

    set: PictureSet
    masks: NDArray[np.bool_]
    class_names: tuple[str, str]
    truth: pd.DataFrame
    source: str

    def __len__(self) -> int:
        return len(self.set)

    def take(self, names: Sequence[str]) -> Faces:
        """The faces of these names, in this order, with their masks and true values."""
        chosen = self.set.take(names)
        where = {name: row for row, name in enumerate(self.set.names)}
        rows = [where[name] for name in names]
        return replace(
            self, set=chosen, masks=self.masks[rows], truth=self.truth.iloc[rows].reset_index(drop=True)
        )


# ── drawing the numbers ────────────────────────────────────────────────────────────────────────────────
def draw_face(seed: int | np.random.Generator) -> Face:
    """Draw the true values of one face, without any droop.

    Parameters
    ----------
    seed : int or Generator
        Where the randomness comes from.
    """
    rng = np.random.default_rng(seed)

    def about(middle: float, spread: float) -> float:
        return float(middle + spread * np.clip(rng.standard_normal(), -2, 2))

    def any_colour(low: float, high: float, share: float) -> Colour:
        """A grey with this share of a colour in it."""
        grey, colour = rng.uniform(low, high), rng.uniform(low, high, 3)
        return tuple(float((1 - share) * grey + share * level) for level in colour)

    def one_of(colours: Sequence[Colour], spread: float) -> Colour:
        place = rng.uniform(0, len(colours) - 1)
        below = np.array(colours[int(place)], dtype=float)
        above = np.array(colours[min(int(place) + 1, len(colours) - 1)], dtype=float)
        mixed = below + (place - int(place)) * (above - below) + about(0, spread)
        return tuple(float(level) for level in np.clip(mixed, 0, 255))

    def half() -> Half:
        return Half(
            corner=about(0, 0.016),
            opening=about(1, 0.07),
            eye=about(0, 0.007),
            brow=about(0, 0.016),
            arch=about(1, 0.15),
            slope=about(0, 0.012),
            fold=about(1, 0.15),
            sag=about(0.15, 0.06),
        )

    skin, angle, light = one_of(_SKINS, 5), rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.28)
    backdrop = any_colour(60, 225, 0.45)
    return Face(
        centre_x=about(0.5, 0.015),
        centre_y=about(0.53, 0.012),
        scale=about(1.0, 0.035),
        tilt=about(0, 3.0),
        turn=about(0, 0.022),
        width=about(0.75, 0.035),
        jaw=about(2.15, 0.17),
        eyes_apart=about(0.335, 0.016),
        eye_width=about(0.135, 0.009),
        eye_height=about(0.062, 0.006),
        iris=about(0.062, 0.004),
        brow_height=about(0.225, 0.018),
        brow_weight=about(0.034, 0.007),
        nose_width=about(0.125, 0.014),
        nose_length=about(0.27, 0.025),
        mouth_width=about(0.27, 0.02),
        mouth_height=about(0.545, 0.02),
        lips=about(0.062, 0.011),
        smile=about(0.03, 0.025),
        style=_HAIR_STYLES[int(rng.integers(len(_HAIR_STYLES)))],
        parting=float(rng.uniform(-1, 1)),
        glasses=bool(rng.random() < 0.15),
        light_x=float(light * np.cos(angle)),
        light_y=float(light * np.sin(angle)),
        exposure=about(0.96, 0.05),
        skin=skin,
        hair=one_of(_HAIRS, 5),
        iris_colour=one_of(_IRISES, 5),
        shirt=any_colour(30, 200, 0.8),
        background=(backdrop, _mix(backdrop, any_colour(60, 225, 0.45), 0.3)),
        background_angle=float(rng.uniform(0, 2 * np.pi)),
        grain=int(rng.integers(2**32)),
        halves=(half(), half()),
    )


# ── drawing the picture ────────────────────────────────────────────────────────────────────────────────
class _Canvas:
    """A picture several times too large, on which shapes are drawn in the face's own lengths."""

    def __init__(self, face: Face, size: int) -> None:
        self.side = size * SUPERSAMPLING
        self.unit = HEAD * face.scale * self.side
        turn = np.deg2rad(face.tilt)
        self.turn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self.centre = np.array([face.centre_x, face.centre_y]) * self.side
        self.image = Image.fromarray(_backdrop(face, size)).resize(
            (self.side, self.side), Image.Resampling.NEAREST
        )

    def place(self, points: Points) -> Points:
        return np.asarray(points, dtype=float) @ self.turn * self.unit + self.centre

    def fill(self, points: Points, colour: Colour) -> None:
        ImageDraw.Draw(self.image).polygon(_pairs(self.place(points)), fill=_bytes(colour))

    def stroke(self, points: Points, width: float | Points, colour: Colour) -> None:
        self.fill(_ribbon(points, width), colour)

    def shade(
        self, points: Points, colour: Colour, opacity: float, blur: float, within: Points | None = None
    ) -> None:
        """Fill a shape with soft edges, only inside another where given; ``blur`` in the face's lengths."""
        placed, radius = self.place(points), blur * self.unit
        box = self._around(placed, 3 * radius + 2)
        cover = _cover(placed, box, 255 * min(max(opacity, 0.0), 1.0)).filter(
            ImageFilter.GaussianBlur(radius)
        )
        if within is not None:
            cover = ImageChops.multiply(cover, _cover(self.place(within), box, 255))
        self.image.paste(_bytes(colour), box, cover)

    def inside(self, points: Points, shapes: Sequence[tuple[Points, Colour]]) -> None:
        """Draw shapes as seen through an opening."""
        opening = self.place(points)
        box = self._around(opening, 2)
        behind = self.image.crop(box)
        for shape, colour in shapes:
            ImageDraw.Draw(behind).polygon(_pairs(self.place(shape) - box[:2]), fill=_bytes(colour))
        self.image.paste(behind, box, _cover(opening, box, 255))

    def _around(self, placed: Points, margin: float) -> tuple[int, int, int, int]:
        """Box of whole pixels around placed points; shapes are small, and the picture is large."""
        low = np.clip(np.floor(placed.min(axis=0) - margin), 0, self.side - 1)
        high = np.clip(np.ceil(placed.max(axis=0) + margin), low + 1, self.side)
        return tuple(int(edge) for edge in (*low, *high))


def _cover(placed: Points, box: tuple[int, int, int, int], level: float) -> Image.Image:
    cover = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    ImageDraw.Draw(cover).polygon(_pairs(placed - box[:2]), fill=round(level))
    return cover


def _pairs(points: Points) -> list[tuple[float, float]]:
    return list(map(tuple, points.tolist()))


def _bytes(colour: Colour) -> tuple[int, int, int]:
    return tuple(min(max(round(level), 0), 255) for level in colour)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return tuple((1 - share) * a + share * b for a, b in zip(first, second, strict=True))


def _darker(colour: Colour, factor: float) -> Colour:
    return tuple(factor * level for level in colour)


def _across(side: int) -> tuple[NDArray, NDArray]:
    """Columns and rows of a picture from −1 at the left and upper to 1 at the right and lower edge."""
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    return steps[np.newaxis, :], steps[:, np.newaxis]


def _backdrop(face: Face, side: int) -> NDArray[np.uint8]:
    columns, rows = _across(side)
    angle = face.background_angle
    share = (0.5 + 0.35 * (np.cos(angle) * columns + np.sin(angle) * rows))[..., np.newaxis]
    first, second = (np.array(colour) for colour in face.background)
    return np.rint((1 - share) * first + share * second).clip(0, 255).astype(np.uint8)


def _oval(x: float, y: float, across: float, down: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 49)[:-1]
    return np.column_stack([x + across * np.cos(angle), y + down * np.sin(angle)])


def _ribbon(points: Points, width: float | Points) -> Points:
    """Outline of a line of this width (one number, or one per point)."""
    points = np.asarray(points, dtype=float)
    along = np.gradient(points, axis=0)
    normal = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, np.newaxis]
    half = np.broadcast_to(np.asarray(width, dtype=float) / 2, len(points))[:, np.newaxis]
    return np.concatenate([points + half * normal, (points - half * normal)[::-1]])


def _outline(face: Face, grow: float = 1.0) -> Points:
    """The head: an ellipse above, a squarer or more pointed curve below."""
    angle = np.linspace(0, 2 * np.pi, 121)[:-1]
    across, down = np.cos(angle), np.sin(angle)
    power = np.where(down > 0, 2 / face.jaw, 1.0)
    x = np.sign(across) * np.abs(across) ** power * face.width
    y = np.sign(down) * np.abs(down) ** power
    return grow * np.column_stack([x, y])


def render(face: Face, size: int, *, side: int | None = None, strength: float = 0.0) -> NDArray[np.uint8]:
    """Draw one face.

    Parameters
    ----------
    face : Face
        What `draw_face` returns.
    size : int
        Side of the picture in pixels.
    side : {0, 1}, optional
        Which half droops, 0 = the viewer's left; neither unless given.
    strength : float
        Of the droop, 0 to 1.

    Returns
    -------
    uint8 array, shape (size, size, 3)
        The same arguments give the same bytes.

    Raises
    ------
    ParameterError
        When size, side or strength is out of range.
    """
    size = _checked_size(size)
    if isinstance(side, bool) or side not in (None, 0, 1):
        raise ParameterError(f"side = {side!r}", "0 is the viewer's left, 1 the viewer's right, None neither")
    if not 0 <= strength <= 1:
        raise ParameterError(f"strength = {strength!r}", "give a number from 0 to 1")
    halves = list(face.halves)
    if side is not None:
        halves[side] = halves[side].drooped(strength)
    canvas = _Canvas(face, size)
    _draw_head(canvas, face)
    for sign, half in zip((-1, 1), halves, strict=True):
        _draw_half(canvas, face, sign, half)
    _draw_nose(canvas, face)
    _draw_mouth(canvas, face, halves)
    _draw_fringe(canvas, face)
    if face.glasses:
        _draw_glasses(canvas, face)
    return _photograph(canvas.image, face, size)


def _photograph(image: Image.Image, face: Face, size: int) -> NDArray[np.uint8]:
    """Average down, light from one direction, and add the grain of a camera."""
    levels = np.asarray(image.reduce(SUPERSAMPLING), dtype=float)
    columns, rows = _across(size)
    light = face.exposure * (1 + face.light_x * columns + face.light_y * rows)
    grain = 2.0 * np.random.default_rng(face.grain).standard_normal((size, size, 1))
    return np.rint(np.clip(levels * light[..., np.newaxis] + grain, 0, 255)).astype(np.uint8)


def _draw_head(canvas: _Canvas, face: Face) -> None:
    skin, w = face.skin, face.width
    if face.style == "long":
        canvas.fill(_oval(0, 0.1, 1.22 * w, 1.26), face.hair)
    canvas.fill(_oval(0, 2.0, 1.5, 0.95), face.shirt)
    neck = np.array([(-0.42, 0.6), (0.42, 0.6), (0.46, 1.35), (0, 1.5), (-0.46, 1.35)])
    canvas.fill(neck, _darker(skin, 0.86))
    canvas.shade(_oval(0, 1.0, 0.42, 0.18), _darker(skin, 0.55), 0.55, 0.05)
    for sign in (-1, 1):
        canvas.fill(_oval(sign * 0.99 * w, 0.02, 0.1, 0.2), _darker(skin, 0.93))
        canvas.fill(_oval(sign * 1.0 * w, 0.02, 0.05, 0.12), _darker(skin, 0.78))
    head = _outline(face)
    canvas.fill(head, skin)
    rim = _ribbon(np.concatenate([head, head[:2]]), 0.08)
    canvas.shade(rim, _darker(skin, 0.7), 0.45, 0.05, within=head)
    for sign in (-1, 1):
        x = face.turn + sign * 0.44 * w / 0.75
        canvas.shade(_oval(x, 0.3, 0.16, 0.12), _mix(skin, _LIP, 0.5), 0.3, 0.07)


def _draw_fringe(canvas: _Canvas, face: Face) -> None:
    """Hair in front of the head: from one temple over the top to the other, and back along the hairline."""
    w = face.width
    thick = {"cropped": 1.03, "short": 1.12, "long": 1.14}[face.style]
    temple = {"cropped": -0.35, "short": -0.12, "long": 0.25}[face.style]
    line = {"cropped": -0.74, "short": -0.66, "long": -0.62}[face.style]
    start = np.arcsin(np.clip(temple / thick, -1, 1))
    angle = np.linspace(np.pi - start, 2 * np.pi + start, 61)
    outer = thick * np.column_stack([w * np.cos(angle), np.sin(angle)])
    u = np.linspace(1, -1, 61)
    edge = w * 0.97 * np.sqrt(1 - np.clip(temple, -1, 1) ** 2)
    # A parting lets the hair hang lower on one side of the forehead than on the other.
    low = line + 0.09 * face.parting * np.sin(np.pi * u / 2)
    inner = np.column_stack([edge * u, low + (temple - low) * np.abs(u) ** 5])
    canvas.fill(np.concatenate([outer, inner]), face.hair)
    canvas.shade(
        _ribbon(thick * 0.9 * np.column_stack([w * np.cos(angle), np.sin(angle)])[18:43], 0.06),
        _mix(face.hair, _WHITE, 0.6), 0.35, 0.04,
    )  # fmt: skip


def _draw_half(canvas: _Canvas, face: Face, sign: int, half: Half) -> None:
    """Eye, brow and fold of one half; ``sign`` is −1 for the viewer's left."""
    skin = face.skin
    u = np.linspace(-1, 1, 41)  # from the inner to the outer corner of the eye
    x = face.turn + sign * (face.eyes_apart + face.eye_width * u)
    middle = -0.1 + half.eye
    bow = 1 - u**2
    corner_line = middle - 0.012 * u
    upper = corner_line - face.eye_height * half.opening * bow**0.8
    lower = corner_line + 0.75 * face.eye_height * half.opening * bow
    canvas.shade(
        _oval(face.turn + sign * face.eyes_apart, -0.12, 0.19, 0.11),
        _darker(skin, 0.72), 0.35, 0.05,
    )  # fmt: skip
    opening = np.concatenate([np.column_stack([x, upper]), np.column_stack([x, lower])[::-1]])
    centre = (face.turn + sign * face.eyes_apart, middle - 0.006)
    r = face.iris
    canvas.inside(
        opening,
        [
            (_oval(*centre, 0.3, 0.2), _WHITE),
            (_oval(*centre, r, r), _darker(face.iris_colour, 0.6)),
            (_oval(*centre, 0.82 * r, 0.82 * r), face.iris_colour),
            (_oval(*centre, 0.42 * r, 0.42 * r), (16, 14, 14)),
            (_oval(centre[0], centre[1] - 0.4 * r, 0.2 * r, 0.2 * r), _WHITE),
        ],
    )
    canvas.stroke(np.column_stack([x, upper]), 0.024, _darker(skin, 0.22))
    canvas.stroke(np.column_stack([x, lower])[4:-4], 0.011, _darker(skin, 0.5))
    crease = np.column_stack([x, 0.55 * upper + 0.45 * (corner_line - 0.13) - 0.005])
    canvas.shade(_ribbon(crease[3:-3], 0.014), _darker(skin, 0.5), 0.6, 0.008)
    bag = np.column_stack([x, lower + 0.055])
    canvas.shade(_ribbon(bag[6:-6], 0.018), _darker(skin, 0.62), 0.4, 0.012)
    v = np.linspace(0, 1, 31)
    brow = np.column_stack(
        [
            face.turn + sign * (face.eyes_apart - 0.17 + 0.38 * v),
            -0.1 - face.brow_height + half.brow + half.slope * v - 0.075 * half.arch * np.sin(np.pi * v**1.2),
        ]
    )
    weight = face.brow_weight * 2 * (1 - 0.75 * v**1.5) * np.minimum(1, 0.6 + 4 * v)
    canvas.stroke(brow, weight, _mix(_darker(face.hair, 0.7), skin, 0.12))
    fold = np.column_stack(
        [
            face.turn + sign * (face.nose_width + 0.045 + (face.mouth_width - 0.06) * v**1.3),
            0.13 + face.nose_length * 0.15 + 0.37 * v,
        ]
    )
    taper = 0.012 + 0.02 * np.sin(np.pi * v)
    canvas.shade(_ribbon(fold, taper), _darker(skin, 0.42), 0.5 * half.fold, 0.012)


def _draw_nose(canvas: _Canvas, face: Face) -> None:
    skin, w, tip = face.skin, face.nose_width, -0.02 + face.nose_length
    x = 1.5 * face.turn
    v = np.linspace(0, 1, 21)
    for sign in (-1, 1):
        bridge = np.column_stack([x + sign * (0.075 + 0.25 * w * v**2), -0.12 + (tip - 0.02) * v])
        canvas.shade(_ribbon(bridge, 0.03), _darker(skin, 0.7), 0.3, 0.02)
        angle = np.linspace(-0.9, 1.9, 21)
        wing = np.column_stack(
            [x + sign * (w - 0.05 + 0.05 * np.cos(angle)), tip - 0.03 + 0.055 * np.sin(angle)]
        )
        canvas.shade(_ribbon(wing, 0.016), _darker(skin, 0.45), 0.75, 0.006)
        canvas.fill(_oval(x + sign * 0.5 * w, tip + 0.012, 0.03, 0.014), _darker(skin, 0.35))
    canvas.shade(_oval(x, tip + 0.05, 0.8 * w, 0.03), _darker(skin, 0.6), 0.45, 0.02)
    canvas.shade(_oval(x, tip - 0.06, 0.03, 0.04), _mix(skin, (255, 255, 255), 0.6), 0.5, 0.02)


def _draw_mouth(canvas: _Canvas, face: Face, halves: Sequence[Half]) -> None:
    """Both lips; what is particular to a half grows from nothing near the middle to all at the corner."""
    u = np.linspace(-1, 1, 81)
    pull = np.clip((np.abs(u) - 0.42) / 0.58, 0, 1) ** 1.2
    corner = np.where(u < 0, halves[0].corner, halves[1].corner)
    x = face.turn + face.mouth_width * u
    line = face.mouth_height - face.smile * u**2 + corner * pull
    bow = np.clip(1 - u**2, 0, 1)
    upper = line - face.lips * bow**0.9 * (1 - 0.3 * np.exp(-((u / 0.16) ** 2)))
    lower = line + 1.3 * face.lips * bow**0.8
    lip = _mix(face.skin, _LIP, 0.5)
    canvas.shade(
        _oval(face.turn, face.mouth_height + 0.125, 0.6 * face.mouth_width, 0.025),
        _darker(face.skin, 0.6), 0.4, 0.02,
    )  # fmt: skip
    for edge, colour in ((upper, _darker(lip, 0.88)), (lower, lip)):
        canvas.fill(np.concatenate([np.column_stack([x, line]), np.column_stack([x, edge])[::-1]]), colour)
    width = 0.012 + 0.008 * bow
    canvas.stroke(np.column_stack([x, line]), width, _darker(lip, 0.42))
    v = np.linspace(0, 1, 15)
    for sign, half, end in ((-1, halves[0], line[0]), (1, halves[1], line[-1])):
        shadow = np.column_stack(
            [face.turn + sign * (face.mouth_width + 0.012 + 0.02 * v), end + 0.01 + 0.16 * v]
        )
        canvas.shade(_ribbon(shadow, 0.022 * (1 - 0.6 * v)), _darker(face.skin, 0.42), half.sag, 0.01)


def _draw_glasses(canvas: _Canvas, face: Face) -> None:
    colour = (40, 38, 42)
    for sign in (-1, 1):
        rim = _oval(face.turn + sign * face.eyes_apart, -0.085, 0.225, 0.165)
        canvas.stroke(np.concatenate([rim, rim[:2]]), 0.024, colour)
        temple = np.array(
            [(face.turn + sign * (face.eyes_apart + 0.225), -0.11), (sign * 0.97 * face.width, -0.13)]
        )
        canvas.stroke(temple, 0.026, colour)
    gap = face.eyes_apart - 0.225
    v = np.linspace(-1, 1, 11)
    canvas.stroke(np.column_stack([face.turn + gap * v, -0.1 - 0.02 * (1 - v**2)]), 0.022, colour)


# ── a set of faces ─────────────────────────────────────────────────────────────────────────────────────
def faces(n: int, *, size: int = 96, seed: int = 0, strength: tuple[float, float] = STRENGTH) -> Faces:
    """Draw faces of which one side droops, as many to the left as to the right.

    Parameters
    ----------
    n : int
        Number of faces, 2 or more; the classes are equal, or differ by one where it is odd. A face does not
        depend on how many there are.
    size : int
        Side of the pictures in pixels.
    seed : int
        Fixes every pixel.
    strength : (float, float)
        Lowest and highest strength of the droop, within 0 (excluded) and 1. At 1 the corner of the mouth
        sinks by 6 % of the head's height, and the lids are half closed.

    Returns
    -------
    Faces

    Raises
    ------
    ParameterError
        When an argument is out of range.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 2 <= n <= MAX_FACES:
        raise ParameterError(f"n = {n!r}", f"give a number of faces from 2 to {MAX_FACES}")
    size = _checked_size(size)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ParameterError(f"seed = {seed!r}", "a seed is a whole number of 0 or more")
    if np.shape(strength) != (2,) or not 0 < strength[0] <= strength[1] <= 1:
        raise ParameterError(
            f"strength = {strength!r}", "give a lowest and a highest strength above 0 and up to 1"
        )
    low, high = strength
    names = tuple(f"FACE-{index + 1:03d}" for index in range(n))
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    masks = np.empty((n, size, size), dtype=bool)
    rows = []
    for index, name in enumerate(names):
        rng = np.random.default_rng([seed, index])
        face = draw_face(rng)
        label, share = _label(seed, index), float(low + (high - low) * rng.random())
        pictures[index] = render(face, size, side=label, strength=share)
        masks[index] = true_region(pictures[index], render(face, size))
        rows.append(
            {"name": name, "label": label, "side": CLASSES[label], "strength": share} | _scalars(face)
        )
    return Faces(
        PictureSet(names, np.array([row["label"] for row in rows]), pictures),
        masks,
        CLASSES,
        pd.DataFrame(rows),
        f"SYNTHETIC: {n} drawn faces with a known drooping side (seed {seed}); nobody looks like this.",
    )


def true_region(drooped: NDArray[np.uint8], plain: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels in which two pictures (size, size, 3) differ, with a margin of 1/48 of the side around them."""
    reach = max(1, round(MASK_MARGIN * len(drooped)))
    columns, rows = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return binary_dilation((drooped != plain).any(axis=-1), structure=columns**2 + rows**2 <= reach**2)


def _label(seed: int, index: int) -> int:
    # Each pair of neighbours holds one face of either class, in an order left to chance.
    return int(np.random.default_rng([seed, index // 2, 1]).integers(2)) ^ (index % 2)


def _scalars(face: Face) -> dict[str, object]:
    values = {item.name: getattr(face, item.name) for item in fields(face)}
    return {name: value for name, value in values.items() if isinstance(value, str | float | int | bool)}


def _checked_size(size: int) -> int:
    low, high = SIZES
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not low <= size <= high:
        raise ParameterError(f"size = {size!r}", f"give a side in pixels from {low} to {high}")
    return int(size)
