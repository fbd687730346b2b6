"""The network of a training run: fresh or borrowed weights, frozen layers, batch norms that settle."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from ..backend import Tensor, keras
from ..checkpoint import model_variables
from ..configuration import ModelConfig
from ..unet import build_unet
from .freezing import is_frozen
from .lending import place_of
from .settings import Recipe


def build_network(
    config: ModelConfig, recipe: Recipe, weights: Mapping[str, np.ndarray], fresh: Collection[str], seed: int
) -> keras.Model:
    """The network of a configuration, made for chunks of `recipe.train_frames`.

    Args:
      config: of the model.
      recipe: precision, dropout, and the scales of fresh weights.
      weights: for stems that are not fresh, by Spleeter's names.
      fresh: stems that start with random weights.
      seed: of those, and of dropout.
    """
    keras.utils.set_random_seed(seed + 1)  # 0 would switch random numbers of tf.data back to unseeded ones
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        network = build_unet(dataclasses.replace(config, frames=recipe.train_frames or config.frames))
    finally:
        keras.config.set_dtype_policy(policy)
    for layer in network.layers:
        place = place_of(layer.name)
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = recipe.dropout
        elif place is not None and config.instruments[place.stem] in fresh:
            if place.kind == 'conv2d' and place.number == 0:
                layer.kernel.assign(layer.kernel * recipe.input_scale)
            elif place.kind == 'batch_normalization':
                layer.gamma.assign(layer.gamma * recipe.norm_gain)
    for name, variable in model_variables(network):
        if name in weights:
            variable.assign(weights[name])  # type: ignore[attr-defined]
    return network


def norms_of(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch norms of a network."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def set_trainable(
    network: keras.Model,
    config: ModelConfig,
    freeze: Collection[str],
    borrowed: Collection[str],
    standing_norms: bool,
) -> None:
    """Freeze what shall not change (see `freezing`); batch norms that are frozen use and keep their statistics."""
    for layer in network.layers:
        place = place_of(layer.name)
        if place is not None:
            stands = standing_norms and place.kind == 'batch_normalization'
            layer.trainable = not (stands or is_frozen(place, freeze, config, borrowed))


def settle_norms(network: keras.Model, mixtures: Iterable[Tensor]) -> None:
    """Estimate the statistics of the batch norms that are not frozen anew, as plain means over batches.

    Args:
      network: whose norms are changed.
      mixtures: magnitudes, (chunks, T, F, channels).
    """
    norms = [norm for norm in norms_of(network) if norm.trainable]
    momenta = [norm.momentum for norm in norms]
    for number, mixture in enumerate(mixtures):
        for norm in norms:
            norm.momentum = number / (number + 1)
        network(mixture, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
