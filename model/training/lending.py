"""Weights by stems: taking the networks of single stems out of models and putting them into another.

The networks of the stems share nothing, so they can be moved; what moves is the numbering of layers in the names of
the weights (see `checkpoint`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, NORMS_PER_STEM, layer_name, read_weights
from ..configuration import ModelConfig
from ..errors import UsageError
from ..store import ModelFiles

LAYERS_PER_STEM = {
    'conv2d': CONVS_PER_STEM,
    'conv2d_transpose': DECONVS_PER_STEM,
    'batch_normalization': NORMS_PER_STEM,
}
ENCODER_LAYERS = 6
# What the weights mean depends on these keys; a model that differs in one cannot lend its weights.
DECISIVE = {
    'conv_filters': 'model.params.conv_n_filters',
    'conv_activation': 'model.params.conv_activation',
    'deconv_activation': 'model.params.deconv_activation',
    'channels': 'n_channels',
    'frame_length': 'frame_length',
    'frame_step': 'frame_step',
}


class Place(NamedTuple):
    """Where a layer belongs."""

    kind: str  # conv2d, conv2d_transpose or batch_normalization
    stem: int
    number: int  # among the stem's layers of that kind

    @property
    def is_encoder(self) -> bool:
        """Whether it is one of the six downward layers or their norms."""
        return self.kind != 'conv2d_transpose' and self.number < ENCODER_LAYERS


def place_of(layer: str) -> Place | None:
    """The place of a layer by its name, or None for a layer without weights.

    >>> place_of('conv2d_8')
    Place(kind='conv2d', stem=1, number=1)
    """
    kind, _, number = layer.rpartition('_')
    if layer in LAYERS_PER_STEM:
        kind, number = layer, '0'
    if kind not in LAYERS_PER_STEM or not number.isdigit():
        return None
    return Place(kind, *divmod(int(number), LAYERS_PER_STEM[kind]))


def move_stem(weights: Mapping[str, np.ndarray], source: int, target: int) -> dict[str, np.ndarray]:
    """The weights of the `source`-th stem under the names that they have as the `target`-th."""
    moved = {}
    for name, value in weights.items():
        layer, variable = name.split('/')
        place = place_of(layer)
        if place is not None and place.stem == source:
            index = target * LAYERS_PER_STEM[place.kind] + place.number
            moved[f'{layer_name(place.kind, index)}/{variable}'] = value
    return moved


def check_lender(config: ModelConfig, lender: ModelFiles) -> None:
    """Raise UsageError if a model's weights would mean something else under a configuration."""
    for field, key in DECISIVE.items():
        ours, theirs = getattr(config, field), getattr(lender.config, field)
        if ours != theirs:
            raise UsageError(
                f'--init-from {lender.name}: its {key} is {theirs}, the configuration says {ours}: make them the same'
            )


def lent_stems(config: ModelConfig, lenders: Sequence[ModelFiles]) -> dict[str, ModelFiles]:
    """For every stem of a configuration that is lent, the first model that has it."""
    return {
        stem: next(lender for lender in lenders if stem in lender.config.instruments)
        for stem in config.instruments
        if any(stem in lender.config.instruments for lender in lenders)
    }


def borrow(config: ModelConfig, lenders: Sequence[ModelFiles]) -> dict[str, np.ndarray]:
    """Weights, by Spleeter's names, for the stems of a configuration that other models lend.

    Raises:
      UsageError: weights that cannot be read.
    """
    lent = lent_stems(config, lenders)
    weights: dict[str, np.ndarray] = {}
    for lender in dict.fromkeys(lent.values()):
        found = read_weights(lender.config, lender.weights)
        for stem in (stem for stem, source in lent.items() if source is lender):
            weights.update(move_stem(found, lender.config.instruments.index(stem), config.instruments.index(stem)))
    return weights
