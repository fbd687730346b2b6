"""The U-Net family of Spleeter in Keras 3: one network per stem, sharing the input magnitude of the mixture.

Source: Hennequin et al., "Spleeter: a fast and efficient music source separation tool with pre-trained models", JOSS
2020, and the layout of its released checkpoints: layers carry the names of their checkpoint variables (`conv2d`,
`conv2d_1`, ...), one counter per kind of layer running through the stems in graph order.
"""

from __future__ import annotations

from .backend import Tensor, keras
from .checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, NORMS_PER_STEM, layer_name
from .configuration import ModelConfig

KERNEL = (5, 5)
ENCODER_LAYERS = 6
DROPOUT = 0.5


def _activation(name: str) -> keras.layers.Layer:
    if name == 'LeakyReLU':
        return keras.layers.LeakyReLU(negative_slope=0.2)
    return {'ReLU': keras.layers.ReLU, 'ELU': keras.layers.ELU}[name]()


def _initialiser() -> keras.initializers.Initializer:
    return keras.initializers.HeUniform(seed=50)


def _norm(stem: int, index: int) -> keras.layers.Layer:
    name = layer_name('batch_normalization', NORMS_PER_STEM * stem + index)
    return keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)


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
            current = _activation(config.conv_activation)(_norm(stem, index)(raw))
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
        current = _norm(stem, ENCODER_LAYERS + index)(_activation(config.deconv_activation)(current))
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
        name=layer_name('conv2d', CONVS_PER_STEM * stem + ENCODER_LAYERS),
    )(current)


def build_unet(config: ModelConfig) -> keras.Model:
    """The network of a configuration, with fresh weights.

    Returns:
      A model from mixture magnitudes, float32 (patches, T, F, channels), to a list with one tensor of the same shape
      per stem, in the order of `config.instruments`: the magnitudes of the stems. `unet.unet` multiplies the mixture by
      a sigmoid per stem, `unet.softmax_unet` by the softmax of the stems' logits over the stems.
    """
    magnitude = keras.Input((config.frames, config.bins, config.channels), name='magnitude')
    logits = [_logits(config, magnitude, stem) for stem in range(len(config.instruments))]
    if config.model_type == 'unet.softmax_unet':
        shares = keras.ops.unstack(keras.ops.softmax(keras.ops.stack(logits), axis=0), len(logits), axis=0)
    else:
        shares = [keras.ops.sigmoid(logit) for logit in logits]
    return keras.Model(magnitude, [magnitude * share for share in shares], name='unet')
