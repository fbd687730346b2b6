"""The Flex Template of `stembeam separate`: its metadata, and what its launcher runs.

A Flex Template is an image that Google starts to build a job, and a JSON file that says which parameters the image
takes. Both are made from the declared options: a parameter is an option, with underscores for hyphens, whose help and
pattern are those of the command line. `python -m stembeam.pipeline.flex` prints the metadata.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any

from . import parsing
from .cli import main as run_command
from .options import separate_parser
from .presets import preset_names

INPUTS = 'inputs'
SEPARATOR = '|'  # between several inputs: commas separate parameters already, and addresses may have spaces
DEFAULT_PRESET = 'dataflow-cpu'
# Options that mean nothing on the machine that only starts the job, or that the launcher gives itself.
LEFT_OUT = ('help', 'workers', 'runner', 'progress', 'wait', 'dry_run', 'model_store', 'log_format', 'log_level')
REMOTE = r'[a-z][a-z0-9+.-]*://[^|]+'
MORE_HELP = {
    INPUTS: f'; all of them remote, several separated by {SEPARATOR}',
    'output': '; remote, as in gs://bucket/folder',
    'preset': f' (default: {DEFAULT_PRESET})',
}
_PATTERNS: dict[Any, str] = {
    parsing.count: r'[1-9][0-9]*',
    parsing.seconds: r'[0-9]+(\.[0-9]+)?',
    parsing.positive_seconds: r'[0-9]+(\.[0-9]+)?',
    parsing.share: r'0?\.[0-9]+|0',
    parsing.names: r'[^,]+(,[^,]+)*',
    parsing.accelerator: r'type:[^:;]+;count:[0-9]+(;[^;]+)*',
    None: r'.+',
}
BOOLEAN = r'true|false'
# Beam's, and the one of them that nothing else in Google's own interfaces says.
IMAGE = {
    'name': 'sdk_container_image',
    'label': 'Sdk container image',
    'helpText': 'image of the workers; {project}, {region} and {version} in it are filled in (default: of the preset)',
    'isOptional': True,
    'regexes': [r'^(\S+)$'],
}


def metadata() -> dict[str, Any]:
    """The template's metadata, as `gcloud dataflow flex-template build --metadata-file` wants it."""
    return {
        'name': 'stembeam separate',
        'description': 'Separates a corpus of audio into stems, with features of every stem, a manifest and a table of '
        'failures.',
        'parameters': [*(_parameter(name, action) for name, action in _actions().items()), IMAGE],
    }


def _actions() -> dict[str, argparse.Action]:
    """Parameter -> the option that it is."""
    shown = [action for action in separate_parser()._actions if action.help is not argparse.SUPPRESS]
    named = {(_long_name(action) or action.dest).lstrip('-').replace('-', '_'): action for action in shown}
    return {name: action for name, action in named.items() if name not in LEFT_OUT}


def _long_name(action: argparse.Action) -> str | None:
    return next((name for name in action.option_strings if name.startswith('--')), None)


def _is_flag(action: argparse.Action) -> bool:
    return action.nargs == 0


def _parameter(name: str, action: argparse.Action) -> dict[str, Any]:
    help_text = (action.help or '').replace('%%', '%') + MORE_HELP.get(name, '')
    return {
        'name': name,
        'label': name.replace('_', ' ').capitalize(),
        'helpText': help_text,
        'isOptional': name not in (INPUTS, 'output'),
        'regexes': [f'^({_pattern(name, action)})$'],
    }


def _pattern(name: str, action: argparse.Action) -> str:
    if name == INPUTS:
        return rf'{REMOTE}(\{SEPARATOR}{REMOTE})*'
    if name == 'output':
        return REMOTE
    if name == 'preset':
        return '|'.join(preset_names())  # files of the user's are not on the launcher's machine
    if _is_flag(action):
        return BOOLEAN
    if action.choices is not None:
        return '|'.join(re.escape(str(choice)) for choice in action.choices)
    return _PATTERNS[action.type]


def words_of(parameters: list[str]) -> list[str]:
    """The words of `stembeam separate` from those that a launcher gives: parameters as --name=value or --name value.

    What is no parameter of ours goes to Beam as it is.
    """
    actions = _actions()
    words, inputs, waiting = ['--no-wait', '--no-progress'], [], iter(parameters)
    for word in waiting:
        name, has_value, value = word.removeprefix('--').partition('=')
        action = actions.get(name)
        if action is None or not word.startswith('--'):
            words.append(word)
            continue
        value = value if has_value else next(waiting, '')
        if name == INPUTS:
            inputs += [item for item in value.split(SEPARATOR) if item]
        elif _is_flag(action):
            words += _flag(action, value)
        else:
            words.append(f'{_long_name(action)}={value}')
    if not any(word.startswith('--preset=') for word in words):
        words.insert(0, f'--preset={DEFAULT_PRESET}')
    return [*words, '--', *inputs]


def _flag(action: argparse.Action, value: str) -> list[str]:
    """A flag that is on or off."""
    name = _long_name(action)
    if value == 'true':
        return [str(name)]
    negative = [option for option in action.option_strings if option.startswith('--no-')]
    return negative[:1] if value == 'false' else [f'{name}={value}']  # the parser says what is wrong with it


def main(parameters: list[str]) -> int:
    """Start the job that the template's parameters describe; the exit status of `stembeam separate`."""
    return run_command(['separate', *words_of(parameters)])


if __name__ == '__main__':
    json.dump(metadata(), sys.stdout, indent=1)
    print()
