"""Weights where the workers of a cluster read them: one weights.npz beside the results, written once by the launcher.

The one idea: workers never touch the store or the internet; they copy one file from the place that they write their
results to anyway, and compare it with the SHA-256 that the job carries.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import WEIGHTS_FILE
from ..errors import RunError, StembeamError
from ..remote import current_retries, retrying
from .addresses import child, local_path
from .attempts import cause
from .sinks import sha256_of
from .transfer import open_filesystem

if TYPE_CHECKING:
    from .files import ModelFiles

CONFIG_FILE = 'config.json'
STAGED_FILE = 'staged.json'  # written last: its presence says that the weights are whole
ATTEMPTS = 3


def stage_model(files: ModelFiles, folder: str) -> ModelFiles:
    """Put a model's configuration and weights where workers read them, unless they are there.

    Args:
      files: a resolved model.
      folder: for staged models, a path that all workers share or an fsspec URL; the model gets a folder of its own in
        it, called by its fingerprint.

    Returns:
      The same model with the same fingerprint, whose weights are the staged file (float32, not compressed).

    Raises:
      UsageError: the weights do not fit their configuration.
      RunError: the folder cannot be written.
    """
    place = child(local_path(folder) or folder, files.fingerprint)
    try:
        checksum = _staged(place) or _stage(files, place)
    except StembeamError:
        raise
    except Exception as error:  # stores raise exceptions of their own
        raise RunError(
            f'model {files.name} cannot be put into {place} for the workers ({cause(error)}): '
            'choose an output folder that can be written'
        ) from error
    return files._replace(weights=child(place, WEIGHTS_FILE), checksum=checksum)


def _staged(place: str) -> str | None:
    """SHA-256 of the weights that are there whole, or None."""
    fs, path = open_filesystem(place)
    fs.invalidate_cache()
    try:
        staged = json.loads(_ask(lambda: fs.cat_file(f'{path}/{STAGED_FILE}'), place))
        whole = _ask(lambda: fs.info(f'{path}/{WEIGHTS_FILE}'), place)['size'] == staged['size']
    except (FileNotFoundError, NotADirectoryError):
        return None
    return staged['sha256'] if whole else None


def _stage(files: ModelFiles, place: str) -> str:
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        weights = os.path.join(folder, WEIGHTS_FILE)
        # Not compressed: weights hardly shrink, and the same weights give the same bytes everywhere.
        np.savez(weights, **files.read_weights())  # type: ignore[arg-type]
        staged = {'size': os.path.getsize(weights), 'sha256': sha256_of(weights)}
        config = os.path.join(folder, CONFIG_FILE)
        for name, document in ((config, files.config.to_json()), (os.path.join(folder, STAGED_FILE), staged)):
            with open(name, 'w', encoding='utf-8') as file:
                json.dump(document, file, indent=1)
        for name in (CONFIG_FILE, WEIGHTS_FILE, STAGED_FILE):
            _put(os.path.join(folder, name), child(place, name))
    return str(staged['sha256'])


def _put(local: str, address: str) -> None:
    """Copy a file to a place where it appears whole or not at all."""
    if local_path(address) is not None:
        os.makedirs(os.path.dirname(address), exist_ok=True)
        temporary = f'{address}.{uuid.uuid4().hex}'
        try:
            with open(local, 'rb') as source, open(temporary, 'wb') as target:
                while block := source.read(1 << 20):
                    target.write(block)
            os.replace(temporary, address)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
        return
    fs, path = open_filesystem(address)
    try:
        _ask(lambda: fs.put_file(local, path), address)
    except FileNotFoundError:  # a file system that has folders
        fs.makedirs(path.rpartition('/')[0], exist_ok=True)
        _ask(lambda: fs.put_file(local, path), address)


def _ask(call: Callable[[], Any], address: str) -> Any:
    return retrying(call, address, current_retries())


@contextlib.contextmanager
def local_weights(address: str, checksum: str) -> Iterator[str]:
    """A local path with staged weights that have been compared with their checksum; a copy is gone at the end.

    Raises:
      RunError: they cannot be read, or are not those that were staged.
    """
    local = local_path(address)
    with tempfile.TemporaryDirectory(prefix='stembeam-') as folder:
        path = local or os.path.join(folder, WEIGHTS_FILE)
        found = ''
        for attempt in range(ATTEMPTS):
            try:
                if local is None:
                    fs, remote = open_filesystem(address)
                    _ask(lambda fs=fs, remote=remote: fs.get_file(remote, path), address)  # type: ignore[misc]
                found = sha256_of(path)
            except Exception as error:  # stores raise exceptions of their own
                if attempt == ATTEMPTS - 1 or isinstance(error, FileNotFoundError):
                    raise RunError(
                        f'weights {address} cannot be read here ({cause(error)}): '
                        'give workers access to the output folder'
                    ) from error
            if found == checksum:
                break
        else:
            raise RunError(
                f'weights {address} have the SHA-256 {found} instead of {checksum}: start the run again, '
                'which puts them there anew, after removing that file'
            )
        yield path
