"""Makes audio files of all kinds for the tests, with soundfile and PyAV, from noise and tones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from stembeam.transforms.decoding import decode_blocks
from stembeam.transforms.records import AudioInfo

# name, libsndfile's format and subtype
SOUNDFILE_KINDS = {
    'wav16': ('WAV', 'PCM_16'),
    'wav24': ('WAV', 'PCM_24'),
    'wav-float': ('WAV', 'FLOAT'),
    'wav-adpcm': ('WAV', 'MS_ADPCM'),
    'rf64': ('RF64', 'PCM_16'),
    'w64': ('W64', 'PCM_16'),
    'aiff': ('AIFF', 'PCM_16'),
    'au': ('AU', 'PCM_16'),
    'caf': ('CAF', 'PCM_16'),
    'flac': ('FLAC', 'PCM_16'),
    'flac24': ('FLAC', 'PCM_24'),
    'vorbis': ('OGG', 'VORBIS'),
    'mp3': ('MP3', 'MPEG_LAYER_III'),
}
# name, FFmpeg's container and codec
AV_KINDS = {
    'm4a': ('mp4', 'aac'),
    'adts': ('adts', 'aac'),
    'alac': ('ipod', 'alac'),
    'opus': ('ogg', 'libopus'),
    'webm': ('webm', 'libopus'),
    'mkv': ('matroska', 'aac'),
    'wma': ('asf', 'wmav2'),
    'ac3': ('ac3', 'ac3'),
    'tta': ('tta', 'tta'),
    'wavpack': ('wv', 'wavpack'),
    'mpegts': ('mpegts', 'aac'),
    'flac-in-ogg': ('ogg', 'flac'),
    'mp3-no-tag': ('mp3', 'libmp3lame'),
}


def noise(num_samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """(num_samples, channels) float32, smooth enough for lossy encoders, different everywhere, at most 0.5."""
    white = np.random.default_rng(seed).standard_normal((num_samples + 7, channels))
    smooth = np.apply_along_axis(np.convolve, 0, white, np.hanning(10)[1:-1], 'valid')[:num_samples]
    return np.clip(0.08 * smooth, -0.5, 0.5).astype(np.float32)


def write_soundfile(path: Path, kind: str, samples: np.ndarray, sample_rate: int = 44100) -> str:
    container, subtype = SOUNDFILE_KINDS[kind]
    with soundfile.SoundFile(path, 'w', sample_rate, samples.shape[1], subtype, format=container) as file:
        for first in range(0, len(samples), 65536):
            file.write(samples[first : first + 65536])
    return str(path)


def write_av(path: Path, kind: str, samples: np.ndarray, sample_rate: int = 48000) -> str:
    container, codec = AV_KINDS[kind]
    layout = {1: 'mono', 2: 'stereo', 6: '5.1'}[samples.shape[1]]
    options = {'write_xing': '0'} if kind == 'mp3-no-tag' else {}
    with av.open(str(path), 'w', format=container, options=options) as file:
        stream: Any = file.add_stream(codec, rate=sample_rate, layout=layout)
        stream.bit_rate = 128000
        for first in range(0, len(samples), 65536):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[first : first + 65536]).reshape(1, -1), format='flt', layout=layout
            )
            frame.sample_rate, frame.pts = sample_rate, first
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return str(path)


def write(path: Path, kind: str, samples: np.ndarray, sample_rate: int) -> str:
    """Any kind of the two tables."""
    return (write_soundfile if kind in SOUNDFILE_KINDS else write_av)(path, kind, samples, sample_rate)


def write_video(path: Path, sound: np.ndarray | None = None, sample_rate: int = 48000) -> str:
    """An MP4 file with one second of pictures, with stereo sound or without any."""
    with av.open(str(path), 'w', format='mp4') as file:
        pictures = file.add_stream('mpeg4', rate=10)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = 'yuv420p'
        audio = file.add_stream('aac', rate=sample_rate, layout='stereo') if sound is not None else None
        for index in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * index, np.uint8), format='rgb24')
            picture.pts = index
            file.mux(pictures.encode(picture.reformat(format='yuv420p')))
        file.mux(pictures.encode(None))
        if audio is not None and sound is not None:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound).reshape(1, -1), format='flt', layout='stereo'
            )
            frame.sample_rate, frame.pts = sample_rate, 0
            file.mux([*audio.encode(frame), *audio.encode(None)])
    return str(path)


def write_image(path: Path) -> str:
    """A PNG picture."""
    with av.open(str(path), 'w', format='image2') as file:
        stream = file.add_stream('png', rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = 'rgb24'
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format='rgb24')
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return str(path)


def cut(source: str, share: float = 0.6) -> str:
    """Cuts a file off and returns its name."""
    path = Path(source)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return source


def corrupt(source: str, at: float = 0.5, num_bytes: int = 400) -> str:
    """Overwrites a part of a file with noise and returns its name."""
    path = Path(source)
    data = bytearray(path.read_bytes())
    first = int(at * len(data))
    data[first : first + num_bytes] = np.random.default_rng(1).bytes(num_bytes)
    path.write_bytes(bytes(data))
    return source


def decode_with(decoder: str, path: str) -> np.ndarray:
    """The whole file as its decoding library gives it, in one go."""
    if decoder == 'soundfile':
        return soundfile.read(path, dtype='float32', always_2d=True)[0]
    parts = []
    with av.open(path) as file:
        resampler = av.AudioResampler(format='flt')
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame):
                parts.append(part.to_ndarray().reshape(-1, part.layout.nb_channels))
    return np.concatenate(parts)


def read_segment(uri: str, info: AudioInfo, sample_rate: int, **options: Any) -> np.ndarray:
    """What `decode_blocks` gives, in one array."""
    blocks = list(decode_blocks(uri, info, sample_rate, **options))
    return np.concatenate([np.empty((0, options.get('channels', 2)), np.float32), *blocks])
