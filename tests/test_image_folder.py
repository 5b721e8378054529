"""Two folders of pictures: what is read is what was written, and what cannot be trusted is refused by name."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pdlib.errors import DataError, ParameterError, WriteError
from pdlib.image_folder import read_image, read_image_folder, write_image_folder
from pdlib.picture_sets import PictureSet

CLASSES = ("Left", "Right")


def colours(seed: int, height: int = 40, width: int = 40) -> np.ndarray:
    """A smooth picture of its own, so that resizing and JPEG change it little; uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def quarters(height: int, width: int) -> np.ndarray:
    """Red, green, blue and white quarters, from the upper left clockwise."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    h, w = height // 2, width // 2
    picture[:h, :w], picture[:h, w:] = (255, 0, 0), (0, 255, 0)
    picture[h:, w:], picture[h:, :w] = (0, 0, 255), (255, 255, 255)
    return picture


def save(array: np.ndarray, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three pictures of either class."""
    for label, name in enumerate(CLASSES):
        for index in range(3):
            save(colours(10 * label + index), tmp_path / "set" / name / f"{index}.png")
    return tmp_path / "set"


# ── one picture ────────────────────────────────────────────────────────────────────────────────────────
def test_a_png_of_the_wanted_size_is_read_bit_by_bit(tmp_path):
    picture = colours(1, 32, 32)
    read = read_image(save(picture, tmp_path / "a.png"), 32)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG", "png", "bmp", "webp"])
