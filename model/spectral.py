"""Short-time Fourier transform of chunks and its inverse, on keras.ops, with Spleeter's conventions.

Periodic Hann window, no centring, and no division by the squared window on the way back: analysis and synthesis window
together add up to 3/2 at a hop of a quarter frame, so the inverse multiplies by 2/3. A chunk is cut so that its frames
fit exactly (see chunks.py); padding is the business of the caller.
"""

from __future__ import annotations

import numpy as np

from .backend import Tensor, keras
from .windows import hann, overlap_gain

ops = keras.ops


def stft(waves: Tensor, frame_length: int, frame_step: int) -> tuple[Tensor, Tensor]:
    """Spectra of all frames that lie wholly inside.

    Args:
      waves: float32 (..., samples), samples = (frames - 1) * frame_step + frame_length; frame_step divides
      frame_length.

    Returns:
      Real and imaginary part, float32 (..., frames, frame_length // 2 + 1).
    """
    overlap = frame_length // frame_step
    blocks = ops.reshape(waves, (*waves.shape[:-1], waves.shape[-1] // frame_step, frame_step))
    frames = blocks.shape[-2] - overlap + 1
    framed = ops.concatenate([blocks[..., shift : shift + frames, :] for shift in range(overlap)], axis=-1)
    return ops.rfft(framed * hann(frame_length))


def inverse_stft(spectra: tuple[Tensor, Tensor], frame_length: int, frame_step: int) -> Tensor:
    """Windowed overlap-add of the frames, divided by `overlap_gain`: the inverse of `stft` but for the first and last
    frame_length - frame_step samples, which further frames would have added to.

    Args:
      spectra: real and imaginary part, float32 (..., frames, frame_length // 2 + 1).

    Returns:
      float32 (..., (frames - 1) * frame_step + frame_length).
    """
    overlap = frame_length // frame_step
    synthesis = hann(frame_length) / np.float32(overlap_gain(frame_length, frame_step))
    framed = ops.irfft(spectra, fft_length=frame_length) * synthesis
    frames = framed.shape[-2]
    pieces = ops.reshape(framed, (*framed.shape[:-1], overlap, frame_step))
    outer = [(0, 0)] * (len(framed.shape) - 2)
    added = sum(
        ops.pad(pieces[..., shift, :], [*outer, (shift, overlap - 1 - shift), (0, 0)]) for shift in range(overlap)
    )
    return ops.reshape(added, (*framed.shape[:-2], (frames + overlap - 1) * frame_step))
