"""What is in an audio file, before anything of it is separated: rate, channels, length, and who can decode it.

Stands on readers.py and headers.py. The one idea: the length is what decoding will give. Where libsndfile finds it in a
header it is believed; everything that FFmpeg reads, and MP3 without a frame count, is decoded once and counted, because
the durations in those containers are rounded, estimated, or take the encoder's padding for sound.
"""

from __future__ import annotations

import contextlib

from ..model.errors import StembeamError, TrackError
from ..model.remote import RemoteFile, current_retries
from .addresses import shown
from .decoding import too_short
from .headers import HeaderFacts, Shortage, read_facts
from .readers import BlockReader, SoundfileReader, UnreadableError, open_reader
from .records import AudioInfo
from .sources import SourceFile, local_path, open_source, storage_error
from .watchdog import watched

DECODERS = ('soundfile', 'av')  # in the order in which they are tried
_COUNT_SECONDS = 60  # counted at a time
# FFmpeg's names of containers whose header (in Ogg: last page) holds a length that is no estimate, so that lost packets
# show; and how many samples may be missing: in Ogg what the encoder put in front (Opus: up to 80 ms) and part of a
# packet.
_MISSING_ALLOWED = {'tta': 0, 'wv': 0, 'ape': 0, 'flac': 0, 'tak': 0, 'ogg': 5760}
_ABSURD_SAMPLES = 1 << 62  # libsndfile's way to say that a header does not know


def probe(
    uri: str,
    *,
    allow_truncated: bool = False,
    decoder: str = 'auto',
    stream: int | None = None,
    remote: RemoteFile | None = None,
) -> AudioInfo:
    """Reads the header of a track, and its data where the header cannot be trusted about the length.

    Args:
      uri: absolute local path or fsspec URL.  A remote file is read in place.
      allow_truncated: accept a file that holds less than its header promises; its length is then counted.
      decoder: 'auto' for libsndfile where it can and FFmpeg elsewhere, decided by content; or 'soundfile' or 'av'.
      stream: which sound stream of the file, 0-based, with decoder 'av' alone; None for the first.
      remote: what sources.look_at said of it; None: nobody has looked yet.

    Returns:
      AudioInfo; `num_samples` is exact, but for the few samples that decoding.shortfall_allowed grants to MP3.

    Raises:
      TrackError: missing, empty, not audio, without samples, without a sound stream, damaged, or shorter than its
        header promises (in libsndfile's formats: as far as that is seen without decoding them).
      RunError: this machine is the trouble.
      UsageError: an unknown decoder.
    """
    with open_source(uri, remote) as source:
        try:
            return _probe_source(uri, source, allow_truncated, decoder, stream)
        except StembeamError:
            if source.error is not None:  # the libraries took trouble of the storage for the end of the file
                raise storage_error(uri, source.error) from source.error
            raise
        except OSError as error:
            raise storage_error(uri, error) from error


def _probe_source(uri: str, source: SourceFile, allow_truncated: bool, decoder: str, stream: int | None) -> AudioInfo:
    if source.size == 0:
        raise TrackError(f'{shown(uri)}: is empty (0 bytes): replace it')
    facts = read_facts(source)
    with contextlib.closing(_open(uri, source, decoder, facts, stream)) as reader:
        if facts.shortage is not None and not allow_truncated:
            raise _shortage_error(reader, facts.shortage)
        if isinstance(reader, SoundfileReader):
            length = _soundfile_length(reader, facts, allow_truncated)
        else:
            length = _decoded_length(reader, allow_truncated)
        if length is None:
            raise _cut_flac_error(reader, source)
        if length == 0:
            raise _no_samples(uri)
        return AudioInfo(
            uri=uri,
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            num_samples=length,
            container=reader.container,
            codec=reader.codec,
            decoder=reader.decoder,
            # in a FLAC file that was cut off, libsndfile cannot find its way
            exact_seek=reader.exact_seek and length >= (reader.header_samples or 0),
            stream=stream,
        )


