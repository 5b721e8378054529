"""Explanations per second: integrated gradients and class activation maps, beside the libraries that make them.

Every way explains the same pictures by the same network, class, baseline and points. PAIR saliency weighs both
ends of a path like the points between them; moved inwards by half a step these are the midpoints, so all ways
compute the same sum. All ways run on one thread, as `pdlib` does, and once more with the threads that TensorFlow
and PyTorch take on their own.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import saliency.core as saliency
from numpy.typing import NDArray

from pdlib import transfer
from pdlib.explain import enlarge, grad_cam, grad_cam_pp, integrated_gradients
from pdlib.networks import THREADS, CustNetConfig, custnet, initial_weights, keras, logit_model, tf
from pdlib.weights import load_backbone
from tests.bench.timing import Part, Row, side_by_side
from tests.test_networks import dip_pictures

#: Largest difference of class activation maps, which lie between 0 and 1; and mean difference of integrated
#: gradients as a share of their mean size. Where a ReLU or a maximum is about to switch, rounding decides
#: between two gradients, so single pixels of integrated gradients differ more.
CAM_TOLERANCE, PATH_TOLERANCE = 1e-3, 0.01
LAYER = "last_conv"
BATCH = 32
OURS, ONE_BY_ONE, AT_ONCE = (
    "pdlib",
    "PAIR saliency, point by point",
    "PAIR saliency, a picture's points at once",
)
EACH, TOGETHER, TORCH = "tf-keras-vis, picture by picture", "tf-keras-vis, all pictures at once", "Captum"


@dataclass(frozen=True)
class Case:
    """A network, the pictures it explains and the class explained in each."""

    name: str
    model: keras.Model
    pictures: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Thing:
    """One thing done in several ways, each giving maps (n, height, width).

    Attributes
    ----------
    apart : callable
        How far the maps of two ways are apart.
    tolerance : float
        How far they may be.
    """

    what: str
    ways: dict[str, Callable[[], NDArray]]
    items: int
    reference: str
    apart: Callable[[NDArray, NDArray], float]
    tolerance: float


def _case(name: str, model: keras.Model, size: int, count: int) -> Case:
    pictures, labels = dip_pictures(count, size, 1)
    return Case(name, model, pictures.astype(np.float32), labels.astype(np.int64))


def cases(small: bool) -> list[Case]:
    """The networks; those but the first take too long for a trial."""
    count = 2 if small else 8
    found = [_case("CustNet 64 px", custnet(CustNetConfig(64, 0.25), seed=0), 64, count)]
    if not small:
        plain = transfer.PlainCNN(128)
        network = plain.build()
        network.set_weights(plain.start(network, 0))
        found.append(_case("plain CNN 128 px", network, 128, count))
        top = transfer.Top(load_backbone("mobilenet_v2", 128, "imagenet-else-untrained"))
        whole, _frozen, head = top.parts()
        head.set_weights(initial_weights(head, 0))
        found.append(_case("MobileNetV2 128 px", whole, 128, count))
    return found


# ── how far apart ──────────────────────────────────────────────────────────────────────────────────────
def largest(found: NDArray, expected: NDArray) -> float:
    """Largest difference of maps between 0 and 1."""
    return float(np.abs(found - expected).max())


def share(found: NDArray, expected: NDArray) -> float:
    """Mean difference as a share of the mean size."""
    return float(np.abs(found - expected).sum() / np.abs(expected).sum())


# ── integrated gradients ───────────────────────────────────────────────────────────────────────────────
def path_ways(case: Case, steps: int, *, slow: bool) -> dict[str, Callable[[], NDArray]]:
    """Integrated gradients from black at the middles of ``steps`` equal parts of the path."""
    logits = logit_model(case.model)

    def gradient(pictures, call_model_args=None, expected_keys=None):
        x = tf.convert_to_tensor(pictures, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = logits(x)[:, call_model_args]
        return {saliency.INPUT_OUTPUT_GRADIENTS: np.array(tape.gradient(score, x))}

    def theirs(batch: int) -> NDArray:
        maps = []
        for picture, label in zip(case.pictures, case.classes, strict=True):
            inwards = picture / (2 * steps)
            mask = saliency.IntegratedGradients().GetMask(
                picture - inwards, gradient, int(label), x_baseline=inwards, x_steps=steps, batch_size=batch
            )
            maps.append(mask.sum(axis=-1) / (1 - 1 / steps))
        return np.stack(maps)

    def ours() -> NDArray:
        return integrated_gradients(
            case.model, case.pictures, case.classes, steps=steps, max_steps=steps, rule="midpoint",
            batch_size=BATCH,
        ).maps  # fmt: skip

    ways = {OURS: ours, AT_ONCE: lambda: theirs(steps)}
    if slow:
        ways[ONE_BY_ONE] = lambda: theirs(1)
    if has_captum():
        ways[TORCH] = _captum_path(case, steps)
    return ways


# ── class activation maps ──────────────────────────────────────────────────────────────────────────────
def scaled(coarse: NDArray, case: Case) -> NDArray:
    """Coarse maps enlarged and divided by their own maximum, as `pdlib` gives them."""
    large = enlarge(coarse, *case.pictures.shape[1:3])
    peaks = large.max(axis=(1, 2), keepdims=True)
    return large / np.where(peaks > 0, peaks, 1)


def _library(case: Case, kind: str, model: keras.Model | None = None) -> Callable[[slice], NDArray]:
    """Coarse maps of some pictures by tf-keras-vis, as its documents show: softmax off on a clone."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

    camera = {"grad_cam": Gradcam, "grad_cam_pp": GradcamPlusPlus}[kind]
    explained = camera(model or case.model, model_modifier=ReplaceToLinear(), clone=True)

    def maps(rows: slice) -> NDArray:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return np.asarray(
                explained(
                    lambda outputs: tf.gather(outputs, case.classes[rows], axis=1, batch_dims=1),
                    case.pictures[rows],
                    penultimate_layer=LAYER,
                    seek_penultimate_conv_layer=False,
                    expand_cam=False,
                    normalize_cam=False,
                )
            )

    return maps


