"""How much audio a listing names, from a sample of its files where it is long."""

from __future__ import annotations

import concurrent.futures
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..model.errors import TrackError, UsageError
from ..transforms.probing import probe
from ..transforms.records import Track

PROBES_AT_ONCE = 8


class Durations(NamedTuple):
    """What is known about the lengths of a listing's tracks."""

    tracks: int
    seconds: float  # of all together, extrapolated from those that were looked at
    looked_at: int
    unreadable: int  # of those
    uncertainty: float  # of `seconds`, one standard deviation; 0 where every track was looked at


def measure_durations(tracks: Sequence[Track], sample: int) -> Durations:
    """The length of a listing, from at most `sample` of its tracks, chosen at random but always the same.

    Raises:
      UsageError: none of them can be read.
    """
    chosen = random.Random(0).sample(list(tracks), min(sample, len(tracks)))
    with concurrent.futures.ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
        lengths = list(pool.map(_length, chosen))
    found = [length for length in lengths if length is not None]
    if not found:
        raise UsageError(f'none of {len(chosen)} tracks looked at can be read: is {chosen[0].uri} audio?')
    readable = len(tracks) * len(found) / len(chosen)
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    missing = 1 - len(chosen) / len(tracks)
    return Durations(
        tracks=len(tracks),
        seconds=statistics.fmean(found) * readable,
        looked_at=len(chosen),
        unreadable=len(chosen) - len(found),
        uncertainty=spread / len(found) ** 0.5 * readable * missing**0.5,
    )


def _length(track: Track) -> float | None:
    try:
        info = probe(track.uri)
    except TrackError:
        return None  # counted: `separate` makes a failure of it
    return info.num_samples / info.sample_rate
