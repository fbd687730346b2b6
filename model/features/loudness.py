"""Integrated loudness of a stream by ITU-R BS.1770-4, any sample rate.

Two second-order filters (the K-weighting), mean squares over steps of 100 ms, gated means over blocks of four steps.
The one idea to know: a recursive filter cannot be vectorised sample by sample, so it is unrolled: one matrix product
gives 64 samples from 64 samples and the state before them.  The states are a recursion of the same kind over blocks,
unrolled as well, 16 blocks to a hop, and what is left from hop to hop is a sum over powers, by doubling.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .columns import HOP_LENGTH
from .filters import matmul_rows

Array = np.ndarray

_BLOCK = 64  # samples per matrix row
_BLOCKS_PER_HOP = HOP_LENGTH // _BLOCK
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


class _System(NamedTuple):
    """A linear system with state s (a row), input x and output y: y = [x, s] @ response, then s = [x, s] @ advance."""

    response: Array
    advance: Array

    def unrolled(self, steps: int) -> _System:
        """The system that takes so many inputs at once, one after the other in a row, and gives as many outputs."""
        inputs, outputs = len(self.advance) - self.advance.shape[1], self.response.shape[1]
        # What comes from each input, and from the state before all of them, is followed in a row of its own.
        rows = steps * inputs + self.advance.shape[1]
        state = np.zeros((rows, self.advance.shape[1]))
        state[steps * inputs :] = np.eye(state.shape[1])
        response = np.empty((rows, steps * outputs))
        for step in range(steps):
            now = np.zeros((rows, inputs))
            now[step * inputs : (step + 1) * inputs] = np.eye(inputs)
            seen = np.concatenate([now, state], axis=1)
            response[:, step * outputs : (step + 1) * outputs] = seen @ self.response
            state = seen @ self.advance
        return _System(response, state)


def _k_weighting_system(sample_rate: int) -> _System:
    """The two filters in a row, sample by sample, (1 + 4, 1) and (1 + 4, 4) float64; transposed direct form II."""
    response = np.array([[1.0], [0.0], [0.0], [0.0], [0.0]])  # nothing yet: the input itself
    advance = np.zeros((5, 4))
    for section, (b0, b1, b2, _, a1, a2) in enumerate(k_weighting(sample_rate)):
        first, second = 2 * section, 2 * section + 1
        signal = response[:, 0]
        output = b0 * signal
        output[1 + first] += 1.0
        advance[:, first] = b1 * signal - a1 * output
        advance[1 + second, first] += 1.0
        advance[:, second] = b2 * signal - a2 * output
        response = output[:, None]
    return _System(response, advance)


class _BlockFilter(NamedTuple):
    """The K-weighting of blocks of 64 samples, and how its states follow each other within a hop of 16 blocks."""

    response: Array  # (64 + 4, 64) float32: samples and state before them to weighted samples
    from_zero: Array  # (64, 4) float32: samples to the state after them, had it been 0 before
    states: _System  # of a hop, from its 16 states from zero and the state before it: the state before every block


@functools.lru_cache(maxsize=16)
def _block_filter(sample_rate: int) -> _BlockFilter:
    block = _k_weighting_system(sample_rate).unrolled(_BLOCK)
    # From block to block: what the block adds, plus the old state moved on; the output is the state before the block.
    following = np.concatenate([np.eye(4), block.advance[_BLOCK:]])
    states = _System(np.concatenate([np.zeros((4, 4)), np.eye(4)]), following).unrolled(_BLOCKS_PER_HOP)
    return _BlockFilter(block.response.astype(np.float32), block.advance[:_BLOCK].astype(np.float32), states)


class LoudnessMeter:
    """Integrated loudness of a stream that comes in groups of whole hops of 1024 samples."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        """A meter that has heard nothing."""
        self._sample_rate = sample_rate
        self._weights = channel_weights(channels)
        self._state = np.zeros((channels, 4))  # of the filters
        self._position = 0  # samples heard
        self._open_step = 0.0  # weighted energy of the step that the last group left unfinished
        self._steps: list[Array] = []  # weighted energies of the steps, K-weighted

    def add(self, samples: Array, num_samples: int) -> None:
        """One group.

        Args:
          samples: (channels, n), float32, n a multiple of 1024, with anything after the end of the track.
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
        rows = np.empty((samples.shape[1] // _BLOCK, _BLOCK + 4), np.float32)  # samples, and the state before them
        weighted = np.empty((len(rows), _BLOCK), np.float32)
        total = np.zeros_like(weighted)
        for channel, weight in enumerate(self._weights):
            if weight == 0:
                continue
            rows[:, :_BLOCK] = samples[channel].reshape(-1, _BLOCK)
            rows[:, _BLOCK:] = states[channel]
            matmul_rows(rows, response, out=weighted)
            np.square(weighted, out=weighted)
            if weight != 1:
                weighted *= np.float32(weight)
            total += weighted
        return total.reshape(-1)

    def _states(self, samples: Array) -> Array:
        """The state of the filters before each block, (channels, blocks, 4) float32; moves the meter's state on."""
        block = _block_filter(self._sample_rate)
        from_zero = matmul_rows(samples.reshape(-1, _BLOCK), block.from_zero)
        added = from_zero.reshape(-1, 4 * _BLOCKS_PER_HOP).astype(np.float64)
        at_hops = matmul_rows(added, block.states.advance[:-4]).reshape(len(samples), -1, 4)
        at_hops = np.concatenate([self._state[:, None], at_hops], axis=1)  # the first, and what each hop adds
        distance, advance = 1, block.states.advance[-4:]
        while distance < at_hops.shape[1]:  # now each holds what `distance` hops add, itself and those before it
            at_hops[:, distance:] += at_hops[:, :-distance] @ advance
            distance, advance = 2 * distance, advance @ advance
        self._state = at_hops[:, -1].copy()
        before = np.concatenate([added, at_hops[:, :-1].reshape(-1, 4)], axis=1)
        states = matmul_rows(before, block.states.response)
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
