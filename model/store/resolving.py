"""From what the user calls a model to its files."""

from __future__ import annotations

import os

from ..errors import UsageError
from ..hiding import without_secrets
from .addresses import is_url, local_path
from .attempts import Patience
from .display import Display, silent
from .fetching import fetch_archive
from .files import BUNDLED, ModelFiles, bundled_models, files_of_folder, files_of_json, identify
from .places import Store
from .published import PUBLISHED, find_published
from .remote import copy_remote

DEFAULT_MODEL = '4stems'


def resolve_model(
    model: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    mirror: str | None = None,
    progress: bool = True,
    patience: Patience | None = None,
) -> ModelFiles:
    """Find a model, and fetch it if it is not here.

    Args:
      model: one of
        - 'mini', which comes with the package;
        - '2stems', '4stems' or '5stems', also with '-16kHz' behind and 'spleeter:' in front: Spleeter's published
          models; a name wins over a folder of that name in the working directory, which is './4stems';
        - a folder with one JSON configuration and weights (`weights.npz` or a Spleeter checkpoint), or with a Spleeter
          checkpoint alone if it is called 2stems, 4stems or 5stems;
        - a Spleeter JSON file whose `model_dir` (relative to the file) is the checkpoint's folder;
        - the fsspec URL of such a folder or file, which is copied into the store.
      store: the folder that models are fetched to; None: STEMBEAM_MODELS, or ~/.cache/stembeam/models.
      mirror: a folder or URL with the archives of published models; None: STEMBEAM_MODEL_MIRROR, or Spleeter's release.
      progress: show downloads on standard error.
      patience: how long to go on trying.

    Returns:
      Files on this machine.

    Raises:
      UsageError: an unknown model, a missing file, weights that cannot be found; one line with the cure.
      RunError: a model that cannot be fetched, or a store that cannot be written.
    """
    model = os.fspath(model)
    place = Store.at(store)
    display = Display() if progress else silent()
    if model in bundled_models():
        return files_of_folder(model, os.path.join(BUNDLED, model))
    published = find_published(model)
    if published is not None:
        folder = fetch_archive(published.archive, place, mirror, display, patience)
        return identify(published.name, published.config, folder)
    path = (local_path(model) or model) if is_url(model) and not os.path.exists(model) else model
    if os.path.isdir(path):
        return files_of_folder(model, path)
    if os.path.isfile(path):
        return files_of_json(path)
    if is_url(path):
        return files_of_folder(without_secrets(model), copy_remote(model, place, display, patience))
    raise UsageError(
        f'unknown model {model!r}: use one of {known_models()}, the folder of a model, or a Spleeter JSON file'
    )


UNFETCHED = 'known when it is fetched'


def find_unfetched(model: str, store: str | os.PathLike[str] | None = None) -> ModelFiles | None:
    """What is known of a published model that is not here; None for every other. Fetches nothing.

    Raises:
      UsageError: the model is a URL that is elsewhere: nothing is known of it here.
    """
    if is_url(model) and local_path(model) is None and not os.path.exists(model):
        raise UsageError(f'nothing is known of model {model} without the network: stembeam models fetch it, or copy it')
    published = find_published(model)
    if published is None or Store.at(store).record(published.archive.name) is not None:
        return None
    return ModelFiles(published.name, published.config, UNFETCHED, UNFETCHED)


def is_unfetched(files: ModelFiles) -> bool:
    """Whether the weights are not here (see `find_unfetched`)."""
    return files.weights == UNFETCHED


def known_models() -> str:
    """The names that need no address, for messages and help."""
    return ', '.join([*bundled_models(), *PUBLISHED])
