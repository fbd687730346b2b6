from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from stembeam.model.errors import UsageError
from stembeam.pipeline.options import SPLEETER_ONLY, method_of, parse_separate, separate_parser
from stembeam.pipeline.runners import available_cores

REFUSED = {options[-1].lstrip('-').replace('-', '_') for options in SPLEETER_ONLY}

# What is typed, what it is for the program, and what that is by default.
OPTIONS = [
    ('--output out', 'output', 'out', None),
    ('--model m', 'model', 'm', '4stems'),
    ('--model-store fetched', 'model_store', 'fetched', None),
    ('--model-mirror gs://bucket/models', 'model_mirror', 'gs://bucket/models', None),
    ('--stems vocals,,\tdrums', 'stems', ('vocals', 'drums'), None),
    ('--mwf', 'mwf', True, False),
    ('--mwf-iterations 2', 'mwf_iterations', 2, None),
    ('--masks direct', 'masks', 'direct', 'ratio'),
    ('--overlap 0.25', 'overlap', 0.25, 0.0),
    ('--high-band octave', 'high_band', 'octave', 'model'),
    ('--residual', 'residual', True, False),
    ('--format ogg', 'format', 'ogg', 'wav'),
    ('--bitrate 128k', 'bitrate', '128k', None),
    ('--sample-rate 48000', 'sample_rate', 48000, None),
    ('--no-features', 'features', False, True),
    ('--offset 1.5', 'offset', 1.5, 0.0),
    ('--duration 0.25', 'duration', 0.25, None),
    ('--layout spleeter', 'layout', 'spleeter', 'stembeam'),
    ('--filename-format {instrument}', 'filename_format', '{instrument}', None),
    ('--allow-truncated', 'allow_truncated', True, False),
    ('--decoder av', 'decoder', 'av', 'auto'),
    ('--overwrite', 'overwrite', True, False),
    ('--workers 3', 'workers', 3, None),
    ('--runner FlinkRunner', 'runner', 'FlinkRunner', None),
    ('--chunks-per-segment 4', 'chunks_per_segment', 4, None),
    ('--batch-size 8', 'batch_size', 8, None),
    ('--no-progress', 'progress', False, True),
    ('--log-format json', 'log_format', 'json', 'text'),
    ('--log-level debug', 'log_level', 'debug', 'warning'),
    ('--dry-run', 'dry_run', True, False),
    ('--no-wait', 'wait', False, True),
    ('--accelerator type:x;count:2', 'accelerator', 'type:x;count:2', None),
    ('--accelerator-on workers', 'accelerator_on', 'workers', 'inference'),
    ('--inference-ram 9GB', 'inference_ram', '9GB', None),
    ('--features-only', 'features_only', True, False),
    ('--storage-options o.json', 'storage_options', 'o.json', None),
    ('--storage-attempts 7', 'storage_attempts', 7, 12),
    ('--storage-patience 90', 'storage_patience', 90.0, 300.0),
    ('--decode-timeout 40', 'decode_timeout', 40.0, 300.0),
    ('--max-crashes 2', 'max_crashes', 2, 3),
    ('--allow-local-inputs', 'allow_local_inputs', True, False),
]


def test_defaults():
    options, beam = parse_separate(['song.mp3'])
    assert beam == {}
    defaults = {name: default for _, name, _, default in OPTIONS}
    assert vars(options) == {'inputs': ['song.mp3'], 'preset': None, **defaults}


def test_every_option():
    options, beam = parse_separate(['a', 'b', *' '.join(typed for typed, *_ in OPTIONS).split(' '), 'c'])
    assert beam == {}
    values = {name: value for _, name, value, _ in OPTIONS}
    assert vars(options) == {'inputs': ['a', 'b', 'c'], 'preset': None, **values}