def cam_ways(case: Case, kind: str) -> dict[str, Callable[[], NDArray]]:
    """Class activation maps of a network that was explained before."""
    ours = {"grad_cam": grad_cam, "grad_cam_pp": grad_cam_pp}[kind]
    library, whole = _library(case, kind), slice(None)
    each = [slice(row, row + 1) for row in range(len(case.pictures))]
    ways = {
        OURS: lambda: ours(case.model, case.pictures, case.classes, batch_size=BATCH).maps,
        TOGETHER: lambda: scaled(library(whole), case),
        EACH: lambda: scaled(np.concatenate([library(row) for row in each]), case),
    }
    if kind == "grad_cam" and has_captum():
        ways[TORCH] = _captum_cam(case)
    return ways


def new_network_ways(case: Case) -> dict[str, Callable[[], NDArray]]:
    """Grad-CAM maps of a network just built, as each fold of a chain has one; building it is not left out."""
    weights, config = case.model.get_weights(), CustNetConfig(64, 0.25)

    def new() -> keras.Model:
        model = config.build()
        model.set_weights(weights)
        return model

    return {
        OURS: lambda: grad_cam(new(), case.pictures, case.classes, batch_size=BATCH).maps,
        TOGETHER: lambda: scaled(_library(case, "grad_cam", new())(slice(None)), case),
    }


# ── Captum ─────────────────────────────────────────────────────────────────────────────────────────────
def has_captum() -> bool:
    """Whether PyTorch and Captum can be imported."""
    return all(importlib.util.find_spec(name) for name in ("torch", "captum"))


def _in_torch(case: Case) -> tuple:
    import torch

    from tests.bench.torch_twin import Twin

    pictures = torch.from_numpy(np.ascontiguousarray(case.pictures.transpose(0, 3, 1, 2)))
    return Twin(case.model), pictures, torch.from_numpy(case.classes)


def _captum_path(case: Case, steps: int) -> Callable[[], NDArray]:
    from captum.attr import IntegratedGradients

    twin, pictures, classes = _in_torch(case)
    explained = IntegratedGradients(twin)

    def maps() -> NDArray:
        found = explained.attribute(
            pictures, target=classes, n_steps=steps, method="riemann_middle", internal_batch_size=BATCH
        )
        return found.sum(dim=1).detach().numpy()

    return maps


