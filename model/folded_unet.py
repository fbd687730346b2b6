"""The U-Net as separation runs it: the same function as `unet.build_unet`, rewritten for speed and filled with weights.

Two rewritings, exact but for rounding. Batch norms: their scales go into the kernels around them (a skip connection,
which carries what was before the norm, is undone in the kernels that read it); their shifts stay additions, because a
shift before a zero-padded convolution is no constant behind it. Scales next to zero cannot be undone and stay
multiplications. The last transposed convolution, which has one output channel, becomes a 3x3 convolution to the four
pixels of every 2x2 block: libraries are slow at the former (22% of the time for 1.7% of the work, measured).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .backend import Tensor, add_bias, keras
from .checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, NORMS_PER_STEM, layer_name
from .configuration import ModelConfig
from .unet import ENCODER_LAYERS, KERNEL, NORM_EPSILON, activation, shares_of

SMALLEST_SCALE = 1e-3  # of a norm, relative to its largest: below, dividing by it would cost precision

Array = np.ndarray


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


def split_norm(norm: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """A batch norm as y = rest * (scale * x) + shift.

    Args:
      norm: gamma, beta, moving_mean, moving_variance, (channels,) each.

    Returns:
      scale: the factors that can be folded into kernels and undone there: far from zero.
      rest: 1 but where `scale` is 1 because the norm's factor is next to zero; there that factor.
      shift: the rest of the norm.
    """
    factor = norm['gamma'] / np.sqrt(norm['moving_variance'] + NORM_EPSILON)
    foldable = np.abs(factor) > SMALLEST_SCALE * np.max(np.abs(factor), initial=np.finfo(np.float32).tiny)
    ones = np.ones_like(factor)
    return (
        np.where(foldable, factor, ones),
        np.where(foldable, ones, factor),
        norm['beta'] - norm['moving_mean'] * factor,
    )


def pixels_kernel(kernel: Array) -> Array:
    """The convolution that computes all pixels of a 5x5 transposed convolution with stride 2.

    Args:
      kernel: (5, 5, out, in), of the transposed convolution, padding "same".

    Returns:
      (3, 3, in, 2 * 2 * out): at input position (m, n) the output positions (2m, 2n), (2m, 2n + 1), (2m + 1, 2n) and
      (2m + 1, 2n + 1), padding "same", stride 1.

    Output i of the transposed convolution adds input o through tap i - 2 o + 1: the padding of a 5-tap convolution with
    stride 2 of an even length is 1 before and 2 after.
    """
    taps = {0: ((1, 1), (0, 3)), 1: ((2, 0), (1, 2), (0, 4))}  # parity of i: (place in the new kernel, tap)
    outputs, inputs = kernel.shape[2:]
    pixels = np.zeros((3, 3, inputs, 2, 2, outputs), kernel.dtype)
    for row, rows in taps.items():
        for column, columns in taps.items():
            for to_row, from_row in rows:
                for to_column, from_column in columns:
                    pixels[to_row, to_column, :, row, column] = kernel[from_row, from_column].T
    return pixels.reshape(3, 3, inputs, 4 * outputs)


def _blocks_to_pixels(blocks: Tensor) -> Tensor:
    """(patches, rows, columns, 4) to (patches, 2 * rows, 2 * columns, 1)."""
    _, rows, columns, _ = blocks.shape
    blocks = keras.ops.reshape(blocks, (-1, rows, columns, 2, 2))
    return keras.ops.reshape(keras.ops.transpose(blocks, (0, 1, 3, 2, 4)), (-1, 2 * rows, 2 * columns, 1))


class _Stem:
    """The network of one stem, built layer by layer; `values` gathers what its layers are filled with."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, Array], stem: int) -> None:
        self.config = config
        self.weights = weights
        self.stem = stem
        self.values: list[tuple[keras.layers.Layer, list[Array]]] = []

    def _pair(self, kind: str, number: int) -> tuple[Array, Array]:
        name = layer_name(kind, number)
        # In double precision until everything is folded: factors are multiplied in and divided out again.
        return tuple(self.weights[f'{name}/{part}'].astype(np.float64) for part in ('kernel', 'bias'))  # type: ignore[return-value]

    def _norm(self, index: int) -> tuple[Array, Array, Array]:
        name = layer_name('batch_normalization', NORMS_PER_STEM * self.stem + index)
        parts = ('gamma', 'beta', 'moving_mean', 'moving_variance')
        return split_norm({part: self.weights[f'{name}/{part}'].astype(np.float64) for part in parts})

    def _apply(self, layer: keras.layers.Layer, values: list[Array], inputs: Tensor) -> Tensor:
        self.values.append((layer, values))
        return layer(inputs)

    def _affine(self, rest: Array, shift: Array, inputs: Tensor) -> Tensor:
        with_scale = bool((rest != 1).any())
        return self._apply(Affine(with_scale), [rest, shift] if with_scale else [shift], inputs)

    def _conv(self, kernel: Array, bias: Array, inputs: Tensor, **arguments: object) -> Tensor:
        layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], padding='same', use_bias=False, **arguments)
        return self._affine(np.ones(1), bias, self._apply(layer, [kernel], inputs))

    def logits(self, magnitude: Tensor) -> Tensor:
        """(patches, T, F, channels) magnitudes to logits of the same shape."""
        skips, current = self._encode(magnitude)
        return self._decode(skips, current)

    def _encode(self, current: Tensor) -> tuple[list[tuple[Tensor, Array]], Tensor]:
        """The raw outputs of the encoder, each with the scale that it carries, and the last of them by itself."""
        skips: list[tuple[Tensor, Array]] = []
        for index in range(ENCODER_LAYERS):
            kernel, bias = self._pair('conv2d', CONVS_PER_STEM * self.stem + index)
            if index == ENCODER_LAYERS - 1:
                return skips, self._conv(kernel, bias, current, strides=2)
            scale, rest, shift = self._norm(index)
            raw = self._conv(kernel * scale, bias * scale, current, strides=2)
            skips.append((raw, scale))
            current = activation(self.config.conv_activation)(self._affine(rest, shift, raw))
        raise AssertionError('the encoder has a last layer')

    def _decode(self, skips: list[tuple[Tensor, Array]], current: Tensor) -> Tensor:
        undo = np.ones(current.shape[-1])  # what the kernel that reads `current` multiplies its inputs with
        for index in range(ENCODER_LAYERS):
            kernel, bias = self._pair('conv2d_transpose', DECONVS_PER_STEM * self.stem + index)
            activate = activation(self.config.deconv_activation)
            if kernel.shape[2] == 1:
                blocks = self._conv(pixels_kernel(kernel * undo), np.repeat(bias, 4), current)
                current = _blocks_to_pixels(activate(blocks))
            else:
                layer = keras.layers.Conv2DTranspose(kernel.shape[2], KERNEL, strides=2, padding='same', use_bias=False)
                current = self._apply(layer, [kernel * undo], current)
                current = activate(self._affine(np.ones(1), bias, current))
            scale, rest, shift = self._norm(ENCODER_LAYERS + index)
            current, undo = self._affine(rest, shift / scale, current), scale
            if skips:
                raw, raw_scale = skips.pop()
                current, undo = keras.layers.Concatenate()([raw, current]), np.concatenate([1 / raw_scale, scale])
        kernel, bias = self._pair('conv2d', CONVS_PER_STEM * self.stem + ENCODER_LAYERS)
        return self._conv(kernel * undo[:, np.newaxis], bias, current, dilation_rate=2)


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
    parts = [_Stem(config, weights, config.instruments.index(name)) for name in names]
    outputs = shares_of(config, names, [part.logits(magnitude) for part in parts])
    network = keras.Model(magnitude, outputs if shares else [magnitude * share for share in outputs], name='unet')
    for part in parts:
        for layer, values in part.values:
            layer.set_weights([value.astype(np.float32) for value in values])
    return network
