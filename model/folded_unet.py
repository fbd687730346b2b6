"""The folded U-Net (see folding.py) as a Keras model, filled with weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .backend import Tensor, add_bias, convolve, keras
from .configuration import ModelConfig
from .folding import UNCHANGED, Affine, Array, folded_logits
from .unet import activation, shares_of


def _given(values: Array) -> Callable[..., Array]:
    """An initialiser for one weight, which is what it is to be as soon as it is made, without zeros before. It keeps
    the values no longer than that: Keras keeps initialisers as long as their layers.
    """
    held = [values]
    return lambda shape, dtype=None: held.pop()


class Convolution(keras.layers.Layer):
    """A convolution, padding "same", in the operations that run fastest: see `backend.convolve` and `add_bias`."""

    def __init__(self, kernel: Array, bias: Array, stride: int, dilation: int) -> None:
        """`kernel` is (rows, columns, in, out), `bias` (out,)."""
        super().__init__()
        self._stride, self._dilation = stride, dilation
        self.kernel, self.bias = (
            self.add_weight(shape=part.shape, initializer=_given(part)) for part in (kernel, bias)
        )

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As Keras asks for it; without it, it would trace `call` to find out, which takes longer than all the rest."""
        patches, rows, columns, _ = shape
        return patches, -(-rows // self._stride), -(-columns // self._stride), self.kernel.shape[-1]

    def call(self, inputs: Tensor) -> Tensor:
        """Returns `compute_output_shape`."""
        return add_bias(convolve(inputs, self.kernel, self._stride, self._dilation), self.bias)


class AffineActivation(keras.layers.Layer):
    """An activation with an `Affine` before and one after it."""

    def __init__(self, before: Affine, name: str, after: Affine, columns: int) -> None:
        """`name` is that of the activation in configurations; the inputs have so many columns."""
        super().__init__()
        self._activation = activation(name)
        self._before, self._after = ([self._rows(part, columns) for part in affine] for affine in (before, after))

    def _rows(self, part: Array | None, columns: int) -> keras.Variable | None:
        """Weights for whole rows: TensorFlow is slow at repeating a few channels for every pixel on CPUs."""
        if part is None:
            return None
        return self.add_weight(shape=(columns, len(part)), initializer=_given(np.tile(part, (columns, 1))))

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the inputs."""
        return shape

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the shape of the inputs."""
        return _affine(self._activation(_affine(inputs, *self._before)), *self._after)


def _affine(inputs: Tensor, scale: keras.Variable | None, shift: keras.Variable | None) -> Tensor:
    if scale is not None:
        inputs = inputs * scale
    return inputs if shift is None else inputs + shift


class _KerasLayers:
    """`folding.Layers`; tensors are (patches, rows, columns, channels)."""

    def convolution(self, inputs: Tensor, kernel: Array, bias: Array, stride: int = 1, dilation: int = 1) -> Tensor:
        return Convolution(kernel, bias, stride, dilation)(inputs)

    def transposed(self, inputs: Tensor, kernel: Array) -> Tensor:
        return keras.layers.Conv2DTranspose(
            kernel.shape[2],
            kernel.shape[:2],
            strides=2,
            padding='same',
            use_bias=False,
            kernel_initializer=_given(kernel),
        )(inputs)

    def activation(self, inputs: Tensor, before: Affine, name: str, after: Affine = UNCHANGED) -> Tensor:
        return AffineActivation(before, name, after, inputs.shape[-2])(inputs)

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
    return keras.Model(magnitude, outputs if shares else [magnitude * share for share in outputs], name='unet')
