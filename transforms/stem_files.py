"""From the float samples of one stem to its file and its features, block by block.

The one idea to know: features are those of the samples as they are written. Lossless formats are quantised first, and
the features are computed from what a reader of the file gets, so that anyone can compute them again from the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import soxr

from ..model.errors import TrackError
from ..model.features.extractor import FeatureExtractor, StemFeatures
from ..model.resampling import resampled_length
from .encoding import StemWriter, clipped, dequantise, quantise
from .job import SeparateJob

# All encoders, resamplers and extractors are fed blocks of this size, whatever the caller's are.
BLOCK_SAMPLES = 1 << 17
# Beyond a hundred times this, LAME ends the whole process, and FFmpeg's AAC encoder never ends.
MOST_LOSSY_LEVEL = 1000.0


class StemFile(NamedTuple):
    """What became of one stem."""

    num_samples: int  # in the file
    sha256: str  # of the file; '' without one
    clipped: int  # samples that were beyond full scale
    features: StemFeatures | None
    feature_seconds: float = 0.0  # spent on them


def reblock(blocks: Iterable[np.ndarray], size: int = BLOCK_SAMPLES) -> Iterator[np.ndarray]:
    """The same samples in blocks of exactly `size`, the last one shorter; views where possible."""
    rest: list[np.ndarray] = []
    held = 0
    for block in blocks:
        while held + len(block) >= size:
            piece, block = block[: size - held], block[size - held :]
            yield np.concatenate([*rest, piece]) if rest else piece
            rest, held = [], 0
        if len(block):
            rest.append(block)
            held += len(block)
    if rest:
        yield np.concatenate(rest) if len(rest) > 1 else rest[0]


def resample_stream(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int, channels: int) -> Iterator[np.ndarray]:
    """Resample float32 blocks (n, channels) as one stream: ceil(samples * to_rate / from_rate) samples come out in
    all.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype='float32', quality='HQ')
    taken = given = 0
    for block in blocks:
        taken += len(block)
        piece = stream.resample_chunk(np.ascontiguousarray(block))
        given += len(piece)
        yield piece
    last = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    missing = resampled_length(taken, from_rate, to_rate) - given
    # The resampler rounds the length its own way: one sample more or less at the very end.
    yield np.concatenate([last, np.zeros((max(0, missing - len(last)), channels), np.float32)])[:missing]


def write_stem(blocks: Iterable[np.ndarray], path: str, job: SeparateJob, known: np.ndarray | None = None) -> StemFile:
    """Write one stem to a local file, unless the job keeps features alone.

    Args:
      blocks: float32 (n, channels) at the model's rate, in order.
      known: spectral rows of the stem, as it will be written, for its features: see FeatureExtractor.

    Raises:
      TrackError: samples so far beyond full scale that a lossy encoder cannot take them.
      OSError: the disk's.
    """
    config, rate, form = job.model.config, job.output_rate, job.stem_format
    extractor = FeatureExtractor(rate, config.channels, known) if job.features else None
    samples = beyond = 0
    spent = 0.0  # seconds on features
    stream = resample_stream(reblock(blocks), config.sample_rate, rate, config.channels)
    opened = StemWriter(path, form, rate, config.channels, job.bitrate) if job.keep_stems else contextlib.nullcontext()
    with opened as writer:
        for block in stream:
            if not form.lossless and len(block) and np.abs(block).max() > MOST_LOSSY_LEVEL:
                raise TrackError(
                    f'a stem has a peak of {np.abs(block).max():.3g} times full scale, which {form.name} cannot hold: '
                    'scale the input down, or use --format wav-float'
                )
            written = quantise(block, form)
            if writer is not None:
                writer.write(written)
            samples += len(block)
            beyond += clipped(block)
            if extractor is not None:
                began = time.perf_counter()
                extractor.add(dequantise(written, form))
                spent += time.perf_counter() - began
    began = time.perf_counter()
    features = None if extractor is None else extractor.finish()
    spent += time.perf_counter() - began
    return StemFile(samples, _sha256(path) if job.keep_stems else '', beyond, features, spent)


def extract_features(blocks: Iterable[np.ndarray], job: SeparateJob, known: np.ndarray | None = None) -> StemFeatures:
    """Features of the mixture: of its samples as decoded, at the rate of the stem files; `known`: see `write_stem`."""
    config, rate = job.model.config, job.output_rate
    extractor = FeatureExtractor(rate, config.channels, known)
    for block in resample_stream(reblock(blocks), config.sample_rate, rate, config.channels):
        extractor.add(block)
    return extractor.finish()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
