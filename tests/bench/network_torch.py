"""A network in PyTorch, put together from what `tests.bench.network_ways.Pdlib.save` wrote of it."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def _pads(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows before and after, as TensorFlow's “same” adds them: the odd one after."""
    missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return missing // 2, missing - missing // 2


class Same(nn.Module):
    """A convolution or a pooling behind the padding that TensorFlow calls “same”."""

    def __init__(self, inner: nn.Module, kernel: int, stride: int, value: float = 0.0) -> None:
        super().__init__()
        self.inner, self.kernel, self.stride, self.value = inner, kernel, stride, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Padded, then passed on."""
        rows, columns = (_pads(length, self.kernel, self.stride) for length in x.shape[2:])
        if any((*rows, *columns)):
            x = functional.pad(x, (*columns, *rows), value=self.value)
        return self.inner(x)


class Ink(nn.Module):
    """The network's first layer: white is 0, black 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Levels 0 to 255 to ink."""
        return 1 - x / 255


class Mean(nn.Module):
    """Mean over the two axes of a map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (n, channels, rows, columns) to (n, channels)."""
        return x.mean((2, 3))


class Sum(nn.Module):
    """Sum of two maps."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """One map."""
        return one + other


class Graph(nn.Module):
    """Layers by name, each called on what earlier ones gave."""

    def __init__(self, steps: list[tuple[str, list[str]]], modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.steps, self.parts = steps, nn.ModuleDict(modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of pictures (n, 3, size, size)."""
        given = {"picture": x}
        for name, inputs in self.steps:
            given[name] = self.parts[name](*(given[each] for each in inputs))
        return given["logits"]


def _convolution(arrays: list[np.ndarray], stride: int, depthwise: bool) -> nn.Module:
    kernel, bias = arrays
    # Keras: rows, columns, in, out; a depthwise kernel's last axis is 1 and takes the place of "in" here.
    turned = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    channels = kernel.shape[2]
    layer = nn.Conv2d(channels, turned.shape[0], kernel.shape[0], stride, groups=channels if depthwise else 1)
    _set(layer, weight=turned, bias=bias)
    return Same(layer, kernel.shape[0], stride)


def _set(layer: nn.Module, **arrays: np.ndarray) -> None:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(layer, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))


def network(path: str, kept: float, epsilon: float) -> Graph:
    """Read a network; batch normalisation keeps the share ``kept`` of its running statistics at each step."""
    with np.load(path) as file:
        graph = json.loads(str(file["graph"]))
        stored = {name: file[name] for name in file.files if name != "graph"}
    steps, modules = [], {}
    for each in graph:
        name, kind, config = each["name"], each["kind"], each["config"]
        arrays = [array for key, array in stored.items() if key.rpartition("/")[0] == name]
        if kind == "InputLayer" or name == "probabilities":
            continue
        if kind in ("Conv2D", "DepthwiseConv2D"):
            made = _convolution(arrays, config["strides"][0], kind == "DepthwiseConv2D")
        elif kind == "BatchNormalization":
            made = nn.BatchNorm2d(len(arrays[0]), eps=epsilon, momentum=1 - kept)
            _set(made, **dict(zip(("weight", "bias", "running_mean", "running_var"), arrays, strict=True)))
        elif kind == "MaxPooling2D":
            size, stride = config["pool_size"][0], config["strides"][0]
            made = Same(nn.MaxPool2d(size, stride), size, stride, value=-float("inf"))
        elif kind == "Dense":
            made = nn.Linear(*arrays[0].shape)
            _set(made, weight=arrays[0].T, bias=arrays[1])
        else:
            made = {"Rescaling": Ink, "Activation": nn.ReLU, "Add": Sum, "GlobalAveragePooling2D": Mean}[
                kind
            ]()
        modules[name] = made
        steps.append((name, each["inputs"]))
    return Graph(steps, modules)
