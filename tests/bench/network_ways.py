"""One way to train CustNet, in a process of its own: ``python -m tests.bench.network_ways WAY`` obeys lines of JSON.

How many threads a library uses is fixed when it starts, so each way has a process; `tests.bench.networks` starts them
and has them work in turn. Each line asks for one method by name, with its arguments, and is answered by one line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

SEED, RATE, BATCH = 0, 1e-3, 8
KEPT, EPSILON = 0.7, 1e-3  # of the running statistics; of batch normalisation


def pictures(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of coloured noise, which cost what others do, and labels of both classes in turn."""
    x = np.random.default_rng(1).integers(0, 256, (count, size, size, 3)).astype(np.float32)
    return x, np.arange(count) % 2


class Way:
    """What every way can be asked for: losses of the first steps, training, prediction, memory, the machine's peak."""

    def losses(self, size: int, width: float, steps: int) -> list[float]:
        """Losses of the first steps on one batch, each before its update, from the weights of `SEED`."""
        raise NotImplementedError

    def train(self, size: int, width: float, count: int, epochs: int) -> None:
        """Train on ``count`` pictures, in batches of `BATCH`."""
        raise NotImplementedError

    def predict(self, size: int, width: float, count: int) -> list[list[float]]:
        """Probabilities of the classes, with the weights of `SEED`."""
        raise NotImplementedError

    def resident(self) -> float:
        """Memory of this process now, MiB."""
        return psutil.Process().memory_info().rss / 2**20

    def peak(self, side: int) -> float:
        """Best of several products of two float32 matrices, thousand million operations per second."""
        raise NotImplementedError


def best_rate(multiply: object, side: int) -> float:
    """Operations of a product of two square matrices over the least time of several calls, in thousand millions."""
    multiply()
    spent = []
    for _ in range(9):
        started = time.perf_counter()
        multiply()
        spent.append(time.perf_counter() - started)
    return 2 * side**3 / min(spent) / 1e9


