"""What the model card says about real recordings: how loud every stem comes out, and a picture of one stem.

    python -m stembeam.model.training.card RECORDING... [--model mini] [--picture PAIR.png --start 20 --seconds 12]

prints a Markdown table with the level of every stem relative to the mixture, and draws two spectrograms above each
other: the mixture of the first recording, and its vocals (or `--stem`). Nobody has the stems of these recordings, so
levels say whether a stem stays silent where it should; the picture shows what is in it. Needs matplotlib for pictures.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from ..errors import UsageError
from ..resampling import resample
from ..separator import Separator

WINDOW = 4096  # samples of a spectrogram's frames
HIGHEST_HZ = 8000.0
RANGE_DB = 70.0  # from the loudest to the darkest
PICTURE_COLUMNS, PICTURE_ROWS = 720, 220  # of one spectrogram: small, so that the file is


def read_recording(path: Path, sample_rate: int) -> np.ndarray:
    """A recording at a sample rate, float32 (samples, channels). Raises UsageError where libsndfile cannot read it."""
    try:
        audio, rate = soundfile.read(path, dtype='float32', always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UsageError(f'{path}: cannot be read ({error}): give a wav, flac, ogg or mp3 file') from error
    return resample(audio, rate, sample_rate)


def stem_levels(mixture: np.ndarray, stems: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Level of every stem in dB relative to the mixture: 20 log10 of the quotient of their root mean squares.

    Args:
      mixture: (samples, channels), not silent.
      stems: name -> (samples, channels).

    >>> stem_levels(np.ones((4, 2)), {'vocals': np.full((4, 2), 0.1)})
    {'vocals': -20.0}
    """
    power = np.mean(np.square(mixture, dtype=np.float64))
    return {
        name: round(float(10 * np.log10(np.mean(np.square(stem, dtype=np.float64)) / power + 1e-12)), 2)
        for name, stem in stems.items()
    }


def spectrogram_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power in dB of the channels' mean, (PICTURE_ROWS, PICTURE_COLUMNS), lowest frequency first, up to HIGHEST_HZ."""
    mono = audio.mean(axis=1)
    hop = max(len(mono) // PICTURE_COLUMNS, 1)
    windows = signal.ShortTimeFFT(signal.get_window('hann', WINDOW), hop, sample_rate)
    power = np.abs(windows.stft(mono, p0=0, p1=PICTURE_COLUMNS)) ** 2
    edges = np.linspace(0, HIGHEST_HZ / sample_rate * WINDOW, PICTURE_ROWS + 1).round().astype(int)
    rows = [power[low : max(high, low + 1)].max(axis=0) for low, high in itertools.pairwise(edges)]
    return 10 * np.log10(np.stack(rows) + 1e-12)


def draw_pair(mixture: np.ndarray, stem: np.ndarray, titles: tuple[str, str], sample_rate: int, path: Path) -> None:
    """Two spectrograms above each other on one colour scale, as a PNG file of some 100 kB."""
    from matplotlib.figure import Figure
    from PIL import Image

    pictures = [spectrogram_db(audio, sample_rate) for audio in (mixture, stem)]
    loudest = float(pictures[0].max())
    figure = Figure(figsize=(8, 6), dpi=100, layout='constrained')
    for axes, picture, title in zip(figure.subplots(2, 1, sharex=True), pictures, titles, strict=True):
        # Steps of 2 dB are as fine as an eye can tell, and pack well.
        steps = np.clip(2 * np.round((picture - loudest) / 2), -RANGE_DB, 0)
        extent = (0, len(mixture) / sample_rate, 0, HIGHEST_HZ / 1000)
        image = axes.imshow(steps, origin='lower', aspect='auto', extent=extent, cmap='magma', vmin=-RANGE_DB, vmax=0)
        axes.set_title(title)
        axes.set_ylabel('kHz')
        figure.colorbar(image, ax=axes, label='dB')
    axes.set_xlabel('seconds')
    drawn = io.BytesIO()
    figure.savefig(drawn, format='png')
    Image.open(drawn).convert('RGB').quantize(128).save(path, optimize=True)  # a third of the file


def levels_table(levels: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: one row per recording, one column per stem, dB relative to the mixture."""
    names = list(next(iter(levels.values())))
    lines = [f'| recording | {" | ".join(names)} |', f'| --- |{" --- |" * len(names)}']
    for recording, found in levels.items():
        lines.append(f'| {recording} | {" | ".join(f"{found[name]:.1f} dB" for name in names)} |')
    return '\n'.join(lines)


def _check_recording(path: Path, sample_rate: int, start: float) -> np.ndarray:
    audio = read_recording(path, sample_rate)
    if not audio.any():
        raise UsageError(f'{path}: is silent: give a recording with sound')
    if start * sample_rate >= len(audio):
        raise UsageError(f'{path}: ends before --start {start:g} s: choose an earlier one')
    return audio


def describe_recordings(options: argparse.Namespace) -> str:
    """Separate the recordings, draw the picture if asked for; the table. Raises UsageError."""
    separator = Separator.load(options.model)
    rate, levels = separator.sample_rate, {}
    if options.picture and options.stem not in separator.instruments:
        raise UsageError(f'--stem {options.stem}: the model has {", ".join(separator.instruments)}')
    for number, path in enumerate(options.recordings):
        mixture = _check_recording(path, rate, options.start if options.picture and number == 0 else 0.0)
        stems = separator.separate(mixture, rate)
        levels[path.name] = stem_levels(mixture, stems)
        if options.picture and number == 0:
            part = slice(round(options.start * rate), round((options.start + options.seconds) * rate))
            titles = f'{path.name}: mixture', f'{options.stem} by {options.model}'
            draw_pair(mixture[part], stems[options.stem][part], titles, rate, options.picture)
    return levels_table(levels)


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 0, or 2 with one line where something is wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m stembeam.model.training.card', description='What a model makes of real recordings.'
    )
    parser.add_argument('recordings', nargs='+', type=Path, metavar='RECORDING', help='wav, flac, ogg or mp3')
    parser.add_argument('--model', default='mini', help='name or folder of a model (default: mini)')
    parser.add_argument('--picture', type=Path, metavar='PNG', help='spectrograms of the first recording and its stem')
    parser.add_argument('--stem', default='vocals', help='which stem to draw (default: vocals)')
    parser.add_argument('--start', type=float, default=0.0, help='where the picture begins, in seconds (default: 0)')
    parser.add_argument('--seconds', type=float, default=12.0, help='how long it lasts (default: 12)')
    options = parser.parse_args(arguments)
    try:
        print(describe_recordings(options))
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
