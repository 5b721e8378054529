"""Pretrained backbones: which there are, where their ImageNet weights come from, and how these are checked.

A file of weights is data and stays data: only HDF5 is read, into a network that is built here, and only after
its links, storage, types, sizes and shapes were looked at. Nothing in such a file is ever executed.

``weights`` is one of

- ``"imagenet"``: a registered file (``data/weights.csv``) in the folder ``PDLIB_WEIGHTS``, else the file that
  ``keras.applications`` uses, from Keras's own cache or downloaded by Keras;
- ``"untrained"``: drawn from a seed;
- ``"imagenet-else-untrained"``: the first where it can be had, else the second, and the label says which;
- the path of a local ``.weights.h5`` or ``.h5`` file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdlib import networks, paths
from pdlib.errors import DataError, FetchError, ModelError, ParameterError, WriteError
from pdlib.networks import keras, tf
from pdlib.reading import read_table

REGISTRY = paths.DATA / "weights.csv"
COLUMNS = ("backbone", "top", "file", "sha256", "label", "source", "licence")
WEIGHTS_CHOICES = ("imagenet", "untrained", "imagenet-else-untrained")
#: Where `keras.applications` downloads from; each backbone has a folder there.
KERAS_SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
#: Seconds without an answer or without a byte after which a download counts as failed; Keras itself waits on.
DOWNLOAD_SECONDS = 20.0
#: Smallest side of a picture that all backbones take.
SMALLEST_SIZE = 32
#: Noise pictures that give untrained batch normalisation its statistics: how many, their side, and the cells per
#: side of their layers. White noise has no coarse structure, and real pictures would then overflow the network.
NOISE_PICTURES, NOISE_SIZE, NOISE_CELLS = 16, 96, (3, 6, 12, 48)
#: What the classifier tells apart: ImageNet's classes.
IMAGENET_CLASSES = 1000

#: HDF5 adds headers to the numbers, and may keep them in double precision: more than this is another file.
_LARGEST_FACTOR, _HEADERS = 2.0, 8 * 2**20
#: deflate, shuffle, fletcher32: built into HDF5. Any other filter would be looked up as a plug-in.
_HARMLESS_FILTERS = {1, 2, 3}
#: Numbers other than floats that a file may hold besides the weights: the states of random generators.
_MOST_WHOLE_NUMBERS = 64
#: Names of layers or weights in one attribute; the largest network has 175 layers.
_MOST_TEXTS = 1000
#: Errors of the disk, not of the network.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_KEPT = 4  # sets of weights kept per process; the largest has 94 MB

Arrays = Mapping[str, tuple[NDArray[np.float32], ...]]


class WeightsMissing(FetchError):
    """No ImageNet weights could be had for a backbone; ``reason`` says in a few words why.

    Parameters
    ----------
    problem, reason, way_out : str
    """

    def __init__(self, problem: str, reason: str, way_out: str) -> None:
        self.reason = reason
        super().__init__(f"{problem}: {reason}", way_out)


# ── the backbones ──────────────────────────────────────────────────────────────────────────────────────
def _caffe(picture: keras.KerasTensor) -> keras.KerasTensor:
    # The offset of a Rescaling follows the order of the channels, here still red, green, blue.
    centred = keras.layers.Rescaling(1.0, offset=[-123.68, -116.779, -103.939], name="minus_mean")(picture)
    return keras.ops.flip(centred, axis=-1)


def _minus_one_to_one(picture: keras.KerasTensor) -> keras.KerasTensor:
    # A Rescaling would multiply by 1/127.5: other last digits than Keras's own division, grown by 27 layers.
    return picture / 127.5 - 1.0


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone before it has weights.

    Attributes
    ----------
    name, title : str
        Name in parameters; name on pages.
    constructor : callable
        Of ``keras.applications``.
    preprocess : callable
        Graph layers from RGB pictures, 0 to 255, to what the weights were trained on.
    last_layer : str
        Last layer with rows and columns.
    folder : str
        Of the backbone's files on Keras's server.
    files, md5 : (str, str)
        Keras's files, without and with the classifier; their md5 where Keras states it.
    """

    name: str
    title: str
    constructor: Callable[..., keras.Model]
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor]
    last_layer: str
    folder: str
    files: tuple[str, str]
    md5: tuple[str, str] = ("", "")

    def application(self, with_top: bool, size: int = SMALLEST_SIZE) -> keras.Model:
        """The network as ``keras.applications`` builds it, without weights, preprocessing or softmax."""
        # No weight depends on the size, and a small network is built sooner.
        shape = (size, size, 3)
        top = {"classifier_activation": None, "classes": IMAGENET_CLASSES} if with_top else {}
        return self.constructor(weights=None, include_top=with_top, input_shape=shape, **top)


