"""The file formats that stems can be written in, and what each of them can hold.

Plain data and checks, no audio: everything that could make an encoder refuse is found here, before a run starts.  The
one idea to know: a bitrate or rate that is not in the tables would either fail in the encoder or be changed by it
without a word, so neither is tried.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Sequence

from ..model.errors import UsageError
from .vorbis import MAX_RATE as VORBIS_MAX_RATE
from .vorbis import nominal_bitrates

# MPEG audio has three versions: the full rates, their halves and their quarters, each with its own bitrates (kbit/s).
_MPEG_BITRATES = {
    32000: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    16000: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    8000: (8, 16, 24, 32, 40, 48, 56, 64),
}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_WMA_RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000)
_FLAC_RATES = range(1, 655351)
_VORBIS_RATES = range(8000, VORBIS_MAX_RATE + 1)

_LAME_TAG_BYTES = 156  # Xing header with LAME's extension; it must fit into one frame
_AAC_FRAME_SAMPLES = 1024
_AAC_FRAME_BITS = 6144  # per channel, the most that the standard allows


@dataclasses.dataclass(frozen=True)
class StemFormat:
    """One choice of --format."""

    name: str
    codec: str  # the file extension, {codec} in file names
    lossless: bool
    sample_rates: Sequence[int] | None  # Hz, ascending; None: any
    default_bitrate: int | None  # bits per second of stereo, mono gets half; None for lossless formats
    dtype: str  # numpy dtype of the samples that the writer takes, see quantising.py
    bits: int | None  # of a sample in the file; None: float or lossy
    help: str


FORMATS: dict[str, StemFormat] = {
    stem_format.name: stem_format
    for stem_format in (
        StemFormat('wav', 'wav', True, None, None, 'int16', 16, 'WAV, 16 bit'),
        StemFormat('wav24', 'wav', True, None, None, 'int32', 24, 'WAV, 24 bit'),
        StemFormat('wav-float', 'wav', True, None, None, 'float32', None, 'WAV, 32-bit float, never clips'),
        StemFormat('flac', 'flac', True, _FLAC_RATES, None, 'int16', 16, 'FLAC, 16 bit'),
        StemFormat('flac24', 'flac', True, _FLAC_RATES, None, 'int32', 24, 'FLAC, 24 bit'),
        StemFormat('mp3', 'mp3', False, _MP3_RATES, 192_000, 'float32', None, 'MP3, constant bitrate, 192k'),
        StemFormat('ogg', 'ogg', False, _VORBIS_RATES, 160_000, 'float32', None, 'Ogg Vorbis, around 160k'),
        StemFormat('opus', 'opus', False, _OPUS_RATES, 128_000, 'float32', None, 'Ogg Opus, around 128k, at 48 kHz'),
        StemFormat('m4a', 'm4a', False, _AAC_RATES, 192_000, 'float32', None, 'AAC in MP4, around 192k'),
        StemFormat('wma', 'wma', False, _WMA_RATES, 128_000, 'float32', None, 'Windows Media Audio 2, around 128k'),
    )
}


def find_format(name: str) -> StemFormat:
    """The format of this name.

    Raises:
      UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f'format {name!r} is not known: use one of {", ".join(FORMATS)}')
    return FORMATS[name]


def output_rate(format_name: str, model_rate: int, asked: int | None) -> int:
    """The rate in Hz at which stems are written: as asked, else the model's, else the next one up that the codec holds.

    `asked` is not checked, `check_format` does that.

    Raises:
      UsageError: no such format.

    >>> output_rate('opus', 44100, None)
    48000
    """
    rates = find_format(format_name).sample_rates
    if asked is not None:
        return asked
    if rates is None or model_rate in rates:
        return model_rate
    return next((rate for rate in rates if rate > model_rate), rates[-1])


