"""A run over very many tiny tracks in an S3 emulator: how much memory, how long, and how it grows.

    python -m tests.stores.corpus_on_s3 100000

The store is a process of its own with its objects in memory; the run is another one, as a user
starts it, over the tiny network of the tests, and keeps features alone. What is printed is one JSON object.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import psutil
import soundfile

from ..conftest import TINY, write_model
from .servers import S3_SERVER, start_server, stop_server

SECONDS, RATE = 1.0, 8000  # of every track: one second, at a low rate so that 100,000 of them fit into memory
KINDS = 16  # different contents


def contents() -> list[bytes]:
    """The bytes of some short tracks."""
    made = []
    for seed in range(KINDS):
        samples = 0.1 * np.random.default_rng(seed).standard_normal(round(SECONDS * RATE))
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, subtype='PCM_16', format='FLAC')
        made.append(file.getvalue())
    return made


def fill(options: dict[str, Any], bucket: str, tracks: int) -> None:
    """Put so many tracks below `bucket/in`, a thousand in a folder."""
    fs = fsspec.filesystem('s3', **options)
    fs.mkdir(bucket)
    made = contents()

    def put(number: int) -> None:
        fs.pipe_file(f'{bucket}/in/{number // 1000:05d}/{number:08d}.flac', made[number % KINDS])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, range(tracks)):
            pass


def watch(command: list[str], log: Path) -> dict[str, Any]:
    """Run a command; its exit status, seconds, processor seconds, and peak of memory with all its children."""
    began = time.monotonic()
    peak = 0
    with open(log, 'wb') as output:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        cpu = 0.0
        while process.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in family))
                cpu = max(cpu, sum(sum(one.cpu_times()[:2]) for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.5)
    return {
        'status': process.returncode,
        'seconds': round(time.monotonic() - began, 1),
        'cpu_seconds': round(cpu, 1),
        'peak_mb': round(peak / 1e6),
    }


def measure(tracks: int, workers: int, folder: Path, again: bool) -> dict[str, Any]:
    """One run over so many tracks, and, if asked for, the same again, which has nothing to do but look."""
    server, url = start_server(S3_SERVER)
    try:
        options = {'endpoint_url': url, 'key': 'k', 'secret': 's'}
        began = time.monotonic()
        fill(options, 'corpus', tracks)
        found: dict[str, Any] = {'tracks': tracks, 'workers': workers}
        found['fill_seconds'] = round(time.monotonic() - began, 1)
        (folder / 'options.json').write_text(json.dumps({'s3': options}))
        model = write_model(folder / 'tiny', TINY)
        command = [sys.executable, '-W', 'ignore', '-m', 'stembeam.pipeline.cli', 'separate', 's3://corpus/in']
        command += ['-o', 's3://corpus/out', '--model', str(model), '--storage-options', str(folder / 'options.json')]
        command += ['--features-only', '--workers', str(workers)]
        for name in ('run', *(['again'] if again else [])):
            found[name] = watch(command, folder / f'{name}.log')
            found[name]['said'] = (folder / f'{name}.log').read_text().strip().splitlines()[-5:]
            found[name]['tracks_per_second'] = round(tracks / found[name]['seconds'], 2)
        found['server_peak_mb'] = round(psutil.Process(server.pid).memory_info().rss / 1e6)
        fs = fsspec.filesystem('s3', **options)
        found['run_json'] = {
            key: value
            for key, value in json.loads(fs.cat_file('corpus/out/run.json')).items()
            if key in ('done', 'skipped', 'failed', 'elapsed')
        }
        return found
    finally:
        stop_server(server)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('tracks', type=int)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--again', action='store_true', help='run again over the finished output, too')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        print(json.dumps(measure(options.tracks, options.workers, Path(folder), options.again), indent=1))


if __name__ == '__main__':
    main()
