"""What a GPU can do at most: arithmetic and bytes of every part of the device path, and the limits of three chips.

    python -m benchmark.roofline

prints the table of docs/scaling.md.  Nothing here is measured: operations are counted from the model and the
transforms, every part is taken to read its inputs and write its outputs once, and the limits are those of the data
sheets.  What a GPU reaches of them, `python -m benchmark.gpu` measures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stembeam.model.arithmetic import chunk_bytes, flop_per_second
from stembeam.model.batch_size import GPU_BATCH_SIZE
from stembeam.model.chunk_rows import rows_per_chunk
from stembeam.model.chunks import ChunkGrid
from stembeam.model.configuration import ModelConfig
from stembeam.model.features.columns import FRAME_LENGTH, HOP_LENGTH
from stembeam.model.features.filters import NUM_BINS, chroma_bank, mel_blocks
from stembeam.model.features.frames import NUM_SPECTRAL

FOUR_STEMS = ModelConfig(('vocals', 'drums', 'bass', 'other'))
NETWORKS = 'U-Nets'
MASK_FLOP = 12  # per bin and stem: square, sum, share, three products for real and imaginary part, the rest


class Chip(NamedTuple):
    """Limits of a data sheet: TFLOP/s without sparsity, GB/s of the memory, and to the host one way."""

    name: str
    float32: float
    tf32: float | None  # of tensor cores; None: it has none for float32
    float64: float
    memory: float
    host: float


# NVIDIA's data sheets and white papers: T4 (2019), L4 (2023), H100 SXM (2023); float64 of T4 and L4: 1/32 and 1/64.
CHIPS = (
    Chip('T4', 8.1, None, 0.25, 320, 15.8),
    Chip('L4', 30.3, 60, 0.47, 300, 31.5),
    Chip('H100', 66.9, 494, 33.5, 3350, 63),
)


class Part(NamedTuple):
    """Something that is done for every second of audio."""

    name: str
    flop: float
    number: str  # the kind of number: 'float32', or 'float64'
    bytes: float

    def milliseconds(self, chip: Chip, tensor_cores: bool = False) -> tuple[float, float]:
        """By arithmetic, and by the memory's speed, per second of audio."""
        speed = getattr(chip, self.number)
        if tensor_cores and self.number == 'float32' and chip.tf32:
            speed = chip.tf32
        return 1e3 * self.flop / (speed * 1e12), 1e3 * self.bytes / (chip.memory * 1e9)


def networks(config: ModelConfig) -> Part:
    """The U-Nets, in batches as on a GPU."""
    seconds = config.frames * config.frame_step / config.sample_rate
    moved = chunk_bytes(config, GPU_BATCH_SIZE) / seconds
    return Part(NETWORKS, flop_per_second(config), 'float32', moved)


def transforms(config: ModelConfig) -> Part:
    """STFT, masks and inverse STFT."""
    frames = config.channels * config.sample_rate / config.frame_step
    length, bins, stems = config.frame_length, config.frame_length // 2 + 1, len(config.instruments)
    flop = (1 + stems) * (_fft_flop(length) + length) + stems * MASK_FLOP * bins
    analysis = 4 * (2 * length + 2 * bins)  # frames written and read, spectra written
    synthesis = 4 * (
        2 * bins + 2 * bins + 2 * 2 * bins + 2 * length + config.frame_step
    )  # masks, spectra, frames, stem
    return Part('STFT, masks, inverse STFT', frames * flop, 'float32', frames * (analysis + stems * synthesis))


def features(config: ModelConfig) -> Part:
    """Spectral rows of all stems and the mixture."""
    frames = (len(config.instruments) + 1) * config.sample_rate / HOP_LENGTH
    banks = chroma_bank(config.sample_rate).size + sum(block.weights.size for block in mel_blocks(config.sample_rate))
    flop = FRAME_LENGTH + _fft_flop(FRAME_LENGTH) + 20 * NUM_BINS + 2 * banks
    framed = 4 * FRAME_LENGTH + 2 * 8 * FRAME_LENGTH  # samples read, float64 frames written and read
    spectra = 2 * 16 * NUM_BINS + 4 * NUM_BINS  # written and read, magnitudes written
    looked_at = 4 * 4 * NUM_BINS + 2 * 2 * 8 * NUM_BINS + 4 * NUM_SPECTRAL  # sums, sort; as float64 for sums and banks
    return Part('spectral rows of features', frames * flop, 'float64', frames * (framed + spectra + looked_at))


def _fft_flop(length: int) -> float:
    """Of a real transform: half of the customary 5 n log2 n."""
    return 2.5 * length * float(np.log2(length))


def transfers(config: ModelConfig) -> tuple[float, float]:
    """Bytes to and from the GPU for a second of audio, with 16-bit stems and features."""
    grid = ChunkGrid.of(config)
    chunks = config.sample_rate / grid.hop
    stems = len(config.instruments)
    up = 4 * config.channels * grid.span
    down = stems * config.channels * (2 * (grid.hop - grid.tail) + 4 * 2 * grid.tail)
    down += (stems + 1) * rows_per_chunk(grid) * 4 * NUM_SPECTRAL
    return chunks * up, chunks * down


def table(config: ModelConfig = FOUR_STEMS) -> list[str]:
    """Lines of Markdown."""
    parts = networks(config), transforms(config), features(config)
    lines = [
        '| per second of audio | arithmetic | memory | ' + ' | '.join(chip.name for chip in CHIPS) + ' |',
        '| --- | --- | --- |' + ' --- |' * len(CHIPS),
    ]
    for part in parts:
        needs = f'{part.flop / 1e9:.3g} GFLOP {part.number} | {part.bytes / 1e6:.3g} MB'
        lines.append(f'| {part.name} | {needs} | {" | ".join(_cell(part, chip) for chip in CHIPS)} |')
    up, down = transfers(config)
    both = [f'{1e3 * max(up, down) / (chip.host * 1e9):.3f} ms' for chip in CHIPS]
    lines.append(f'| transfers up and down | | {up / 1e6:.2f} and {down / 1e6:.2f} MB | {" | ".join(both)} |')
    for name, tensor_cores in (('float32', False), ('TF32', True)):
        limits = [_limit(parts, chip, tensor_cores) for chip in CHIPS]
        lines.append(f'| **the limit of the sum, U-Nets in {name}** | | | {" | ".join(limits)} |')
    return lines


def _limit(parts: Sequence[Part], chip: Chip, tensor_cores: bool) -> str:
    """How fast a chip can be that does all parts one after the other, transfers at the same time."""
    if tensor_cores and not chip.tf32:
        return '-'
    took = sum(max(part.milliseconds(chip, tensor_cores and part.name == NETWORKS)) for part in parts)
    return f'{float(f"{1000 / took:.3g}"):,.0f}x real time'  # three digits: the assumptions carry no more


def _cell(part: Part, chip: Chip) -> str:
    arithmetic, memory = part.milliseconds(chip)
    return f'{max(arithmetic, memory):.3f} ms ({"arithmetic" if arithmetic > memory else "memory"})'


if __name__ == '__main__':
    print('\n'.join(table()))
    sys.exit(0)
