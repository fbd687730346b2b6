"""A run over very many tiny tracks in an S3 emulator: how much memory, how long, and how it grows.

    python -m tests.stores.corpus_on_s3 100000

The store is a process of its own with its objects in memory (moto behind a lean server); the run is another one, as a
user starts it, over the tiny network of the tests, and keeps features alone. What is printed is one JSON object.
Options that are not known here go to `separate`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import numpy as np
import psutil
import soundfile

from ..conftest import TINY, write_model
from .servers import LEAN_S3_SERVER, start_server, stop_server

SECONDS, RATE = 1.0, 8000  # of every track: one second, at a low rate so that 100,000 of them fit into memory
KINDS = 16  # different contents


def contents() -> list[bytes]:
    """The bytes of some short tracks; their noise is weak, so that they are short files."""
    made = []
    for seed in range(KINDS):
        samples = 0.001 * np.random.default_rng(seed).standard_normal(round(SECONDS * RATE))
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, subtype='PCM_16', format='FLAC')
        made.append(file.getvalue())
    return made


def fill(url: str, bucket: str, tracks: int) -> None:
    """Put so many tracks below `bucket/in`, a thousand in a folder; unsigned and by hand, to be done sooner."""
    made = contents()
    of_thread = threading.local()

    def put(number: int) -> None:
        if not hasattr(of_thread, 'connection'):
            of_thread.connection = http.client.HTTPConnection(urlsplit(url).netloc)
        of_thread.connection.request(
            'PUT', f'/{bucket}/in/{number // 1000:05d}/{number:08d}.flac', made[number % KINDS]
        )
        answer = of_thread.connection.getresponse()
        answer.read()
        assert answer.status == 200

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(put, range(tracks)):
            pass


def watch(command: list[str], log: Path) -> dict[str, Any]:
    """Run a command; its exit status, seconds, processor seconds, and memory: course and peak with all its children,
    and the peak of what launches, without worker processes.
    """
    began = time.monotonic()
    peak = launcher_peak = 0
    course: list[int] = []  # MB at the end of every minute
    with open(log, 'wb') as output:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        cpu = 0.0
        while process.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                now = sum(one.memory_info().rss for one in family)
                peak = max(peak, now)
                launcher = [process, *process.children()]  # who starts the run again, and the run
                launcher_peak = max(launcher_peak, sum(one.memory_info().rss for one in launcher))
                if time.monotonic() - began > 60 * (len(course) + 1):
                    course.append(round(now / 1e6))
                cpu = max(cpu, sum(sum(one.cpu_times()[:2]) for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.5)
    return {
        'status': process.returncode,
        'seconds': round(time.monotonic() - began, 1),
        'cpu_seconds': round(cpu, 1),
        'peak_mb': round(peak / 1e6),
        'launcher_peak_mb': round(launcher_peak / 1e6),
        'mb_by_minute': course,
    }


def measure(tracks: int, workers: int, folder: Path, again: bool, more: Sequence[str] = ()) -> dict[str, Any]:
    """One run over so many tracks, and, if asked for, the same again, which has nothing to do but look."""
    server, url = start_server(LEAN_S3_SERVER)
    try:
        options = {'endpoint_url': url, 'key': 'k', 'secret': 's'}
        fs = fsspec.filesystem('s3', **options)
        for bucket in ('corpus', 'results'):  # moto looks at every key of a bucket for each page of a listing
            fs.mkdir(bucket)
        began = time.monotonic()
        fill(url, 'corpus', tracks)
        found: dict[str, Any] = {'tracks': tracks, 'workers': workers}
        found['fill_seconds'] = round(time.monotonic() - began, 1)
        (folder / 'options.json').write_text(json.dumps({'s3': options}))
        model = write_model(folder / 'tiny', TINY)
        command = [sys.executable, '-W', 'ignore', '-m', 'stembeam.pipeline.cli', 'separate', 's3://corpus/in']
        command += ['-o', 's3://results/out', '--model', str(model), '--storage-options', str(folder / 'options.json')]
        command += ['--features-only', '--workers', str(workers), *more]
        for name in ('run', *(['again'] if again else [])):
            found[name] = watch(command, folder / f'{name}.log')
            found[name]['said'] = (folder / f'{name}.log').read_text().strip().splitlines()[-5:]
            found[name]['tracks_per_second'] = round(tracks / found[name]['seconds'], 2)
            found[name]['server_cpu_seconds'] = round(sum(psutil.Process(server.pid).cpu_times()[:2]), 1)
        found['server_peak_mb'] = round(psutil.Process(server.pid).memory_info().rss / 1e6)
        found['run_json'] = {
            key: value
            for key, value in json.loads(fs.cat_file('results/out/run.json')).items()
            if key in ('done', 'skipped', 'failed', 'elapsed')
        }
        return found
    finally:
        stop_server(server)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('tracks', type=int)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--again', action='store_true', help='run again over the finished output, too')
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        print(json.dumps(measure(options.tracks, options.workers, Path(folder), options.again, more), indent=1))


if __name__ == '__main__':
    main()
