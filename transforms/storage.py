"""The output folder OUT, on a local disk or behind any fsspec URL: files appear in it whole or not at all.

On a local disk a file is written under `OUT/.stembeam/tmp` and renamed; on object stores it is made in a local
temporary folder and put in one request. All paths that callers give are relative to OUT and use '/'.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..model.errors import RunError, UsageError
from ..model.remote import GaveUp, StoreOptions, current_options, current_retries, is_forbidden, open_filesystem, told
from .addresses import split_url, to_uri
from .remote_listing import list_below, list_once
from .retrying import CountedFile, ask

T = TypeVar('T')

PRIVATE = '.stembeam'  # what is ours alone in OUT: records, parts, temporary files
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ABANDONED_SECONDS = 24 * 3600.0  # without a change, after which files in the making on another machine are nobody's


@dataclasses.dataclass(frozen=True)
class Storage:
    """OUT; picklable, so that every worker has its own view of the same place."""

    root: str  # absolute local path or fsspec URL, without a slash at the end
    # How stores are reached, here where the run was started; in force wherever this record arrives.
    options: StoreOptions = dataclasses.field(default_factory=current_options, repr=False, compare=False)

    @classmethod
    def at(cls, root: str) -> Storage:
        """OUT from what the user typed."""
        return cls(to_uri(root).rstrip('/'))

    @property
    def is_local(self) -> bool:
        """Whether OUT is a folder of this machine."""
        return split_url(self.root) is None

    def url(self, path: str) -> str:
        """The full path or URL of a file in OUT."""
        return f'{self.root}/{path}' if path else self.root

    def _fs(self) -> Any:
        return open_filesystem(self.root)[0]

    def _ask(self, call: Callable[[Any], T]) -> T:
        """What a request to the store returns, given its file system; for `path` relative to OUT.

        Raises:
          RunError: the store fails for longer than the run is patient, or says that we may not.
        """
        with _lost_store_stops_the_run(self.root):
            fs = self._fs()
            return ask(lambda: call(fs), self.root)

    def check_writable(self) -> None:
        """Write and remove a small file. Raises UsageError if that does not work."""
        path = f'{PRIVATE}/writable'
        try:
            if self.is_local:
                self.write_bytes(path, b'ok')
            else:
                fs, url = self._fs(), self.url(path)
                ask(lambda: fs.pipe_file(url, b'ok'), self.root, current_retries().brief())
            self.remove(path)
        except Exception as error:  # stores raise exceptions of their own
            raise UsageError(
                f'output folder {self.root} cannot be written ({_cause(error)}): choose another with -o'
            ) from error

    @contextlib.contextmanager
    def new_folder(self) -> Iterator[str]:
        """A local folder for files in the making, removed at the end; on OUT's own disk if that is local.

        Raises:
          RunError: the disk is full or read-only, whoever inside the block notices.
        """
        name = f'{uuid.uuid4().hex}-{os.getpid()}-{socket.gethostname()}'
        with full_disk_stops_the_run(self.root):
            if self.is_local:
                folder = os.path.join(self.root, PRIVATE, 'tmp', name)
                os.makedirs(folder)
            else:
                folder = tempfile.mkdtemp(prefix='stembeam-')
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def forget_unfinished(self) -> None:
        """Remove what killed runs left in the making (see `new_folder`); other runs may be at work in OUT."""
        if self.is_local:
            for path in self.list_names(f'{PRIVATE}/tmp'):
                if _is_abandoned(self.url(path)):
                    self.remove_folder(path)

    def publish(self, local: str, path: str) -> None:
        """Move a finished local file to its final name, replacing what was there."""
        with full_disk_stops_the_run(self.root):
            if self.is_local:
                target = self.url(path)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(local, target)
            else:
                self._ask(lambda fs: fs.put_file(local, self.url(path)))
                os.remove(local)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        if not self.is_local:
            self._ask(lambda fs: fs.pipe_file(self.url(path), content))
            return
        with self.new_folder() as folder:
            local = os.path.join(folder, 'file')
            with open(local, 'wb') as file:
                file.write(content)
            self.publish(local, path)

    def read_bytes(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""
        if self.is_local:
            with open(self.url(path), 'rb') as file:
                return file.read()
        # s3fs would ask for the size first, unless it is told where to begin; an empty file has no such place.
        return self._ask(lambda fs: fs.cat_file(self.url(path), **_at_once(fs)))

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """So many bytes of a file from `offset` on, fewer where it ends. Raises FileNotFoundError."""
        if self.is_local:
            with open(self.url(path), 'rb') as file:
                file.seek(offset)
                return file.read(length)
        return self._ask(lambda fs: fs.cat_file(self.url(path), start=offset, end=offset + length))

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None if there is none."""
        try:
            if self.is_local:
                return os.stat(self.url(path)).st_size
            return self._ask(lambda fs: fs.info(self.url(path)))['size']
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            if self.is_local:
                os.remove(self.url(path))
            else:
                self._ask(lambda fs: fs.rm_file(self.url(path)))

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        if self.is_local:
            shutil.rmtree(self.url(path), ignore_errors=True)
            return
        with contextlib.suppress(FileNotFoundError):
            for name in self.list_files(path):
                self.remove(name)

    def list_files(self, folder: str) -> Iterator[str]:
        """Paths (relative to OUT) of all files under a folder, in no order; none if it does not exist."""
        if self.is_local:
            for parent, _, names in os.walk(self.url(folder)):
                below = os.path.relpath(parent, self.root)
                yield from (f'{below}/{name}' for name in names)
            return
        with _lost_store_stops_the_run(self.root), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in list_below(self.url(folder)):
                yield f'{folder}/{name}'

    def list_names(self, folder: str) -> list[str]:
        """Paths (relative to OUT) of what is directly in a folder; none if it does not exist."""
        try:
            if self.is_local:
                names = os.listdir(self.url(folder))
            else:
                with _lost_store_stops_the_run(self.root):
                    names = list_once(self.url(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f'{folder}/{name}' if folder else name for name in names]

    @contextlib.contextmanager
    def local_copy(self, path: str) -> Iterator[str]:
        """A local path with the content of a file: the file itself if OUT is local."""
        if self.is_local:
            yield self.url(path)
            return
        with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
            local = os.path.join(folder, 'file')
            with _lost_store_stops_the_run(self.root):
                CountedFile(self.url(path)).download(local)
            yield local


def _at_once(fs: Any) -> dict[str, Any]:
    return {'max_concurrency': 1} if hasattr(fs, 'max_concurrency') else {}


@contextlib.contextmanager
def _lost_store_stops_the_run(root: str) -> Iterator[None]:
    """A store that gives no answer, or takes nothing from us, is not one track's failure. Raises RunError."""
    try:
        yield
    except (RunError, FileNotFoundError):
        raise
    except GaveUp as error:
        raise RunError(
            f'output folder {root} cannot be reached: {error}: everything that is complete is kept; '
            'run the same command again when the store answers'
        ) from error
    except Exception as error:  # drivers raise exceptions of any class
        if is_forbidden(error):
            raise RunError(
                f'output folder {root}: {told(error)}: everything that is complete is kept; '
                'get access to it and run the same command again'
            ) from error
        raise


@contextlib.contextmanager
def full_disk_stops_the_run(root: str) -> Iterator[None]:
    """A full or read-only disk is not one track's failure: no further track could be written either. Raises
    RunError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(
                f'output folder {root}: {os.strerror(error.errno)}: everything that is complete is kept; '
                'make room and run the same command again'
            ) from error
        raise


def _is_abandoned(folder: str) -> bool:
    """Whether the process that made a folder of `new_folder` is gone, as far as can be told from here."""
    process, _, host = os.path.basename(folder).partition('-')[2].partition('-')
    try:
        if host == socket.gethostname() and int(process) != os.getpid():
            return not _is_alive(int(process))
        return time.time() - os.stat(folder).st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _cause(error: BaseException) -> str:
    return getattr(error, 'strerror', None) or str(error).strip().split('\n')[0] or type(error).__name__