_RESNET = "resnet50_weights_tf_dim_ordering_tf_kernels"
_MOBILENET_V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224"
_MOBILENET = "mobilenet_2_5_224_tf"

BACKBONES: Mapping[str, BackboneSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            BackboneSpec(
                "resnet50",
                "ResNet-50",
                keras.applications.ResNet50,
                _caffe,
                "conv5_block3_out",
                "resnet",
                (f"{_RESNET}_notop.h5", f"{_RESNET}.h5"),
                ("4d473c1dd8becc155b73f8504c6f6626", "2cb95161c43110f7111970584f804107"),
            ),
            BackboneSpec(
                "mobilenet_v2",
                "MobileNetV2",
                keras.applications.MobileNetV2,
                _minus_one_to_one,
                "out_relu",
                "mobilenet_v2",
                (f"{_MOBILENET_V2}_no_top.h5", f"{_MOBILENET_V2}.h5"),
            ),
            BackboneSpec(
                "mobilenet_v1_025",
                "MobileNet (α = 0.25)",
                partial(keras.applications.MobileNet, alpha=0.25),
                _minus_one_to_one,
                "conv_pw_13_relu",
                "mobilenet",
                (f"{_MOBILENET}_no_top.h5", f"{_MOBILENET}.h5"),
            ),
        )
    }
)


# ── where weights come from ────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Origin:
    """Where a set of weights comes from.

    Attributes
    ----------
    kind : {"imagenet", "own", "untrained"}
        ``"own"``: a reader's file that the registry does not know.
    label : str
        What stands on pages: ``ImageNet``, ``ImageNet (dequantised)``, ``ImageNet (unchecked)``,
        ``own file`` or ``untrained``.
    file, sha256 : str
        Name and hash of the file; empty if untrained.
    source : str
        One sentence.
    checked : bool
        Whether the hash was known beforehand and is the same.
    """

    kind: str
    label: str
    file: str
    sha256: str
    source: str
    checked: bool


def table(origins: Mapping[str, Origin] | Iterable[Origin]) -> pd.DataFrame:
    """Origins as a page shows them, one row each; the keys of a mapping name the networks."""
    named = isinstance(origins, Mapping)
    rows = [
        {
            "weights": origin.label,
            "file": origin.file or "none",
            "sha256": origin.sha256 or "none",
            "hash known beforehand": "yes" if origin.checked else "no",
            "source": origin.source,
        }
        for origin in (origins.values() if named else origins)
    ]
    frame = pd.DataFrame(rows, columns=["weights", "file", "sha256", "hash known beforehand", "source"])
    if named:
        frame.insert(0, "network", list(origins))
    return frame


def registry(path: Path | str | None = None) -> pd.DataFrame:
    """Read ``data/weights.csv``: one row per known file of ImageNet weights, best first.

    Returns
    -------
    DataFrame
        Columns ``backbone``, ``top`` (bool: with the classifier), ``file``, ``sha256`` (hex; empty where
        nobody has stated it), ``label``, ``source``, ``licence``.

    Raises
    ------
    DataError
        When the file is missing or a row is not what it should be.
    """
    path = Path(path) if path else REGISTRY
    way_out = "restore data/weights.csv from the repository"
    frame = read_table(path, way_out)
    if tuple(frame.columns) != COLUMNS or frame.empty:
        raise DataError(f"{paths.shown(path)} must have the columns {', '.join(COLUMNS)}", way_out)
    for number, row in enumerate(frame.to_dict("records"), start=2):
        sound = (
            row["backbone"] in BACKBONES
            and row["top"] in ("yes", "no")
            and re.fullmatch(r"[\w-][\w.-]{0,200}\.h5", row["file"])
            and re.fullmatch(r"([0-9a-f]{64})?", row["sha256"])
            and row["label"]
            and row["source"]
            and row["licence"]
        )
        if not sound:
            raise DataError(f"{paths.shown(path)}, line {number} is not a row of the registry", way_out)
    return frame.assign(top=frame["top"] == "yes")


