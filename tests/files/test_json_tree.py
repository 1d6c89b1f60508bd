"""Trees as JSON: what is encoded comes back, and what is too much is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.files.json_tree import MOST_LEVELS, decode, encode, parse

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text().filter(lambda k: "$" not in k), inner)
    ),
)


@given(trees)
def test_a_tree_comes_back(tree):
    assert decode(json.loads(json.dumps(encode(tree), allow_nan=False)), {}) == tree


def test_what_json_has_no_word_for():
    assert math.isnan(decode(encode(math.nan), {}))
    assert encode((np.float32(0.5), np.bool_(True), -math.inf)) == [0.5, True, {"$float": "-inf"}]


@pytest.mark.parametrize("text", ["caf\udce9.npz", "\ud800", "\ud83d\ude00", "é\0\udfff"])
def test_a_text_that_utf8_has_no_bytes_for_comes_back(text):
    tree = {"data": text, "names": ["é", text]}
    told = encode(tree)
    assert told["names"][0] == "é"
    assert decode(parse(json.dumps(told)), {}) == tree


def test_a_rule_stands_before_all_and_its_tag_is_made_a_value_again():
    def rule(value, name):
        return {"$set": [encode(v, rule) for v in sorted(value)]} if type(value) is set else None

    tree = {"a": [{1, 2}, 3], "b": {math.inf}}
    told = encode(tree, rule)
    assert told == {"a": [{"$set": [1, 2]}, 3], "b": {"$set": [{"$float": "inf"}]}}
    assert decode(told, {"$set": lambda told: set(told["$set"])}) == tree


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"a": [0, {1, 2}]}, "a.1"),
        ({1: 2}, "the tree"),
        ({"a": {"\ud800": 2}}, "a"),
        ([{"x": 1j}], "0.x"),
        (b"", "the tree"),
    ],
    ids=str,
)
def test_what_is_no_tree_is_refused_with_its_place(tree, place):
    with pytest.raises(TypeError, match=f"^{place} is .*: it takes arrays, numbers"):
        encode(tree)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("NaN", "it holds NaN"),
        ("1e999", "too large"),
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('"\\ud800"', "surrogates"),
        ("[" * (MOST_LEVELS + 2) + "]" * (MOST_LEVELS + 2), "levels deep"),
        ("[" * 10**6, "recursion"),
    ],
    ids=lambda text: text[:20],
)
def test_a_hostile_document_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