def test_beam_gets_its_own_options_and_their_types():
    typed = (
        'a.mp3 --region europe-west1 b.mp3 --project corpus-1 --num_workers 12 --experiments one --experiments=two '
        '--save_main_session c.mp3 --temp_location gs://bucket/tmp -o out --disk_size_gb=50'
    )
    options, beam = parse_separate(typed.split())
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
    aside = {'help', 'preset', *REFUSED}  # a preset may hold Beam's
    ours = [a for a in separate_parser()._actions if a.option_strings and a.dest not in aside]
    values = {'overlap': '0.3', 'accelerator': 'type:x;count:1'}
    given = []
    for action in ours:
        value = next(iter(action.choices)) if action.choices else values.get(action.dest, '3')
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
        (['--mwf-iterations', '0'], ['--mwf-iterations', "'0' is not 1 or more"]),
        (['--overlap', '1'], ['--overlap', "'1' is not a share"]),
        (['--overlap', 'nan'], ['--overlap', "'nan' is not a share"]),
        (['--masks', 'soft'], ['--masks', 'soft', 'ratio', 'direct']),
        (['--high-band', 'none'], ['--high-band', 'none', 'octave']),
        (['--layout', 'demucs'], ['--layout', 'demucs', 'spleeter']),
    ],
)
def test_what_nobody_knows_is_one_line(arguments, words):
    with pytest.raises(UsageError) as error:
        parse_separate(['a.mp3', '-o', 'out', *arguments])
    message = str(error.value)
    assert '\n' not in message
    assert all(word in message for word in [*words, 'stembeam separate --help'])


SPLEETER = '-p spleeter:2stems -o out -f {filename}/{instrument}.{codec} -c mp3 -b 128k -d 30 -s 10 --mwf a.mp3 b.mp3'
SPLEETER_LONG = (
    '--params_filename spleeter:2stems --output_path=out --filename_format {filename}/{instrument}.{codec} '
    '--codec mp3 --bitrate 128k --duration 30 --offset 10 --mwf a.mp3 b.mp3'
)
OURS = (
    '--model spleeter:2stems --output out --filename-format {filename}/{instrument}.{codec} '
    '--format mp3 --bitrate 128k --duration 30 --offset 10 --mwf a.mp3 b.mp3'
)


@pytest.mark.parametrize('theirs', [SPLEETER, SPLEETER_LONG])
def test_what_spleeter_users_type(theirs):
    assert parse_separate(theirs.split()) == parse_separate(OURS.split())


@pytest.mark.parametrize(
    ('arguments', 'cure'),
    [
        ('-i a.mp3', '-i .*: name the inputs without it'),
        ('--inputs a.mp3 b.mp3', '--inputs .*: name the inputs without it'),
        ('-a spleeter.audio.ffmpeg.FFMPEGProcessAudioAdapter a.mp3', '-a .*--decoder chooses the reader'),
        ('a.mp3 --adapter', '--adapter .*--decoder chooses the reader'),
        ('-B librosa a.mp3', '-B .*leave it out; there is one transform'),
        ('--stft-backend=tensorflow a.mp3', '--stft-backend .*leave it out; there is one transform'),
        ('--verbose a.mp3', '--verbose .*leave it out; progress is shown'),
    ],
)
def test_options_of_spleeter_without_a_counterpart_say_what_to_do(arguments, cure):
    with pytest.raises(UsageError, match=f'{cure}.*see stembeam separate --help') as error:
        parse_separate(arguments.split())
    assert "is Spleeter's and has no counterpart here" in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ('', {}),
        ('--mwf', {'mwf_iterations': 1}),
        ('--mwf-iterations 1', {'mwf_iterations': 1}),
        ('--mwf --mwf-iterations 3', {'mwf_iterations': 3}),
        ('--overlap 0', {}),
        ('--overlap .25 --masks direct', {'overlap': 0.25, 'masks': 'direct'}),
        ('--residual --stems vocals --high-band zeros', {'residual': True, 'stems': ['vocals'], 'high_band': 'zeros'}),
    ],
)
def test_the_method_that_options_describe(arguments, expected):
    options, _ = parse_separate(arguments.split())
    assert dict(method_of(options).to_json()) == expected


def test_names_that_begin_with_a_dash():
    assert parse_separate(['-o', 'out', '--', '-v.mp3', '--region'])[0].inputs == ['-v.mp3', '--region']
    assert parse_separate(['a', '-o', 'out', 'b', '--', '-c'])[0].inputs == ['a', 'b', '-c']
    assert parse_separate(['-', '-o', 'out'])[0].inputs == ['-']
    assert parse_separate(['-o', 'out'])[0].inputs == []


def test_help_can_be_shown():
    text = ' '.join(separate_parser().format_help().split())
    assert '{track}/{instrument}.{codec} in layout stembeam, {filename}/{instrument}.{codec} in layout sp' in text
    assert not any(names[-1] in text for names in SPLEETER_ONLY)
    assert 'Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself failed.' in text
    assert 'wav-float' in text


def test_cores():
    assert available_cores() >= 1
