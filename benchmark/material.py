"""What is separated, and by what: generated songs and full-size models with random weights, kept for the next run.

Random weights cost the same time as trained ones, and both stembeam and Spleeter read the folder as it is. Run as
`python -m benchmark.material` in a process of its own, because writing checkpoints needs TensorFlow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from .turns import ROOT, MeasuringError

SAMPLE_RATE = 44100
MODELS = ('4stems', '2stems')
LONG_MINUTES = (1, 60, 180)
WARM_UP_SECONDS = 12.0
EXCERPT_SECONDS = 60.0
ARRAYS = 'arrays.npz'  # of a model, for peers that cannot read a checkpoint


class Material(NamedTuple):
    """Paths of what there is."""

    folder: Path
    tracks: list[Path]  # stereo FLAC
    wav: Path  # the first track
    mp3: Path
    excerpt: Path  # the beginning of the first track, for the slowest peers
    warm_up: Path  # a short song, for peers that are kept open

    def model(self, name: str) -> Path:
        """The folder of a model, for stembeam."""
        return self.folder / name

    def spleeter_model(self, name: str) -> Path:
        """The JSON file of the same model, for Spleeter."""
        return self.folder / name / 'spleeter.json'

    def long_track(self, minutes: int) -> Path:
        """A track of that length."""
        return self.folder / f'long-{minutes}.flac'


def make_material(folder: Path, tracks: int, seconds: float, long: bool = False) -> Material:
    """Generate what is not there yet.

    Raises:
      MeasuringError: that failed.
    """
    corpus = folder / f'corpus-{seconds:g}s'
    paths = [corpus / f'track-{number:02}.flac' for number in range(tracks)]
    material = Material(
        folder, paths, corpus / 'track.wav', corpus / 'track.mp3', corpus / 'excerpt.flac', folder / 'warm-up.flac'
    )
    long_tracks = [material.long_track(minutes) for minutes in LONG_MINUTES] if long else []
    models = [folder / name / '.probe' for name in MODELS]
    if all(path.exists() for path in [*paths, *material[2:], *long_tracks, *models]):
        return material
    arguments = [str(folder), str(tracks), str(seconds), str(int(long))]
    ran = subprocess.run([sys.executable, '-m', 'benchmark.material', *arguments], cwd=ROOT, check=False)
    if ran.returncode:
        raise MeasuringError(f'{folder}: songs and models could not be generated: see above')
    return material


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Iterator[tuple[str, Any]]:
    """(name, float32 array) of weights that keep the size of what goes through them, so that nothing overflows."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        if name.endswith('kernel'):
            value = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[:2]) * min(shape[2:]))
        elif name.endswith('moving_variance'):
            value = rng.uniform(0.5, 2, shape)
        else:
            value = rng.uniform(-0.5, 0.5, shape) + (1 if name.endswith('gamma') else 0)
        yield name, value.astype(np.float32)


def write_model(folder: Path, name: str) -> None:
    """A model of Spleeter's configuration as a checkpoint that stembeam and Spleeter load."""
    import numpy as np

    from stembeam.model.checkpoint import expected_variables, write_checkpoint
    from stembeam.model.configuration import load_config

    if (folder / '.probe').exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config_file = ROOT / 'configs' / f'{name}.json'
    document = {**json.loads(config_file.read_text()), 'model_dir': '.'}
    (folder / 'config.json').write_text(json.dumps(document, indent=1))
    # Spleeter takes a relative model_dir for one below its own folder of models.
    (folder / 'spleeter.json').write_text(json.dumps({**document, 'model_dir': str(folder.resolve())}, indent=1))
    weights = dict(random_weights(expected_variables(load_config(folder / 'config.json'))))
    write_checkpoint(str(folder), weights, 0)
    np.savez(folder / ARRAYS, **weights)  # type: ignore[arg-type]
    (folder / '.probe').write_text('OK')  # without it Spleeter would fetch a model


def write_track(path: Path, seconds: float, seed: int) -> None:
    """A song as FLAC."""
    import soundfile

    from stembeam.pipeline.example import make_song

    if not path.exists():
        mixture = sum(make_song(seconds, SAMPLE_RATE, seed).values())
        _write_whole(path, lambda name: soundfile.write(name, mixture, SAMPLE_RATE, subtype='PCM_16', format='FLAC'))


def write_long_track(path: Path, minutes: int, songs: Sequence[Path]) -> None:
    """Songs one after the other for so many minutes, as FLAC."""
    import soundfile

    def write(name: str) -> None:
        left = minutes * 60 * SAMPLE_RATE
        with soundfile.SoundFile(name, 'w', SAMPLE_RATE, 2, 'PCM_16', format='FLAC') as file:
            while left:
                for song in songs:
                    samples = soundfile.read(song, dtype='int16', frames=left)[0]
                    file.write(samples)
                    left -= len(samples)

    if not path.exists():
        _write_whole(path, write)


def convert(source: Path, target: Path, seconds: float | None = None, **options: Any) -> None:
    """The same samples, or the first of them, in another format."""
    import soundfile

    if target.exists():
        return
    with soundfile.SoundFile(source) as file:
        samples = file.read(-1 if seconds is None else round(seconds * SAMPLE_RATE), dtype='float32')

    def write(name: str) -> None:
        with soundfile.SoundFile(name, 'w', SAMPLE_RATE, 2, **options) as file:
            for first in range(0, len(samples), 16384):
                file.write(samples[first : first + 16384])

    _write_whole(target, write)


def _write_whole(path: Path, write: Callable[[str], None]) -> None:
    """A file that appears whole or not at all."""
    temporary = f'{path}.{os.getpid()}.tmp'
    write(temporary)
    os.replace(temporary, path)


def main() -> None:
    """Generate material, as `make_material` asks for it."""
    folder, count, seconds, long = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), bool(int(sys.argv[4]))
    corpus = folder / f'corpus-{seconds:g}s'
    corpus.mkdir(parents=True, exist_ok=True)
    tracks = [corpus / f'track-{number:02}.flac' for number in range(count)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write_track, tracks, [seconds] * count, range(1, count + 1)))
    write_track(folder / 'warm-up.flac', WARM_UP_SECONDS, 99)
    convert(tracks[0], corpus / 'track.wav', format='WAV', subtype='PCM_16')
    convert(tracks[0], corpus / 'track.mp3', format='MP3', subtype='MPEG_LAYER_III')
    convert(tracks[0], corpus / 'excerpt.flac', EXCERPT_SECONDS, format='FLAC', subtype='PCM_16')
    for minutes in LONG_MINUTES if long else ():
        write_long_track(folder / f'long-{minutes}.flac', minutes, tracks)
    for name in MODELS:
        write_model(folder / name, name)


if __name__ == '__main__':
    main()
