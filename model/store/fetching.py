"""A published model from its archive to a folder in the store: fetched, compared with its SHA-256, unpacked, checked.

The one idea: an archive may come from anywhere (a file put there by hand, a mirror, the release), because its SHA-256
is known; nothing is unpacked before that fits, and nothing is installed before the checkpoint fits its configuration.
"""

from __future__ import annotations

import os

from ..checkpoint import WEIGHTS_FILE, check_variables, checkpoint_prefix, is_checkpoint, read_weights
from ..configuration import ModelConfig
from ..errors import RunError, UsageError
from .addresses import child, local_path, shown
from .attempts import Patience, Refused
from .bundle_index import incomplete_variables, read_index
from .display import Display
from .places import Store
from .published import RELEASE, Archive
from .sinks import PartFile, sha256_of
from .transfer import transfer
from .unpacking import BadArchive, unpack

MIRROR_VARIABLE = 'STEMBEAM_MODEL_MIRROR'
MOST_ARCHIVE_BYTES = 1 << 30


class NoModel(RunError):
    """A published model is neither in the store nor can it be fetched."""


def fetch_archive(
    archive: Archive, store: Store, mirror: str | None, display: Display, patience: Patience | None = None
) -> str:
    """Make sure that a published model is in the store; returns its folder.

    Any number of processes may call this at the same time: one fetches, the others wait for it.

    Args:
      archive: what is wanted.
      mirror: a folder or URL that holds the archives; None: STEMBEAM_MODEL_MIRROR, or the release.
      patience: how long to go on trying; None: five attempts with growing pauses.

    Raises:
      NoModel: one line with what was tried and the ways on.
      RunError: the store cannot be written or is full, or something else stands in the model's place.
    """
    if store.record(archive.name) is None:
        store.check_free(archive.name)
        with store.lock(archive.name, display):
            if store.record(archive.name) is None:
                try:
                    _fetch(archive, store, mirror, display, patience or Patience())
                finally:
                    display.close()
    return store.folder(archive.name)


def archive_address(archive: Archive, mirror: str | None) -> str:
    """Where an archive is fetched from: a local path or a URL."""
    chosen = mirror or os.environ.get(MIRROR_VARIABLE) or RELEASE
    return child(local_path(chosen) or chosen, archive.file)


def by_hand(archive: Archive, store: Store) -> str:
    """Where a user may put an archive that cannot be fetched."""
    return os.path.join(store.root, archive.file)


def _fetch(archive: Archive, store: Store, mirror: str | None, display: Display, patience: Patience) -> None:
    hand = by_hand(archive, store)
    address = hand if os.path.lexists(hand) else archive_address(archive, mirror)
    display.start(archive.file, shown(address))
    part = None
    try:
        if local_path(address) is not None:
            path = address
            _check_sum(archive, path)
        else:
            part = path = store.partial(f'{archive.name}-{archive.sha256[:16]}.part')
            _download(archive, address, PartFile(path, store.root), display, patience)
        size = os.path.getsize(path)
        _install(archive, path, shown(address), store)
    except (Refused, BadArchive) as error:
        raise NoModel(_no_model(archive, store, address, str(error))) from error
    if part is not None:
        os.remove(part)
    display.end(size)


def _no_model(archive: Archive, store: Store, address: str, reason: str) -> str:
    return (
        f'model {archive.name} is not in {store.root}, and {shown(address)} could not be used: {reason}; name a mirror '
        f'with {MIRROR_VARIABLE}, or put {archive.file} there by hand as {by_hand(archive, store)}, or use --model mini'
    )


def _download(archive: Archive, url: str, part: PartFile, display: Display, patience: Patience) -> None:
    """Fetch, or go on fetching, until the SHA-256 fits. Raises Refused."""
    if part.size() and sha256_of(part.path) == archive.sha256:
        return  # killed between the last byte and the unpacking
    resumed = part.size() > 0
    if resumed:
        display.tell(f'{archive.file}: going on after {part.size() / 1e6:.1f} MB of an earlier download')
    transfer(url, part, MOST_ARCHIVE_BYTES, patience, display)
    found = sha256_of(part.path)
    if found != archive.sha256 and resumed:
        display.tell(f'{archive.file}: its beginning was of another file; fetching it again from the start')
        part.restart()
        transfer(url, part, MOST_ARCHIVE_BYTES, patience, display)
        found = sha256_of(part.path)
    if found != archive.sha256:
        part.restart()  # never to be gone on with
        raise Refused(_wrong_sum(found, archive))


def _check_sum(archive: Archive, path: str) -> None:
    """Compare a local archive with its SHA-256. Raises Refused."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise Refused(error.strerror or str(error)) from error
    if found != archive.sha256:
        raise Refused(_wrong_sum(found, archive))


def _wrong_sum(found: str, archive: Archive) -> str:
    return f'its SHA-256 is {found} instead of {archive.sha256}, so it is another file'


def _install(archive: Archive, path: str, source: str, store: Store) -> None:
    with store.making(archive.name) as folder:
        unpack(path, folder, store.root)
        try:
            check_model(archive.config, folder, archive.file)
        except UsageError as error:
            raise BadArchive(str(error)) from error
        store.install(archive.name, folder, {'name': archive.name, 'source': source, 'sha256': archive.sha256})


def check_model(config: ModelConfig, folder: str, source: str) -> None:
    """Check that the weights in a folder are whole and fit a configuration, if possible without TensorFlow.

    Raises:
      UsageError: missing, unknown or misshaped variables by name, missing data; `source` is what the message names.
    """
    if not is_checkpoint(folder):
        weights = os.path.join(folder, WEIGHTS_FILE)
        if not os.path.isfile(weights):
            raise UsageError(f'{source} holds no checkpoint: it is not a model')
        read_weights(config, weights)
        return
    prefix = checkpoint_prefix(folder)
    try:
        index = read_index(f'{prefix}.index')
    except (OSError, ValueError):  # damaged, or of a form that only TensorFlow reads, which then says what it thinks
        read_weights(config, folder)
        return
    check_variables(config, index.shapes(), source)
    incomplete = incomplete_variables(index, prefix)
    if incomplete:
        raise UsageError(f'{source} holds only a part of {incomplete[0]}: copy or download it again')
