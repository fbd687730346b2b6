"""The models that Deezer published with Spleeter: their names, archives and checksums.

Data only. The one idea: a name (`4stems-16kHz`) is a configuration of ours and an archive of theirs (`4stems`), and the
archive is known by its SHA-256, whichever host it comes from.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..configuration import ModelConfig, load_config
from .files import CONFIGS

RELEASE = 'https://github.com/deezer/spleeter/releases/download/v1.4.0'
HOMEPAGE = 'https://github.com/deezer/spleeter (release v1.4.0); Hennequin et al., JOSS 2020, doi 10.21105/joss.02154'
LICENCE = 'MIT (Deezer SA)'
PREFIX = 'spleeter:'  # as Spleeter's own command line writes its models
WIDE = '-16kHz'  # the same weights, seeing 1536 bins instead of 1024


class Archive(NamedTuple):
    """A published checkpoint as a file."""

    name: str  # of the file without .tar.gz, and of the folder in the store
    sha256: str  # hex
    config_file: str  # what the checkpoint must fit

    @property
    def file(self) -> str:
        """The file's name on every host."""
        return f'{self.name}.tar.gz'

    @property
    def config(self) -> ModelConfig:
        """The configuration that the checkpoint must fit."""
        return load_config(self.config_file)


class Published(NamedTuple):
    """A name that a user may give."""

    name: str
    archive: Archive

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return load_config(os.path.join(CONFIGS, f'{self.name}.json'))


def _archive(name: str, sha256: str) -> Archive:
    return Archive(name, sha256, os.path.join(CONFIGS, f'{name}.json'))


ARCHIVES = (
    _archive('2stems', 'f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692'),
    _archive('4stems', '3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8'),
    _archive('5stems', '25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218'),
)
PUBLISHED = {
    f'{archive.name}{variant}': Published(f'{archive.name}{variant}', archive)
    for archive in ARCHIVES
    for variant in ('', WIDE)
}


def find_published(name: str) -> Published | None:
    """The published model of a name, with or without Spleeter's prefix.

    >>> find_published('spleeter:4stems-16kHz').archive.file
    '4stems.tar.gz'
    """
    return PUBLISHED.get(name.removeprefix(PREFIX))
