"""Runs of `separate` in this process, and what they leave."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import soundfile

from stembeam.pipeline.cli import main


class Run(NamedTuple):
    """A finished run."""

    status: int
    out: Path
    printed: str

    def rows(self, pattern: str) -> list[dict[str, Any]]:
        """All rows of a Parquet table."""
        return [row for path in sorted(self.out.glob(pattern)) for row in pq.read_table(path).to_pylist()]

    def failures(self) -> list[dict[str, Any]]:
        paths = sorted(self.out.glob('failures-*.jsonl'))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def by_uri(self) -> dict[str, dict[str, Any]]:
        """Rows of the manifest."""
        return {row['uri']: row for row in self.rows('manifest-*.parquet')}

    def stems(self, uri: str) -> dict[str, Path]:
        return {name: self.out / path for name, path in self.by_uri()[uri]['stems']}

    def read(self, uri: str) -> dict[str, np.ndarray]:
        """Stems of a track, float32 (samples, channels)."""
        return {n: soundfile.read(p, dtype='float32', always_2d=True)[0] for n, p in self.stems(uri).items()}


def separate(inputs: list[str], out: Path, model: Path, *options: str) -> Run:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        arguments = ['separate', *inputs, '-o', str(out), '--model', str(model), '--workers', '2', '--no-progress']
        status = main([*arguments, *options])
    return Run(status, out, printed.getvalue())


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = (os.path.getsize(path), os.stat(path).st_mtime_ns)
    return found