def test_every_promised_format_is_read(tmp_path, suffix):
    picture = colours(2)
    read = read_image(save(picture, tmp_path / f"a.{suffix}"), 40)
    assert np.abs(read.astype(int) - picture).mean() < 4


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32), (33, 64), (32, 32)])
def test_the_square_in_the_middle_is_kept(tmp_path, height, width):
    """Columns (or rows) hold their own distance from the middle, which the crop must leave symmetric."""
    side = min(height, width)
    rows, columns = np.abs(np.arange(height) - (height - 1) / 2), np.abs(np.arange(width) - (width - 1) / 2)
    far = (columns[None, :] > side / 2) | (rows[:, None] > side / 2)
    picture = np.where(far[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    read = read_image(save(picture, tmp_path / "a.png"), side)
    # An odd margin halves the pixels at the edge; nothing else of the red part is left.
    assert read[1:-1, 1:-1, 0].max() == 0
    np.testing.assert_array_equal(read, read[:, ::-1])
    np.testing.assert_array_equal(read, read[::-1])


def test_a_large_picture_is_averaged_and_not_sampled(tmp_path):
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    read = read_image(save(board, tmp_path / "a.png"), 32)
    assert np.abs(read.astype(int) - 127.5).max() <= 1.5


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, undo, suffix):
    """The stored pixels are upright ones turned the other way round, by arrays and not by Pillow."""
    upright, exif = quarters(64, 64), Image.Exif()
    exif[0x0112] = orientation
    path = save(np.ascontiguousarray(undo(upright)), tmp_path / f"a.{suffix}", exif=exif)
    read = read_image(path, 64)
    for row, column in ((16, 16), (16, 48), (48, 48), (48, 16)):
        assert np.abs(read[row, column].astype(int) - upright[row, column]).max() < 12


def test_a_transparent_picture_is_laid_over_white(tmp_path):
    rgba = np.zeros((16, 16, 4), dtype=np.uint8)
    rgba[:, 8:] = (200, 100, 0, 128)
    read = read_image(save(rgba, tmp_path / "a.png"), 16)
    assert (read[:, :8] == 255).all()
    np.testing.assert_allclose(read[0, 12], np.array([200, 100, 0]) * 128 / 255 + 255 * 127 / 255, atol=1)


def test_a_palette_with_a_transparent_colour_is_laid_over_white(tmp_path):
    image = Image.fromarray(np.repeat([[0] * 8 + [1] * 8], 16, axis=0).astype(np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=0)
    assert read_image(tmp_path / "opaque.png", 16)[0, 0].tolist() == [10, 20, 30]
    clear = read_image(tmp_path / "clear.png", 16)
    assert clear[0, 0].tolist() == [255, 255, 255] and clear[0, 15].tolist() == [200, 100, 50]


def test_sixteen_bit_greys_keep_their_range(tmp_path):
    """Pillow's own conversion cuts off at 255 of 65535 and leaves a white picture."""
    ramp = np.repeat(np.linspace(0, 65535, 32).astype(np.uint16)[None], 32, axis=0)
    read = read_image(save(ramp, tmp_path / "a.png"), 32)
    np.testing.assert_allclose(read[0, :, 0], np.linspace(0, 255, 32), atol=1)
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_sixteen_bit_colours_keep_their_range(tmp_path):
    """Pillow does not write such a file, so it is put together from its chunks."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ramp = np.linspace(0, 65535, 32).astype(np.uint16)
    row = b"\0" + np.stack([ramp, ramp[::-1], ramp], axis=1).astype(">u2").tobytes()
    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * 32))
        + chunk(b"IEND", b"")
    )
    read = read_image(path, 32)
    np.testing.assert_allclose(read[5, :, 0], np.linspace(0, 255, 32), atol=1.5)
    np.testing.assert_allclose(read[5, :, 1], np.linspace(255, 0, 32), atol=1.5)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "CMYK", "RGBA"])
def test_every_colour_mode_comes_out_as_rgb(tmp_path, mode):
    grey = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None], 32, axis=0)
    image = Image.fromarray(grey).convert("RGB")
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    read = read_image(path, 32)
    assert read.shape == (32, 32, 3)
    if mode == "1":  # dithered: right on average
        assert read[:, :8].mean() < 64 < 192 < read[:, -8:].mean()
    else:
        np.testing.assert_allclose(read.mean(axis=(0, 2)), grey[0], atol=8)


def test_a_photograph_decoded_at_reduced_size_is_the_photograph(tmp_path):
    """4000 × 3000 pixels, against a full decoding averaged by blocks with numpy."""
    photo = colours(3, 3000, 4000)
    path = save(photo, tmp_path / "a.jpg", quality=90)
    whole = np.array(Image.open(path), dtype=float)[:, 500:3500]
    expected = whole.reshape(100, 30, 100, 30, 3).mean(axis=(1, 3))
    read = read_image(path, 100)
    inner = np.abs(read - expected)[2:-2, 2:-2]
    assert inner.mean() < 1 and inner.max() < 6


def test_the_first_picture_of_a_camera_s_double_jpeg_counts(tmp_path):
    first, second = Image.fromarray(colours(4)), Image.fromarray(colours(5))
    path = tmp_path / "a.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second])
    assert np.abs(read_image(path, 40).astype(int) - colours(4)).mean() < 4


def test_animated_pictures_are_refused(tmp_path):
    frames = [Image.fromarray(colours(seed)) for seed in (6, 7)]
    for suffix in ("png", "webp"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match="a.* is animated: it holds 2 pictures"):
            read_image(path, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("kept", [0.15, 0.5, 0.9])
def test_a_picture_that_was_cut_off_is_refused_by_name(tmp_path, suffix, kept):
    rng = np.random.default_rng(0)
    path = save(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8), tmp_path / f"cut.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=rf"cut\.{suffix}.*(cut off or damaged|not a picture)"):
        read_image(path, 32)


def test_a_png_with_one_changed_byte_is_refused(tmp_path):
    path = save(colours(8), tmp_path / "a.png")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(DataError, match="a.png is cut off or damaged"):
        read_image(path, 32)


def png_header(width: int, height: int) -> bytes:
    """A grey png that promises these dimensions and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    empty = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks += struct.pack(">I", len(empty) - 4) + empty + struct.pack(">I", zlib.crc32(empty))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(("width", "height"), [(50000, 50000), (12001, 10000), (200000000, 20)])
def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(DataError, match="bomb.png is too large.*120 megapixels"):
        read_image(path, 32)


def test_a_picture_of_a_few_pixels_is_refused(tmp_path):
    with pytest.raises(DataError, match="dot.png is too small: 15 × 300"):
        read_image(save(colours(9, 300, 15), tmp_path / "dot.png"), 32)


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    (tmp_path / "words.jpg").write_text("these are words")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="words.jpg is not a picture"):
        read_image(tmp_path / "words.jpg", 32)
    with pytest.raises(DataError, match="empty.png is empty"):
        read_image(tmp_path / "empty.png", 32)
    with pytest.raises(DataError, match="none.png does not exist"):
        read_image(tmp_path / "none.png", 32)
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path, 32)


def test_a_gif_that_calls_itself_png_is_refused(tmp_path):
    Image.fromarray(colours(1)).save(tmp_path / "a.png", format="GIF")
    with pytest.raises(DataError, match="a.png is not a picture in jpg, png, bmp or webp"):
        read_image(tmp_path / "a.png", 32)


