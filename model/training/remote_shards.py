"""Shards behind URLs: read through the layer that tries again and knows the user's credentials, not by TensorFlow.

Stands on model/remote. The one idea: a shard is copied to a temporary file while its records are read, so that what
breaks costs one block of it, and TensorFlow checks every record as it does on a disk; no more files are there at a time
than are read side by side.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from ..errors import RunError
from ..remote import RemoteFile, current_retries, is_forbidden, open_filesystem, retrying, told


def is_remote(url: str) -> bool:
    """Whether it is the URL of a shard or an index, and no local path."""
    return '://' in url


def read_remote(url: str) -> bytes:
    """The content of a small file.

    Raises:
      FileNotFoundError: there is none.
      OSError: it cannot be read, after all attempts; the text says why.
      ImportError, ValueError: no package, or none at all, for such addresses.
    """
    fs, path = open_filesystem(url)
    with _errors_of_drivers():
        return retrying(lambda: fs.cat_file(path), url, current_retries().brief())


@contextlib.contextmanager
def local_copy(url: str) -> Iterator[str]:
    """A temporary file with the content of a shard.

    Raises:
      RunError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        path = os.path.join(folder, 'shard')
        try:
            with _errors_of_drivers():
                RemoteFile(url, is_wanted=True).download(path)
        except (OSError, ImportError, ValueError) as error:
            raise RunError(
                f'shard {url} cannot be read ({error}): the run is kept; run the same command again later'
            ) from error
        yield path


@contextlib.contextmanager
def _errors_of_drivers() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ImportError, ValueError):
        raise
    except Exception as error:  # drivers raise exceptions of any class
        what = 'no permission to read it: ' if is_forbidden(error) else ''
        raise OSError(f'{what}{told(error)}') from error
