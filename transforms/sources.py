"""Where the bytes of a track come from: a local path or any fsspec URL.

Stands on the operating system and fsspec. The one idea: a local path is only ever given to the operating system,
whatever characters it holds; only what begins with `scheme://` is parsed as a URL. Remote tracks are read in place for
their header and copied to a temporary file to be decoded; copies are kept, least recently used first out, in a budget.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import functools
import io
import os
import stat
import tempfile
import threading
from collections.abc import Hashable, Iterator
from typing import Any, BinaryIO

from ..model.errors import RunError, StembeamError, TrackError
from ..model.remote import READ_BYTES, GaveUp, RangeReader, RemoteFile, is_forbidden, told
from .addresses import shown, split_url, to_uri
from .retrying import CountedFile

COPIES_BUDGET_BYTES = 4 << 30  # of local disk, per process; what is in use stays whatever its size
MOST_COPIES = 1000  # per process: of a million short tracks none is needed twice

_RUN_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def local_path(uri: str) -> str | None:
    """The path that a local track (or file:// URL) has on this machine; None for a URL that fsspec has to open."""
    address = to_uri(uri)
    return address if split_url(address) is None else None


def storage_error(uri: str, error: Exception) -> StembeamError:
    """The error to raise for trouble in reading `uri`: about the track, or about the run (disk full, no driver)."""
    reason = ' '.join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _RUN_ERRNOS:
        return RunError(f'{shown(uri)}: this machine ran out of a resource while reading it: {reason}')
    if isinstance(error, ImportError):
        return RunError(f'{shown(uri)} cannot be opened: {reason}')
    if isinstance(error, GaveUp):
        return TrackError(f'{shown(uri)}: cannot be read: {reason}: run the same command again later')
    if is_forbidden(error):
        detail = '' if split_url(uri) is None else f' ({told(error)})'
        return TrackError(f'{shown(uri)}: no permission to read it{detail}: check its access rights')
    if isinstance(error, FileNotFoundError):
        return TrackError(f'{shown(uri)}: there is no such file: check the listing')
    return TrackError(f'{shown(uri)}: cannot be read: {type(error).__name__}: {told(error)}')


class SourceFile:
    """A binary file without a name, so that no library can guess from one, which remembers the error that a read met.

    The libraries that read it swallow exceptions of a callback and take them for the end of the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Wraps `file`, which is `size` bytes long."""
        self._file = file
        self.size = size
        self.error: Exception | None = None

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, fewer at the end of the file."""
        try:
            return self._file.read(count)
        except Exception as error:
            self.error = error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to `offset` and returns the new position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position in bytes."""
        return self._file.tell()


def look_at(uri: str, is_wanted: bool = True) -> RemoteFile | None:
    """A remote track as it is there now, for those who need to know it in several places; None for a local one.

    Args:
      uri: absolute local path or fsspec URL.
      is_wanted: it will be read, if there is no copy of it here; see RemoteFile.

    Raises:
      TrackError, RunError: as `open_source`.
    """
    if local_path(uri) is not None:
        return None
    try:
        return CountedFile(uri, is_wanted and not _process_copies().holds(uri))
    except Exception as error:  # as in open_source
        raise storage_error(uri, error) from error


@contextlib.contextmanager
def open_source(uri: str, remote: RemoteFile | None = None) -> Iterator[SourceFile]:
    """Opens a track for reading in place.

    Args:
      uri: absolute local path or fsspec URL.
      remote: what `look_at` said of it; None: nobody has looked yet.

    Raises:
      TrackError: there is no such file, it may not be read, or it is no regular file.
      RunError: what is wrong is not the track (no package for the URL's scheme, out of disk or file handles).
    """
    with contextlib.ExitStack() as stack:
        try:
            path = local_path(uri)
            if path is not None:
                file, size = _open_local(path)
            else:
                remote = CountedFile(uri, is_wanted=True) if remote is None else remote
                if remote.has_ranges and remote.size is not None:
                    file, size = RangeReader(remote), remote.size
                else:  # there is no seeking in it, or none that could be tried again
                    file, size = _open_local(stack.enter_context(local_copy(uri, remote)))
        except StembeamError:
            raise
        except Exception as error:  # the drivers of fsspec raise exceptions of any class
            raise storage_error(uri, error) from error
        stack.enter_context(file)
        yield SourceFile(file, size)


@contextlib.contextmanager
def open_lines(uri: str) -> Iterator[BinaryIO]:
    """Opens a listing, a local path or a URL, as a binary file with lines and seeking.

    Raises:
      OSError and whatever drivers raise.
    """
    if local_path(uri) is not None:
        with open(uri, 'rb') as file:
            yield file
        return
    remote = CountedFile(uri)
    if remote.has_ranges:
        with io.BufferedReader(RangeReader(remote), READ_BYTES) as buffered:
            yield buffered
        return
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        path = os.path.join(folder, 'listing')
        remote.download(path)
        with open(path, 'rb') as file:
            yield file


def _open_local(path: str) -> tuple[Any, int]:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, 'this is a folder')
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise OSError(errno.EINVAL, 'this is not a regular file')
    return open(path, 'rb'), status.st_size


