"""Where the spectral rows of frame features lie that a device computes along with the stems of a chunk.

Frames of features are centred on every 1024th sample of the track, and chunks begin at such samples too.  The one idea
to know: only a frame that lies wholly between the seams of one chunk is known when that chunk is; the few at the seams
of every chunk, and at both ends of the track, are left to the host, which computes whatever row is not known.
"""

from __future__ import annotations

import numpy as np

from .chunks import ChunkGrid
from .configuration import ModelConfig
from .features.columns import HOP_LENGTH, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE


def has_rows(config: ModelConfig, grid: ChunkGrid) -> bool:
    """Whether the chunks of a model have frames of their own, and features are defined at its rate."""
    aligned = all(samples % HOP_LENGTH == 0 for samples in (grid.hop, grid.tail, grid.lead))
    return aligned and rows_per_chunk(grid) > 0 and MIN_SAMPLE_RATE <= config.sample_rate <= MAX_SAMPLE_RATE


def rows_per_chunk(grid: ChunkGrid) -> int:
    """How many frames lie between the seams of a chunk, samples tail to hop; negative if it has no such samples."""
    return (grid.hop - grid.tail) // HOP_LENGTH - 1


def unknown_rows(signals: int, num_samples: int) -> np.ndarray:
    """Spectral rows of a run of chunks of which nothing is known yet.

    Returns:
      float32 (signals, 1 + num_samples // 1024, NUM_SPECTRAL): frame i is centred on sample 1024 * i of the run.
    """
    from .features.frames import NUM_SPECTRAL  # here: it brings SciPy, which not every engine needs

    return np.full((signals, 1 + num_samples // HOP_LENGTH, NUM_SPECTRAL), np.nan, np.float32)


def chunk_frames(grid: ChunkGrid, start: int) -> slice:
    """The frames, counted from the beginning of a run, that a chunk knows which begins at sample `start` of it."""
    first = (start + grid.tail) // HOP_LENGTH + 1
    return slice(first, first + rows_per_chunk(grid))


def rows_of_track(rows: np.ndarray, grid: ChunkGrid, num_samples: int) -> np.ndarray:
    """The rows of a track that is one run, counted from its first sample.

    Args:
      rows: (signals, frames, NUM_SPECTRAL) of the run; frames that reach out of the track become unknown here, for
        there the run goes on and the track is silent.
      num_samples: of the track.

    Returns:
      (signals, 1 + num_samples // 1024, NUM_SPECTRAL), a view.
    """
    first = grid.lead // HOP_LENGTH
    rows = rows[:, first : first + 1 + num_samples // HOP_LENGTH]
    rows[:, 0] = np.nan
    rows[:, num_samples // HOP_LENGTH :] = np.nan
    return rows