def _captum_cam(case: Case) -> Callable[[], NDArray]:
    from captum.attr import LayerGradCam

    twin, pictures, classes = _in_torch(case)
    explained = LayerGradCam(twin, twin.part(LAYER))

    def maps() -> NDArray:
        found = explained.attribute(pictures, target=classes, relu_attributions=True)
        return scaled(found[:, 0].detach().numpy(), case)

    return maps


# ── all of it ──────────────────────────────────────────────────────────────────────────────────────────
def things(small: bool, *, brief: bool = False) -> list[Thing]:
    """All that is compared; ``brief`` leaves out what needs no second number of threads."""
    found = []
    for place, case in enumerate(cases(small)):
        n, first = len(case.pictures), place == 0
        few = replace(case, pictures=case.pictures[:2], classes=case.classes[:2])
        usual = 8 if small else 32
        for steps in (16, 32, 64) if first and not (small or brief) else (usual,):
            ways = path_ways(few, steps, slow=first and steps == usual and not brief)
            what = f"integrated gradients, {case.name}, {steps} points"
            found.append(Thing(what, ways, 2, AT_ONCE, share, PATH_TOLERANCE))
        ways = cam_ways(case, "grad_cam")
        found.append(Thing(f"Grad-CAM, {case.name}", ways, n, TOGETHER, largest, CAM_TOLERANCE))
        if first and not brief:
            ways = cam_ways(case, "grad_cam_pp")
            found.append(Thing(f"Grad-CAM++, {case.name}", ways, n, TOGETHER, largest, CAM_TOLERANCE))
            ways = new_network_ways(case)
            found.append(
                Thing(f"Grad-CAM, {case.name}, a new network", ways, n, TOGETHER, largest, CAM_TOLERANCE)
            )
    return found


def _rows(found: list[Thing], rounds: int, threads: str) -> list[Row]:
    rows = []
    for thing in found:
        expected = thing.ways[OURS]()
        notes = {}
        for name, way in thing.ways.items():
            apart = thing.apart(way(), expected)
            if not apart <= thing.tolerance:
                raise AssertionError(f"{thing.what}: {name} is {apart:.1e} from {OURS}")
            notes[name] = threads if name == OURS else f"{threads}; {apart:.0e} from {OURS}"
        rows += side_by_side(
            f"{thing.what} ({threads})", thing.ways, items=thing.items, unit="ms per map", rounds=rounds,
            reference=thing.reference, notes=notes,
        )  # fmt: skip
    return rows


def as_they_come(rounds: int, threads: int) -> list[Row]:
    """The rows in this process, whose libraries take ``threads`` threads; for a fresh process."""
    if has_captum():
        import torch

        torch.set_num_threads(threads)
    return _rows(things(False, brief=True), rounds, f"{threads} threads")


def _in_a_fresh_process(rounds: int, threads: int) -> list[Row]:
    """`as_they_come` where TensorFlow, whose threads are fixed on loading, is not loaded yet."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(as_they_come, rounds, threads).result()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def measure(rounds: int, small: bool) -> Part:
    """Time every way; ``small`` keeps to the smallest network and one thread."""
    if has_captum():
        import torch

        torch.set_num_threads(THREADS)
    one = f"{THREADS} thread" if THREADS == 1 else f"{THREADS} threads"
    rows = _rows(things(small), rounds, one)
    left_out = ["SmoothGrad and occlusion: other libraries draw other noise and cover other patches"]
    facts: dict[str, float | int | str] = {}
    threads = os.cpu_count() or 1
    if small or threads == THREADS:
        left_out.append("the threads that TensorFlow and PyTorch take on their own")
    else:
        many = _in_a_fresh_process(rounds, threads)
        ours = {row.what.rpartition(" (")[0]: row.median for row in rows if row.name == OURS}
        for row in many:
            thing = row.what.rpartition(" (")[0]
            if row.name != OURS:
                facts[f"{thing}: {row.name} on {threads} threads, times pdlib on {one}"] = round(
                    row.median / ours[thing], 2
                )
        rows += many
    if not has_captum():
        left_out.append("Captum: torch or captum is not installed")
    facts |= {f"{row.what}: maps per second": round(1e3 / row.median, 1) for row in rows if row.name == OURS}
    return Part("Explanations", rows, facts, left_out)
