"""Where the chunks of a track lie: the geometry that every split of a track into segments relies on.

A chunk is one patch of the U-Net: T frames, which read a span of T * frame_step + (frame_length - frame_step) samples
and write overlap-add contributions to the same span. Chunks do not see each other, so a track is the sum of its chunks
in any grouping. Spleeter puts frame_length zeros in front of the track, so the first chunk begins that much before
sample 0.

Chunks may overlap by some frames. Then every frame that two chunks share counts in both, with weights that add up to
one: the inverse STFT is linear, so that is the same as cross-fading the chunks' masks, and a track remains the sum of
its chunks. The first chunk begins earlier by the overlap, so that its rising weights meet nothing but silence.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .configuration import ModelConfig
from .method import Method


@dataclasses.dataclass(frozen=True)
class ChunkGrid:
    """Positions of chunks in samples of the track at the model's rate; chunk k begins at `start(k)`."""

    hop: int  # samples from chunk to chunk: (T - overlapping frames) * frame_step
    tail: int  # samples that a chunk reaches into the next one: the overlap and frame_length - frame_step
    lead: int  # zeros in front of the track: frame_length and the overlap
    frame_step: int

    @classmethod
    def of(cls, config: ModelConfig, overlap: float = 0.0) -> ChunkGrid:
        """The grid of a model; `overlap` is the share of a chunk that overlaps the next (see `Method.overlap`).

        Raises:
          UsageError: an overlap that the model's chunks are too short for.
        """
        method = Method(overlap=overlap)
        method.check(config)
        shared = method.overlap_frames(config) * config.frame_step
        return cls(
            hop=config.frames * config.frame_step - shared,
            tail=shared + config.frame_length - config.frame_step,
            lead=shared + config.frame_length,
            frame_step=config.frame_step,
        )

    @property
    def span(self) -> int:
        """Samples that one chunk reads and writes."""
        return self.hop + self.tail

    def num_chunks(self, num_samples: int) -> int:
        """Chunks of a track: all frames that begin before its end, each with its whole weight, in whole chunks."""
        return -(-(num_samples + self.lead) // self.hop)

    def start(self, chunk: int) -> int:
        """The position of the first sample that a chunk reads; negative for chunk 0."""
        return chunk * self.hop - self.lead

    def samples_of(self, chunks: int) -> int:
        """Samples that a run of chunks reads and writes."""
        return chunks * self.hop + self.tail


def frame_weights(frames: int, overlap_frames: int) -> np.ndarray:
    """How much each frame of a chunk counts: rising over the first `overlap_frames`, one, and falling over the last.

    Returns:
      float32 (frames,); the falling weights of a chunk and the rising ones of the next add up to exactly one.

    >>> frame_weights(6, 1)
    array([0.5, 1. , 1. , 1. , 1. , 0.5], dtype=float32)
    """
    weights = np.ones(frames, np.float32)
    # Whole multiples of 2^-20 and their differences from one have no rounding errors.
    rising = np.round(np.arange(1, overlap_frames + 1) / (overlap_frames + 1) * 2**20) / 2**20
    weights[:overlap_frames] = rising
    weights[frames - overlap_frames :] = 1 - rising
    return weights
