"""Spaces: hyper-parameters that are there beside values of others, and settings that are given."""

import json
import math

import numpy as np
import pytest
from sklearn.model_selection import ParameterSampler

from xpnet.search.distributions import (
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from xpnet.search.space import (
    check_setting,
    check_space,
    decode,
    describe,
    encode,
    grid,
    is_active,
    random_draws,
    when,
)

SPACE = {
    "optimizer": choice(["adam", "momentum", "sgd"]),
    "beta": when("optimizer", ["adam", "momentum"], one_minus_log_uniform(0.9, 0.999)),
    "layers": int_uniform(1, 3),
    "hidden": choice({"small": (64,), "large": (512, 256)}),
    "second": when("layers", [2, 3], choice([(32,), [16, 8]])),
    "third": when("second", [(16, 8)], uniform(0, 0.5)),
    "both": when("optimizer", ["adam"], when("layers", (3,), int_uniform(0, 9))),
}


def is_there(name, setting):
    """Return whether a hyper-parameter of `SPACE` should be there."""
    match name:
        case "beta":
            return setting["optimizer"] != "sgd"
        case "second":
            return setting["layers"] > 1
        case "third":
            return setting.get("second") == [16, 8]
        case "both":
            return setting["optimizer"] == "adam" and setting["layers"] == 3
    return True


# -- draws and grids ----


def test_a_setting_has_what_its_conditions_say():
    settings = random_draws(SPACE, 300)
    for setting in settings:
        assert [*setting] == [name for name in SPACE if is_there(name, setting)]
    shares = {name: np.mean([name in setting for setting in settings]) for name in SPACE}
    expected = {"beta": 2 / 3, "second": 2 / 3, "third": 1 / 3, "both": 1 / 9}
    assert {n: shares[n] for n in expected} == pytest.approx(expected, abs=0.1)  # over 3 σ
    assert {n for n in SPACE if shares[n] == 1} == set(SPACE) - set(expected)


def test_a_condition_leaves_a_value_as_it_is_where_it_is_there():
    without = {"beta": one_minus_log_uniform(0.9, 0.999), "both": int_uniform(0, 9)}
    plain = random_draws(without, 50, 3)
    for setting, unconditional in zip(random_draws(SPACE, 50, 3), plain, strict=True):
        for name in set(without) & set(setting):
            assert setting[name] == unconditional[name]
    assert random_draws(SPACE, 50, 3)[:20] == random_draws(SPACE, 20, 3)


def test_a_grid_leaves_out_what_is_not_there():
    space = {name: SPACE[name] for name in ("optimizer", "layers", "both", "hidden")}
    settings = grid(space, 3)
    expected = [
        {"optimizer": optimizer, "layers": layers, **both, "hidden": hidden}
        for optimizer in ("adam", "momentum", "sgd")
        for layers in (1, 2, 3)
        for both in (
            [{"both": b} for b in (0, 5, 9)] if (optimizer, layers) == ("adam", 3) else [{}]
        )
        for hidden in ((64,), (512, 256))
    ]
    assert settings == expected


def test_a_grid_of_a_chain_holds_no_setting_twice():
    settings = grid(SPACE, 2)
    texts = [json.dumps(setting) for setting in settings]
    assert len(set(texts)) == len(texts)
    assert all([*s] == [n for n in SPACE if is_there(n, s)] for s in settings)


def test_a_value_that_the_grid_of_whole_numbers_steps_over_is_no_value():
    space = {"a": int_uniform(1, 9), "b": when("a", [4], uniform(0, 1))}
    assert grid(space, 2) == [{"a": 1}, {"a": 9}]


def test_scikit_learns_sampler_can_t_draw_what_is_not_always_there():
    with pytest.raises(TypeError, match=r"drawn only when 'optimizer' has one .*random_draws"):
        list(ParameterSampler(SPACE, 3, random_state=0))


def test_conditions_are_asked_in_the_space():
    assert is_active(SPACE, "optimizer", {})
    assert not is_active(SPACE, "third", {"optimizer": "sgd", "layers": 1})
    assert is_active(SPACE, "third", {"layers": 2, "second": (16, 8)})
    assert is_active(SPACE, "both", {"optimizer": "adam", "layers": np.int64(3)})


# -- conditions that can't be ----


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, [2], uniform(0, 1)), TypeError, "^name is 1: give a hyper-parameter's name"),
        (("a", "adam", uniform(0, 1)), TypeError, r"^values is 'adam': give several, as \["),
        (("a", 3, uniform(0, 1)), TypeError, "^values is 3: give several"),
        (("a", [], uniform(0, 1)), ValueError, r"^values is \[\]: give at least one value"),
        (("a", [1], [0.1, 1]), TypeError, r"^distribution is \[0.1, 1\]: give one such as log_"),
    ],
)
def test_conditions_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        when(*arguments)


