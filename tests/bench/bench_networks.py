"""What CustNet's training costs, whether it learns, what memory it keeps; two ways to draw a slope graph.

Run it with ``python -m tests.bench.bench_networks [cost|learning|memory|drawing ...]``; nothing is asserted.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from pdlib import networks, pictures
from pdlib.explain import grad_cam
from pdlib.networks import CustNetConfig, Learner
from tests.test_networks import dip_pictures, drawn_curve

SPEAKERS = 65  # of 81, in the training part of one of five folds
SCALES = ((64, 0.125), (64, 0.25), (96, 0.125), (96, 0.25), (96, 0.5), (64, 1.0))


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call; with ``clock=time.process_time``, those the processor spent on it."""
    start = clock()
    function()
    return clock() - start


def cost() -> None:
    """Seconds to build, of the first fit, per picture and pass of training, per picture scored and mapped.

    ``processor`` is the time the processor spent on a picture and pass: what ``pass`` is on an idle machine.
    """
    heads = ("build", "first", "pass", "processor", "predict", "Grad-CAM")
    print(f"{'size':>5}{'width':>7}{'batch':>6}" + "".join(f"{head:>10}" for head in heads))
    rng = np.random.default_rng(0)
    for size, width in SCALES:
        x, y = rng.integers(0, 256, (SPEAKERS, size, size, 3), dtype=np.uint8), np.arange(SPEAKERS) % 2
        for batch in (8, 16):
            made: list[Learner] = []
            build = seconds(lambda: made.append(Learner(CustNetConfig(size, width))))  # noqa: B023
            learner = made[0]
            first = seconds(lambda: learner.fit(x[:4], y[:4], seed=0, epochs=1))  # noqa: B023

            def fit() -> None:
                learner.fit(x, y, seed=0, epochs=2, batch_size=batch)  # noqa: B023

            clocks = (time.perf_counter, time.process_time)
            passes = [min(seconds(fit, clock) for _ in range(3)) for clock in clocks]
            net = learner.fit(x, y, seed=0, epochs=1, batch_size=batch)
            learner.predict(net, x)
            predict = seconds(lambda: learner.predict(net, x)) / SPEAKERS  # noqa: B023
            maps = seconds(lambda: grad_cam(learner.model(net), x, y)) / SPEAKERS  # noqa: B023
            columns = (build, first, *(spent / (2 * SPEAKERS) for spent in passes), predict, maps)
            row = "".join(f"{value:10.4f}" for value in columns)
            print(f"{size:5d}{width:7.3f}{batch:6d}{row}", flush=True)
        networks.free()


def learning() -> None:
    """Accuracy on 100 new pictures after each number of epochs: curves with a dip against curves without."""
    epochs = (2, 4, 6, 8, 10, 12, 15, 20)
    print("held-out accuracy after epochs", epochs)
    for momentum in (0.99, 0.9, 0.7):
        networks.BATCH_NORM_MOMENTUM, kept = momentum, networks.BATCH_NORM_MOMENTUM
        try:
            for size, width in ((64, 0.125), (64, 0.25), (96, 0.25)):
                learner = Learner(CustNetConfig(size, width))
                data, held_out = dip_pictures(SPEAKERS, size, 1), dip_pictures(100, size, 2)
                for batch, rate in ((8, 1e-3), (16, 3e-3)):
                    for seed in (0, 1):
                        net = learner.fit(
                            *data,
                            seed=seed,
                            epochs=max(epochs),
                            batch_size=batch,
                            learning_rate=rate,
                            validation=held_out,
                        )
                        row = net.history["val_accuracy"][np.array(epochs) - 1]
                        print(
                            f"momentum {momentum:4.2f} size {size} width {width:5.3f} batch {batch:2d} "
                            f"rate {rate:g} seed {seed}: " + " ".join(f"{value:.2f}" for value in row),
                            flush=True,
                        )
        finally:
            networks.BATCH_NORM_MOMENTUM = kept


def resident() -> float:
    """Memory of this process now, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def memory() -> None:
    """Resident memory while one learner trains again and again, with a Grad-CAM after each training."""
    x, y = dip_pictures(SPEAKERS, 64, 1)
    learner = Learner(CustNetConfig(64, 0.25))
    for round_ in range(41):
        net = learner.fit(x, y, seed=round_, epochs=1, batch_size=16)
        grad_cam(learner.model(net), x, y)
        if round_ % 5 == 0:
            networks.free()
            print(f"after {round_ + 1:3d} fits: {resident():7.0f} MiB", flush=True)


def drawn_with_matplotlib(curve: object, size: int) -> np.ndarray:
    """The same slope graph on matplotlib's Agg canvas, to compare with `pictures.slope_graph`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=size)
    canvas = FigureCanvasAgg(figure)
    points = 72 / size * pictures.line_width(size)
    for values, limits, colour in (
        (curve.energy, pictures.ENERGY_LIMITS, pictures.ENERGY_COLOUR),
        (curve.slope, pictures.SLOPE_LIMITS, pictures.SLOPE_COLOUR),
    ):
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, curve.times[0] + curve.times[-1]), ylim=limits)
        axes.axis("off")
        axes.plot(curve.times, np.clip(values, *limits), color=np.array(colour) / 255, linewidth=points)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def drawing() -> None:
    """Milliseconds a picture with Pillow and with matplotlib, and how far the two pictures differ."""
    rng = np.random.default_rng(0)
    curves = [drawn_curve(rng, dips) for dips in np.arange(20) % 2]
    for size in (64, 96, 244):
        drawn: dict[str, list[np.ndarray]] = {}
        for name, draw in (("Pillow", pictures.slope_graph), ("matplotlib", drawn_with_matplotlib)):
            draw(curves[0], size)
            spent = seconds(lambda: drawn.update({name: [draw(one, size) for one in curves]}))  # noqa: B023
            print(f"{size:4d} px {name:10s} {spent / len(curves) * 1000:7.2f} ms")
        gaps = np.stack(drawn["Pillow"]).astype(float) - np.stack(drawn["matplotlib"])
        print(f"{size:4d} px mean absolute difference {np.abs(gaps[..., :3]).mean():.1f} of 255")


PARTS = {"cost": cost, "learning": learning, "memory": memory, "drawing": drawing}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    for part in parser.parse_args().parts or PARTS:
        print(f"— {part}")
        PARTS[part]()
