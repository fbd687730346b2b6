"""A store that fails for a while: flaky:///folder is a folder of this machine, away for seconds after 250 writes."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

from fsspec.implementations.local import LocalFileSystem

WRITES_BEFORE, OUTAGE_SECONDS = 250, 2.0


class FlakyStore(LocalFileSystem):
    """Every request fails for some seconds, in all processes at once; the strikes of a test are in a folder."""

    protocol = 'flaky'

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, 'auto_mkdir': True})
        self._strikes = os.environ['STEMBEAM_TEST_STRIKES']

    def _check(self) -> None:
        try:
            began = os.stat(f'{self._strikes}/outage').st_mtime
        except FileNotFoundError:
            return
        if time.time() - began < OUTAGE_SECONDS:
            with open(f'{self._strikes}/refused', 'a') as file:
                file.write('.')
            raise ConnectionResetError(104, 'Connection reset by peer')

    def _count_write(self) -> None:
        path = f'{self._strikes}/writes'
        with open(path, 'a') as file:
            file.write('.')
        if os.stat(path).st_size == WRITES_BEFORE:
            with open(f'{self._strikes}/outage', 'x'):
                pass

    def pipe_file(self, path: str, value: bytes, *args: Any, **options: Any) -> Any:
        self._count_write()
        self._check()
        part = f'{self._strikes}/part-{uuid.uuid4().hex}'
        super().pipe_file(part, value, *args, **options)
        self._publish(part, path)

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> Any:
        self._count_write()
        self._check()
        part = f'{self._strikes}/part-{uuid.uuid4().hex}'
        super().put_file(lpath, part, *args, **options)
        self._publish(part, rpath)

    def _publish(self, part: str, path: str) -> None:
        """What is written appears whole, as in object stores, whenever the writer is killed."""
        path = self._strip_protocol(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.replace(part, path)

    def cat_file(self, *args: Any, **options: Any) -> Any:
        self._check()
        return super().cat_file(*args, **options)

    def info(self, *args: Any, **options: Any) -> Any:
        self._check()
        return super().info(*args, **options)

    def rm_file(self, path: str) -> None:
        self._check()
        super().rm_file(path)
