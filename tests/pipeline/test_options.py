from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from stembeam.model.errors import UsageError
from stembeam.pipeline.options import parse_separate, separate_parser
from stembeam.pipeline.runners import available_cores


def test_defaults():
    options, beam = parse_separate(['song.mp3', '-o', 'out'])
    assert beam == {}
    assert vars(options) == {
        'inputs': ['song.mp3'],
        'output': 'out',
        'model': 'mini',
        'stems': None,
        'format': 'wav',
        'bitrate': None,
        'sample_rate': None,
        'features': True,
        'offset': 0.0,
        'duration': None,
        'filename_format': '{track}/{instrument}.{codec}',
        'allow_truncated': False,
        'decoder': 'auto',
        'overwrite': False,
        'workers': None,
        'runner': None,
        'chunks_per_segment': None,
        'batch_size': 1,
        'progress': True,
    }


def test_every_option():
    options, beam = parse_separate(
        [
            'a',
            'b',
            '--output',
            'out',
            '--model',
            'm',
            '--stems',
            'vocals,,\tdrums',
            '--format',
            'ogg',
            '--bitrate',
            '128k',
            '--sample-rate',
            '48000',
            '--no-features',
            '--offset',
            '1.5',
            '--duration',
            '0.25',
            '--filename-format',
            '{instrument}',
            '--allow-truncated',
            '--decoder',
            'av',
            '--overwrite',
            '--workers',
            '3',
            '--runner',
            'FlinkRunner',
            '--chunks-per-segment',
            '4',
            '--batch-size',
            '8',
            '--no-progress',
            'c',
        ]
    )
    assert beam == {}
    assert vars(options) == {
        'inputs': ['a', 'b', 'c'],
        'output': 'out',
        'model': 'm',
        'stems': ('vocals', 'drums'),
        'format': 'ogg',
        'bitrate': '128k',
        'sample_rate': 48000,
        'features': False,
        'offset': 1.5,
        'duration': 0.25,
        'filename_format': '{instrument}',
        'allow_truncated': True,
        'decoder': 'av',
        'overwrite': True,
        'workers': 3,
        'runner': 'FlinkRunner',
        'chunks_per_segment': 4,
        'batch_size': 8,
        'progress': False,
    }


def test_beam_gets_its_own_options_and_their_types():
    options, beam = parse_separate(
        [
            'a.mp3',
            '--region',
            'europe-west1',
            'b.mp3',
            '--project',
            'corpus-1',
            '--num_workers',
            '12',
            '--experiments',
            'one',
            '--experiments=two',
            '--save_main_session',
            'c.mp3',
            '--temp_location',
            'gs://bucket/tmp',
            '-o',
            'out',
            '--disk_size_gb=50',
        ]
    )
    assert options.inputs == ['a.mp3', 'b.mp3', 'c.mp3']
    assert beam == {
        'region': 'europe-west1',
        'project': 'corpus-1',
        'num_workers': 12,
        'experiments': ['one', 'two'],
        'save_main_session': True,
        'temp_location': 'gs://bucket/tmp',
        'disk_size_gb': 50,
    }
    read = PipelineOptions(flags=[], **beam)
    assert read.view_as(GoogleCloudOptions).region == 'europe-west1'
    assert read.view_as(WorkerOptions).num_workers == 12


def test_where_names_collide_ours_win():
    ours = {name for action in separate_parser()._actions for name in action.option_strings}
    assert '--runner' in ours
    options, beam = parse_separate(['--runner', 'DirectRunner', 'a'])
    assert (options.runner, beam) == ('DirectRunner', {})


def test_no_option_of_ours_ends_with_beam():
    ours = [a for a in separate_parser()._actions if a.option_strings and a.dest != 'help']
    given = []
    for action in ours:
        value = {'--stems': 'vocals', '--decoder': 'av'}.get(action.option_strings[-1].replace('-no-', '-'), '3')
        given += [action.option_strings[0], *([] if action.nargs == 0 else [value])]
    options, beam = parse_separate(given)
    assert beam == {}
    assert {action.dest for action in ours} <= set(vars(options))


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--no-such-option'], ['--no-such-option']),
        (['--over'], ['--over']),  # no abbreviation, which another option could make another one
        (['--batch', '2'], ['--batch']),
        (['--regio', 'europe-west1'], ['--regio']),
        (['--streaming-'], ['--streaming-']),
        (['-x'], ['-x']),
        (['--workers', '0'], ['--workers', "'0' is not 1 or more: give a whole number"]),
        (['--workers', 'many'], ['--workers', "'many' is not 1 or more: give a whole number"]),
        (['--batch-size', '-1'], ['--batch-size', "'-1' is not 1 or more: give a whole number"]),
        (['--sample-rate', '44.1'], ['--sample-rate', "'44.1' is not 1 or more: give a whole number"]),
        (['--offset', '-1'], ['--offset', "'-1' is not a number of seconds"]),
        (['--offset', 'nan'], ['--offset', "'nan' is not a number of seconds"]),
        (['--offset', '1:30'], ['--offset', "'1:30' is not a number of seconds"]),
        (['--duration', 'inf'], ['--duration', "'inf' is not a number of seconds"]),
        (['--duration', '0'], ['--duration', 'nothing']),
        (['--decoder', 'sox'], ['--decoder', 'sox', 'soundfile', 'tfio']),
        (['--output'], ['--output', 'expected one argument']),
        (['--num_workers', 'many'], ['--num_workers', 'many']),
        (['--features=yes'], ['--features']),
    ],
)
def test_what_nobody_knows_is_one_line(arguments, words):
    with pytest.raises(UsageError) as error:
        parse_separate(['a.mp3', '-o', 'out', *arguments])
    message = str(error.value)
    assert '\n' not in message
    assert all(word in message for word in [*words, 'stembeam separate --help'])


def test_names_that_begin_with_a_dash():
    assert parse_separate(['-o', 'out', '--', '-v.mp3', '--region'])[0].inputs == ['-v.mp3', '--region']
    assert parse_separate(['a', '-o', 'out', 'b', '--', '-c'])[0].inputs == ['a', 'b', '-c']
    assert parse_separate(['-', '-o', 'out'])[0].inputs == ['-']
    assert parse_separate(['-o', 'out'])[0].inputs == []


def test_help_can_be_shown():
    text = ' '.join(separate_parser().format_help().split())
    assert '{track}/{instrument}.{codec}' in text
    assert 'Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself failed.' in text
    assert 'wav-float' in text


def test_cores():
    assert available_cores() >= 1
