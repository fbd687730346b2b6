from __future__ import annotations

import json

import pytest

from stembeam.model.errors import UsageError
from stembeam.pipeline.options import parse_separate, separate_parser
from stembeam.pipeline.presets import find_preset, load_preset, preset_names


def write(folder, content):
    path = folder / 'mine.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_names():
    assert preset_names() == ['dataflow-cpu', 'dataflow-l4', 'dataflow-t4']
    assert 'dataflow-cpu, dataflow-l4, dataflow-t4' in ' '.join(separate_parser().format_help().split())


def test_a_preset_is_a_command_line_before_the_user_s(tmp_path):
    content = {
        'description': 'a test',
        'runner': 'DataflowRunner',
        'batch-size': 4,
        'features': False,
        'mwf': True,
        'machine_type': 'n2-standard-4',
        'max_num_workers': 7,
        'experiments': ['a', 'b=c'],
    }
    path = write(tmp_path, content)
    options, beam = parse_separate(['x', '-o', 'o', '--preset', str(path), '--max_num_workers=9', '--features'])
    assert (options.runner, options.batch_size, options.features, options.mwf) == ('DataflowRunner', 4, True, True)
    assert beam == {'machine_type': 'n2-standard-4', 'max_num_workers': 9, 'experiments': ['a', 'b=c']}
    assert (options.inputs, options.preset) == (['x'], str(path))


def test_where_it_may_stand():
    assert find_preset(['a', '--preset=dataflow-l4', '--preset', 'dataflow-cpu']) == load_preset('dataflow-cpu')
    assert find_preset(['a', '--', '--preset', 'x']) is None
    assert find_preset([]) is None


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({'max_num_worker': 3}, 'unrecognized arguments: --max_num_worker=3'),
        ({'batch_size': 3}, 'unrecognized arguments: --batch_size=3'),
        ({'batch-size': 0}, "--batch-size: '0' is not 1 or more"),
        ({'batch-size': None}, 'batch-size is null: give text, a number'),
        ({'experiments': [['a']]}, r'experiments is \[\["a"\]\]: give text'),
        ({'preset': 'dataflow-l4'}, "the key 'preset' is no option of a preset"),
        ({'--mwf': True}, "the key '--mwf' is no option"),
        (['mwf'], 'not a JSON object'),
        ('{', 'not JSON'),
    ],
)
def test_a_mistake_names_the_file(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(UsageError, match=words) as error:
        parse_separate(['x', '-o', 'o', '--preset', str(path)])
    assert str(error.value).startswith(f'preset {path}')
    assert '\n' not in str(error.value)


def test_an_unknown_one():
    with pytest.raises(UsageError, match=r"unknown preset 'dataflow-h100': use one of dataflow-cpu, .* or a JSON file"):
        parse_separate(['x', '--preset', 'dataflow-h100'])
    with pytest.raises(UsageError, match='--preset'):
        parse_separate(['x', '--preset'])
