"""The folded U-Net (see folding.py) as a Keras model, filled with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .backend import Tensor, add_bias, keras
from .configuration import ModelConfig
from .folding import Array, folded_logits
from .unet import activation, shares_of


@keras.saving.register_keras_serializable('stembeam')
class Affine(keras.layers.Layer):
    """Adds a constant to every channel, after multiplying it where `with_scale` says so.

    Biases of convolutions are such layers too, not those of Keras' convolutions: see `backend.add_bias`.
    """

    def __init__(self, with_scale: bool, **arguments: object) -> None:
        """`with_scale`: the layer has weights `scale` and `shift`, else `shift` alone."""
        super().__init__(**arguments)
        self.with_scale = with_scale

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights, (channels,) each."""
        if self.with_scale:
            self.scale = self.add_weight(shape=(shape[-1],), initializer='ones', name='scale')
        self.shift = self.add_weight(shape=(shape[-1],), initializer='zeros', name='shift')

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the shape of the inputs."""
        return add_bias(inputs * self.scale if self.with_scale else inputs, self.shift)


class _KerasLayers:
    """`folding.Layers`; tensors are (patches, rows, columns, channels). `values` gathers what layers are filled with.

    Values come last: setting them one by one while building would be slower, and layers do not take them when made.
    """

    def __init__(self) -> None:
        self.values: list[tuple[keras.layers.Layer, list[Array]]] = []

    def _apply(self, layer: keras.layers.Layer, values: list[Array], inputs: Tensor) -> Tensor:
        self.values.append((layer, values))
        return layer(inputs)

    def convolution(self, inputs: Tensor, kernel: Array, stride: int = 1, dilation: int = 1) -> Tensor:
        layer = keras.layers.Conv2D(
            kernel.shape[-1],
            kernel.shape[:2],
            strides=stride,
            dilation_rate=dilation,
            padding='same',
            use_bias=False,
            kernel_initializer='zeros',
        )
        return self._apply(layer, [kernel], inputs)

    def transposed(self, inputs: Tensor, kernel: Array) -> Tensor:
        layer = keras.layers.Conv2DTranspose(
            kernel.shape[2], kernel.shape[:2], strides=2, padding='same', use_bias=False, kernel_initializer='zeros'
        )
        return self._apply(layer, [kernel], inputs)

    def affine(self, inputs: Tensor, scale: Array | None, shift: Array) -> Tensor:
        return self._apply(Affine(scale is not None), [shift] if scale is None else [scale, shift], inputs)

    def activation(self, inputs: Tensor, name: str) -> Tensor:
        return activation(name)(inputs)

    def concatenation(self, first: Tensor, second: Tensor) -> Tensor:
        return keras.layers.Concatenate()([first, second])

    def pixels(self, blocks: Tensor) -> Tensor:
        _, rows, columns, _ = blocks.shape
        blocks = keras.ops.reshape(blocks, (-1, rows, columns, 2, 2))
        return keras.ops.reshape(keras.ops.transpose(blocks, (0, 1, 3, 2, 4)), (-1, 2 * rows, 2 * columns, 1))


def build_folded_unet(
    config: ModelConfig, weights: Mapping[str, Array], stems: Sequence[str] | None = None, shares: bool = False
) -> keras.Model:
    """The network of a configuration with its weights, for inference.

    Args:
      weights: by Spleeter's names, as `checkpoint.read_weights` gives them.
      stems, shares: as in `unet.build_unet`.

    Returns:
      A model with the inputs and outputs of `unet.build_unet`.

    Raises:
      ValueError: some stems of a softmax_unet.
    """
    names = config.instruments if stems is None else tuple(stems)
    magnitude = keras.Input((config.frames, config.bins, config.channels), name='magnitude')
    layers = _KerasLayers()
    logits = [folded_logits(layers, config, weights, config.instruments.index(name), magnitude) for name in names]
    outputs = shares_of(config, names, logits)
    network = keras.Model(magnitude, outputs if shares else [magnitude * share for share in outputs], name='unet')
    for layer, values in layers.values:
        layer.set_weights([value.astype(np.float32) for value in values])
    return network
