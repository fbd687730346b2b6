"""Safe unpacking of a model's .tar.gz: plain files inside one folder, and nothing else.

Stands on tarfile's stream mode, member by member. The one idea: an archive is hostile until it is unpacked, so nothing
in it decides where something is written, how much of it, or how much memory its headers take.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from typing import IO

from ..errors import RunError
from .sinks import write_all, writing_to

MOST_BYTES = 1 << 30  # unpacked; the largest published model has 200 MB
MOST_MEMBERS = 64
MOST_HEADER = 1 << 20  # bytes between two files: headers, long names, padding
BLOCK = 1 << 20


class BadArchive(Exception):
    """The archive cannot be read, or would do what no model's archive does; the text says what."""


class _Rationed:
    """A stream that gives no more than it was told to allow: tarfile would read headers of any size into memory."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream
        self.left = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise BadArchive(f'its headers take more than {MOST_HEADER} bytes')
        return data


def unpack(archive: str, folder: str, store: str) -> None:
    """Unpack a .tar.gz file into an empty folder.

    Args:
      archive: path of the file.
      folder: where to; owner and rights of the members are not taken over.
      store: the folder that is named when the disk is full.

    Raises:
      BadArchive: a damaged archive; a member that is no plain file or folder, that has a path out of the folder, or
        comes twice; more members or bytes than a model has.
      RunError: the disk is full.
    """
    try:
        with gzip.open(archive, 'rb') as stream:
            rationed = _Rationed(stream)
            rationed.left = MOST_HEADER
            with tarfile.open(fileobj=rationed, mode='r|', bufsize=tarfile.RECORDSIZE) as tar:  # type: ignore[call-overload]
                _unpack_members(tar, rationed, folder, store)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise BadArchive(f'it cannot be unpacked ({error or type(error).__name__})') from error


def _unpack_members(tar: tarfile.TarFile, rationed: _Rationed, folder: str, store: str) -> None:
    members = total = 0
    while (member := tar.next()) is not None:
        members += 1
        total += max(member.size, 0)
        if members > MOST_MEMBERS:
            raise BadArchive(f'it has more than {MOST_MEMBERS} members')
        if total > MOST_BYTES or member.size < 0:
            raise BadArchive(f'it unpacks to more than {MOST_BYTES // 10**6} MB')
        target = os.path.join(folder, *_parts(member.name))
        if member.isdir():
            with writing_to(store):
                os.makedirs(target, exist_ok=True)
        elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse() and target != folder:
            rationed.left = member.size + MOST_HEADER
            source = tar.extractfile(member)
            if source is not None:  # it never is, of a plain file
                _write(source, target, store)
        else:
            raise BadArchive(f'its member {member.name!r} is no plain file')
        rationed.left = MOST_HEADER


def _parts(name: str) -> list[str]:
    """The parts of a member's path, which stays in the folder. Raises BadArchive."""
    parts = [part for part in name.split('/') if part not in ('', '.')]
    if name.startswith('/') or '..' in parts or '\\' in name or '\0' in name:
        raise BadArchive(f'its member {name!r} would leave the folder')
    return parts


def _write(source: IO[bytes], target: str, store: str) -> None:
    if os.path.lexists(target):
        raise BadArchive(f'it has {os.path.basename(target)!r} twice')
    try:
        with writing_to(store):
            os.makedirs(os.path.dirname(target), exist_ok=True)
    except RunError as error:
        if isinstance(error.__cause__, FileExistsError | NotADirectoryError):
            raise BadArchive(f'it has {os.path.basename(os.path.dirname(target))!r} as file and as folder') from error
        raise
    with writing_to(store):
        file = open(target, 'xb', buffering=0)  # noqa: SIM115  (reading and writing fail in different ways)
    with file:
        while data := source.read(BLOCK):
            with writing_to(store):
                write_all(file, data)
        with writing_to(store):
            os.fsync(file.fileno())
