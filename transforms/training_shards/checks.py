"""What may be wrong with a track of a data set, found block by block while it is read.

Stands on numpy. The one idea to know: everything is a sum or a maximum over the track, so nothing of it has to be kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..records import AudioInfo

MIXTURE = 'mixture'
SILENCE_DB = -80.0  # root mean square of what counts as silent; the noise of 16-bit dither is at -96 dB
NEAR_FULL_SCALE = 0.99  # equal samples below are no sign of clipping
# Encoders fill up their last frame, and not all decoders take that away again.
LOSSY_CODECS = ('MPEG_LAYER_III', 'VORBIS')
LOSSY_SLACK_SECONDS = 0.1


class Problem(NamedTuple):
    """One thing that is wrong with a track."""

    kind: str  # 'missing', 'rate', 'length', 'silent', 'clipped', 'sum' or 'unreadable'
    reason: str  # what, where, and what to do, one line


class Limits(NamedTuple):
    """What is tolerated."""

    residual_db: float = -15.0  # of the mixture minus the sum of the stems, against the mixture
    clipped_share: float = 1e-4  # of a stem's samples


def check_headers(infos: Mapping[str, AudioInfo]) -> list[Problem]:
    """Sample rates and lengths that are not the same.

    Args:
      infos: by stem, the mixture among them where there is one.
    """
    problems = []
    first, expected = next(iter(infos.items()))
    for name, info in infos.items():
        if info.sample_rate != expected.sample_rate:
            problems.append(
                Problem(
                    'rate',
                    f'{info.uri}: {name} has {info.sample_rate} Hz, {first} has {expected.sample_rate} Hz: '
                    'bring them to one sample rate',
                )
            )
        if not _lengths_agree(info, expected):
            lengths = [f'{i.num_samples / i.sample_rate:.3f} s ({i.num_samples} samples)' for i in (info, expected)]
            problems.append(
                Problem('length', f'{info.uri}: {name} lasts {lengths[0]}, {first} {lengths[1]}: cut them alike')
            )
    return problems


def _lengths_agree(one: AudioInfo, other: AudioInfo) -> bool:
    seconds = abs(one.num_samples / one.sample_rate - other.num_samples / other.sample_rate)
    if _is_lossy(one) or _is_lossy(other):
        return seconds <= LOSSY_SLACK_SECONDS
    if one.sample_rate != other.sample_rate:
        return seconds <= 1 / min(one.sample_rate, other.sample_rate)
    return one.num_samples == other.num_samples


def _is_lossy(info: AudioInfo) -> bool:
    return info.decoder == 'av' or info.codec in LOSSY_CODECS


@dataclasses.dataclass
class _Course:
    """What is known of one stem up to some place."""

    energy: float = 0.0  # sum of squares
    values: int = 0  # samples times channels
    clipped: int = 0  # values at the third and further places of a run of equal ones near full scale
    tail: np.ndarray | None = None  # the last two samples

    def add(self, block: np.ndarray) -> None:
        self.energy += energy(block)
        self.values += block.size
        joined = block if self.tail is None else np.concatenate([self.tail, block])
        self.tail = joined[-2:].copy()
        if np.abs(block).max(initial=0) >= NEAR_FULL_SCALE and len(joined) > 2:
            last = joined[2:]
            same = (last == joined[1:-1]) & (last == joined[:-2]) & (np.abs(last) >= NEAR_FULL_SCALE)
            self.clipped += int(np.count_nonzero(same))


class TrackChecks:
    """The checks of one track's samples; blocks come in order, then `problems` and `silent_stems`."""

    def __init__(self, uri: str, limits: Limits) -> None:
        """`uri` is what messages call the track."""
        self._uri = uri
        self._limits = limits
        self._courses: dict[str, _Course] = {}
        self._total = _Course()  # of the sum of the stems
        self._residual = _Course()

    def add(self, stems: Mapping[str, np.ndarray], mixture: np.ndarray | None) -> np.ndarray:
        """The next block of all stems, float32 (samples, channels), and of the mixture; returns the stems' sum."""
        for name, block in stems.items():
            self._courses.setdefault(name, _Course()).add(block)
        total = sum_of(stems.values())
        self._total.add(total)
        if mixture is not None:
            self._courses.setdefault(MIXTURE, _Course()).add(mixture)
            self._residual.add(mixture - total)
        return total

    @property
    def residual_db(self) -> float | None:
        """Energy of the mixture minus the sum of the stems against the mixture's; None without (audible) mixture."""
        mixture = self._courses.get(MIXTURE)
        if mixture is None or _level_db(mixture) < SILENCE_DB:
            return None
        return 10 * math.log10(max(self._residual.energy / mixture.energy, 1e-20))

    def silent_stems(self) -> list[str]:
        """Stems in which nothing is heard from beginning to end."""
        return [n for n, course in self._courses.items() if n != MIXTURE and _level_db(course) < SILENCE_DB]

    def problems(self) -> list[Problem]:
        """What is wrong with the samples, after the last block."""
        found = []
        if _level_db(self._courses.get(MIXTURE, self._total)) < SILENCE_DB:
            what = 'the mixture' if MIXTURE in self._courses else 'the sum of the stems'
            found.append(Problem('silent', f'{self._uri}: {what} is silent throughout: check its files'))
        for name, course in self._courses.items():
            share = course.clipped / max(1, course.values)
            if share > self._limits.clipped_share:
                found.append(
                    Problem(
                        'clipped',
                        f'{self._uri}: {name} is clipped, {share:.3%} of its samples: use a version that is not, or '
                        'allow more with --max-clipped',
                    )
                )
        residual = self.residual_db
        if residual is not None and residual > self._limits.residual_db:
            found.append(
                Problem(
                    'sum',
                    f'{self._uri}: the mixture is not the sum of the stems, what is left over is at {residual:.1f} dB '
                    'of it: check for missing or shifted stems, or allow more with --max-residual',
                )
            )
        return found


def sum_of(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, float32."""
    first, *rest = blocks
    total = first.copy()
    for block in rest:
        total += block
    return total


def energy(samples: np.ndarray) -> float:
    """The sum of squares of float32 samples."""
    return float(np.square(samples).sum(dtype=np.float64))


def level_db(mean_square: float) -> float:
    """A mean square in dB of full scale; at least -400."""
    return 10 * math.log10(max(mean_square, 1e-40))


def _level_db(course: _Course) -> float:
    return level_db(course.energy / max(1, course.values))
