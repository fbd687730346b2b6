"""What lies in a folder of an object store, a page at a time: a million names need no more memory than a thousand.

Stands on fsspec, and below it on the paged requests of S3 (ListObjectsV2) and Google Cloud Storage (objects.list),
which s3fs and gcsfs make as well but gather; other file systems are walked folder by folder. The one idea: every page
is tried again by itself, so that a long listing outlives a short trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..model.remote import open_filesystem
from .retrying import ask

PAGE_NAMES = 1000  # what S3 gives at most


class Page(NamedTuple):
    """A part of what lies directly in a folder; paths as the file system names them, without slashes at their ends."""

    files: list[str]
    folders: list[str]


def list_below(folder: str, enter: Callable[[str], bool] | None = None) -> Iterator[str]:
    """Paths, relative to `folder`, of the files below it, as they come.

    Args:
      folder: a URL.
      enter: says by relative path whether to go into a folder; None: into all.

    Raises:
      FileNotFoundError: there is no such folder, in file systems that have any.
      GaveUp, and whatever drivers raise.
    """
    fs, root = open_filesystem(folder)
    root = root.rstrip('/')
    if enter is None and _has_pages(fs):  # no need to know folders: one request for a thousand files anywhere below
        for page in _pages(fs, folder, root, ''):
            yield from (_relative(root, path) for path in page.files)
        return
    todo, seen = [root], {root}
    while todo:
        here = todo.pop()
        for page in _pages(fs, folder, here, '/'):
            yield from (_relative(root, path) for path in page.files if path != here)
            for path in page.folders:
                if path not in seen and (enter is None or enter(_relative(root, path))):
                    seen.add(path)
                    todo.append(path)


def list_once(folder: str) -> list[str]:
    """Names of what is directly in a folder.

    Raises:
      As `list_below`.
    """
    fs, root = open_filesystem(folder)
    root = root.rstrip('/')
    pages = list(_pages(fs, folder, root, '/'))
    return [path.rpartition('/')[2] for page in pages for path in (*page.files, *page.folders) if path != root]


def _relative(root: str, path: str) -> str:
    return path[len(root) + 1 :] if path.startswith(f'{root}/') else path


def _kind(fs: Any) -> str:
    return fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]


def _has_pages(fs: Any) -> bool:
    return (_kind(fs) == 's3' and hasattr(fs, 'call_s3')) or (_kind(fs) == 'gs' and hasattr(fs, 'call'))


def _pages(fs: Any, address: str, folder: str, delimiter: str) -> Iterator[Page]:
    """`delimiter`: '/' for what is directly in the folder, '' for all files below it."""
    bucket, _, key = folder.partition('/')
    if bucket and _has_pages(fs):
        prefix = f'{key}/' if key else ''
        pages = _s3_pages if _kind(fs) == 's3' else _gs_pages
        for page in pages(fs, address, bucket, prefix, delimiter):
            yield Page(  # a key that ends in '/' is a mark that some programs leave for a folder
                [f'{bucket}/{name}' for name in page.files if not name.endswith('/')],
                [f'{bucket}/{name.rstrip("/")}' for name in page.folders],
            )
        return
    entries = ask(lambda: fs.ls(folder, detail=True), address)
    folders = [entry['name'].rstrip('/') for entry in entries if entry['type'] == 'directory']
    yield Page([entry['name'] for entry in entries if entry['type'] != 'directory'], folders)


def _s3_pages(fs: Any, address: str, bucket: str, prefix: str, delimiter: str) -> Iterator[Page]:
    more: dict[str, Any] = {}
    while True:
        options = {'Bucket': bucket, 'Prefix': prefix, 'Delimiter': delimiter, 'MaxKeys': PAGE_NAMES}
        options = {**options, **more, **getattr(fs, 'req_kw', {})}
        answer = ask(lambda options=options: fs.call_s3('list_objects_v2', **options), address)  # type: ignore[misc]
        yield Page(
            [entry['Key'] for entry in answer.get('Contents', ())],
            [entry['Prefix'] for entry in answer.get('CommonPrefixes', ())],
        )
        if not answer.get('IsTruncated'):
            return
        more = {'ContinuationToken': answer['NextContinuationToken']}


def _gs_pages(fs: Any, address: str, bucket: str, prefix: str, delimiter: str) -> Iterator[Page]:
    options: dict[str, Any] = {'prefix': prefix, 'delimiter': delimiter, 'maxResults': PAGE_NAMES}
    options = {'json_out': True, **{name: value for name, value in options.items() if value}}
    while True:
        answer = ask(
            lambda options=options: fs.call('GET', 'b/{}/o', bucket, **options),  # type: ignore[misc]
            address,
        )
        yield Page([entry['name'] for entry in answer.get('items', ())], list(answer.get('prefixes', ())))
        if not answer.get('nextPageToken'):
            return
        options = {**options, 'pageToken': answer['nextPageToken']}
