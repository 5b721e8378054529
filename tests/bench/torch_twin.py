"""The same network in PyTorch: layer by layer what a flat Keras graph does, with its weights, channels first.

Imported only where torch is installed.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pdlib.maps import flatten
from pdlib.networks import keras, logit_model


def _around(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Keras's padding "same" along one axis: what does not divide evenly goes behind."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padded(x: torch.Tensor, kernel: tuple, strides: tuple, value: float = 0.0) -> torch.Tensor:
    sides = [_around(size, k, s) for size, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    return functional.pad(x, (*sides[1], *sides[0]), value=value) if any(map(any, sides)) else x


class _Same(nn.Module):
    """A layer behind Keras's padding "same"."""

    def __init__(self, inner: nn.Module, kernel: tuple, strides: tuple, value: float = 0.0) -> None:
        super().__init__()
        self.inner, self.kernel, self.strides, self.value = inner, kernel, strides, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(_padded(x, self.kernel, self.strides, self.value))


class _Of(nn.Module):
    """A function of tensors as a layer."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.function(*tensors)


def _tensors(layer: keras.layers.Layer) -> dict[str, torch.Tensor]:
    return {one.name: torch.from_numpy(one.numpy().copy()) for one in layer.weights}


def _convolution(layer: keras.layers.Layer) -> nn.Module:
    weights, depthwise = _tensors(layer), isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel = weights["kernel"].permute(2, 3, 0, 1) if depthwise else weights["kernel"].permute(3, 2, 0, 1)
    if depthwise:
        kernel = kernel.reshape(-1, 1, *kernel.shape[2:])
    groups = kernel.shape[0] if depthwise else 1
    made = nn.Conv2d(
        kernel.shape[1] * groups, kernel.shape[0], kernel.shape[2:], layer.strides, groups=groups,
        bias=layer.use_bias,
    )  # fmt: skip
    made.weight.data = kernel.contiguous()
    if layer.use_bias:
        made.bias.data = weights["bias"]
    return _Same(made, layer.kernel_size, layer.strides) if layer.padding == "same" else made


def _norm(layer: keras.layers.BatchNormalization) -> nn.Module:
    weights = _tensors(layer)
    made = nn.BatchNorm2d(len(weights["moving_mean"]), eps=layer.epsilon)
    made.weight.data = weights.get("gamma", torch.ones_like(weights["moving_mean"]))
    made.bias.data = weights.get("beta", torch.zeros_like(weights["moving_mean"]))
    made.running_mean.data, made.running_var.data = weights["moving_mean"], weights["moving_variance"]
    return made


def _dense(layer: keras.layers.Dense) -> nn.Module:
    weights = _tensors(layer)
    made = nn.Linear(*weights["kernel"].shape)
    made.weight.data, made.bias.data = weights["kernel"].T.contiguous(), weights["bias"]
    return made


def _pool(layer: keras.layers.MaxPooling2D) -> nn.Module:
    made = nn.MaxPool2d(layer.pool_size, layer.strides)
    return _Same(made, layer.pool_size, layer.strides, -torch.inf) if layer.padding == "same" else made


def _activation(layer: keras.layers.Activation) -> nn.Module:
    return {"relu": nn.ReLU, "linear": nn.Identity}[layer.activation.__name__]()


_MADE = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _norm,
    "Dense": _dense,
    "MaxPooling2D": _pool,
    "Activation": _activation,
    "ReLU": lambda layer: nn.ReLU() if layer.max_value is None else nn.Hardtanh(0.0, float(layer.max_value)),
    "Add": lambda _layer: _Of(lambda *tensors: sum(tensors[1:], tensors[0])),
    "Rescaling": lambda layer: _Of(lambda x: x * layer.scale + layer.offset),
    "GlobalAveragePooling2D": lambda _layer: _Of(lambda x: x.mean(dim=(2, 3))),
    "ZeroPadding2D": lambda layer: nn.ZeroPad2d((*layer.padding[1], *layer.padding[0])),
}


_OPERATIONS = {"TrueDivide": torch.true_divide, "Subtract": torch.subtract}


def _operation(use) -> nn.Module:
    """What is no layer, such as a division by 127.5; the number is among the arguments of its use."""
    function = _OPERATIONS[type(use.layer).__name__]
    return _Of(lambda *tensors: function(*use._filled(tensors)[0]))


class Twin(nn.Module):
    """The network from pictures (n, 3, height, width) to logits; ``part(name)`` is the layer of that name."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._graph = [logit_model(flatten(model))]  # in a list: no module of torch
        self._parts: dict[str, nn.Module] = {}
        for use in self._graph[0].layers:
            if not isinstance(use, keras.layers.InputLayer):
                is_layer = isinstance(use.layer, keras.layers.Layer)
                made = _MADE[type(use.layer).__name__](use.layer) if is_layer else _operation(use)
                self._parts[use.name] = made
        self._kept = nn.ModuleList(self._parts.values())
        self.eval()

    def part(self, name: str) -> nn.Module:
        """The layer of this name."""
        return self._parts[name]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._graph[0]._run_through_graph(
            x, call_fn=lambda use, tensors: self._parts[use.name](*_flat(tensors))
        )


def _flat(tensors) -> list[torch.Tensor]:
    """The tensors of a call, which may come as a list in a list."""
    return [one for part in tensors for one in (_flat(part) if isinstance(part, list | tuple) else [part])]
