"""The names in an option, of which one may have a comma."""

import pytest

from xpnet.cli.options import split_names
from xpnet.tabular.formats.source import in_a_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b c,d", ["a", "b c", "d"]),
        ('"a,b",c', ["a,b", "c"]),
        ('c,"a,b"', ["c", "a,b"]),
        ('"a ""b""",c', ['a "b"', "c"]),
        ('5" pipe,b', ['5" pipe', "b"]),
        ("'a,b'", ["'a", "b'"]),
        (" a, b", [" a", " b"]),
        ("a,,b,", ["a", "b"]),
        ('"a\nb",c', ["a\nb", "c"]),
        ("é,😀", ["é", "😀"]),
    ],
)
def test_names_are_parted_as_in_a_csv_file(text, expected):
    assert split_names(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [('"a,b', "a quote is opened and not closed"), ("a\nb", "put one with a line's end in quotes")],
)
def test_what_is_no_list_of_names(text, message):
    with pytest.raises(ValueError, match=message):
        split_names(text)


@pytest.mark.parametrize("name", ["a", "a,b", 'a "b"', "a\nb", '"', ' "a"'])
def test_names_as_messages_give_them_are_read_again(name):
    assert split_names(f"x,{in_a_list(name)},y") == ["x", name, "y"]