@pytest.mark.parametrize("size", [0, 15, 1025, 32.0, True, "32"])
def test_a_size_out_of_range_is_refused(folder, size):
    with pytest.raises(ParameterError, match="size"):
        read_image(folder / "Left" / "0.png", size)
    with pytest.raises(ParameterError, match="size"):
        read_image_folder(folder, size)


# ── two folders ────────────────────────────────────────────────────────────────────────────────────────
def test_names_labels_and_pictures_belong_together(folder):
    pictures, classes = read_image_folder(folder, 40)
    assert classes == CLASSES
    assert pictures.names == tuple(f"{name}/{index}.png" for name in CLASSES for index in range(3))
    assert pictures.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for row, seed in enumerate((0, 1, 2, 10, 11, 12)):
        np.testing.assert_array_equal(pictures.pictures[row], colours(seed))


def test_the_order_of_class_names_gives_the_labels(folder):
    pictures, classes = read_image_folder(folder, 40, class_names=["Right", "Left"])
    assert classes == ("Right", "Left") and pictures.names[0] == "Right/0.png"
    np.testing.assert_array_equal(pictures.pictures[0], colours(10))
    assert pictures.labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("wrong", [["Left", "right"], ["Left"], ["Left", "Left"], "Left", ["a", "b", "c"]])
def test_class_names_that_are_not_the_folders_are_refused(folder, wrong):
    with pytest.raises(ParameterError, match="class_names.*\n.*'Left' and 'Right'"):
        read_image_folder(folder, 40, class_names=wrong)


def test_a_folder_without_two_class_folders_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_image_folder(tmp_path / "none", 40)
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_image_folder(folder / "Left" / "0.png", 40)
    with pytest.raises(DataError, match="holds 0 class folders, not two"):
        read_image_folder(folder / "Left", 40)
    (folder / "Middle").mkdir()
    with pytest.raises(DataError, match=r"holds 3 class folders \(Left, Middle, Right\)"):
        read_image_folder(folder, 40)


def test_a_class_of_too_few_pictures_is_refused(folder):
    for index in (1, 2):
        (folder / "Right" / f"{index}.png").unlink()
    with pytest.raises(DataError, match="Right holds 1 pictures; at least 2"):
        read_image_folder(folder, 40)
    assert len(read_image_folder(folder, 40, at_least=1)[0]) == 4
    with pytest.raises(DataError, match="Left holds 3 pictures; at least 5"):
        read_image_folder(folder, 40, at_least=5)
    with pytest.raises(ParameterError, match="at_least"):
        read_image_folder(folder, 40, at_least=0)


def test_one_broken_picture_stops_the_reading_with_its_name(folder):
    path = folder / "Right" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="Right/1.png is cut off or damaged"):
        read_image_folder(folder, 40)


def test_the_same_picture_twice_is_refused_within_a_class_and_across(folder):
    copy = folder / "Left" / "copy.bmp"
    save(colours(1), copy)
    with pytest.raises(DataError, match="Left/1.png and Left/copy.bmp are the same picture"):
        read_image_folder(folder, 40)
    copy.unlink()
    save(colours(1), folder / "Right" / "copy.png")
    with pytest.raises(DataError, match="Left/1.png and Right/copy.png are the same.*\n.*which class"):
        read_image_folder(folder, 40)


def test_what_is_surely_no_picture_is_passed_over(folder):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "boxes.xml"):
        (folder / "Left" / name).write_text("no picture")
    (folder / "README.md").write_text("about the pictures")
    for name in (".cache", "__MACOSX"):
        save(colours(90), folder / name / "x.png")
    (folder / "Left" / ".hidden.png").write_text("no picture")
    pictures, classes = read_image_folder(folder, 40)
    assert len(pictures) == 6 and classes == CLASSES


@pytest.mark.parametrize("name", ["face.gif", "face.tif", "face.heic", "face"])
def test_a_picture_of_another_format_is_not_missed_in_silence(folder, name):
    (folder / "Left" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"Left/{name} is not a picture"):
        read_image_folder(folder, 40)


def test_pictures_beside_or_below_the_class_folders_are_not_missed_in_silence(folder):
    loose = save(colours(91), folder / "loose.jpg")
    with pytest.raises(DataError, match="loose.jpg lies beside the class folders"):
        read_image_folder(folder, 40)
    loose.unlink()
    save(colours(91), folder / "Left" / "more" / "x.png")
    with pytest.raises(DataError, match="Left/more is a folder inside a class folder"):
        read_image_folder(folder, 40)


