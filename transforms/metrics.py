"""What a run counts: the names of all Beam counters and distributions, and the few functions that count.

Nothing of Beam is loaded before something is counted. The one idea: a stage is told in one way, by one call at its
end, so that every stage has the same numbers: how many tracks or segments, seconds of audio, bytes, and milliseconds.
Count in `process`, from Beam's own thread: the local runner loses what is counted in `finish_bundle`, and what other
threads count belongs to no step.

In namespace `stembeam`, for each stage of STAGES (only what it has):
  STAGE-tracks, STAGE-segments     counters: elements that came through
  STAGE-audio-milliseconds         counter: of audio that came through
  STAGE-bytes-in, STAGE-bytes-out  counters: read (files, samples) and made (samples, files)
  STAGE-milliseconds               distribution over elements: time that each took
  STAGE-failures                   counter: elements that failed
"""

from __future__ import annotations

NAMESPACE = 'stembeam'
PLAN, DECODE, WIENER, SEPARATE, WRITE, FEATURES, ASSEMBLE = STAGES = (
    'plan',  # a track: its header is read
    'decode',  # a segment: its samples are read
    'wiener',  # a segment of a long track: it is measured for its Wiener filter
    'separate',  # a segment: its stems are made
    'write',  # a segment: a finished track, or a part of one
    'features',  # a track: all its features; they are computed while the track is written, and in `write` as well
    'assemble',  # a long track: its parts are joined
)

# Counters of their own.
SKIPPED = 'plan-skipped'  # tracks that were complete already
SEGMENTS = 'plan-segments'  # that the planned tracks were cut into
CHUNKS = 'separate-chunks'  # that went through the network
TRACKS_DONE = 'tracks-done'  # tracks that this run has completed
STORE_RETRIES = 'store-retries'  # requests to stores beyond the first try
MODELS_LOADED, LOAD_MILLISECONDS = 'models-loaded', 'load-milliseconds'  # one for each process


def count(name: str, number: int = 1) -> None:
    """Add to a counter."""
    from apache_beam.metrics import Metrics

    Metrics.counter(NAMESPACE, name).inc(number)


def observe(name: str, value: int) -> None:
    """Add a value to a distribution."""
    from apache_beam.metrics import Metrics

    Metrics.distribution(NAMESPACE, name).update(value)


def count_failure(stage: str) -> None:
    """One more element of a stage has failed."""
    count(f'{stage}-failures')


def count_stage(
    stage: str,
    seconds: float,
    *,
    tracks: int = 0,
    segments: int = 0,
    audio: float = 0.0,
    bytes_in: int = 0,
    bytes_out: int = 0,
) -> None:
    """One element has come through a stage.

    Args:
      seconds: that it took.
      audio: seconds of audio in it.
    """
    observe(f'{stage}-milliseconds', round(1000 * seconds))
    numbers = {
        'tracks': tracks,
        'segments': segments,
        'audio-milliseconds': round(1000 * audio),
        'bytes-in': bytes_in,
        'bytes-out': bytes_out,
    }
    for name, number in numbers.items():
        if number:
            count(f'{stage}-{name}', number)