@dataclass(frozen=True)
class _Source:
    """A file to read: where it is, its state, its hash (algorithm, hex) if known, and the way out if wrong."""

    path: Path
    state: tuple[int, int, int]
    expected: tuple[str, str]
    own: bool
    way_out: str

    @classmethod
    def at(cls, path: Path, expected: tuple[str, str], way_out: str, *, own: bool = False) -> _Source:
        stat = path.stat()
        # The state makes a replaced file another source, so a kept set of weights is never a stale one.
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return cls(path.absolute(), state, expected, own, way_out)


def _described(spec: BackboneSpec, with_top: bool) -> str:
    return f"{spec.title} with its classifier" if with_top else f"{spec.title} without its classifier"


def _known_files(spec: BackboneSpec, with_top: bool) -> list:
    known = registry()
    return list(known[(known["backbone"] == spec.name) & (known["top"] == with_top)].itertuples())


def _imagenet(spec: BackboneSpec, with_top: bool) -> tuple[Origin, Arrays]:
    rows = _known_files(spec, with_top)
    by_keras = next((row for row in rows if row.file == spec.files[with_top]), None)
    if by_keras is None:
        raise DataError(
            f"data/weights.csv has no row for {spec.files[with_top]}", "restore it from the repository"
        )
    folder = os.environ.get("PDLIB_WEIGHTS")
    if folder:
        asked, folder = folder, paths.as_folder(folder)
        if folder is None:
            raise DataError(
                f"PDLIB_WEIGHTS = {asked} is not a folder",
                "correct PDLIB_WEIGHTS, or unset it to let Keras download the weights",
            )
        for row in rows:
            if (folder / row.file).is_file():
                way_out = (
                    "put the right file there; or use this one, as your own, with weights = its path; "
                    "or ask for weights = untrained"
                )
                return _registered(spec, with_top, folder / row.file, row, way_out)
    cached = _keras_models() / by_keras.file
    if not cached.exists():
        _download(spec, with_top, by_keras, cached, rows)
    way_out = (
        "this is Keras's copy of a download: delete it, and it is downloaded again where there is a "
        "connection; or ask for weights = untrained"
    )
    return _registered(spec, with_top, cached, by_keras, way_out)


def _expected(spec: BackboneSpec, with_top: bool, row) -> tuple[str, str]:
    """Algorithm and hash a file must have; the hash is empty where nobody has stated one."""
    if not row.sha256 and row.file == spec.files[with_top]:
        return "md5", spec.md5[with_top]
    return "sha256", row.sha256


def _registered(spec: BackboneSpec, with_top: bool, path: Path, row, way_out: str) -> tuple[Origin, Arrays]:
    expected = _expected(spec, with_top, row)
    sha256, arrays = _read(_Source.at(path, expected, way_out), spec.name, with_top)
    checked = bool(expected[1])
    label = row.label if checked else f"{row.label} (unchecked)"
    said = f"{row.source.rstrip('.')}; licence {row.licence}."
    return Origin("imagenet", label, path.name, sha256, said, checked), arrays


