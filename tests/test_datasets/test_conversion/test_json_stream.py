"""Streaming json and grouping on disk."""

import json
import tracemalloc

import pytest

from glipv2_mmdet.datasets.conversion import GroupedRows, iterate_array, json_stream

CONTENT = {
    'info': {'a': [1, {'b': ']'}]},
    'numbers': [1, 20, -3.5, 4e2],
    'empty': [],
    'things': [{'text': 'q"uo,te]', 'n': [[]]}, None, 'ü', {}],
    'last': 1,
}


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize('indent', [None, 2])
def test_items_come_as_json_would_load_them_wherever_the_window_ends(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_stream, '_CHUNK', chunk)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(CONTENT, indent=indent))
    for key in ('numbers', 'empty', 'things'):
        assert list(iterate_array(path, key)) == CONTENT[key]
    path.write_text(json.dumps(CONTENT['things'], indent=indent))
    assert list(iterate_array(path)) == CONTENT['things']


@pytest.mark.parametrize(
    ('text', 'key', 'found'),
    [
        ('{"a": [1], "c": {"b": [2]}}', 'b', 'no "b" at the top'),
        ('[1]', 'b', 'no "b" at the top'),
        ('{"b": 3}', 'b', '"b" is no array but a number'),
        ('{"b": {"a": []}}', 'b', '"b" is no array but a map'),
        ('{"b": [1]}', None, 'the top is no array but a map'),
        ('{"b": [1, {"x": ', 'b', r'broken json behind item 1 of "b" \(.*EOF'),
        ('{"b": [1, 2, ', 'b', r'broken json behind item 2 of "b" \(.*EOF'),
        ('{"b": [', 'b', r'broken json before the first item of "b" \(.*EOF'),
        ('', None, r'broken json before the first item of the top \(.*EOF'),
        ('{"b": [1 2]}', 'b', r'broken json behind item 1 of "b" \(.*expect .*\[1 2\]'),
        ('{"b": [1], "c": }', 'b', 'broken json behind item 1 of "b"'),
    ],
)
def test_broken_files_are_named_with_the_place(tmp_path, text, key, found):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=rf'a\.json: {found}'):
        list(iterate_array(path, key))


@pytest.mark.slow
def test_items_come_before_the_rest_is_read_and_do_not_stay_in_memory(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('{"b": [' + ', '.join(f'"{number:07d}{"x" * 100}"' for number in range(100_000)) + ', ')
    items = iterate_array(path, 'b')
    assert next(items).startswith('0000000')  # although the file is cut off
    tracemalloc.start()
    with pytest.raises(ValueError, match=r'a\.json: broken json behind item 100000 of "b"'):
        for _ in items:
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6 < path.stat().st_size


def test_rows_are_grouped_in_their_order_and_the_file_goes_away(tmp_path):
    with GroupedRows([(2, 'b'), (1, [1]), (2, {'a': 1})], tmp_path) as rows:
        assert (rows[2], rows[1], rows[3]) == (['b', {'a': 1}], [[1]], [])
        assert list(rows.keys()) == [1, 2]
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_rows_that_break_off_leave_no_file_behind(tmp_path):
    def rows():
        yield 1, 'a'
        raise ValueError('broken json')

    with pytest.raises(ValueError, match='broken json'):
        GroupedRows(rows(), tmp_path)
    assert not list(tmp_path.iterdir())
