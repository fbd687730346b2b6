"""The store folder: where models lie, and how one gets there whole or not at all.

    STORE/4stems/                 a model: its files and a record (.stembeam.json) with their sizes
    STORE/remote/<key>/           the same for a model from somebody's URL
    STORE/4stems.tar.gz           an archive that the user has put there by hand
    STORE/.partial/               downloads that go on where they stopped
    STORE/.making/                models being made; STORE/.locks/  one lock for each

The one idea: the record is written last and the folder is renamed into place, so a folder with a record whose sizes
hold is a whole model, and it may be read without a lock. Everything else happens under the model's lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from ..errors import RunError
from .display import Display
from .sinks import writing_to

STORE_VARIABLE = 'STEMBEAM_MODELS'
RECORD = '.stembeam.json'  # hidden: a model's folder may hold one visible JSON file, its configuration
REMOTE = 'remote'
PARTIAL, MAKING, LOCKS = '.partial', '.making', '.locks'


@dataclasses.dataclass(frozen=True)
class Store:
    """The folder that models are fetched to."""

    root: str  # absolute path

    @classmethod
    def at(cls, root: str | os.PathLike[str] | None = None) -> Store:
        """The store in a folder; None: the one named by STEMBEAM_MODELS, or the user's cache folder."""
        chosen = os.fspath(root) if root else os.environ.get(STORE_VARIABLE)
        if not chosen:
            cache = os.environ.get('XDG_CACHE_HOME') or os.path.join('~', '.cache')
            chosen = os.path.join(cache, 'stembeam', 'models')
        return cls(os.path.abspath(os.path.expanduser(chosen)))

    def folder(self, key: str) -> str:
        """Where the model of a key ('4stems', 'remote/<key>') lies or would lie."""
        return os.path.join(self.root, key)

    def partial(self, name: str) -> str:
        """Where a download in the making lies; only under the lock of its model."""
        folder = os.path.join(self.root, PARTIAL)
        with writing_to(self.root):
            os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)

    def record(self, key: str) -> dict[str, Any] | None:
        """What is known of a model that is here whole; None if it is not, or not whole."""
        folder = self.folder(key)
        try:
            with open(os.path.join(folder, RECORD), encoding='utf-8') as file:
                record = json.load(file)
            whole = all(os.path.getsize(os.path.join(folder, name)) == size for name, size in record['files'].items())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None  # not there, or not as we leave it
        return record if whole else None

    def remote_keys(self) -> list[str]:
        """Keys of the whole models that were copied from URLs."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            keys = [f'{REMOTE}/{name}' for name in sorted(os.listdir(os.path.join(self.root, REMOTE)))]
            return [key for key in keys if self.record(key) is not None]
        return []

    @contextlib.contextmanager
    def lock(self, key: str, display: Display) -> Iterator[None]:
        """Be the only process that makes the model of a key; waits for another one as long as that lives.

        What killed processes were making of it is removed first.

        Raises:
          RunError: the store cannot be written, or cannot be locked.
        """
        import filelock

        with writing_to(self.root):
            os.makedirs(os.path.join(self.root, LOCKS), exist_ok=True)
            lock = filelock.FileLock(os.path.join(self.root, LOCKS, f'{_flat(key)}.lock'))
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                display.tell(f'waiting for another process that is fetching {key} into {self.root}')
                lock.acquire()
        try:
            for name in self._making(key):
                shutil.rmtree(os.path.join(self.root, MAKING, name), ignore_errors=True)
            yield
        finally:
            lock.release()

    def _making(self, key: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [name for name in os.listdir(os.path.join(self.root, MAKING)) if name.startswith(f'{_flat(key)}@')]
        return []

    @contextlib.contextmanager
    def making(self, key: str) -> Iterator[str]:
        """An empty folder on the store's disk, under the key's lock; gone at the end unless it was installed."""
        folder = os.path.join(self.root, MAKING, f'{_flat(key)}@{uuid.uuid4().hex}')
        with writing_to(self.root):
            os.makedirs(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, key: str, made: str, about: dict[str, Any]) -> str:
        """Put a finished folder of `making` in its place, replacing one of ours that is not whole; returns the place.

        Raises:
          RunError: a folder that is not ours is in the way, or the disk is full.
        """
        place = self.folder(key)
        sizes = {name: os.path.getsize(os.path.join(made, name)) for name in _files_below(made)}
        record = {**about, 'installed': datetime.now(timezone.utc).isoformat(timespec='seconds'), 'files': sizes}
        with writing_to(self.root):
            with open(os.path.join(made, RECORD), 'w', encoding='utf-8') as file:
                json.dump(record, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if os.path.lexists(place):
                self.check_free(key)
                os.rename(place, f'{made}.old')
            os.rename(made, place)
        shutil.rmtree(f'{made}.old', ignore_errors=True)
        return place

    def check_free(self, key: str) -> None:
        """Raise RunError if something that is not ours stands where a model would be put."""
        place = self.folder(key)
        if os.path.lexists(place) and not os.path.isfile(os.path.join(place, RECORD)):
            raise RunError(
                f'model store {self.root}: {place} is there but stembeam did not put it there: move it away, '
                'or give that folder itself as the model'
            )


def _flat(key: str) -> str:
    return key.replace('/', '-')


def _files_below(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(parent, name), folder)
            if path != RECORD:
                yield path
