"""A model at somebody's URL (a folder or a Spleeter JSON file), copied into the store.

The one idea: the copy's key is made of the address and of the versions (ETag, or size and time) of the files there, so
a model that is changed at its place is copied anew, and one that is not is never copied twice. Only what the model
needs is copied: its configuration, and weights.npz or the newest checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any, NamedTuple

from ..checkpoint import WEIGHTS_FILE, named_checkpoint
from ..configuration import ModelConfig, config_from_json
from ..errors import RunError, UsageError
from .addresses import base_name, child, is_url, is_web, parent, shown
from .attempts import Broken, Patience, Refused
from .bundle_index import parse_index
from .display import Display
from .fetching import check_model
from .files import CONFIG_FILE, CONFIGS
from .places import REMOTE, Store
from .sinks import PartFile
from .transfer import open_filesystem, read_small, store_errors, transfer
from .web import check_status, http_get

MOST_SMALL_BYTES = 16 << 20  # a configuration, a file `checkpoint`, an index
MOST_WEIGHTS_BYTES = 8 << 30


class Copy(NamedTuple):
    """What is to be copied."""

    document: bytes  # the configuration
    config: ModelConfig
    files: dict[str, str]  # name in the copy -> address
    versions: dict[str, str]  # address -> version


def copy_remote(url: str, store: Store, display: Display, patience: Patience | None = None) -> str:
    """Make sure that the model at a URL is in the store as it is there now; returns the folder of the copy.

    Raises:
      UsageError: there is no model, or one that is not clear; it names the URL and what to do.
      RunError: it cannot be read, the store cannot be written, or the model changed while it was copied.
    """
    patience = patience or Patience()
    try:
        plan = _plan(url, patience, display)
        versions = json.dumps(sorted(plan.versions.items()))
        key = f'{REMOTE}/{hashlib.sha256(f"{url} {versions}".encode()).hexdigest()[:32]}'
        if store.record(key) is None:
            with store.lock(key, display):
                if store.record(key) is None:
                    _copy(url, plan, key, store, display, patience)
    except Refused as error:
        raise RunError(f'model {shown(url)} cannot be read: {error}: check the address, or the access to it') from error
    finally:
        display.close()
    return store.folder(key)


def _copy(url: str, plan: Copy, key: str, store: Store, display: Display, patience: Patience) -> None:
    with store.making(key) as folder:
        PartFile(os.path.join(folder, CONFIG_FILE), store.root).write(plan.document)
        for name, address in plan.files.items():
            part = PartFile(os.path.join(folder, name), store.root)
            display.start(name, shown(address))
            transfer(address, part, MOST_WEIGHTS_BYTES, patience, display)
            display.end(part.size())
        if 'checkpoint' in plan.files:  # it may name a path of the place that it was copied from
            (index,) = (name for name in plan.files if name.endswith('.index'))
            part = PartFile(os.path.join(folder, 'checkpoint'), store.root)
            part.restart()
            part.write(f'model_checkpoint_path: "{index.removesuffix(".index")}"\n'.encode())
        if any(_version(address, patience) != version for address, version in plan.versions.items()):
            raise RunError(f'model {shown(url)} was changed while it was copied: run the same command again')
        check_model(plan.config, folder, shown(url))
        store.install(key, folder, {'name': shown(url), 'source': shown(url)})


def _plan(url: str, patience: Patience, display: Display) -> Copy:
    """Find out what a model consists of. Raises UsageError, Refused."""
    is_json = base_name(url).endswith('.json')
    address = url if is_json else _config_in(url, patience)
    if is_url(address):
        document = read_small(address, MOST_SMALL_BYTES, patience, display)
    else:
        with open(address, 'rb') as file:
            document = file.read()
    try:
        config = config_from_json(json.loads(document))
    except ValueError as error:  # JSON and Unicode errors are ValueErrors too
        raise UsageError(f'model configuration {shown(address)}: {error}') from error
    folder = _model_dir(url, config) if is_json else url
    files = _weights_in(folder, url, patience, display)
    addresses = [*([address] if is_url(address) else []), *files.values()]
    versions = {}
    for name in addresses:
        version = _version(name, patience)
        if version is None:
            raise UsageError(f'model {shown(url)}: {shown(name)} is missing: copy the model again')
        versions[name] = version
    return Copy(document, config, files, versions)


def _model_dir(url: str, config: ModelConfig) -> str:
    if config.model_dir is None:
        raise UsageError(f'model {shown(url)}: the key model_dir is missing: name the folder of the checkpoint')
    if is_url(config.model_dir):
        return config.model_dir
    if os.path.isabs(config.model_dir):
        raise UsageError(
            f'model {shown(url)}: model_dir {config.model_dir} is a path of some machine: make it relative to the file'
        )
    return child(parent(url), config.model_dir)


def _config_in(folder: str, patience: Patience) -> str:
    """The configuration of a model folder: config.json, its only JSON file, or ours of the published model's name."""
    preferred = child(folder, CONFIG_FILE)
    if _version(preferred, patience) is not None:
        return preferred
    names = [] if is_web(folder) else [name for name in _names_in(folder, patience) if name.endswith('.json')]
    if len(names) == 1:
        return child(folder, names[0])
    published = os.path.join(CONFIGS, f'{base_name(folder)}.json')
    if not names and os.path.isfile(published) and _version(child(folder, 'checkpoint'), patience) is not None:
        return published
    raise UsageError(
        f'model {shown(folder)}: there is no {CONFIG_FILE} that tells its configuration: '
        'check the address, or give that of the JSON file itself'
    )


