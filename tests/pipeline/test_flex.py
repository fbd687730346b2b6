from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stembeam.pipeline import flex
from stembeam.pipeline.flex import LEFT_OUT, metadata, words_of
from stembeam.pipeline.options import parse_separate, separate_parser

COMMITTED = Path(__file__).parents[2] / 'configs' / 'flex' / 'metadata.json'


def test_the_committed_metadata_is_that_of_the_options():
    assert json.loads(COMMITTED.read_text()) == metadata(), (
        'options have changed: python -m stembeam.pipeline.flex > configs/flex/metadata.json'
    )


def test_every_option_is_a_parameter_with_help_and_pattern():
    parameters = {parameter['name']: parameter for parameter in metadata()['parameters']}
    options = {action.dest for action in separate_parser()._actions if action.help != '==SUPPRESS=='}
    assert set(parameters) == (options - set(LEFT_OUT)) | {'sdk_container_image'}
    for name, parameter in parameters.items():
        assert set(parameter) == {'name', 'label', 'helpText', 'isOptional', 'regexes'}
        assert re.fullmatch('[a-z][a-z_]*', name)
        assert parameter['label']
        assert len(parameter['helpText']) > 10
        assert '%%' not in parameter['helpText']
        assert all(re.compile(pattern) for pattern in parameter['regexes'])
        assert parameter['isOptional'] == (name not in ('inputs', 'output'))


GOOD = {
    'inputs': ['gs://a/b.mp3', 'gs://a/b|s3://c/my song.flac'],
    'output': ['gs://corpus/out'],
    'batch_size': ['8'],
    'mwf': ['true', 'false'],
    'features': ['true', 'false'],
    'overlap': ['0.25', '.25', '0'],
    'offset': ['0', '1.5'],
    'stems': ['vocals', 'vocals,drums'],
    'masks': ['ratio', 'direct'],
    'preset': ['dataflow-l4'],
    'accelerator': ['type:nvidia-l4;count:1;install-nvidia-driver'],
    'filename_format': ['{track}/{instrument}.{codec}'],
}
BAD = {
    'inputs': ['', '/music/a.mp3', 'gs://a/b|c'],
    'output': ['out'],
    'batch_size': ['0', '-1', 'x', '1.5'],
    'mwf': ['yes', ''],
    'features': ['no'],
    'overlap': ['1', '-0.1', 'x'],
    'offset': ['-1', 'x'],
    'stems': ['', ',vocals'],
    'masks': ['soft'],
    'preset': ['mine.json'],
    'accelerator': ['l4'],
}


@pytest.mark.parametrize('name', GOOD)
def test_patterns_take_what_the_command_line_takes(name):
    (parameter,) = [found for found in metadata()['parameters'] if found['name'] == name]
    (pattern,) = parameter['regexes']
    for value in GOOD[name]:
        assert re.search(pattern, value), value
        parse_separate(words_of([f'--{name}={value}']))
    for value in BAD.get(name, ()):
        assert not re.search(pattern, value), value


def test_parameters_become_the_command_line():
    given = [
        *('--inputs=gs://a/b c|gs://d/-e', '--output', 'gs://o/p', '--mwf=true', '--features=false', '--batch_size=3'),
        *(
            '--preset=dataflow-l4',
            '--project=p',
            '--region',
            'r',
            '--template_location=gs://x/y',
            '--runner=DataflowRunner',
        ),
    ]
    options, beam = parse_separate(words_of(given))
    assert options.inputs == ['gs://a/b c', 'gs://d/-e']
    assert (options.output, options.mwf, options.features, options.batch_size) == ('gs://o/p', True, False, 3)
    assert (options.wait, options.progress, options.preset) == (False, False, 'dataflow-l4')
    assert (beam['project'], beam['region'], beam['template_location']) == ('p', 'r', 'gs://x/y')
    assert parse_separate(words_of([]))[0].preset == 'dataflow-cpu'


def test_the_launcher_s_entry_runs_the_command(monkeypatch):
    ran = []

    def run(words):
        ran.append(words)
        return 3

    monkeypatch.setattr(flex, 'run_command', run)
    assert flex.main(['--inputs=gs://a', '--output=gs://b']) == 3
    assert ran[0][0] == 'separate'
    assert ran[0][-2:] == ['--', 'gs://a']


@pytest.mark.parametrize('parameter', ['--mwf=perhaps', '--batch_size=0', '--no_such=1', '--output='])
def test_mistakes_are_told(parameter, capsys):
    given = {'--inputs': '--inputs=gs://a/b', '--output': '--output=gs://corpus/o'}
    given[parameter.partition('=')[0]] = parameter
    assert flex.main([*given.values(), '--project=my-project', '--region=r']) == 2
    assert capsys.readouterr().err.count('\n') == 1