def fingerprint(uri: str, remote: RemoteFile | None) -> Hashable:
    """What tells a file from a later one of the same name: modification time and size, or the store's mark.

    `remote` is what `look_at` says of it.  Raises TrackError, RunError: as `open_source`.
    """
    if remote is not None:
        return uri, remote.version
    try:
        status = os.stat(to_uri(uri))
    except Exception as error:  # as in open_source
        raise storage_error(uri, error) from error
    return uri, status.st_ino, status.st_mtime_ns, status.st_size


@contextlib.contextmanager
def local_copy(uri: str, remote: RemoteFile | None = None) -> Iterator[str]:
    """A local path with the content of the track: its own, or a copy's that is there as long as the context.

    `remote` is what `look_at` said of it; None: nobody has looked yet.

    Raises:
      TrackError, RunError: as `open_source`.
    """
    path = local_path(uri)
    if path is None:
        with _process_copies().borrow(uri, remote) as copy:
            yield copy
    else:
        yield path


@dataclasses.dataclass
class _Copy:
    path: str
    users: int = 0
    size: int | None = None  # None until it is downloaded
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class LocalCopies:
    """Temporary local copies of remote files, each downloaded once for all the threads that ask for it."""

    def __init__(self, budget_bytes: int = COPIES_BUDGET_BYTES) -> None:
        """Copies that nobody uses are removed, least recently used first, when all together exceed `budget_bytes`, or
        are more than MOST_COPIES.
        """
        self._budget = budget_bytes
        self._folder = tempfile.TemporaryDirectory(prefix='stembeam-')  # removed when the process ends
        self._copies: collections.OrderedDict[tuple[str, ...], _Copy] = collections.OrderedDict()  # by URI and version
        self._uris: collections.Counter[str] = collections.Counter()
        self._bytes = 0  # of all copies
        self._lock = threading.Lock()
        self._count = 0

    def holds(self, uri: str) -> bool:
        """Whether there is a copy of `uri`, perhaps as it was earlier."""
        with self._lock:
            return self._uris[uri] > 0

    @contextlib.contextmanager
    def borrow(self, uri: str, remote: RemoteFile | None = None) -> Iterator[str]:
        """The path of a copy of `uri`, as `look_at` has found it, which stays there until the context ends."""
        remote = remote or look_at(uri)
        assert remote is not None  # a local path has no copies
        key = (uri, *remote.version)
        with self._lock:
            if key not in self._copies:
                self._count += 1
                self._copies[key] = _Copy(os.path.join(self._folder.name, str(self._count)))
                self._uris[uri] += 1
            copy = self._copies[key]
            copy.users += 1
            self._copies.move_to_end(key)
        try:
            with copy.lock:
                if copy.size is None:
                    size = _download(remote, copy.path)
                    with self._lock:
                        copy.size = size
                        self._bytes += size
            yield copy.path
        finally:
            with self._lock:
                copy.users -= 1
                if copy.users == 0 and copy.size is None:
                    self._remove(key)
                self._evict()

    def _evict(self) -> None:
        for key in list(self._copies) if self._is_full() else ():
            if not self._is_full():
                return
            if self._copies[key].users == 0:
                self._remove(key)

    def _is_full(self) -> bool:
        return self._bytes > self._budget or len(self._copies) > MOST_COPIES

    def _remove(self, key: tuple[str, ...]) -> None:
        copy = self._copies.pop(key)
        self._bytes -= copy.size or 0
        self._uris[key[0]] -= 1
        if not self._uris[key[0]]:
            del self._uris[key[0]]
        with contextlib.suppress(FileNotFoundError):  # a download that failed before its first byte
            os.remove(copy.path)


def _download(remote: RemoteFile, path: str) -> int:
    try:
        remote.download(path)
        return os.path.getsize(path)
    except Exception as error:  # as in open_source
        raise storage_error(remote.uri, error) from error


@functools.lru_cache(maxsize=1)
def _copies_of(process: int) -> LocalCopies:
    return LocalCopies()


def _process_copies() -> LocalCopies:
    return _copies_of(os.getpid())  # a forked process must not remove what its parent uses