A, ON_A, ON_B, ON_C = choice([1, 2]), *(when(n, [1], choice([1, 2])) for n in "abc")


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (
            {"a": A, "b": when("z", [1], A)},
            ValueError,
            r"^space\['b'\] asks for 'z', which the space lacks: give one of \['a'\]",
        ),
        (
            {"b": ON_A, "a": A},
            ValueError,
            r"^space\['b'\] asks for 'a', which stands after it: put 'a' first",
        ),
        ({"a": ON_A}, ValueError, r"^space\['a'\] asks for 'a', and that in turn for 'a'"),
        (
            {"a": ON_C, "b": ON_A, "c": ON_B},
            ValueError,
            r"^space\['a'\] asks for 'c', and that in turn for 'a': give one of them no condition",
        ),
        (
            {"a": A, "b": when("a", [1], when("c", [1], A)), "c": ON_B},
            ValueError,
            r"^space\['b'\] asks for 'c', and that in turn for 'b'",
        ),
        (
            {"a": A, "b": when("a", [1, 3], A)},
            ValueError,
            r"^space\['b'\] asks for 'a', whose value is 3: give one of 1, 2",
        ),
        (
            {"a": ON_B, "b": A} | {"b": A},
            ValueError,
            r"^space\['a'\] asks for 'b', which stands after it",
        ),
        (
            {"z": A, "a": when("z", [1], int_uniform(1, 5)), "b": when("a", [9], A)},
            ValueError,
            r"^space\['b'\] asks for 'a', whose value is 9: give a number from 1 to 5",
        ),
        (
            {"a": int_uniform(1, 5), "b": when("a", ["1"], A)},
            TypeError,
            r"^space\['b'\] asks for 'a', whose value is '1': give a whole number",
        ),
        (
            {"a": uniform(0, 1), "b": when("a", [0.5], A)},
            TypeError,
            r"^space\['b'\] asks for values of 'a', which is Interval\(.*: name one of options or",
        ),
    ],
)
@pytest.mark.parametrize("use", [check_space, lambda s: random_draws(s, 1), lambda s: grid(s, 1)])
def test_spaces_whose_conditions_can_t_be(use, space, error, message):
    with pytest.raises(error, match=message):
        use(space)


# -- settings that are given ----


def test_a_setting_is_checked_and_its_values_become_those_that_are_drawn():
    given = {"second": [16, 8], "layers": np.int64(2), "optimizer": "adam", "beta": np.float32(0.9)}
    with pytest.raises(ValueError, match=r"^beta is 0\.8999"):
        check_setting(SPACE, given)
    found = check_setting(SPACE, given | {"beta": np.float64(0.95)})
    assert found == {"optimizer": "adam", "beta": 0.95, "layers": 2, "second": [16, 8]}
    assert [*found] == ["optimizer", "beta", "layers", "second"]
    assert {type(found["layers"]), type(found["beta"])} == {int, float}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1], TypeError, r"^the setting is \[1\]: give a dict from names to values"),
        ({"rate": 1}, ValueError, "^the setting has the name 'rate': the space has optimizer, "),
        ({"beta": 1.0}, ValueError, "^beta is 1.0: give a number from 0.9 to 0.999"),
        ({"optimizer": "lion"}, ValueError, "^optimizer is 'lion': give one of adam, momentum"),
        ({"layers": math.inf}, TypeError, "^layers is inf: give a whole number"),
    ],
)
def test_settings_that_are_refused(given, error, message):
    for use in (check_setting, decode):
        with pytest.raises(error, match=message):
            use(SPACE, given)


def test_a_whole_setting_lacks_nothing_and_has_nothing_more():
    sgd = {"optimizer": "sgd", "layers": 1, "hidden": (64,)}
    assert check_setting(SPACE, sgd, whole=True) == sgd
    with pytest.raises(ValueError, match=r"^the setting lacks 'hidden': give a value for it"):
        check_setting(SPACE, {"optimizer": "sgd", "layers": 1}, whole=True)
    with pytest.raises(ValueError, match=r"^the setting lacks 'second'"):
        check_setting(SPACE, sgd | {"layers": 2}, whole=True)
    with pytest.raises(
        ValueError, match=r"has 'beta', which is there when 'optimizer' is 'adam' or 'momentum': l"
    ):
        check_setting(SPACE, sgd | {"beta": 0.95}, whole=True)
    with pytest.raises(ValueError, match=r"which is there when 'optimizer' is .* and 'layers' is "):
        check_setting(SPACE, sgd | {"both": 3}, whole=True)


def test_a_setting_comes_back_from_json():
    for setting in random_draws(SPACE, 50):
        told = json.loads(json.dumps(encode(SPACE, setting)))
        assert decode(SPACE, told) == setting
        assert told["hidden"] in ("small", "large")
    with pytest.raises(ValueError, match=r"^the setting lacks 'optimizer'"):
        decode(SPACE, {"layers": 1, "hidden": "small"})


# -- descriptions ----


def test_a_description_is_json_and_knows_the_conditions():
    told = describe(SPACE)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["third"] == {
        "kind": "linear",
        "low": 0.0,
        "high": 0.5,
        "when": [["second", ["(16, 8)"]]],
    }
    assert told["both"]["when"] == [["optimizer", ["adam"]], ["layers", [3]]]


def test_descriptions_are_equal_where_the_same_is_searched():
    again = SPACE | {"second": when("layers", [3, np.int64(2), 2], choice([[32], (16, 8)]))}
    assert describe(again) == describe(SPACE)
    others = [
        SPACE | {"second": when("layers", [3], choice([[32], (16, 8)]))},
        SPACE | {"second": choice([[32], (16, 8)])},
        SPACE | {"third": when("layers", [3], uniform(0, 0.5))},
        SPACE | {"third": when("second", [(16, 8)], log_uniform(0.1, 0.5))},
        SPACE | {"more": uniform(0, 1)},
        {name: SPACE[name] for name in ("optimizer", "layers")},
    ]
    for other in others:
        check_space(other)
        assert describe(other) != describe(SPACE)