def test_links_that_lead_out_of_the_folder_are_refused(folder, tmp_path):
    outside = save(colours(92), tmp_path / "outside.png")
    link = folder / "Left" / "link.png"
    link.symlink_to(outside)
    with pytest.raises(DataError, match="Left/link.png is a link that leads out of set"):
        read_image_folder(folder, 40)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(DataError, match="Left/link.png"):
        read_image_folder(folder, 40)
    link.unlink()
    (tmp_path / "elsewhere").mkdir()
    (folder / "Right").rename(tmp_path / "elsewhere" / "Right")
    (folder / "Right").symlink_to(tmp_path / "elsewhere" / "Right")
    with pytest.raises(DataError, match="Right is a link that leads out of set"):
        read_image_folder(folder, 40)


def test_a_pipe_among_the_pictures_does_not_hang(folder):
    os.mkfifo(folder / "Left" / "pipe.jpg")
    with pytest.raises(DataError, match="Left/pipe.jpg"):
        read_image_folder(folder, 40)


def test_the_order_does_not_depend_on_the_order_of_writing(tmp_path):
    for order, name in ((1, "one"), (-1, "two")):
        for index in list(range(4))[::order]:
            for label, side in list(enumerate(CLASSES))[::order]:
                save(colours(10 * label + index), tmp_path / name / side / f"{index}.png")
    first, second = (read_image_folder(tmp_path / name, 32)[0] for name in ("one", "two"))
    assert first.names == second.names
    np.testing.assert_array_equal(first.pictures, second.pictures)


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def pictures():
    labels = np.array([1, 0, 1, 0])
    return PictureSet(("d", "a", "c", "b"), labels, np.stack([colours(seed, 32, 32) for seed in range(4)]))


def test_what_was_written_is_read_back_bit_by_bit(pictures, tmp_path):
    files = write_image_folder(pictures, tmp_path / "out", CLASSES)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "out/Right/d.png", "out/Left/a.png", "out/Right/c.png", "out/Left/b.png",
    ]  # fmt: skip
    read, classes = read_image_folder(tmp_path / "out", 32)
    assert classes == CLASSES and read.labels.tolist() == [0, 0, 1, 1]
    again = pictures.take(["a", "b", "c", "d"])
    np.testing.assert_array_equal(read.pictures, again.pictures)


def test_a_set_that_was_read_is_written_under_the_same_names(folder, tmp_path):
    pictures, classes = read_image_folder(folder, 40)
    write_image_folder(pictures, tmp_path / "copy", classes)
    again, _ = read_image_folder(tmp_path / "copy", 40)
    assert again.names == pictures.names
    np.testing.assert_array_equal(again.pictures, pictures.pictures)


def test_writing_twice_replaces_and_another_set_is_not_mixed_in(pictures, tmp_path):
    files = write_image_folder(pictures, tmp_path / "out", CLASSES)
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_image_folder(pictures, tmp_path / "out", CLASSES)] == before
    with pytest.raises(WriteError, match="already holds Left/b.png"):
        write_image_folder(pictures.take(["a", "c", "d"]), tmp_path / "out", CLASSES)
    with pytest.raises(WriteError, match="already holds Left"):
        write_image_folder(pictures, tmp_path / "out", ("No", "Yes"))


def test_names_that_leave_the_folder_or_fall_together_are_refused(pictures, tmp_path):
    array, labels = pictures.pictures, pictures.labels
    for bad in ("../d", "/d", "", ".d", "x/y", "a\\b"):
        with pytest.raises(ParameterError, match="is no name for a file"):
            write_image_folder(PictureSet((bad, "a", "c", "b"), labels, array), tmp_path / "out", CLASSES)
    with pytest.raises(ParameterError, match="same file name"):
        write_image_folder(PictureSet(("d", "a", "D.png", "b"), labels, array), tmp_path / "out", CLASSES)
    with pytest.raises(ParameterError, match="class_names"):
        write_image_folder(pictures, tmp_path / "out", ("..", "Right"))
    with pytest.raises(ParameterError, match="class_names"):
        write_image_folder(pictures, tmp_path / "out", ("left", "Left"))
    with pytest.raises(ParameterError, match="label"):
        write_image_folder(PictureSet(pictures.names, labels + 1, array), tmp_path / "out", CLASSES)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_a_clear_error(pictures, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(WriteError, match="not a folder"):
        write_image_folder(pictures, tmp_path / "out", CLASSES)
