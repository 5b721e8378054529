"""The networks of the two other source texts: a pretrained backbone with a new head, fine-tuned, and a small CNN.

Every model here is a `Recipe`. All run under the ``speaker`` protocol: whatever is fitted is fitted inside the
training speakers of a fold, and the decision threshold comes from cross-fitted scores of these speakers alone.
What a frozen backbone says about a picture depends on no label, so it is computed once for all folds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from pdlib import chunks, networks, parallel
from pdlib.errors import ModelError, ParameterError
from pdlib.fold_results import FoldResult, kept_weights, weight_arrays
from pdlib.metrics import choose_threshold
from pdlib.networks import (
    Architecture,
    Learner,
    TrainedNet,
    check_pictures,
    initial_weights,
    keras,
    tf,
)
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold, Ledger, speaker_folds
from pdlib.provenance import Arrays, Store, fingerprint
from pdlib.weights import Backbone, load_backbone

MODULES = ("transfer",)
#: Where fine-tuning of MobileNetV2 begins: its last four bottleneck blocks and the last convolution are trained.
FINETUNE_CUT = "block_12_add"
CNN_FILTERS = (16, 32, 64, 128)
FEWEST_PIXELS = 32


# ── what is trained ────────────────────────────────────────────────────────────────────────────────────
def _classified(maps: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The head of the ResNet-50 note, steps 1 and 3: global average pooling, then one softmax layer."""
    maps = keras.layers.Activation("linear", name="last_conv")(maps)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(maps)
    logits = keras.layers.Dense(classes, name="logits")(pooled)
    return keras.layers.Activation("softmax", name="probabilities")(logits)


