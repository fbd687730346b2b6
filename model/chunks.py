"""Where the chunks of a track lie: the geometry that every split of a track into segments relies on.

A chunk is one patch of the U-Net: T frames, which read a span of T * frame_step + (frame_length - frame_step) samples
and write overlap-add contributions to the same span. Chunks do not see each other, so a track is the sum of its chunks
in any grouping. Spleeter puts frame_length zeros in front of the track, so the first chunk begins that much before
sample 0.
"""

from __future__ import annotations

import dataclasses

from .configuration import ModelConfig


@dataclasses.dataclass(frozen=True)
class ChunkGrid:
    """Positions of chunks in samples of the track at the model's rate; chunk k begins at `start(k)`."""

    hop: int  # samples from chunk to chunk: T * frame_step
    tail: int  # samples that a chunk reaches into the next one: frame_length - frame_step
    lead: int  # zeros in front of the track: frame_length
    frame_step: int

    @classmethod
    def of(cls, config: ModelConfig) -> ChunkGrid:
        """The grid of a model."""
        return cls(
            hop=config.frames * config.frame_step,
            tail=config.frame_length - config.frame_step,
            lead=config.frame_length,
            frame_step=config.frame_step,
        )

    @property
    def span(self) -> int:
        """Samples that one chunk reads and writes."""
        return self.hop + self.tail

    def num_chunks(self, num_samples: int) -> int:
        """Chunks of a track: all frames that begin before its end, in whole chunks."""
        return -(-(num_samples + self.lead) // self.hop)

    def start(self, chunk: int) -> int:
        """The position of the first sample that a chunk reads; negative for chunk 0."""
        return chunk * self.hop - self.lead

    def samples_of(self, chunks: int) -> int:
        """Samples that a run of chunks reads and writes."""
        return chunks * self.hop + self.tail