def _own(spec: BackboneSpec, with_top: bool, asked: Path) -> tuple[Origin, Arrays]:
    path = paths.named(asked)
    way_out = (
        f"give a .weights.h5 or .h5 file of {_described(spec, with_top)}, or weights = imagenet or untrained"
    )
    if not path.name.endswith(".h5"):
        raise DataError(
            f"weights = {asked}: a {path.suffix or 'nameless'} file is not read, for such files may carry "
            "code or other things than weights",
            way_out,
        )
    if not path.is_file():
        raise DataError(f"weights = {asked}: there is no such file", way_out)
    if path.stat().st_size <= _blueprint(spec.name, with_top).most_bytes:
        found = _digest(path, "sha256")
        for row in _known_files(spec, with_top):
            if row.sha256 == found:  # a known file, wherever it lies and whatever it is called
                return _registered(spec, with_top, path, row, way_out)
    sha256, arrays = _read(_Source.at(path, ("sha256", ""), way_out, own=True), spec.name, with_top)
    said = "A file given by the reader; what its weights were trained on is not known here."
    return Origin("own", "own file", path.name, sha256, said, False), arrays


def _untrained(spec: BackboneSpec, with_top: bool, seed: int, why: str = "") -> tuple[Origin, Arrays]:
    said = f"Weights drawn from seed {seed}, never trained{f', because {why}' if why else ''}."
    return Origin("untrained", "untrained", "", "", said, False), _drawn(spec.name, with_top, seed)


@lru_cache(maxsize=_KEPT)
def _drawn(name: str, with_top: bool, seed: int) -> Arrays:
    model = BACKBONES[name].application(with_top, NOISE_SIZE)
    model.set_weights(networks.initial_weights(model, seed))
    # Without statistics the maps of 50 layers vanish (1e-12 in MobileNetV2). One pass over noise in training mode
    # gives every normalisation those of its own input, and no recording is looked at.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(BACKBONES[name].preprocess(_noise(seed)), training=True)
    return _arrays(model, with_top)


def _noise(seed: int) -> NDArray[np.float32]:
    """Pictures (n, size, size, 3), 0 to 255, with structure at several scales, as pictures of anything have."""
    rng, shape = np.random.default_rng([seed, 1]), (NOISE_SIZE, NOISE_SIZE)
    grids = (rng.uniform(-1, 1, (NOISE_PICTURES, cells, cells, 3)) for cells in NOISE_CELLS)
    layers = [tf.image.resize(grid.astype(np.float32), shape).numpy() for grid in grids]
    return np.clip(127.5 * (1 + np.sum(layers, axis=0)), 0, 255).astype(np.float32)


# ── Keras's cache and download ─────────────────────────────────────────────────────────────────────────
def _keras_models() -> Path:
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "models"


def _download(spec: BackboneSpec, with_top: bool, row, target: Path, rows: list) -> None:
    """Let Keras download a file into its own cache, where it arrives whole and checked or not at all."""
    url = f"{KERAS_SERVER}/{spec.folder}/{row.file}"
    problem = f"the ImageNet weights of {_described(spec, with_top)} could not be had"
    way_out = (
        "connect this machine to the internet once, so that Keras can download them; or put "
        f"{' or '.join(r.file for r in rows)} into a folder and set PDLIB_WEIGHTS to it (the first is at {url}); "
        "or ask for weights = untrained"
    )
    looked = "PDLIB_WEIGHTS holds no file of them, and " if os.environ.get("PDLIB_WEIGHTS") else ""
    try:
        # Keras would write straight to the target: a killed download would then look like a finished one.
        with paths.atomic_path(target) as part:
            _fetch(url, part)
            _check(_Source.at(part, _expected(spec, with_top, row), way_out), spec, with_top)
    except WriteError as error:
        way_out = f"set KERAS_HOME to a folder you may write to; {way_out}"
        raise WeightsMissing(problem, f"{looked}{error.problem}", way_out) from None
    except _NoDownload as error:
        raise WeightsMissing(problem, f"{looked}the download failed: {error}", way_out) from None
    except (DataError, ModelError) as error:
        reason = error.problem.replace(str(part), row.file)
        raise FetchError(f"{problem}: what came from {url} is something else: {reason}", way_out) from None


def _first_line(said: object) -> str:
    return (str(said).splitlines() or [type(said).__name__])[0]


class _NoDownload(Exception):
    """Why a download failed, in a few words."""