@dataclass(frozen=True)
class PlainCNN:
    """A small convolutional network trained from scratch: the “custom CNN” of the single-image notebook.

    The notebook gives no layer of its CNN, so this one is ours: four blocks of a 3 × 3 convolution, batch
    normalisation and ReLU, with half the pixels at the first convolution and after each of the next two
    blocks, then the same head as the others.

    Parameters
    ----------
    input_size : int
        Side of the pictures in pixels, at least 32.
    classes : int
    """

    input_size: int
    classes: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.input_size, int | np.integer) or self.input_size < FEWEST_PIXELS:
            raise ParameterError(
                f"input_size = {self.input_size!r} is not valid",
                f"give a whole number, at least {FEWEST_PIXELS}",
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one picture."""
        return (self.input_size, self.input_size, 3)

    def build(self) -> keras.Model:
        """The network on RGB pictures, 0 to 255."""
        picture = keras.Input(self.input_shape, name="picture")
        x = keras.layers.Rescaling(1 / 255, name="levels")(picture)
        for block, filters in enumerate(CNN_FILTERS):
            strides = 2 if block == 0 else 1
            x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization(momentum=networks.BATCH_NORM_MOMENTUM)(x)
            x = keras.layers.Activation("relu")(x)
            if 0 < block < len(CNN_FILTERS) - 1:
                x = keras.layers.MaxPooling2D(2)(x)
        return keras.Model(picture, _classified(x, self.classes), name="plain_cnn")

    def start(self, model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
        """All weights drawn from ``seed``."""
        return initial_weights(model, seed)

    def checked(self, x: NDArray) -> NDArray[np.float32]:
        """RGB pictures, see `networks.check_pictures`."""
        return check_pictures(x, self.input_size)


@dataclass(frozen=True)
class Top:
    """What is trained of a pretrained network: the layers above ``cut``, pooling and a softmax layer.

    Its inputs are the maps that the frozen part below ``cut`` makes of a picture. Batch normalisation keeps
    its ImageNet statistics (inference mode): with 65 training pictures new ones would be noise, and folded
    weights have none to adapt.

    Parameters
    ----------
    backbone : Backbone
    cut : str
        Layer of the backbone whose output is the input here; empty for its last layer, so that the head alone
        is trained, as in the ResNet-50 note.
    classes : int
    """

    backbone: Backbone
    cut: str = ""
    classes: int = 2

    def parts(self) -> tuple[keras.Model, keras.Model, keras.Model]:
        """Three new networks that share their layers: whole, frozen part, trained part."""
        graph = self.backbone.graph()
        names = [layer.name for layer in graph.layers]
        if self.cut and self.cut not in names:
            raise ModelError(
                f"{self.backbone.title} has no layer {self.cut}", f"cut at one of: {', '.join(names[-40:])}"
            )
        below = graph.get_layer(self.cut).output if self.cut else graph.output
        whole = keras.Model(graph.input, _classified(graph.output, self.classes), name=self.backbone.name)
        frozen = keras.Model(graph.input, below, name=f"{self.backbone.name}_frozen")
        try:
            trained = keras.Model(below, whole.output, name=f"{self.backbone.name}_top")
        except ValueError as error:
            raise ModelError(
                f"{self.backbone.title} cannot be cut at {self.cut}: a side path goes around it",
                "cut where a block ends, such as at an addition",
            ) from error
        for layer in trained.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        return whole, frozen, trained

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the maps at the cut: (rows, columns, channels)."""
        return _pretrained(self)[0]

    def build(self) -> keras.Model:
        """The trained part, from the maps at the cut to the probabilities."""
        shared = self.parts()[2]
        # A copy: the shared layers also belong to the graph below, and Keras finds a layer's first output only.
        model = keras.models.clone_model(shared)
        model.set_weights(shared.get_weights())
        return model

    def start(self, model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
        """The backbone's weights, and a head drawn from ``seed``."""
        *above, kernel, bias = _pretrained(self)[1]
        draw = keras.initializers.GlorotUniform(seed=int(np.random.default_rng(seed).integers(2**31)))
        return [*above, keras.ops.convert_to_numpy(draw(kernel.shape)), np.zeros_like(bias)]

    def checked(self, x: NDArray) -> NDArray[np.float32]:
        """Maps of the frozen part, shape (n, rows, columns, channels), finite."""
        maps = np.asarray(x, dtype=np.float32)
        if maps.ndim != 4 or maps.shape[1:] != self.input_shape or len(maps) == 0:
            raise ModelError(
                f"maps of shape {maps.shape} do not fit the part of {self.backbone.title} above "
                f"{self.cut or 'its last layer'}",
                f"give maps of shape (n, {', '.join(map(str, self.input_shape))}), see transfer.inputs_of",
            )
        if not np.isfinite(maps).all():
            raise ModelError(f"maps of {self.backbone.title} are not finite", "check its weights")
        return maps

    def joined(self, trained: TrainedNet) -> keras.Model:
        """Backbone and trained part as one functional graph, from the picture to the probabilities."""
        whole, _frozen, top = self.parts()
        top.set_weights(trained.weights)
        return whole


@lru_cache(maxsize=8)
def _pretrained(top: Top) -> tuple[tuple[int, ...], list[NDArray[np.float32]]]:
    """Shape of the maps at the cut, and the backbone's weights above it: asked for at every batch and fit."""
    trained = top.parts()[2]
    return tuple(trained.input_shape[1:]), trained.get_weights()


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Parameters
    ----------
    model : str
        Name in predictions and tables.
    network : PlainCNN or Top
    epochs, batch_size : int
    learning_rate : float
        Of Adam.
    head : Recipe, optional
        Trained first, on the same speakers; its softmax layer is what this recipe starts from. Fine-tuning
        from a head drawn at random would carry its large first gradients into the backbone.
    """

    model: str
    network: Architecture
    epochs: int
    learning_rate: float
    batch_size: int = 8
    head: Recipe | None = None

    @property
    def title(self) -> str:
        """Name on pages; it says what the weights are."""
        if not isinstance(self.network, Top):
            return "plain CNN"
        return f"{self.network.backbone.title}, {'fine-tuned' if self.network.cut else 'new head'}"

    @property
    def identity(self) -> dict[str, object]:
        """All that determines what the recipe gives, for the key of stored results."""
        network = self.network
        what = (
            {"backbone": network.backbone.identity, "cut": network.cut, "classes": network.classes}
            if isinstance(network, Top)
            else network
        )
        return {
            "network": what,
            "settings": [self.epochs, self.batch_size, float(self.learning_rate)],
            "head": None if self.head is None else self.head.identity,
        }


def head_recipe(model: str, backbone: Backbone, *, epochs: int = 30, learning_rate: float = 1e-3) -> Recipe:
    """A frozen backbone and a new head: steps 1 to 4 of the ResNet-50 note, the notebook's “base” model."""
    return Recipe(model, Top(backbone), epochs, learning_rate)


def finetuned_recipe(
    model: str,
    base: Recipe,
    *,
    cut: str = FINETUNE_CUT,
    epochs: int = 10,
    learning_rate: float = 1e-4,
) -> Recipe:
    """The same network with the layers above ``cut`` trained further, from the head of ``base``."""
    return Recipe(model, Top(base.network.backbone, cut), epochs, learning_rate, head=base)


def cnn_recipe(model: str, size: int, *, epochs: int = 20, learning_rate: float = 1e-3) -> Recipe:
    """The small CNN, trained from scratch."""
    return Recipe(model, PlainCNN(size), epochs, learning_rate)


def notebook_recipes(
    size: int,
    *,
    weights: str = "imagenet",
    head_epochs: int = 30,
    finetune_epochs: int = 10,
    cnn_epochs: int = 20,
) -> dict[str, Recipe]:
    """The three models of the single-image notebook, and a MobileNet of a quarter of the width beside them.

    Parameters
    ----------
    size : int
        Side of the pictures in pixels.
    weights : str
        Of the two backbones; see `weights.load_backbone`.
    head_epochs, finetune_epochs, cnn_epochs : int
        Passes over the training pictures; neither the notebook nor the note prints them.

    Returns
    -------
    dict of str to Recipe
        By model name: mobilenet_base, mobilenet_finetuned, mobilenet_025, plain_cnn.
    """
    base = head_recipe("mobilenet_base", load_backbone("mobilenet_v2", size, weights), epochs=head_epochs)
    quarter = load_backbone("mobilenet_v1_025", size, weights)
    found = (
        base,
        finetuned_recipe("mobilenet_finetuned", base, epochs=finetune_epochs),
        head_recipe("mobilenet_025", quarter, epochs=head_epochs),
        cnn_recipe("plain_cnn", size, epochs=cnn_epochs),
    )
    return {recipe.model: recipe for recipe in found}


# ── frozen features ────────────────────────────────────────────────────────────────────────────────────
def inputs_of(network: Architecture, pictures: NDArray, store: Store | None = None) -> NDArray:
    """What ``network`` is trained on: the pictures themselves, or the maps its frozen part makes of them.

    Parameters
    ----------
    network : PlainCNN or Top
    pictures : uint8 array, shape (n, size, size, 3)
    store : Store, optional
        Where the maps of a frozen part are kept between runs.

    Returns
    -------
    array
        The pictures, or float32 maps of shape (n, rows, columns, channels), those of more than `chunks.CHUNK`
        pictures in a file.
    """
    if not isinstance(network, Top):
        return pictures
    parts = (pictures[i : i + chunks.CHUNK] for i in range(0, max(1, len(pictures)), chunks.CHUNK))
    return chunks.joined((_frozen_maps(network, part, store) for part in parts), len(pictures))


def _frozen_maps(network: Top, pictures: NDArray, store: Store | None) -> NDArray[np.float32]:
    x = check_pictures(pictures, network.backbone.size)
    inputs = {
        "pictures": pictures,
        "backbone": network.backbone.identity,
        "cut": network.cut,
        "arithmetic": networks.arithmetic(),
    }

    def run() -> Arrays:
        frozen = tf.function(
            network.parts()[1], input_signature=[tf.TensorSpec((None, *x.shape[1:]), tf.float32)]
        )
        return {"maps": networks.in_batches(frozen, x)}

    return (store or Store()).get("frozen-maps", inputs, run, MODULES)["maps"]


# ── one fold ───────────────────────────────────────────────────────────────────────────────────────────
class Trainer:
    """Compiled networks and frozen maps of one recipe on one set of pictures, for any number of folds."""

    def __init__(self, recipe: Recipe, data: PictureSet, store: Store | None = None) -> None:
        self.recipe, self.data = recipe, data
        self.learner = Learner(recipe.network)
        self.inputs = inputs_of(recipe.network, data.pictures, store)
        self.head = None if recipe.head is None else Trainer(recipe.head, data, store)
        self._row = {name: row for row, name in enumerate(data.names)}

    def rows(self, names: Sequence[str]) -> list[int]:
        """Rows of these speakers."""
        return [self._row[name] for name in names]

    def fit(
        self, what: str, names: Sequence[str], seed: int, ledger: Ledger, followed: Sequence[str] = ()
    ) -> TrainedNet:
        """Train on the speakers in ``names``; those in ``followed`` are drawn in the curves and decide nothing."""
        start = None
        if self.head is not None:
            head = self.head.fit(f"head of {what}", names, seed, ledger)
            start = self._with_head(head, seed)
        ledger.fitted(what, names)
        rows, held = self.rows(names), self.rows(followed)
        return self.learner.fit(
            chunks.rows(self.inputs, rows),
            self.data.labels[rows],
            seed=seed,
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            learning_rate=self.recipe.learning_rate,
            validation=(self.inputs[held], self.data.labels[held]) if held else None,
            start=start,
        )

    def score(self, what: str, net: TrainedNet, names: Sequence[str], ledger: Ledger) -> NDArray[np.float64]:
        """Probability of class 1 for speakers that ``what`` was not fitted on."""
        ledger.applied(what, names)
        return self.learner.predict(net, self.inputs[self.rows(names)])[:, 1]

    def _with_head(self, head: TrainedNet, seed: int) -> list[NDArray]:
        # The softmax layer is the last of both networks: kernel and bias end both lists.
        return [*self.learner.start(seed)[:-2], *head.weights[-2:]]


def run_fold(trainer: Trainer, fold: Fold, *, cross_fits: int, seed: int) -> Arrays:
    """Fit the recipe inside ``fold.train`` and score ``fold.test``.

    Returns
    -------
    dict of arrays
        ``score_<model>`` and ``threshold_<model>``, ``net_*`` curves (their ``val_`` part on the test speakers,
        for the reader alone), ``weights_net_*`` and ``ledger`` (JSON).
    """
    ledger, model = Ledger(fold), trainer.recipe.model
    labels = trainer.data.labels[trainer.rows(fold.train)]
    place = {name: row for row, name in enumerate(fold.train)}
    inner = np.full(len(fold.train), np.nan)
    for part in speaker_folds(fold.train, labels, cross_fits, seed=seed):
        what = f"{model} without part {part.index}"
        net = trainer.fit(what, part.train, seed * 1000 + part.index, ledger)
        inner[[place[name] for name in part.test]] = trainer.score(what, net, part.test, ledger)
    net = trainer.fit(model, fold.train, seed * 1000 + 100, ledger, followed=fold.test)
    return {
        f"score_{model}": trainer.score(model, net, fold.test, ledger),
        f"threshold_{model}": np.array(choose_threshold(labels, inner)),
        "ledger": np.array(json.dumps(ledger.table())),
        **{f"net_{name}": values for name, values in net.history.items()},
        **weight_arrays("net", net.weights),
    }


# ── all folds ──────────────────────────────────────────────────────────────────────────────────────────
def stored_folds(
    data: PictureSet,
    recipe: Recipe,
    folds: Sequence[Fold],
    *,
    cross_fits: int = 3,
    store: Store | None = None,
    each: Callable[[FoldResult], None] | None = None,
) -> list[FoldResult]:
    """`run_fold` for these folds, each with its own seed; a finished one is read back from the store.

    Parameters
    ----------
    data : PictureSet
        Pictures of all speakers.
    recipe : Recipe
    folds : sequence of Fold
        One fold that leaves out a single speaker, for instance, or those of `protocols.speaker_folds`.
    cross_fits : int
        Parts the training speakers are cross-fitted in, for the threshold.
    store : Store, optional
    each : callable, optional
        Called after each fold, for a progress line.
    """
    store = store or Store()
    inputs = [
        {
            "data": data,
            "fold": fold,
            "recipe": recipe.identity,
            "model": recipe.model,
            "cross_fits": cross_fits,
            "arithmetic": networks.arithmetic(),
        }
        for fold in folds
    ]

    def run(places: Iterator[int]) -> Iterator[tuple[int, Arrays]]:
        if isinstance(recipe.network, Top) and recipe.head is None:
            # a new head takes seconds on maps that are made once, and its whole backbone would have to travel
            trainer = Trainer(recipe, data, store)
            return (
                (place, run_fold(trainer, folds[place], cross_fits=cross_fits, seed=folds[place].seed))
                for place in places
            )
        return parallel.each(
            partial(_fold, data, recipe, cross_fits, store),
            ((place, folds[place]) for place in places),
            modules=MODULES,
            name=lambda place: f"{recipe.model}, fold {folds[place].index} of seed {folds[place].seed}",
            same=networks.arithmetic,
            after=networks.free,
        )

    results = []
    for fold, arrays in zip(folds, store.get_all("transfer-fold", inputs, run, MODULES), strict=True):
        results.append(FoldResult(fold, arrays))
        if each is not None:
            each(results[-1])
    _trainers.clear()
    networks.free()
    return results


#: The trainer of this process, by what it was made from: folds come one by one, and its networks are slow to build.
_trainers: dict[str, Trainer] = {}


def _fold(data: PictureSet, recipe: Recipe, cross_fits: int, store: Store, fold: Fold) -> Arrays:
    name = fingerprint([data, recipe.identity, recipe.model])
    if name not in _trainers:
        _trainers.clear()
        _trainers[name] = Trainer(recipe, data, store)
    return run_fold(_trainers[name], fold, cross_fits=cross_fits, seed=fold.seed)


def cross_validate(
    data: PictureSet,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    n_splits: int = 5,
    cross_fits: int = 3,
    store: Store | None = None,
    each: Callable[[FoldResult], None] | None = None,
) -> list[FoldResult]:
    """Every fold of every seed under the ``speaker`` protocol; see `stored_folds`."""
    folds = [fold for seed in seeds for fold in speaker_folds(data.names, data.labels, n_splits, seed)]
    return stored_folds(data, recipe, folds, cross_fits=cross_fits, store=store, each=each)


def fold_network(result: FoldResult, recipe: Recipe) -> keras.Model:
    """The network that scored the test speakers of a fold: one functional graph on pictures, ready to explain."""
    trained = TrainedNet(kept_weights(result.arrays, "net"), config=recipe.network)
    if isinstance(recipe.network, Top):
        return recipe.network.joined(trained)
    model = recipe.network.build()
    model.set_weights(trained.weights)
    return model
