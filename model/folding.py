"""The U-Net as separation runs it: the same function as `unet.build_unet`, rewritten for speed, for any engine.

Two rewritings, exact but for rounding. Batch norms: their scales go into the kernels around them (a skip connection,
which carries what was before the norm, is undone in the kernels that read it); their shifts stay additions, because a
shift before a zero-padded convolution is no constant behind it. Scales next to zero cannot be undone and stay
multiplications. The last transposed convolution, which has one output channel, becomes a 3x3 convolution to the four
pixels of every 2x2 block: libraries are slow at the former (22% of the time for 1.7% of the work, measured; for the
other transposed convolutions the same rewriting only adds work).

NumPy alone: folded_unet.py brings the operations of Keras, as `Layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from .checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, ENCODER_LAYERS, NORM_EPSILON, NORMS_PER_STEM, layer_name
from .configuration import ModelConfig

SMALLEST_SCALE = 1e-3  # of a norm, relative to its largest: below, dividing by it would cost precision

Array = np.ndarray
Node = Any  # a tensor of the graph that an engine builds


class Affine(NamedTuple):
    """Every channel times `scale`, plus `shift`, (channels,) each; None: not so."""

    scale: Array | None
    shift: Array | None


UNCHANGED = Affine(None, None)


class Layers(Protocol):
    """The operations that the network is made of. All arrays are float32."""

    def convolution(self, inputs: Node, kernel: Array, bias: Array, stride: int = 1, dilation: int = 1) -> Node:
        """Padding "same" as TensorFlow's; kernel (rows, columns, in, out), bias (out,)."""

    def transposed(self, inputs: Node, kernel: Array) -> Node:
        """Transposed convolution with stride 2, padding "same", no bias; kernel (5, 5, out, in)."""

    def activation(self, inputs: Node, before: Affine, name: str, after: Affine = UNCHANGED) -> Node:
        """The activation of that name in configurations, between what comes before and after it."""

    def concatenation(self, first: Node, second: Node) -> Node:
        """The channels of both."""

    def pixels(self, blocks: Node) -> Node:
        """Four channels, which are the pixels of a 2x2 block row by row, to one channel of twice the size."""


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


def folded_logits(
    layers: Layers, config: ModelConfig, weights: Mapping[str, Array], stem: int, magnitude: Node
) -> Node:
    """The network of the `stem`-th stem of a configuration, built by an engine's layers.

    Args:
      weights: by Spleeter's names, as `checkpoint.read_weights` gives them.
      magnitude: of the mixture, T x F with the configuration's channels.

    Returns:
      Logits of the same shape.
    """
    return _Stem(layers, config, weights, stem).logits(magnitude)


class _Stem:
    """The network of one stem, built layer by layer."""

    def __init__(self, layers: Layers, config: ModelConfig, weights: Mapping[str, Array], stem: int) -> None:
        self.layers = layers
        self.config = config
        self.weights = weights
        self.stem = stem

    def _pair(self, kind: str, number: int) -> tuple[Array, Array]:
        name = layer_name(kind, number)
        return self.weights[f'{name}/kernel'], self.weights[f'{name}/bias']

    def _norm(self, index: int) -> tuple[Array, Array, Array]:
        name = layer_name('batch_normalization', NORMS_PER_STEM * self.stem + index)
        parts = ('gamma', 'beta', 'moving_mean', 'moving_variance')
        # In double precision: what is multiplied in is divided out again.
        return split_norm({part: self.weights[f'{name}/{part}'].astype(np.float64) for part in parts})

    def logits(self, magnitude: Node) -> Node:
        skips, current = self._encode(magnitude)
        return self._decode(skips, current)

    def _encode(self, current: Node) -> tuple[list[tuple[Node, Array]], Node]:
        """The raw outputs of the encoder, each with the scale that it carries, and the last of them by itself."""
        skips: list[tuple[Node, Array]] = []
        for index in range(ENCODER_LAYERS):
            kernel, bias = self._pair('conv2d', CONVS_PER_STEM * self.stem + index)
            if index == ENCODER_LAYERS - 1:
                return skips, self.layers.convolution(current, kernel, bias, stride=2)
            scale, rest, shift = self._norm(index)
            raw = self.layers.convolution(current, _product(kernel, scale), _product(bias, scale), stride=2)
            skips.append((raw, scale))
            current = self.layers.activation(raw, _affine(rest, shift), self.config.conv_activation)
        raise AssertionError('the encoder has a last layer')

    def _decode(self, skips: list[tuple[Node, Array]], current: Node) -> Node:
        layers, name = self.layers, self.config.deconv_activation
        undo = np.ones(self.config.conv_filters[-1])  # what the kernel that reads `current` multiplies its inputs with
        for index in range(ENCODER_LAYERS):
            kernel, bias = self._pair('conv2d_transpose', DECONVS_PER_STEM * self.stem + index)
            scale, rest, shift = self._norm(ENCODER_LAYERS + index)
            if kernel.shape[2] == 1:
                blocks = layers.convolution(current, pixels_kernel(_product(kernel, undo)), np.repeat(bias, 4))
                after = _affine(np.repeat(rest, 4), np.repeat(shift / scale, 4))
                current = layers.pixels(layers.activation(blocks, UNCHANGED, name, after))
            else:
                raw = layers.transposed(current, _product(kernel, undo))
                current = layers.activation(raw, Affine(None, bias), name, _affine(rest, shift / scale))
            undo = scale
            if skips:
                raw, raw_scale = skips.pop()
                current, undo = layers.concatenation(raw, current), np.concatenate([1 / raw_scale, scale])
        kernel, bias = self._pair('conv2d', CONVS_PER_STEM * self.stem + ENCODER_LAYERS)
        return layers.convolution(current, _product(kernel, undo[:, np.newaxis]), bias, dilation=2)


def _affine(rest: Array, shift: Array) -> Affine:
    return Affine(rest.astype(np.float32) if (rest != 1).any() else None, shift.astype(np.float32))


def _product(weights: Array, factor: Array) -> Array:
    """In double precision, rounded once to float32, and block by block: no large array of doubles."""
    product = np.empty(weights.shape, np.float32)
    return np.multiply(weights, factor, out=product, dtype=np.float64, casting='same_kind')
