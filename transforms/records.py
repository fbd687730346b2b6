"""The small records that travel between the steps: plain data, picklable, each explained in one line per field.

Listing gives a `Track`; planning makes it a `PlannedTrack` and cuts it into `Segment`s; a segment ends as a `Completed`
track or, in long tracks, as a `Part` that assembly joins. Whatever goes wrong is a `Failure`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Track(NamedTuple):
    """One input of the run, as the listing names it."""

    track_id: str  # unique in the run; '/' separates folders; see naming.py
    uri: str  # absolute local path or fsspec URL
    metadata: dict[str, Any]  # further columns of the listing, for the manifest


class AudioInfo(NamedTuple):
    """What the header of an audio file promises."""

    uri: str
    sample_rate: int  # Hz, of the file
    channels: int
    num_samples: int  # per channel, at the file's rate; > 0
    container: str  # 'wav', 'flac', 'mp3', 'mov,mp4,m4a,...': as the decoding library calls it
    codec: str  # 'PCM_16', 'vorbis', 'aac', ...
    decoder: str  # which decoder reads it: 'soundfile' or 'av'
    exact_seek: bool  # a read from the middle gives the same samples, bit for bit, as a read from the start
    stream: int | None = None  # which sound stream of the file, 0-based; None: the first that can be decoded


class PlannedTrack(NamedTuple):
    """A track that will be separated: its header has been read."""

    track: Track
    info: AudioInfo
    start: int  # first sample of the file to separate, at the model's rate
    num_samples: int  # to separate, at the model's rate, as far as the header can be trusted
    fingerprint: str  # SHA-256 of input, model and options: the same means that the stems are the same
    source: dict[str, Any]  # identity of the input: size, time of change
    is_known: bool = True  # it may have a completion record, of this run or an earlier one; False: it had none


class Segment(NamedTuple):
    """A run of whole chunks of one track: the unit of work."""

    planned: PlannedTrack
    index: int  # type: ignore[assignment]  # 0-based within the track; a tuple's own `index` is not wanted
    first_chunk: int
    num_chunks: int
    num_segments: int  # of the whole track, so that assembly knows when it has all


class Part(NamedTuple):
    """A separated segment of a long track, on its way to assembly: where its samples are stored."""

    segment: Segment
    folder: str  # relative to OUT
    body_samples: int  # finished samples in the body of every stem
    end: int | None  # position of the track's end, if this segment reached it
    seconds: dict[str, float]  # spent per step


class Completed(NamedTuple):
    """A track whose completion record exists."""

    track_id: str
    record: str  # path of the record, relative to OUT
    is_new: bool  # made by this run


class Failure(NamedTuple):
    """One row of the failure table."""

    uri: str  # what gives access is hidden in it
    track_id: str
    stage: str  # 'plan', 'decode', 'wiener', 'separate', 'write', 'assemble'
    error: str  # class of the error
    reason: str  # what is wrong and what to do, one line
