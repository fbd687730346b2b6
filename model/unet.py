"""The U-Net family of Spleeter in Keras 3: one network per stem, sharing the input magnitude of the mixture.

Source: Hennequin et al., "Spleeter: a fast and efficient music source separation tool with pre-trained models", JOSS
2020, and the layout of its released checkpoints: layers carry the names of their checkpoint variables (`conv2d`,
`conv2d_1`, ...), one counter per kind of layer running through the stems in graph order.
"""

from __future__ import annotations

from collections.abc import Sequence

from .backend import Tensor, keras
from .checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, ENCODER_LAYERS, NORM_EPSILON, NORMS_PER_STEM, layer_name
from .configuration import ModelConfig

KERNEL = (5, 5)
DROPOUT = 0.5


def activation(name: str) -> keras.layers.Layer:
    """The layer of an activation, by its name in configurations."""
    if name == 'LeakyReLU':
        return keras.layers.LeakyReLU(negative_slope=0.2)
    return {'ReLU': keras.layers.ReLU, 'ELU': keras.layers.ELU}[name]()


def _initialiser() -> keras.initializers.Initializer:
    return keras.initializers.HeUniform(seed=50)


def _norm(stem: int, index: int) -> keras.layers.Layer:
    name = layer_name('batch_normalization', NORMS_PER_STEM * stem + index)
    return keras.layers.BatchNormalization(epsilon=NORM_EPSILON, momentum=0.99, name=name)


def _logits(config: ModelConfig, magnitude: Tensor, stem: int) -> Tensor:
    """(patches, T, F, channels) magnitudes to logits of the same shape, by the network of the `stem`-th stem."""
    skips = []
    current = magnitude
    for index, filters in enumerate(config.conv_filters):
        raw = keras.layers.Conv2D(
            filters,
            KERNEL,
            strides=2,
            padding='same',
            kernel_initializer=_initialiser(),
            name=layer_name('conv2d', CONVS_PER_STEM * stem + index),
        )(current)
        skips.append(raw)
        if index < ENCODER_LAYERS - 1:
            current = activation(config.conv_activation)(_norm(stem, index)(raw))
    current = skips.pop()
    for index, filters in enumerate([*reversed(config.conv_filters[:-1]), 1]):
        current = keras.layers.Conv2DTranspose(
            filters,
            KERNEL,
            strides=2,
            padding='same',
            kernel_initializer=_initialiser(),
            name=layer_name('conv2d_transpose', DECONVS_PER_STEM * stem + index),
        )(current)
        current = _norm(stem, ENCODER_LAYERS + index)(activation(config.deconv_activation)(current))
        if index < 3:
            current = keras.layers.Dropout(DROPOUT)(current)
        if skips:
            current = keras.layers.Concatenate()([skips.pop(), current])
    return keras.layers.Conv2D(
        config.channels,
        (4, 4),
        dilation_rate=2,
        padding='same',
        kernel_initializer=_initialiser(),
        dtype='float32',  # also where layers compute in half precision, which has too few steps for masks
        name=layer_name('conv2d', CONVS_PER_STEM * stem + ENCODER_LAYERS),
    )(current)


def shares_of(config: ModelConfig, names: Sequence[str], logits: Sequence[Tensor]) -> list[Tensor]:
    """The share of the mixture's magnitude that each stem gets: softmax over the stems, or a sigmoid for each.

    Raises:
      ValueError: `names` are some stems of a softmax_unet, not all.
    """
    if config.model_type != 'unet.softmax_unet':
        return [keras.ops.sigmoid(logit) for logit in logits]
    if tuple(names) != config.instruments:
        raise ValueError(f'stems {list(names)}: the networks of a softmax_unet need each other, build all of them')
    return list(keras.ops.unstack(keras.ops.softmax(keras.ops.stack(logits), axis=0), len(logits), axis=0))


def build_unet(config: ModelConfig, stems: Sequence[str] | None = None, shares: bool = False) -> keras.Model:
    """The network of a configuration, with fresh weights.

    Args:
      stems: those whose networks are built, in this order; None: all of the configuration. A model of the type
        `unet.softmax_unet` has all or none.
      shares: put out each stem's share of the mixture instead of its magnitude.

    Returns:
      A model from mixture magnitudes, float32 (patches, T, F, channels), to a list with one tensor of the same shape
      per stem: the magnitudes of the stems. `unet.unet` multiplies the mixture by a sigmoid per stem,
      `unet.softmax_unet` by the softmax of the stems' logits over the stems.

    Raises:
      ValueError: some stems of a softmax_unet.
    """
    names = config.instruments if stems is None else tuple(stems)
    magnitude = keras.Input((config.frames, config.bins, config.channels), name='magnitude')
    logits = [_logits(config, magnitude, config.instruments.index(name)) for name in names]
    outputs = shares_of(config, names, logits)
    return keras.Model(magnitude, outputs if shares else [magnitude * share for share in outputs], name='unet')