def _weights_in(folder: str, url: str, patience: Patience, display: Display) -> dict[str, str]:
    """Files of the weights: name in the copy -> address."""
    weights = child(folder, WEIGHTS_FILE)
    if _version(weights, patience) is not None:
        return {WEIGHTS_FILE: weights}
    checkpoint = child(folder, 'checkpoint')
    if _version(checkpoint, patience) is None:
        raise UsageError(
            f'model {shown(url)}: neither {WEIGHTS_FILE} nor a checkpoint is in {shown(folder)}: put the weights there'
        )
    text = read_small(checkpoint, MOST_SMALL_BYTES, patience, display).decode(errors='replace')
    named = named_checkpoint(text) or ''
    for prefix in (named, os.path.basename(named)):
        index = child(folder, f'{prefix}.index')
        if prefix and not os.path.isabs(prefix) and _version(index, patience) is not None:
            break
    else:
        raise UsageError(
            f'model {shown(url)}: the file {shown(checkpoint)} does not name a checkpoint that is there: '
            'copy the .index and .data files of the model beside it'
        )
    try:
        parsed = parse_index(read_small(index, MOST_SMALL_BYTES, patience, display))
    except ValueError as error:
        raise UsageError(f'model {shown(url)}: {shown(index)} is {error}: copy the model again') from error
    places = ['checkpoint', f'{prefix}.index', *parsed.shard_names(prefix)]
    return {os.path.basename(place): child(folder, place) for place in places}


def _version(url: str, patience: Patience) -> str | None:
    """What tells a file from a later one of the same name, or None if there is no file. Raises Refused."""
    return _patiently(_web_version if is_web(url) else _fsspec_version, url, patience)


def _names_in(folder: str, patience: Patience) -> list[str]:
    return _patiently(_fsspec_names, folder, patience) or []


def _patiently(ask: Any, url: str, patience: Patience) -> Any:
    """The answer to a small question, which may be asked again; None if there is nothing. Raises Refused."""
    for attempt in range(1, patience.attempts + 1):
        try:
            return ask(url, patience)
        except Broken as error:
            limit = patience.attempts if error.answered else min(patience.connections, patience.attempts)
            if attempt >= limit:
                raise Refused(f'{shown(url)}: {error} (tried {attempt} times)') from error
            time.sleep(patience.pause * 2 ** (attempt - 1))
        except Refused as error:
            if error.missing:
                return None
            raise Refused(f'{shown(url)}: {error}') from error
    return None


def _web_version(url: str, patience: Patience) -> str:
    with http_get(url, patience, {}) as response:  # not HEAD, which some hosts refuse; the body is not read
        check_status(response)
        marks = [response.headers.get(name, '') for name in ('ETag', 'Content-Length', 'Last-Modified')]
    return json.dumps(marks)


def _fsspec_version(url: str, patience: Patience) -> str:
    with store_errors():
        fs, path = open_filesystem(url)
        fs.invalidate_cache()
        about = fs.info(path)
        if about.get('type') == 'directory':
            raise Refused('it is a folder', missing=True)
        names = ('ETag', 'etag', 'md5Hash', 'generation', 'size', 'mtime', 'LastModified', 'last_modified', 'created')
        return json.dumps({name: str(about[name]) for name in names if about.get(name) is not None})


def _fsspec_names(folder: str, patience: Patience) -> list[str]:
    with store_errors():
        fs, path = open_filesystem(folder)
        return [name.rstrip('/').rpartition('/')[2] for name in fs.ls(path, detail=False)]