def _fetch(url: str, part: Path) -> None:
    waited = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(DOWNLOAD_SECONDS)
        with contextlib.redirect_stdout(io.StringIO()):  # a progress bar, different on every page
            keras.utils.get_file(
                part.name, url, cache_dir=str(part.parent), cache_subdir="", force_download=True
            )
    except Exception as error:  # Keras makes a bare Exception of what the server or the network said
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        cause = error.__context__ or error
        said = (
            f"HTTP {cause.code} {cause.reason}" if hasattr(cause, "code") else getattr(cause, "reason", cause)
        )
        raise _NoDownload(getattr(said, "strerror", None) or _first_line(said)) from None
    finally:
        socket.setdefaulttimeout(waited)


# ── reading a file of weights ──────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class _Blueprint:
    """What a file for a network must hold: shapes of all weights, and the layers that have some, in order."""

    shapes: tuple[tuple[int, ...], ...]
    layers: tuple[str, ...]

    @property
    def most_bytes(self) -> int:
        numbers = sum(int(np.prod(shape)) for shape in self.shapes)
        return int(_LARGEST_FACTOR * 4 * numbers + _HEADERS)


@lru_cache
def _blueprint(name: str, with_top: bool) -> _Blueprint:
    model = BACKBONES[name].application(with_top)
    layers = tuple(layer.name for layer in model.layers if layer.weights)
    return _Blueprint(tuple(tuple(weight.shape) for weight in model.weights), layers)


@lru_cache(maxsize=_KEPT)
def _read(source: _Source, name: str, with_top: bool) -> tuple[str, Arrays]:
    """Hash and weights of a file, after all checks; kept for the process."""
    spec = BACKBONES[name]
    sha256 = _check(source, spec, with_top)
    model = spec.application(with_top)
    # Keras leaves some of what it does not find as it was, with a warning at most: this would show it.
    model.set_weights([np.full(weight.shape, np.nan, np.float32) for weight in model.weights])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_weights(source.path)
    except Exception as error:  # Keras raises whatever it meets, of many types
        raise ModelError(
            f"{source.path} does not fit {_described(spec, with_top)}: {_first_line(error)}",
            source.way_out,
        ) from error
    arrays = _arrays(model, with_top)
    broken = [layer for layer, values in arrays.items() if not all(np.isfinite(v).all() for v in values)]
    if broken:
        raise DataError(
            f"{source.path} has weights that are missing or not finite, the first in layer {broken[0]}",
            source.way_out,
        )
    return sha256, arrays


def _check(source: _Source, spec: BackboneSpec, with_top: bool) -> str:
    """Size, hash and content of a file, without reading its arrays; returns its sha256."""
    blueprint = _blueprint(spec.name, with_top)
    size = source.path.stat().st_size
    if size > blueprint.most_bytes:
        raise DataError(
            f"{source.path} has {size:,} bytes; {_described(spec, with_top)} has at most "
            f"{blueprint.most_bytes:,}",
            source.way_out,
        )
    sha256 = _digest(source.path, "sha256")
    algorithm, wanted = source.expected
    if wanted:
        found = sha256 if algorithm == "sha256" else _digest(source.path, algorithm)
        if found != wanted:
            raise DataError(
                f"{source.path} is not the file it is known as: {algorithm} expected {wanted}, found {found}",
                source.way_out,
            )
    _inspect(source, blueprint, _described(spec, with_top))
    return sha256


def _digest(path: Path, algorithm: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "see who may read the file") from error


def _inspect(source: _Source, blueprint: _Blueprint, described: str) -> None:
    """Refuse a file that is damaged, reaches outside itself, or holds other arrays than the network."""
    path = source.path
    if not h5py.is_hdf5(path):
        with path.open("rb") as file:
            start = file.read(4)
        kinds = {b"PK": ", it is a zip archive", b"\x80": ", it looks like a pickle"}
        kind = next((text for sign, text in kinds.items() if start.startswith(sign)), "")
        raise DataError(f"{path} is not an HDF5 file{kind}", source.way_out)
    try:
        with h5py.File(path, "r") as file:
            shapes, whole = [], 0
            for dataset in _datasets(file):
                if dataset.dtype.kind == "f":
                    shapes.append(dataset.shape)
                else:
                    whole += dataset.size
            _compare(source, blueprint, described, shapes, whole)
            _check_form(source, blueprint, described, file)
    except _Refused as refused:
        raise DataError(f"{path} is not read: {refused}", source.way_out) from refused
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # as h5py reports damage
        raise DataError(f"{path} is damaged or incomplete: {error}", source.way_out) from error


