"""Presets: options of a run in a JSON file, by name (configs/presets) or by path.

The one idea: a preset is a command line. Its keys are spelled as on the command line, without the dashes, and its words
stand before those of the user, which therefore win; so every key and value is checked by the parser of the command.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from typing import Any, NamedTuple

from ..model.errors import UsageError

DESCRIPTION = 'description'  # for people
FOLDER = 'presets'


class Preset(NamedTuple):
    """A preset as it was found."""

    where: str  # the file, for errors
    words: list[str]  # of the command line


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = importlib.resources.files('stembeam.configs').joinpath(FOLDER)
    return sorted(entry.name.removesuffix('.json') for entry in folder.iterdir() if entry.name.endswith('.json'))


def find_preset(arguments: list[str]) -> Preset | None:
    """The preset that the last --preset among the words of a command names. Raises UsageError."""
    name = None
    words = iter(arguments[: arguments.index('--')] if '--' in arguments else arguments)
    for word in words:
        if word == '--preset':
            name = next(words, None)
        elif word.startswith('--preset='):
            name = word.partition('=')[2]
    return None if name is None else load_preset(name)


def load_preset(name: str) -> Preset:
    """A preset by name, or from a file of the user's.

    Raises:
      UsageError: no such preset, or a file that is none; one line that names the file.
    """
    if name in preset_names():
        where = f'configs/{FOLDER}/{name}.json'
        text = importlib.resources.files('stembeam.configs').joinpath(FOLDER, f'{name}.json').read_text('utf-8')
    elif os.path.isfile(name):
        where = name
        try:
            with open(name, encoding='utf-8') as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f'preset {name} cannot be read ({error}): check the file') from error
    else:
        raise UsageError(f'unknown preset {name!r}: use one of {", ".join(preset_names())}, or a JSON file')
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageError(f'preset {where} is not JSON ({error}): correct it') from error
    if not isinstance(content, dict):
        raise UsageError(f'preset {where} is not a JSON object: write {{"option": value, ...}}')
    return Preset(where, [word for key, value in content.items() for word in _words(key, value, where)])


def _words(key: str, value: Any, where: str) -> list[str]:
    """The words of one option."""
    if key == DESCRIPTION:
        return []
    if key == 'preset' or key.startswith('-'):
        raise UsageError(f'preset {where}: the key {key!r} is no option of a preset: leave it out, or its dashes')
    if isinstance(value, bool):
        return [f'--{key}' if value else f'--no-{key}']
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in values):
        raise UsageError(
            f'preset {where}: {key} is {json.dumps(value)}: give text, a number, true, false or a list of texts'
        )
    return [f'--{key}={item}' for item in values]
