"""Makes small data sets of isolated stems for the tests, in all the forms that are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

STEMS = ('vocals', 'drums', 'bass', 'other')
MUSDB_ORDER = ('mixture', 'drums', 'bass', 'other', 'vocals')
RATE = 44100


def make_stems(seconds: float, seed: int = 0, names: Sequence[str] = STEMS, rate: int = RATE) -> dict[str, np.ndarray]:
    """Stems and their sum as `mixture`, float32 (samples, 2), on the grid of 16-bit samples: tones with a swell."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    stems = {}
    for name in names:
        tone = sum(np.sin(2 * np.pi * rng.uniform(80, 3000) * time + rng.uniform(0, 6)) for _ in range(3))
        swell = 0.5 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * time)
        stereo = 0.06 * (tone * swell)[:, None] * rng.uniform(0.4, 1, 2)
        stems[name] = (np.round(stereo * 32768) / 32768).astype(np.float32)
    return {**stems, 'mixture': np.stack(list(stems.values())).sum(axis=0, dtype=np.float32)}


def write_song(
    folder: Path, stems: Mapping[str, np.ndarray], rate: int = RATE, extension: str = 'wav', subtype: str = 'PCM_16'
) -> Path:
    """One file for each stem, `<folder>/<stem>.<extension>`."""
    folder.mkdir(parents=True)
    for name, samples in stems.items():
        soundfile.write(folder / f'{name}.{extension}', samples, rate, subtype=subtype)
    return folder


def write_stem_mp4(path: Path, streams: Sequence[np.ndarray], rate: int = RATE) -> Path:
    """A .stem.mp4 as MUSDB18 has them: so many AAC streams of 256 kbit/s side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w', format='mp4') as file:
        outputs: list[Any] = [file.add_stream('aac', rate=rate, layout='stereo') for _ in streams]
        for output in outputs:
            output.bit_rate = 256_000
        for output, samples in zip(outputs, streams, strict=True):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples).reshape(1, -1), format='flt', layout='stereo'
            )
            frame.sample_rate, frame.pts = rate, 0
            file.mux([*output.encode(frame), *output.encode(None)])
    return path


def write_manifest(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A CSV manifest with the columns of its first row."""
    lines = [','.join(rows[0]), *(','.join(str(value) for value in row.values()) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n')
    return path