def _open(uri: str, source: SourceFile, decoder: str, facts: HeaderFacts, stream: int | None) -> BlockReader:
    """The first decoder that can read all of the file."""
    for name in DECODERS if decoder == 'auto' else (decoder,):
        source.seek(0)
        try:
            with watched(_store_seconds(uri)):
                reader = open_reader(name, local_path(uri) or source, uri, stream)
        except UnreadableError:
            continue
        if decoder == 'auto' and isinstance(reader, SoundfileReader) and _is_for_ffmpeg(reader, facts):
            reader.close()
            continue
        return reader
    if facts.shortage is not None:
        there, promised = facts.shortage
        raise TrackError(
            f'{shown(uri)}: was cut off before anything could be read, {there} of {promised} bytes: replace it'
        )
    who = 'neither libsndfile nor FFmpeg can read it' if decoder == 'auto' else f'decoder {decoder} cannot read it'
    raise TrackError(f'{shown(uri)}: is not audio, {who}: replace it, or take it off the listing')


def _is_for_ffmpeg(reader: SoundfileReader, facts: HeaderFacts) -> bool:
    """Whether libsndfile opens a file of which it would not read all: chained Ogg, FLAC that came through a pipe."""
    return reader.header_samples >= _ABSURD_SAMPLES or (reader.container == 'ogg' and facts.is_chained)


def _soundfile_length(reader: SoundfileReader, facts: HeaderFacts, allow_truncated: bool) -> int | None:
    """Samples per channel; None for a FLAC file without an end, which is found without decoding the rest."""
    is_exact = reader.container != 'mp3' or facts.counts_frames
    if reader.header_samples and (allow_truncated or not is_exact):
        return _count(reader)
    if reader.header_samples and reader.container == 'flac':
        try:
            with watched(_store_seconds(reader.uri)):
                reader.seek(reader.header_samples - 1)
                if reader.skip(1) == 0:
                    return None
        except TrackError:
            return None
    return reader.header_samples


def _decoded_length(reader: BlockReader, allow_truncated: bool) -> int:
    """Samples per channel, by decoding them all.  Raises TrackError if the end is missing."""
    length = _count(reader)
    promised = reader.header_samples if reader.container in _MISSING_ALLOWED else None
    if promised is not None and length >= promised - _MISSING_ALLOWED[reader.container]:
        promised = None
    if not allow_truncated and (reader.cut_short or promised is not None):
        raise too_short(reader.uri, length / reader.sample_rate, promised and promised / reader.sample_rate)
    return length


def _count(reader: BlockReader) -> int:
    counted = 1
    while counted:
        with watched(_store_seconds(reader.uri)):
            counted = reader.skip(_COUNT_SECONDS * reader.sample_rate)
    return reader.position


def _store_seconds(uri: str) -> float:
    """Seconds that a call may take longer because the store is slow; for several requests in one."""
    return 0.0 if local_path(uri) else 2 * current_retries().seconds


def _shortage_error(reader: BlockReader, shortage: Shortage) -> TrackError:
    if isinstance(reader, SoundfileReader):
        if reader.header_samples == 0:
            return _no_samples(reader.uri)
        seconds = reader.header_samples / reader.sample_rate  # libsndfile has corrected what the header says
        return too_short(reader.uri, seconds, seconds * shortage.promised / max(1, shortage.there))
    return TrackError(
        f'{shown(reader.uri)}: shorter than its header promises: {shortage.there} of {shortage.promised} bytes: '
        'replace it, or take what is there with --allow-truncated'
    )


def _cut_flac_error(reader: BlockReader, source: SourceFile) -> TrackError:
    source.seek(0)
    with contextlib.closing(SoundfileReader(local_path(reader.uri) or source, reader.uri)) as again:
        there = _count(again)
    if there == 0:
        return _no_samples(reader.uri)
    return too_short(reader.uri, there / reader.sample_rate, (reader.header_samples or 0) / reader.sample_rate)


def _no_samples(uri: str) -> TrackError:
    return TrackError(f'{shown(uri)}: has a header but no sound in it (0 samples): replace it')