def check_format(name: str, bitrate: str | int | None, sample_rate: int, channels: int = 2) -> int | None:
    """Finds everything that the codec would refuse, and says which bitrate the files get.

    Args:
      name: a key of FORMATS.
      bitrate: bits per second: '128k', '192000', 128000; None for the format's default (half of it for mono), or the
        most that the codec takes at this sample rate where that is less.
      sample_rate: Hz, of the files: what `output_rate` gives.
      channels: of the files, 1 or 2.

    Returns:
      Bits per second for StemWriter; None for a lossless format.

    Raises:
      UsageError: one line that names the problem and the cure.
    """
    stem_format = find_format(name)
    if channels not in (1, 2):
        raise UsageError(f'stems of {channels} channels cannot be written: use a model with 1 or 2 channels')
    _check_rate(stem_format, sample_rate)
    if stem_format.default_bitrate is None:
        if bitrate is not None:
            lossy = ', '.join(other.name for other in FORMATS.values() if not other.lossless)
            raise UsageError(f'format {name!r} is lossless and has no bitrate: leave bitrate out or use one of {lossy}')
        return None
    allowed = allowed_bitrates(stem_format, sample_rate, channels)
    if bitrate is None:
        default = stem_format.default_bitrate * channels // 2
        return allowed[max(0, bisect.bisect_right(allowed, default) - 1)]
    asked = parse_bitrate(bitrate)
    if asked not in allowed:
        raise UsageError(
            f'bitrate {bitrate} does not exist for {name} with {channels} channel(s) at {sample_rate} Hz: '
            f'use {_listed(allowed)}'
        )
    return asked


def parse_bitrate(bitrate: str | int) -> int:
    """Bits per second.

    Raises:
      UsageError: neither a whole number nor one with a k.

    >>> parse_bitrate('128k')
    128000
    """
    match = re.fullmatch(r'([0-9]+)([kK]?)', str(bitrate).strip())
    if match is None:
        raise UsageError(f'bitrate {bitrate!r} cannot be read: give bits per second, such as 128k or 192000')
    return int(match[1]) * (1000 if match[2] else 1)


def allowed_bitrates(stem_format: StemFormat, sample_rate: int, channels: int) -> Sequence[int]:
    """The bitrates of a lossy format in bits per second, ascending: every one (mp3) or a range of them."""
    if stem_format.codec == 'mp3':
        return _mp3_bitrates(sample_rate, channels)
    if stem_format.codec == 'ogg':
        lowest, highest = nominal_bitrates(sample_rate, channels)
        return range(lowest, highest + 1)
    if stem_format.codec == 'opus':
        return range(6000, 256_000 * channels + 1)
    if stem_format.codec == 'wma':
        return range(32_000, 192_001)  # asked for more, FFmpeg's encoder wastes it: it takes half as much again
    return range(8000, min(512_000, _AAC_FRAME_BITS * channels * sample_rate // _AAC_FRAME_SAMPLES) + 1)


def _mp3_bitrates(sample_rate: int, channels: int) -> tuple[int, ...]:
    """The bitrates of MPEG layer III whose frames hold the LAME tag: without it no player can know the length."""
    version = max(lowest for lowest in _MPEG_BITRATES if lowest <= sample_rate)
    halved = version < 32000
    side_bytes = 4 + {(False, 1): 17, (False, 2): 32, (True, 1): 9, (True, 2): 17}[halved, channels]
    samples = 576 if halved else 1152
    return tuple(
        kilobits * 1000
        for kilobits in _MPEG_BITRATES[version]
        if samples * kilobits * 1000 // (8 * sample_rate) >= side_bytes + _LAME_TAG_BYTES
    )


def _check_rate(stem_format: StemFormat, sample_rate: int) -> None:
    rates = stem_format.sample_rates
    if sample_rate < 1 or (rates is not None and sample_rate not in rates):
        cure = 'a positive rate' if rates is None else _listed(rates)
        raise UsageError(f'format {stem_format.name!r} cannot hold a sample rate of {sample_rate} Hz: use {cure}')


def _listed(numbers: Sequence[int]) -> str:
    if isinstance(numbers, range):
        return f'{numbers[0]} to {numbers[-1]}'
    return f'one of {", ".join(map(str, numbers))}'
