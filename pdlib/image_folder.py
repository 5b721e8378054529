"""Two folders of pictures as a set that the networks take: one folder per class, as photographs usually lie.

What is read is checked before it is believed: a picture that cannot be decoded whole, or that lies in the
set twice, stops the reading with its name. A copy that ends up in training and test is leakage.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pdlib.errors import DataError, ParameterError, WriteError
from pdlib.paths import atomic_path, writing_errors
from pdlib.picture_sets import PictureSet

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
SIZES = (16, 1024)  # pixels
MAX_PIXELS = 120_000_000  # of a file; more than a phone's largest photograph (108 megapixels)
MAX_DECODED = 40_000_000  # pixels held in memory; a JPEG is made smaller while it is decoded, others are not
MAX_SCANS = 100  # of a JPEG that sharpens as it loads; ten are usual, and each passes over the whole picture
BAND = 1_000_000  # pixels converted at a time
MIN_SIDE = 16  # pixels of a file's shorter side; below, a face is a few blots
AT_LEAST = 2  # pictures per class: one to learn from, one to be tested on
# Kept beside pictures by cameras, file managers and annotators; surely none of them is a picture.
JUNK = ("thumbs.db", "desktop.ini", "picasa.ini", "icon\r")
JUNK_FOLDERS = ("__macosx", "@eadir")
SIDECARS = (".csv", ".json", ".md", ".txt", ".xml", ".xmp", ".yaml", ".yml")


# ── one picture ────────────────────────────────────────────────────────────────────────────────────────
def read_image(path: Path | str, size: int) -> NDArray[np.uint8]:
    """Read one picture as a square.

    Turned as its EXIF orientation says, laid over white where it is transparent, cut to the square in the
    middle, and averaged down (or interpolated up) to ``size``. Colour profiles are not applied. Of a JPEG
    that holds several pictures, as some cameras write, the first counts.

    Parameters
    ----------
    path : path
        A jpg, png, bmp or webp file of any depth and colour mode.
    size : int
        Side in pixels.

    Returns
    -------
    uint8 array, shape (size, size, 3)
        RGB.

    Raises
    ------
    ParameterError
        When ``size`` is out of range.
    DataError
        When the file does not exist, is no picture of these formats, is cut off or damaged, is animated, or
        is too large (`MAX_PIXELS`, looked up before decoding) or too small (`MIN_SIDE`).
    """
    return _read(Path(path), Path(path).name, _checked_size(size))


def _read(path: Path, shown: str, size: int) -> NDArray[np.uint8]:
    if path.is_dir():
        raise DataError(f"{shown} is a folder, not a picture", "name the picture in it")
    if not path.is_file():
        raise DataError(f"{shown} does not exist or is no file", "check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{shown} is empty (0 bytes)", "copy it again from where it is whole")
    with _damage_named(shown), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is `MAX_PIXELS`
        with Image.open(path, formats=FORMATS) as image:
            _check_header(image, shown)
            if image.format in ("JPEG", "MPO") and path.read_bytes().count(b"\xff\xda") > MAX_SCANS:
                raise DataError(
                    f"{shown} is drawn in more than {MAX_SCANS} scans, as no camera does",
                    "export it as jpg or png",
                )
            # A JPEG can be decoded at an eighth of its size; twice the wanted size is left to average.
            image.draft(None, (2 * size, 2 * size))
            width, height = image.size
            if width * height > MAX_DECODED:
                raise _too_large(shown, f"{width} × {height} pixels", MAX_DECODED)
            return _square(_rgb(ImageOps.exif_transpose(image)), size)


@contextmanager
def _damage_named(shown: str) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise DataError(
            f"{shown} is not a picture in jpg, png, bmp or webp", "export it as jpg or png, or move it away"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(shown, str(error)) from error
    except PermissionError as error:
        raise DataError(f"{shown} may not be read", "change its permissions, or move it away") from error
    except DataError:
        raise
    except Exception as error:  # Pillow and its decoders raise errors of many types
        raise DataError(
            f"{shown} is cut off or damaged ({str(error).rstrip('.')})",
            "copy it again from where it is whole, or move it away",
        ) from error


def _too_large(shown: str, found: str, most: int = MAX_PIXELS) -> DataError:
    return DataError(
        f"{shown} is too large: {found}; at most {most / 1e6:.0f} megapixels are read",
        "check that it is a photograph, and scale it down",
    )


def _check_header(image: Image.Image, shown: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(shown, f"{width} × {height} pixels")
    if min(width, height) < MIN_SIDE:
        raise DataError(
            f"{shown} is too small: {width} × {height} pixels; the shorter side needs {MIN_SIDE}",
            "use the original picture",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise DataError(
            f"{shown} is animated: it holds {frames} pictures", "export one of them as jpg or png"
        )


def _rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB; band by band, for the steps in between take several times its memory."""
    width, height = image.size
    rows = max(1, BAND // width)
    whole = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        whole.paste(_rgb_band(image.crop((0, top, width, min(top + rows, height)))), (0, top))
    return whole


def _rgb_band(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow cuts 16-bit greys off at 255 when it converts them.
        values = np.asarray(image).astype(np.int64)
        values = np.where(values == image.info.get("transparency", -1), 65535, values)
        return Image.fromarray(np.rint(values / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    width, height = image.size
    left, upper = max(0, width - height) / 2, max(0, height - width) / 2
    box = (left, upper, width - left, height - upper)
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _checked_size(size: int) -> int:
    low, high = SIZES
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not low <= size <= high:
        raise ParameterError(f"size = {size!r}", f"give a side in pixels from {low} to {high}")
    return int(size)


# ── two folders of pictures ────────────────────────────────────────────────────────────────────────────
def read_image_folder(
    folder: Path | str, size: int, class_names: Sequence[str] | None = None, *, at_least: int = AT_LEAST
) -> tuple[PictureSet, tuple[str, str]]:
    """Read two folders of pictures, one folder per class.

    Hidden files, what cameras and file managers leave behind (`JUNK`, `JUNK_FOLDERS`) and notes (`SIDECARS`)
    are passed over; anything else that is no picture is an error, so that no picture is missed for its name.
    So are folders inside a class folder, and links that lead out of ``folder``.

    Parameters
    ----------
    folder : path
        Holds two folders of jpg, png, bmp or webp files.
    size : int
        Side of the pictures in pixels; see `read_image`.
    class_names : sequence of str, shape (2,), optional
        Names of the two folders: the first becomes label 0, the second label 1. Sorted unless given.
    at_least : int
        Pictures that each class must have.

    Returns
    -------
    PictureSet
        Names "class/file", class by class, sorted by file name.
    class_names : (str, str)
        By label.

    Raises
    ------
    ParameterError
        When ``size``, ``class_names`` or ``at_least`` is not usable.
    DataError
        When the folder does not hold two classes of enough readable pictures, or two pictures are equal at
        this size, in one class or across both. A copy saved again with loss, or cut otherwise, is not found.
    """
    folder, size = Path(folder), _checked_size(size)
    if isinstance(at_least, bool) or not isinstance(at_least, int | np.integer) or at_least < 1:
        raise ParameterError(f"at_least = {at_least!r}", "give a number of pictures of 1 or more")
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {found}", "name the folder that holds the two class folders")
    classes = _classes(folder, class_names)
    files = [
        (label, path) for label, name in enumerate(classes) for path in _pictures(folder, name, at_least)
    ]
    pictures = np.empty((len(files), size, size, 3), dtype=np.uint8)
    seen: dict[bytes, str] = {}
    names = []
    for row, (label, path) in enumerate(files):
        name = f"{classes[label]}/{path.name}"
        pictures[row] = _read(path, name, size)
        first = seen.setdefault(hashlib.sha256(pictures[row].tobytes()).digest(), name)
        if first != name:
            raise DataError(
                f"{first} and {name} are the same picture",
                "keep one of them: a copy in training and test is leakage"
                + ("" if first.startswith(f"{classes[label]}/") else "; and find out which class it is of"),
            )
        names.append(name)
    return PictureSet(tuple(names), np.array([label for label, _ in files]), pictures), classes


def _entries(folder: Path, root: Path) -> list[Path]:
    """What lies in a folder and is not passed over, sorted by name."""
    kept = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        junk = JUNK_FOLDERS if path.is_dir() else JUNK
        if path.name.startswith(".") or path.name.lower() in junk:
            continue
        if not _stays(path, root):
            raise DataError(
                f"{_below(path, root)} is a link that leads out of {root.name}", "put the file itself there"
            )
        kept.append(path)
    return kept


def _stays(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        return False


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _classes(folder: Path, class_names: Sequence[str] | None) -> tuple[str, str]:
    entries = _entries(folder, folder)
    found = [path.name for path in entries if path.is_dir()]
    if len(found) != 2:
        listed = f" ({', '.join(found[:5])}{' …' if len(found) > 5 else ''})" if found else ""
        raise DataError(
            f"{folder} holds {len(found)} class folders{listed}, not two",
            "make two folders in it, one per class, and put the pictures there",
        )
    for path in entries:
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            raise DataError(
                f"{path.name} lies beside the class folders", "put it into one of them, or move it away"
            )
    if class_names is None:
        return found[0], found[1]
    wanted = (class_names,) if isinstance(class_names, str) else tuple(map(str, class_names))
    if sorted(wanted) != found:
        raise ParameterError(
            f"class_names = {list(wanted)!r} are not the folders in {folder.name}",
            f"they are {found[0]!r} and {found[1]!r}; the first named becomes label 0",
        )
    return wanted


def _pictures(folder: Path, name: str, at_least: int) -> list[Path]:
    found = []
    for path in _entries(folder / name, folder):
        suffix = path.suffix.lower()
        if path.is_dir():
            raise DataError(
                f"{_below(path, folder)} is a folder inside a class folder",
                f"put its pictures into {name} itself, or move it away",
            )
        if suffix in SUFFIXES:
            found.append(path)
        elif suffix not in SIDECARS:
            raise DataError(
                f"{_below(path, folder)} is not a picture in jpg, png, bmp or webp",
                "export it as jpg or png, or move it away",
            )
    if len(found) < at_least:
        raise DataError(
            f"{name} holds {len(found)} pictures; at least {at_least} are needed", "put more pictures into it"
        )
    return found


# ── writing them ───────────────────────────────────────────────────────────────────────────────────────
def write_image_folder(pictures: PictureSet, folder: Path | str, class_names: Sequence[str]) -> list[Path]:
    """Write a set as two folders of png files, which `read_image_folder` reads back pixel by pixel.

    Parameters
    ----------
    pictures : PictureSet
        Labels 0 and 1. A name "class/file" loses its class, and every name gets the suffix ``.png``.
    folder : path
        Made where it is not there. Files of the same names are replaced.
    class_names : sequence of str, shape (2,)
        Names of the two folders, by label.

    Returns
    -------
    list of Path
        The files, in the order of the set.

    Raises
    ------
    ParameterError
        When a class name or a picture's name is no name for a file, or two of them are the same.
    WriteError
        When the folder already holds something else, or cannot be written to.
    """
    folder, classes = Path(folder), tuple(class_names)
    if len(classes) != 2 or isinstance(class_names, str) or classes[0].lower() == classes[1].lower():
        raise ParameterError(f"class_names = {class_names!r}", "give two names, one per label")
    for name in classes:
        _check_file_name(name, "class_names")
    targets = []
    for name, label in zip(pictures.names, pictures.labels, strict=True):
        if label not in (0, 1):
            raise ParameterError(f"{name} has label {label!r}", "there are two classes, 0 and 1")
        file = name.removeprefix(f"{classes[label]}/")
        _check_file_name(file, "pictures")
        targets.append(folder / classes[label] / (file if file.lower().endswith(".png") else f"{file}.png"))
    _check_free(folder, classes, targets)
    for target, picture in zip(targets, pictures.pictures, strict=True):
        with atomic_path(target) as part:
            Image.fromarray(picture).save(part, format="PNG")
    return targets


def _check_file_name(name: str, parameter: str) -> None:
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|\0'):
        raise ParameterError(f"{parameter}: {name!r} is no name for a file", "use letters, digits, - and _")


def _check_free(folder: Path, classes: tuple[str, str], targets: list[Path]) -> None:
    """Refuse names that fall together, and a folder in which the set would be mixed with another."""
    known = {str(target).lower() for target in targets}
    if len(known) < len(targets):
        raise ParameterError(
            "two pictures would get the same file name", "give each picture a name of its own"
        )
    with writing_errors(folder):
        present = list(folder.iterdir()) if folder.exists() else []
        present += [
            path for name in classes if (folder / name).exists() for path in (folder / name).iterdir()
        ]
    foreign = [
        path
        for path in present
        if path.name not in classes and not path.name.startswith(".") and str(path).lower() not in known
    ]
    if foreign:
        raise WriteError(
            f"{folder} already holds {foreign[0].relative_to(folder).as_posix()}", "choose an empty folder"
        )
