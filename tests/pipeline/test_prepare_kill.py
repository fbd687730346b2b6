"""A run of `prepare` that is killed while it reads tracks, and again while it writes shards, ends as if nothing had
happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..transforms.dataset_files import make_stems, write_song

pytestmark = pytest.mark.slow

TRACKS = 60
PATIENCE = 300  # seconds that any wait may take


def command(dataset: Path, out: Path) -> list[str]:
    options = ['--chunk-duration', '0.5', '--shard-size', '1', '--workers', '2', '--no-progress']
    return [sys.executable, '-m', 'stembeam.pipeline.cli', 'prepare', str(dataset), '-o', str(out), *options]


def kill_when(ready: Callable[[], bool], dataset: Path, out: Path) -> None:
    process = subprocess.Popen(command(dataset, out), start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, 'the run was over before it could be killed'
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def made(out: Path, kind: str) -> dict[Path, int]:
    """What tracks or shards have come to, with the time of change."""
    return {path: path.stat().st_mtime_ns for path in out.glob(f'.stembeam/prepare/{kind}/*.json')}


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(tmp_path):
    dataset, out, undisturbed = tmp_path / 'set', tmp_path / 'out', tmp_path / 'undisturbed'
    for number in range(TRACKS):
        write_song(dataset / f'song {number}', make_stems(3, seed=number))
    subprocess.run(command(dataset, undisturbed), check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)

    kill_when(lambda: len(made(out, 'tracks')) >= 10, dataset, out)
    tracks = made(out, 'tracks')
    assert len(tracks) < TRACKS
    assert not (out / 'index.json').exists()

    kill_when(lambda: len(made(out, 'shards')) >= 5, dataset, out)
    assert tracks.items() <= made(out, 'tracks').items()  # none was made again
    shards = {path: path.stat().st_mtime_ns for path in out.glob('*.tfrecord')}
    assert 5 <= len(shards) < len(list(undisturbed.glob('*.tfrecord')))
    assert not (out / 'index.json').exists()

    subprocess.run(command(dataset, out), check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    kept = [path for path, changed in shards.items() if path.stat().st_mtime_ns == changed]
    assert len(kept) >= 5
    visible = {path.name for path in undisturbed.iterdir()}
    assert {path.name for path in out.iterdir()} == visible
    for name in visible - {'.stembeam'}:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not (out / '.stembeam/prepare').exists()
    assert os.listdir(out / '.stembeam/tmp') == []
