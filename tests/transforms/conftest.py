"""Places that tests of transforms find tracks in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, under a path that looks like a pattern."""
    folder = tmp_path / 'here [1]'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty before and after."""
    filesystem = fsspec.filesystem('memory')
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = ['']
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = ['']
