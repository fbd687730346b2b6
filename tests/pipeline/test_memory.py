"""Memory does not depend on the length of a track, whichever way its stems are made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ..conftest import noise

pytestmark = pytest.mark.slow

SHORT, LONG = 10, 30  # minutes; the stems of the difference, as floats, are 1.7 GB
ALLOWED_MB = 100

# The command, and then the most memory that its process has had, in kilobytes.
RUN = (
    'import resource, sys; from stembeam.pipeline.cli import main; status = main(sys.argv[1:]); '
    'print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)'
)


def peak_megabytes(song: Path, out: Path, model: Path, *options: str) -> float:
    arguments = ['separate', str(song), '-o', str(out), '--model', str(model), '--workers', '2', '--no-progress']
    done = subprocess.run(
        [sys.executable, '-c', RUN, *arguments, '--no-features', '--chunks-per-segment', '40', *options],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    return int(done.stdout.rsplit('peak ', 1)[1]) / 1024


def write_song(path: Path, minutes: int) -> Path:
    with soundfile.SoundFile(path, 'w', 44100, 2, subtype='PCM_16') as file:
        for minute in range(minutes):
            file.write(np.asarray(noise(60, seed=minute)))
    return path


def test_three_times_the_track_takes_the_same_memory(tmp_path, tiny_model):
    options = '--mwf', '--overlap', '0.25', '--residual'
    peaks = [
        peak_megabytes(write_song(tmp_path / f'{minutes}.wav', minutes), tmp_path / 'out', tiny_model, *options)
        for minutes in (SHORT, LONG)
    ]
    assert peaks[1] < peaks[0] + ALLOWED_MB