class _Refused(Exception):
    """Why a file is not read."""


def _datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Every array of a file, each after a look at what HDF5 would do to read it."""
    seen, waiting = {h5py.h5o.get_info(file.id).addr}, [file["/"]]
    _check_attributes(file["/"])
    while waiting:
        group = waiting.pop()
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _Refused(f"{where} is a link to another file, {link.filename}")
            if not isinstance(link, h5py.HardLink):
                raise _Refused(f"{where} is a link, and files of weights have none")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise _Refused(f"{where} stands there twice")
            seen.add(address)
            _check_attributes(item)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_dataset(item)
                yield item
            else:
                raise _Refused(f"{where} is neither a group nor an array")


def _check_attributes(item: h5py.Group | h5py.Dataset) -> None:
    for key in item.attrs:
        attribute = item.attrs.get_id(key)
        # Texts of open length can share a few bytes on the disk and fill the memory when read.
        if attribute.dtype.hasobject and np.prod(attribute.shape, dtype=object) > _MOST_TEXTS:
            raise _Refused(f"attribute {key} of {item.name} is a list of more than {_MOST_TEXTS} texts")


def _check_dataset(item: h5py.Dataset) -> None:
    if item.external:
        raise _Refused(f"{item.name} keeps its numbers in another file, {item.external[0][0]}")
    if item.is_virtual:
        raise _Refused(f"{item.name} is put together from other files")
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(index)[0] for index in range(plist.get_nfilters())}
    if filters - _HARMLESS_FILTERS:
        raise _Refused(f"{item.name} is packed with filter {min(filters - _HARMLESS_FILTERS)}, a plug-in")
    if item.shape is None or item.dtype.kind not in "fiu" or item.dtype.itemsize > 8:
        raise _Refused(f"{item.name} holds no plain numbers ({item.dtype})")
    stored = item.id.get_storage_size()
    if stored < (1 if filters else item.nbytes) and item.size:
        # What was never written reads as zeros, without a word.
        raise _Refused(f"{item.name} promises {item.nbytes:,} bytes and has {stored:,}")


def _compare(
    source: _Source, blueprint: _Blueprint, described: str, shapes: list[tuple[int, ...]], whole: int
) -> None:
    wanted, found = Counter(blueprint.shapes), Counter(shapes)
    if wanted == found and whole <= _MOST_WHOLE_NUMBERS:
        return

    def total(counted: Counter) -> str:
        numbers = sum(int(np.prod(shape, dtype=object)) * times for shape, times in counted.items())
        return f"{counted.total()} arrays with {numbers:,} numbers"

    def some(counted: Counter) -> str:
        listed = [str(shape) for shape in sorted(counted)]
        return ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")

    parts = [f"{source.path} does not fit {described}: expected {total(wanted)}, found {total(found)}"]
    if whole > _MOST_WHOLE_NUMBERS:
        parts.append(f"{whole:,} whole numbers that are no weights")
    if wanted - found:
        parts.append(f"missing the shapes {some(wanted - found)}")
    if found - wanted:
        parts.append(f"left over the shapes {some(found - wanted)}")
    raise ModelError("; ".join(parts), source.way_out)


def _check_form(source: _Source, blueprint: _Blueprint, described: str, file: h5py.File) -> None:
    """Keras chooses between its two forms by the file's name, and reads the older one by order alone."""
    group = file if "model_weights" not in file else file["model_weights"]
    old, named_new = "layer_names" in group.attrs, source.path.name.endswith(".weights.h5")
    if old == named_new:
        form, ending = ("older", ".h5 without .weights") if old else ("newer", ".weights.h5")
        raise DataError(
            f"{source.path} has the {form} form of Keras's weight files, which its name does not say",
            f"rename it so that it ends in {ending}",
        )
    if not old or not source.own:  # Keras's own files may have other names of their own
        return
    stored = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs["layer_names"]]
    stored = [name for name in stored if len(group[name].attrs.get("weight_names", ()))]
    wanted = list(blueprint.layers)
    if stored != wanted:
        first, other = next(
            (a, b) for a, b in zip(wanted + ["none"], stored + ["none"], strict=False) if a != b
        )
        raise ModelError(
            f"{source.path} does not fit {described}: expected layer {first}, found {other}", source.way_out
        )


