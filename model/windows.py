"""The window of Spleeter's Fourier transforms, for every implementation of them. NumPy alone."""

from __future__ import annotations

import numpy as np


def hann(frame_length: int) -> np.ndarray:
    """The periodic Hann window, float32 (frame_length,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame_length) / frame_length)).astype(np.float32)


def overlap_gain(frame_length: int, frame_step: int) -> float:
    """What analysis and synthesis by the Hann window add up to at every sample: 3/2 for a hop of a quarter frame."""
    return float(np.sum(hann(frame_length).astype(np.float64) ** 2) / frame_step)
