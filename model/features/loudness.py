"""Integrated loudness of a stream by ITU-R BS.1770-4, any sample rate.

Two second-order filters (the K-weighting), mean squares over steps of 100 ms, gated means over blocks of four steps.
The one idea to know: a recursive filter cannot be vectorised sample by sample, so it runs on blocks of 64 samples as
matrix products (zero-state response plus response to the state), and only the state at block borders is a recursion.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy.signal

from .filters import matmul_rows

Array = np.ndarray

BLOCK_LENGTH = 64  # samples per matrix row; groups must be multiples of it
_STEPS_PER_SECOND = 10
_STEPS_PER_BLOCK = 4  # 400 ms, overlapping by three quarters
_OFFSET_LU = -0.691  # so that a 997 Hz sine at 0 dBFS in one channel reads -3.01 LUFS
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_SURROUND = 10**0.15  # +1.5 dB for the surround channels


def channel_weights(channels: int) -> Array:
    """Weights of the channels, (channels,) float64: L R C Ls Rs, L R C LFE Ls Rs, and 1 for any other number."""
    if channels == 5:
        return np.array([1.0, 1.0, 1.0, _SURROUND, _SURROUND])
    if channels == 6:
        return np.array([1.0, 1.0, 1.0, 0.0, _SURROUND, _SURROUND])
    return np.ones(channels)


@functools.lru_cache(maxsize=16)
def k_weighting(sample_rate: int) -> Array:
    """The two filters of the K-weighting as second-order sections, (2, 6) float64: high shelf, then high pass.

    The standard gives coefficients for 48 kHz only; these are the bilinear transforms of the analogue filters behind
    them, and equal them there.  Source of the analogue parameters: De Man, "Evaluation of implementations of the EBU
    R128 loudness measurement", AES 145 (2018).
    """
    k, q = np.tan(np.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    shelf = np.array([high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k])
    sections = [np.concatenate([shelf / (1 + k / q + k * k), _denominator(k, q)])]
    k, q = np.tan(np.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    k48 = np.tan(np.pi * 38.13547087602444 / 48_000)
    # The standard's high pass has the numerator 1, -2, 1 as it is, a gain of 0.04 dB; other rates get the same gain.
    gain = (1 + k48 / q + k48 * k48) / (1 + k / q + k * k)
    sections.append(np.concatenate([gain * np.array([1.0, -2.0, 1.0]), _denominator(k, q)]))
    return np.array(sections)


def _denominator(k: float, q: float) -> Array:
    return np.array([1.0, 2 * (k * k - 1) / (1 + k / q + k * k), (1 - k / q + k * k) / (1 + k / q + k * k)])


class _BlockFilter(NamedTuple):
    """The K-weighting of blocks of L samples: y = [x, s] @ response; s' = s @ advance + x @ to_state.

    The recursion of s runs in the coordinates of the eigenvectors of `advance`, the filters' poles; they come in two
    conjugate pairs, of which one of each is enough.
    """

    response: Array  # (L + 4, L) float32
    to_state: Array  # (L, 4) float32
    to_modes: Array  # (4, 4) float64: state to real, imaginary of one mode of each pair
    factors: Array  # (2,) complex128: what a mode is multiplied by from block to block
    from_modes: Array  # (4, 4) float64: and back


@functools.lru_cache(maxsize=16)
def _block_filter(sample_rate: int) -> _BlockFilter:
    sections, length = k_weighting(sample_rate), BLOCK_LENGTH
    response, final = scipy.signal.sosfilt(sections, np.eye(length), zi=np.zeros((2, length, 2)))
    to_state = final.transpose(1, 0, 2).reshape(length, 4)
    unit_states = np.eye(4).reshape(4, 2, 2).transpose(1, 0, 2)
    from_state, _ = scipy.signal.sosfilt(sections, np.zeros((4, length)), zi=unit_states)
    _, final = scipy.signal.sosfilt(sections, np.zeros((4, 1)), zi=unit_states)
    poles, vectors = np.linalg.eig(final.transpose(1, 0, 2).reshape(4, 4).T)  # transposed, because states are rows here
    upper = np.flatnonzero(poles.imag > 0)
    return _BlockFilter(
        response=np.concatenate([response, from_state]).astype(np.float32),
        to_state=to_state.astype(np.float32),
        to_modes=np.ascontiguousarray(np.linalg.inv(vectors.T)[:, upper]).view(np.float64),
        factors=poles[upper] ** length,
        from_modes=2.0 * np.stack([vectors.T[upper].real, -vectors.T[upper].imag], axis=1).reshape(4, 4),
    )


class LoudnessMeter:
    """Integrated loudness of a stream that comes in groups of whole 64-sample blocks."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        """A meter that has heard nothing."""
        self._sample_rate = sample_rate
        self._weights = channel_weights(channels)
        self._modes = np.zeros((channels, 2), np.complex128)
        self._position = 0  # samples heard
        self._open_step = 0.0  # weighted energy of the step that the last group left unfinished
        self._steps: list[Array] = []  # weighted energies of the steps, K-weighted

    def add(self, samples: Array, num_samples: int) -> None:
        """One group.

        Args:
          samples: (channels, n), float32, n a multiple of 64, with anything after the end of the track.
          num_samples: how many of the n lie before the end of the track.
        """
        if num_samples == 0:
            return
        power = self._weighted_power(samples)[:num_samples]
        # Steps whose end lies after the samples heard before and not after those heard now.
        first = -(-(self._position + 1) * _STEPS_PER_SECOND // self._sample_rate)
        stop = -(-(self._position + num_samples + 1) * _STEPS_PER_SECOND // self._sample_rate)
        ends = np.array([self._step_end(step) for step in range(first, stop)], np.int64) - self._position
        starts = np.concatenate([[0], ends[ends < num_samples]])
        energies = np.add.reduceat(power, starts).astype(np.float64)
        energies[0] += self._open_step
        self._steps.append(energies[: len(ends)])
        self._open_step = float(energies[-1]) if len(energies) > len(ends) else 0.0
        self._position += num_samples

    def _step_end(self, step: int) -> int:
        """The sample at which step 1, 2, ... ends; rates that are no multiple of 10 Hz round down."""
        return step * self._sample_rate // _STEPS_PER_SECOND

    def _weighted_power(self, samples: Array) -> Array:
        """K-weighted samples squared and added over the channels by weight, (n,) float32."""
        response = _block_filter(self._sample_rate).response
        states = self._states(samples)
        total = np.zeros((samples.shape[1] // BLOCK_LENGTH, BLOCK_LENGTH), np.float32)
        for channel, weight in enumerate(self._weights):
            if weight == 0:
                continue
            rows = samples[channel].reshape(-1, BLOCK_LENGTH)
            weighted = matmul_rows(np.concatenate([rows, states[channel]], axis=1), response)
            np.square(weighted, out=weighted)
            if weight != 1:
                weighted *= np.float32(weight)
            total += weighted
        return total.reshape(-1)

    def _states(self, samples: Array) -> Array:
        """The state of the filters before each block, (channels, blocks, 4) float32; moves the meter's state on."""
        block = _block_filter(self._sample_rate)
        inputs = matmul_rows(samples.reshape(-1, BLOCK_LENGTH), block.to_state)
        inputs = matmul_rows(inputs.astype(np.float64), block.to_modes).view(np.complex128)
        inputs = inputs.reshape(len(samples), -1, 2)
        before = np.empty_like(inputs)
        for mode, factor in enumerate(block.factors):
            start = self._modes[:, mode]
            after, _ = scipy.signal.lfilter([1.0], [1.0, -factor], inputs[:, :, mode], zi=factor * start[:, None])
            before[:, 0, mode], before[:, 1:, mode] = start, after[:, :-1]
            self._modes[:, mode] = after[:, -1]
        states = matmul_rows(before.view(np.float64).reshape(-1, 4), block.from_modes)
        return states.astype(np.float32).reshape(len(samples), -1, 4)

    def finish(self) -> float:
        """Integrated loudness in LUFS; NaN if no block of 400 ms is above the absolute gate."""
        energies = np.concatenate([*self._steps, np.zeros(0)])
        if len(energies) < _STEPS_PER_BLOCK:
            return float('nan')
        sums = np.convolve(energies, np.ones(_STEPS_PER_BLOCK), mode='valid')
        ends = np.array([self._step_end(step) for step in range(len(energies) + 1)])
        powers = sums / (ends[_STEPS_PER_BLOCK:] - ends[:-_STEPS_PER_BLOCK])
        powers = powers[powers > _power(_ABSOLUTE_GATE_LUFS)]
        if powers.size == 0:
            return float('nan')
        powers = powers[powers > _power(_lufs(powers.mean()) + _RELATIVE_GATE_LU)]
        return _lufs(powers.mean())


def _lufs(power: float) -> float:
    return float(_OFFSET_LU + 10.0 * np.log10(power))


def _power(lufs: float) -> float:
    return float(10.0 ** ((lufs - _OFFSET_LU) / 10.0))