def _arrays(model: keras.Model, with_top: bool) -> Arrays:
    """Weights by layer, as arrays that cannot be written to; the classifier as those of a dense layer."""
    layers = [layer for layer in model.layers if layer.weights]
    kept = {layer.name: layer.get_weights() for layer in layers}
    if with_top:
        # MobileNet classifies by a 1×1 convolution of the pooled maps, which is a dense layer.
        kernel, bias = kept.pop(layers[-1].name)
        kept["logits"] = [kernel.reshape(kernel.shape[-2:]), bias]
    for values in kept.values():
        for value in values:
            value.setflags(write=False)
    return MappingProxyType({name: tuple(values) for name, values in kept.items()})


# ── the backbone with its weights ──────────────────────────────────────────────────────────────────────
class Backbone:
    """A backbone with weights; made by `load_backbone`, equal to another with the same `identity`.

    Attributes
    ----------
    name : str
        Key of `BACKBONES`.
    size : int
        Side of the square pictures in pixels.
    with_top : bool
        Whether the classifier of the 1000 ImageNet classes is there.
    origin : Origin
        Where the weights come from.
    """

    def __init__(
        self, name: str, size: int, with_top: bool, origin: Origin, arrays: Arrays, seed: int | None
    ) -> None:
        self.name = name
        self.size = size
        self.with_top = with_top
        self.origin = origin
        self._arrays = arrays
        self._seed = seed

    def __reduce__(self) -> tuple:
        # To a worker go the weights, as a plain dict; what is compiled stays in its process.
        arrays = dict(self._arrays)
        return Backbone, (self.name, self.size, self.with_top, self.origin, arrays, self._seed)

    @property
    def spec(self) -> BackboneSpec:
        """What is known of this backbone apart from its weights."""
        return BACKBONES[self.name]

    @property
    def identity(self) -> dict[str, object]:
        """All that determines the network and its weights, in plain values: part of the key of a result."""
        drawn = f"untrained, seed {self._seed}"
        weights = f"sha256 {self.origin.sha256}" if self.origin.sha256 else drawn
        return {"name": self.name, "size": self.size, "with_top": self.with_top, "weights": weights}

    @property
    def title(self) -> str:
        """Name on pages; it always says what the weights are."""
        if self.origin.kind == "untrained":
            return f"{self.spec.title} (untrained)"
        return f"{self.spec.title}, {self.origin.label}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backbone) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(tuple(self.identity.items()))

    def __repr__(self) -> str:
        return f"<{self.title}, {self.size} × {self.size}>"

    def graph(self) -> keras.Model:
        """A new functional graph with these weights, sharing nothing with earlier ones.

        Returns
        -------
        keras.Model
            Input ``picture``: RGB pictures (n, size, size, 3), 0 to 255. Output: the last feature maps
            (n, rows, columns, channels), of layer ``spec.last_layer``; with the classifier, probabilities
            (n, 1000), after layers ``pooled``, ``logits`` (linear) and ``probabilities``. No layer is
            trainable, so batch normalisation uses its stored statistics in training too.
        """
        networks.deterministic()
        picture = keras.Input((self.size, self.size, 3), name="picture")
        maps = self.spec.constructor(
            weights=None,
            include_top=False,
            input_tensor=self.spec.preprocess(picture),
        ).output
        output = maps
        if self.with_top:
            pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(maps)
            logits = keras.layers.Dense(IMAGENET_CLASSES, name="logits")(pooled)
            output = keras.layers.Activation("softmax", name="probabilities")(logits)
        model = keras.Model(picture, output, name=self.name)
        for layer in model.layers:
            layer.trainable = False
            if layer.weights:
                layer.set_weights(list(self._arrays[layer.name]))
        return model

    def features(self, pictures: NDArray, batch: int = 32) -> NDArray[np.float32]:
        """The last feature maps of pictures.

        Parameters
        ----------
        pictures : array, shape (n, size, size, 3)
            RGB, 0 to 255.
        batch : int
            Pictures per pass; bounds the memory, does not change results beyond rounding.

        Returns
        -------
        float32 array, shape (n, rows, columns, channels)

        Raises
        ------
        ModelError
            When the pictures do not fit.
        """
        _check_whole("batch", batch, 1)
        x = networks.check_pictures(pictures, self.size)
        starts = range(0, len(x), batch)
        return np.concatenate([self._extract(x[start : start + batch]).numpy() for start in starts])

    @cached_property
    def _extract(self) -> Callable[[NDArray], tf.Tensor]:
        graph = self.graph()
        maps = keras.Model(graph.input, graph.get_layer(self.spec.last_layer).output)
        pictures = tf.TensorSpec((None, self.size, self.size, 3), tf.float32)
        # An open batch axis keeps one trace for batches of every size.
        return tf.function(lambda x: maps(x, training=False), input_signature=(pictures,))


