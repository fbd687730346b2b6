"""What lies in a folder, and what a glob pattern matches: relative file names, here and on any fsspec file system.

Stands on os.scandir and remote_listing.py.  The one idea: globs run through the same walks as folders.  On disks a walk
visits every real directory once, so that no loop of symbolic links can catch it; in stores it goes page by page.
"""

from __future__ import annotations

import fnmatch
import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..model.errors import UsageError
from ..model.remote import GaveUp, current_retries, is_forbidden, open_filesystem, told
from .addresses import Url, child_of, shown, split_url, to_uri
from .remote_listing import list_below
from .retrying import ask

FOLDER = '(folder)'  # what the ignored are counted under, where a glob matches a folder


def has_magic(text: str) -> bool:
    """Whether `text` is a glob pattern; the '?' of a web address begins its query."""
    url = split_url(text)
    if url is None:
        return any(c in text for c in '*?[')
    return any(c in url.clean_path for c in ('*[' if url.is_web else '*?['))


def kind_of(address: str) -> str | None:
    """What is there: 'folder', 'file' or None for nothing; asks the disk or the file system of a URL.

    Raises:
      UsageError: the file system cannot be reached.
    """
    url = split_url(address)
    if url is None:
        return 'folder' if os.path.isdir(address) else 'file' if os.path.lexists(address) else None
    if url.is_web and not has_magic(
        address
    ):  # every web address is a file to fsspec, and asking whether it is a folder downloads it
        return 'folder' if url.clean_path.endswith('/') else 'file'
    with reaching(address):
        try:
            filesystem, path = open_filesystem(address)
            about = ask(lambda: filesystem.info(path), address, current_retries().brief())
            return 'folder' if about['type'] == 'directory' else 'file'
        except (FileNotFoundError, NotADirectoryError):
            return None


def list_folder(folder: str, exclude: Sequence[str] = ()) -> Iterator[str]:
    """Paths, relative to `folder`, of all files in it and below, in no particular order.

    Links to files and folders are followed; every real directory is visited once.

    Args:
      folder: absolute path or URL.
      exclude: folders, absolute paths or URLs, that are not entered.

    Raises:
      UsageError: a directory that cannot be read.
    """
    if split_url(folder) is None:
        yield from _walk(folder, exclude, lambda _: True)
        return
    with reaching(folder):
        yield from _outside(folder, list_below(folder), exclude)


def expand_glob(pattern: str, ignored: Counter[str], exclude: Sequence[str] = ()) -> tuple[str, Iterator[str]]:
    """The files that a pattern matches: the longest folder without magic, and the paths below it, in no order.

    '*', '?' and '[...]' match within a name, names with a leading dot included, '**' any number of folders.

    Args:
      pattern: path or URL with at least one magic character.
      ignored: gets one more under FOLDER for each folder that matches, where no '**' goes into it.
      exclude: folders, absolute paths or URLs, that are not entered.

    Raises:
      UsageError: the folder cannot be read.
    """
    url = split_url(pattern)
    parts = (pattern if url is None else url.path).split('/')
    first = next(index for index, part in enumerate(parts) if any(c in part for c in '*?['))
    while url is None and first < len(parts) - 1 and os.path.isdir('/'.join(parts[: first + 1])):
        first += 1  # a folder that is really called 'Live [2001]'
    root, parts = '/'.join(parts[:first]), parts[first:]
    if parts[-1] == '':
        parts[-1] = '**'
    if parts[-1] == '**':
        parts.append('*')
    if url is not None:
        return _expand_remote(url, root, parts, ignored, exclude)
    folder = to_uri(root or ('/' if pattern.startswith('/') else '.'))

    def enter(relative: str) -> bool:
        names = relative.split('/')
        if '**' not in parts and _matches(names, parts):
            ignored[FOLDER] += 1
        return _may_lead_to(names, parts)

    return folder, (name for name in _walk(folder, exclude, enter) if _matches(name.split('/'), parts))


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turns whatever a file system raises (each has errors of its own) into one UsageError that names the address."""
    try:
        yield
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f'{shown(address)} does not exist; check the address') from error
    except ImportError as error:
        raise UsageError(f'{shown(address)} needs a package that is not installed: {shown(error)}') from error
    except GaveUp as error:
        raise UsageError(
            f'cannot read {shown(address)}: {shown(error)}; check the address, or try again later'
        ) from error
    except Exception as error:
        reason = shown(told(error) if is_forbidden(error) else getattr(error, 'strerror', None) or told(error))
        raise UsageError(f'cannot read {shown(address)}: {reason}; check the address and your access to it') from error


def _walk(root: str, exclude: Sequence[str], enter: Callable[[str], bool]) -> Iterator[str]:
    """Relative paths of the files below a local folder; `enter` says by relative path whether to go into a folder."""
    seen = {os.path.realpath(folder) for folder in exclude if split_url(folder) is None}
    links = [('', os.path.realpath(root))]  # entered after all real directories, so that these keep their own names
    while links:
        todo = [heapq.heappop(links)]
        while todo:
            folder, real = todo.pop()
            if real in seen:
                continue
            seen.add(real)
            for entry in _scan(os.path.join(root, folder)):
                relative = f'{folder}/{entry.name}' if folder else entry.name
                if not _is_folder(entry):
                    yield relative
                elif not enter(relative):
                    continue
                elif entry.is_symlink():
                    heapq.heappush(links, (relative, os.path.realpath(entry.path)))
                else:
                    todo.append((relative, os.path.join(real, entry.name)))


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UsageError(
            f'cannot read the folder {shown(folder)}: {error.strerror}; check the path and its permissions'
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and what else it is not shows when the track is read
        return False


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the path of these names is matched by the pattern of these parts."""
    if not parts:
        return not names
    if parts[0] == '**':
        return any(_matches(names[skip:], parts[1:]) for skip in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _may_lead_to(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path below the folder of these names can be matched."""
    if not names:
        return bool(parts)
    if not parts or parts[0] == '**':
        return bool(parts)
    return fnmatch.fnmatchcase(names[0], parts[0]) and _may_lead_to(names[1:], parts[1:])


def _expand_remote(
    url: Url, root: str, parts: list[str], ignored: Counter[str], exclude: Sequence[str]
) -> tuple[str, Iterator[str]]:
    folder = str(url._replace(path=root))

    def enter(relative: str) -> bool:
        names = relative.split('/')
        if '**' not in parts and _matches(names, parts):
            ignored[FOLDER] += 1
        return _may_lead_to(names, parts)

    def found() -> Iterator[str]:
        with reaching(str(url._replace(path='/'.join([root, *parts])))):
            # Below '**/*' every folder is entered, so there is no need to ask for them one by one.
            paths = list_below(folder, None if parts[0] == '**' else enter)
            yield from (path for path in paths if _matches(path.split('/'), parts))

    return folder, _outside(folder, found(), exclude)


def _outside(folder: str, relatives: Iterator[str], exclude: Sequence[str]) -> Iterator[str]:
    prefixes = tuple(f'{out.rstrip("/")}/' for out in exclude)
    return (relative for relative in relatives if not child_of(folder, relative).startswith(prefixes))
