"""How much arithmetic a model's networks need, and how many bytes they move: what costs are counted in, and speeds are
measured against.

Multiplications and additions of the convolutions, the rest being below one per cent.
"""

from __future__ import annotations

from .configuration import ModelConfig

KERNEL = 5  # of all convolutions but the last, as in unet.py
MASK_KERNEL = 4


def chunk_flop(config: ModelConfig) -> int:
    """Floating point operations of all networks of a model for one chunk, a multiplication and an addition being two.

    Counted as the published network is written (Spleeter, JOSS 2020). The compiled one does the last transposed
    convolution in another form, which is not taken into account, so that speeds of different forms can be compared.

    >>> chunk_flop(ModelConfig(('vocals', 'drums', 'bass', 'other'))) / 1e9
    48.788144128
    """
    taps = KERNEL * KERNEL
    height, width, channels, operations = config.frames, config.bins, config.channels, 0
    for filters in config.conv_filters:
        height, width = height // 2, width // 2
        operations += 2 * taps * channels * filters * height * width
        channels = filters
    skips = list(config.conv_filters[:-1])
    for filters in [*reversed(config.conv_filters[:-1]), 1]:
        operations += 2 * taps * channels * filters * height * width  # every input reaches so many outputs
        height, width = 2 * height, 2 * width
        channels = filters + (skips.pop() if skips else 0)
    operations += 2 * MASK_KERNEL * MASK_KERNEL * channels * config.channels * height * width
    return operations * len(config.instruments)


def flop_per_second(config: ModelConfig) -> float:
    """Floating point operations of all networks for one second of audio, without overlap of chunks."""
    return chunk_flop(config) * config.sample_rate / (config.frames * config.frame_step)


def chunk_bytes(config: ModelConfig, batch_size: int = 1) -> int:
    """Bytes that the convolutions of all networks move for one chunk at least: float32 inputs and outputs, each once,
    and a batch's share of the kernels.

    >>> chunk_bytes(ModelConfig(('vocals', 'drums', 'bass', 'other'))) / 1e6
    534.595072
    """
    values, weights = 0, 0
    height, width, channels = config.frames, config.bins, config.channels
    for filters in config.conv_filters:
        values += height * width * channels + height * width * filters // 4
        weights += KERNEL * KERNEL * channels * filters
        height, width, channels = height // 2, width // 2, filters
    skips = list(config.conv_filters[:-1])
    for filters in [*reversed(config.conv_filters[:-1]), 1]:
        values += height * width * channels + 4 * height * width * filters
        weights += KERNEL * KERNEL * channels * filters
        height, width = 2 * height, 2 * width
        channels = filters + (skips.pop() if skips else 0)
    values += height * width * (channels + config.channels)
    weights += MASK_KERNEL * MASK_KERNEL * channels * config.channels
    return 4 * (values + weights // batch_size) * len(config.instruments)