def load_backbone(
    name: str,
    size: int = 224,
    weights: str | Path = "imagenet",
    *,
    with_top: bool = False,
    seed: int = 0,
) -> Backbone:
    """A backbone with its weights, checked; the weights are kept, so a second call is fast.

    Parameters
    ----------
    name : str
        Key of `BACKBONES`.
    size : int
        Side of the square pictures in pixels, at least 32. Weights were trained at 224 and fit any size.
    weights : str or path
        See the module: ``"imagenet"``, ``"untrained"``, ``"imagenet-else-untrained"`` or a local file.
    with_top : bool
        With the classifier of the 1000 ImageNet classes.
    seed : int
        Draws untrained weights; without effect on others.

    Raises
    ------
    ParameterError
        When an argument is not valid.
    WeightsMissing
        When ``"imagenet"`` is asked for and there is no file and no way to download it.
    DataError
        When a file is missing, damaged, not the one it is known as, or of a kind that is not read.
    ModelError
        When a file's arrays are not those of the network.

    Notes
    -----
    Untrained weights follow Glorot and Bengio (2010), see `networks.initial_weights`; batch normalisation gets
    the statistics of noise pictures, drawn from the same seed, so that its output is of order 1.
    """
    if name not in BACKBONES:
        raise ParameterError(f"backbone {name!r} is unknown", f"use one of {', '.join(BACKBONES)}")
    _check_whole("size", size, SMALLEST_SIZE)
    _check_whole("seed", seed, 0)
    if not isinstance(with_top, bool | np.bool_):
        raise ParameterError(f"with_top = {with_top!r} is not valid", "give True or False")
    spec, top, seed = BACKBONES[name], bool(with_top), int(seed)
    origin, arrays = _origin_and_arrays(spec, top, weights, seed)
    return Backbone(name, int(size), top, origin, arrays, seed if origin.kind == "untrained" else None)


def _origin_and_arrays(
    spec: BackboneSpec, with_top: bool, weights: str | Path, seed: int
) -> tuple[Origin, Arrays]:
    if weights == "untrained":
        return _untrained(spec, with_top, seed)
    if weights == "imagenet":
        return _imagenet(spec, with_top)
    if weights == "imagenet-else-untrained":
        try:
            return _imagenet(spec, with_top)
        except WeightsMissing as missing:
            # Only that nothing could be had leads here: a file that is wrong stays an error.
            return _untrained(spec, with_top, seed, f"no ImageNet weights could be had ({missing.reason})")
    if isinstance(weights, Path) or (isinstance(weights, str) and ("." in weights or os.sep in weights)):
        return _own(spec, with_top, Path(weights))
    raise ParameterError(
        f"weights = {weights!r} is neither a choice nor a file",
        f"use one of {', '.join(WEIGHTS_CHOICES)}, or the path of a .weights.h5 or .h5 file",
    )


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} = {value!r} is not valid", f"give a whole number, at least {least}")