class Pdlib(Way):
    """The book's own `Learner`."""

    def __init__(self) -> None:
        from pdlib import networks

        self._networks, self._learners = networks, {}

    def _learner(self, size: int, width: float) -> object:
        if (size, width) not in self._learners:
            learner = self._networks.Learner(self._networks.CustNetConfig(size, width))
            start = self._networks.TrainedNet(learner.start(SEED), {}, learner.config)
            self._learners[size, width] = learner, start
        return self._learners[size, width]

    def losses(self, size: int, width: float, steps: int) -> list[float]:
        x, y = pictures(size, BATCH)
        net = self._learner(size, width)[0].fit(x, y, seed=SEED, epochs=steps, batch_size=BATCH)
        return net.history["loss"].tolist()

    def train(self, size: int, width: float, count: int, epochs: int) -> None:
        x, y = pictures(size, count)
        learner = self._learner(size, width)[0]
        learner.fit(x, y, seed=SEED, epochs=epochs, batch_size=BATCH, learning_rate=RATE)

    def predict(self, size: int, width: float, count: int) -> list[list[float]]:
        learner, start = self._learner(size, width)
        return learner.predict(start, pictures(size, count)[0]).tolist()

    def peak(self, side: int) -> float:
        tf = self._networks.tf
        a, b = (tf.random.stateless_normal((side, side), seed=(0, seed)) for seed in (1, 2))
        product = tf.function(tf.matmul)
        return best_rate(lambda: product(a, b).numpy(), side)

    def operations(self, size: int, width: float) -> int:
        """Multiplications and additions of the convolutions and the dense layer, forward, for one picture."""
        return operations(self._learner(size, width)[0].model(self._learner(size, width)[1]))

    def save(self, size: int, width: float, path: str) -> None:
        """Write the network down, layer by layer, with its weights, for a library that is not Keras."""
        model = self._learner(size, width)[0].model(self._learner(size, width)[1])
        graph, arrays = [], {}
        for layer in model.layers:
            config = layer.get_config()
            inputs = [layer.input] if not isinstance(layer.input, list) else layer.input
            graph.append(
                {
                    "name": layer.name,
                    "kind": type(layer).__name__,
                    "inputs": [tensor._keras_history.operation.name for tensor in inputs],
                    "config": {
                        name: config[name]
                        for name in ("strides", "pool_size", "activation")
                        if name in config
                    },
                }
            )
            for place, array in enumerate(layer.get_weights()):
                arrays[f"{layer.name}/{place}"] = array
        np.savez(path, graph=json.dumps(graph), **arrays)

    def shares(self, size: int, width: float, plain: bool) -> dict[str, float]:
        """Share of each kind of operation in a training step: median time of an operation × how many there are."""
        networks = self._networks
        tf, keras, learner = networks.tf, networks.keras, self._learner(size, width)[0]
        x, y = pictures(size, BATCH)
        y = y.astype(np.int32)
        step = learner._train_step
        if plain:
            model = learner.model(self._learner(size, width)[1])
            model.compile(optimizer=keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy")
            step = model.train_on_batch
        else:
            learner._reset(SEED, RATE, None)
        step(x, y)
        with TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            for _ in range(5):
                step(x, y)
            tf.profiler.experimental.stop()
            return _shares(next(Path(folder).rglob("*.xplane.pb")))


#: Kinds of operation by the beginning of their name, once "_MklNative", "_Mkl" and "_" are taken off.
KINDS = {
    "depthwise convolution": ("DepthwiseConv2dNative", "FusedDepthwise"),
    "convolution and matrix product": ("Conv2D", "MatMul", "FusedConv2D", "FusedMatMul"),
    "normalisation and sums": ("FusedBatchNorm", "Mean", "SquaredDifference", "Sum", "BroadcastTo", "Rsqrt"),
    "ReLU and pooling": ("Relu", "MaxPool"),
    "arithmetic of single numbers": (
        "Mul", "AddV2", "AddN", "Add", "Sub", "RealDiv", "Square", "Sqrt", "Pow", "Neg", "BiasAdd", "Assign", "Split",
        "Concat", "Reshape", "ReadVariable", "Cast", "StridedSlice", "Tile", "Reciprocal",
    ),
}  # fmt: skip


def _shares(trace: Path) -> dict[str, float]:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(trace.read_bytes())
    spent: dict[str, list[float]] = defaultdict(list)
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name.rpartition(":")[2]
                name = name.removeprefix("_").removeprefix("Mkl").removeprefix("Native")
                spent[name].append(event.duration_ps)
    totals = {
        kind: sum(
            float(np.median(times)) * len(times) for name, times in spent.items() if name.startswith(begins)
        )
        for kind, begins in KINDS.items()
    }
    return {kind: total / sum(totals.values()) for kind, total in totals.items()}


def operations(model: object) -> int:
    """Multiplications and additions of a Keras network's convolutions and dense layers for one picture, forward."""
    total = 0
    for layer in model.layers:
        if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D", "Dense"):
            kernel = layer.get_weights()[0]
            total += 2 * kernel.size * int(np.prod(layer.output.shape[1:-1], dtype=int))
    return total


class Keras(Way):
    """`CustNetConfig.build`, compiled and fitted as Keras's own tutorials do."""

    def __init__(self) -> None:
        from pdlib import networks

        self._networks, self._models = networks, {}

    def _model(self, size: int, width: float) -> object:
        if (size, width) not in self._models:
            keras = self._networks.keras
            model = self._networks.CustNetConfig(size, width).build()
            model.compile(optimizer=keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy")
            self._models[size, width] = model, self._networks.initial_weights(model, SEED)
        return self._models[size, width]

    def losses(self, size: int, width: float, steps: int) -> list[float]:
        x, y = pictures(size, BATCH)
        model, start = self._model(size, width)
        model.set_weights(start)
        for variable in model.optimizer.variables[2:]:  # after the number of steps and the learning rate
            variable.assign(np.zeros(variable.shape))
        model.optimizer.iterations.assign(0)
        return model.fit(x, y, batch_size=BATCH, epochs=steps, shuffle=False, verbose=0).history["loss"]

    def train(self, size: int, width: float, count: int, epochs: int) -> None:
        x, y = pictures(size, count)
        self._model(size, width)[0].fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)

    def predict(self, size: int, width: float, count: int) -> list[list[float]]:
        model, start = self._model(size, width)
        model.set_weights(start)
        return model.predict(pictures(size, count)[0], verbose=0).tolist()

    peak = Pdlib.peak


class Torch(Way):
    """The network as `Pdlib.save` wrote it, in PyTorch; a way of storing pictures, a precision."""

    def __init__(self, last: bool = False, half: bool = False) -> None:
        import torch

        self._torch, self._last, self._half = torch, last, half
        self._files: dict[tuple[int, float], str] = {}
        self._nets: dict[tuple[int, float], tuple[object, object]] = {}

    def load(self, size: int, width: float, path: str) -> None:
        """Read a network that `Pdlib.save` wrote."""
        self._files[size, width] = path
        self._nets[size, width] = self._fresh(path)

    def _fresh(self, path: str) -> tuple[object, object]:
        from tests.bench.network_torch import network

        net = network(path, KEPT, EPSILON)
        if self._last:
            net = net.to(memory_format=self._torch.channels_last)
        # Keras's smallest denominator, so that the first steps can be compared.
        return net, self._torch.optim.Adam(net.parameters(), lr=RATE, eps=1e-7)

    def _tensor(self, x: np.ndarray) -> object:
        tensor = self._torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        return tensor.contiguous(memory_format=self._torch.channels_last) if self._last else tensor

    def _steps(self, pair: tuple[object, object], x: object, y: object) -> float:
        net, optimizer = pair
        net.train()
        with self._torch.autocast("cpu", dtype=self._torch.bfloat16, enabled=self._half):
            loss = self._torch.nn.functional.cross_entropy(net(x).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def losses(self, size: int, width: float, steps: int) -> list[float]:
        x, y = pictures(size, BATCH)
        pair, x, y = self._fresh(self._files[size, width]), self._tensor(x), self._torch.from_numpy(y)
        return [self._steps(pair, x, y) for _ in range(steps)]

    def train(self, size: int, width: float, count: int, epochs: int) -> None:
        x, y = pictures(size, count)
        order = np.random.default_rng(SEED)
        x, y = self._tensor(x), self._torch.from_numpy(y)
        for _ in range(epochs):
            for batch in np.array_split(order.permutation(count), -(-count // BATCH)):
                self._steps(self._nets[size, width], x[batch], y[batch])

    def predict(self, size: int, width: float, count: int) -> list[list[float]]:
        net = self._nets[size, width][0].eval()
        x, torch = self._tensor(pictures(size, count)[0]), self._torch
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._half):
            return torch.cat([net(part).float().softmax(1) for part in x.split(64)]).tolist()

    def peak(self, side: int) -> float:
        a, b = (self._torch.randn(side, side) for _ in range(2))
        return best_rate(lambda: a @ b, side)


WAYS = {
    "pdlib": Pdlib,
    "keras": Keras,
    "torch": Torch,
    "torch-last": lambda: Torch(last=True),
    "torch-half": lambda: Torch(last=True, half=True),
}


def main(name: str) -> None:
    """Obey until the input ends; an answer holds what the method gave and the processor's time it took."""
    # Whatever a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    way = WAYS[name]()
    for line in sys.stdin:
        asked = json.loads(line)
        spent = time.process_time()
        found = getattr(way, asked["do"])(**asked["with"])
        answers.write(json.dumps({"found": found, "processor": time.process_time() - spent}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
