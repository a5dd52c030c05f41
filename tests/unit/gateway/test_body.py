"""One parse and one splice: what is metered is what is sent."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surplus.gateway.body import INPUTS_MAX, parse
from surplus.gateway.errors import BadBody
from tests.unit.gateway.parts import TRIES, body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DEEP = 100_000


def refused(data: bytes) -> BadBody:
    with pytest.raises(BadBody) as caught:
        parse(data)
    return caught.value


@TRIES
@given(st.dictionaries(st.text(), JSON, max_size=8), st.booleans())
def test_a_body_without_changes_means_what_it_meant(fields: dict[str, Any], escaped: bool) -> None:
    fields = {**fields, "model": "tiny", "stream": True, "stream_options": None}
    data = json.dumps(fields, ensure_ascii=escaped, indent=1).encode()
    sent = parse(data).with_fields({})
    assert json.loads(sent) == fields
    assert list(json.loads(sent)) == list(fields)


@TRIES
@given(st.text(), JSON, JSON)
def test_a_field_that_is_set_or_dropped_is_the_only_change(name: str, before: Any, after: Any) -> None:
    fields = {"model": "tiny", "stream": False, "z": [1], **({} if name in {"model", "stream"} else {name: before})}
    parsed = parse(json.dumps(fields).encode())
    assert json.loads(parsed.with_fields({name: json.dumps(after).encode()})) == {**fields, name: after}
    without = {key: value for key, value in fields.items() if key != name}
    assert json.loads(parsed.with_fields({name: None})) == without


def test_a_field_that_is_given_twice_is_sent_once_as_it_is_metered() -> None:
    parsed = parse(b'{"model":"dear","max_tokens":9999,"n":1,"model":"tiny","max_tokens":5,"n":2}')
    assert (parsed.model, parsed.count("max_tokens", least=1, most=10), parsed.count("n", least=1, most=9)) == (
        "tiny",
        5,
        2,
    )
    pairs = json.loads(parsed.with_fields({}), object_pairs_hook=list)
    assert pairs == [("model", "tiny"), ("max_tokens", 5), ("n", 2)]


def test_a_name_in_escapes_is_the_name() -> None:
    parsed = parse(rb'{"\u006dodel":"t\u0069ny","max_\u0074okens":7,"max_tokens":3,"n\u0070":1}')
    assert parsed.model == "tiny"
    assert parsed.count("max_tokens", least=1, most=10) == 3
    assert json.loads(parsed.with_fields({"np": None})) == {"model": "tiny", "max_tokens": 3}


def test_names_with_quotes_controls_and_other_scripts_come_through() -> None:
    fields = {"model": "tiny", 'a"b\\': 1, "\x00\n": 2, "é\U0001f600": 3, "": 4}
    assert json.loads(parse(json.dumps(fields).encode()).with_fields({})) == fields


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"model"',
        b"{",
        b'{"model":"tiny"',
        b'{"model":"tiny"}x',
        b'{"model":"tiny",}',
        b'{"model":"tiny","a":NaN}',
        b'{"model":"tiny","a":Infinity}',
        b'{"model":"tiny","a":01}',
        b'{"model":"tiny","a":1.}',
        b'{"model":"tiny","a":"\n"}',
        b'{"model":"tiny","a":"\\ud800"}',
        b'{"model":"tiny","a":"\\q"}',
        b'{"model":"tiny","a":"\xff\xfe"}',
        b'{"model":"tiny","a":{"b":"\xed\xa0\x80"}}',
        b'{"model":"tiny","\xff":1}',
        b'\xef\xbb\xbf{"model":"tiny"}',
        '{"model":"tiny"}'.encode("utf-16"),
        b'{"model":"tiny","a":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"model":"tiny","a":' + b'{"b":' * DEEP + b"1" + b"}" * DEEP + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    error = refused(data)
    assert error.status == 400
    assert error.message.startswith("the body is not a JSON object")
    assert len(error.message) < 300


@pytest.mark.parametrize("value", ["1", "null", "true", "[]", '""', "{}"])
def test_a_model_is_a_name(value: str) -> None:
    assert refused(b'{"model":%b}' % value.encode()).param == "model"


def test_a_body_without_a_model_is_refused() -> None:
    assert refused(b"{}").param == "model"


@pytest.mark.parametrize("value", ["1", '"true"', "[]", "0.0"])
def test_a_flag_is_true_or_false(value: str) -> None:
    assert refused(b'{"model":"tiny","stream":%b}' % value.encode()).param == "stream"


@pytest.mark.parametrize(
    ("fields", "stream", "include"),
    [
        ({}, False, False),
        ({"stream": None}, False, False),
        ({"stream": False}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": False, "other": 1}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
    ],
)
def test_streams_and_their_options(fields: dict[str, Any], stream: bool, include: bool) -> None:
    parsed = body(**fields)
    assert (parsed.stream, parsed.include_usage) == (stream, include)


@pytest.mark.parametrize("options", [1, [], "x", {"include_usage": 1}, {"include_usage": None}])
def test_stream_options_of_a_wrong_type_are_refused(options: Any) -> None:
    with pytest.raises(BadBody) as caught:
        body(stream=True, stream_options=options)
    assert caught.value.param == "stream_options"


def test_stream_options_without_a_stream_are_refused() -> None:
    with pytest.raises(BadBody) as caught:
        body(stream_options={"include_usage": True})
    assert caught.value.param == "stream_options"


@pytest.mark.parametrize("raw", [b"0", b"-1", b"11", b"1.0", b"1e1", b"true", b'"5"', b"[5]", b"9" * 400, b"1E400"])
def test_a_count_out_of_range_or_of_a_wrong_type_is_refused(raw: bytes) -> None:
    with pytest.raises(BadBody) as caught:
        parse(b'{"model":"tiny","n":%b}' % raw).count("n", least=1, most=10)
    assert caught.value.param == "n"


def test_a_count_in_range_is_read_and_a_missing_one_is_none() -> None:
    assert [body(n=n).count("n", least=1, most=10) for n in (1, 10, None)] == [1, 10, None]
    assert body().count("n", least=1, most=10) is None


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("", 1),
        ("text", 1),
        ([5, 6, 7], 1),
        ([2**70], 1),
        (["a"], 1),
        (["a", "b"], 2),
        ([[1, 2], [3]], 2),
        (["x"] * INPUTS_MAX, INPUTS_MAX),
        ([7] * (INPUTS_MAX + 1), 1),
    ],
)
def test_inputs_are_counted(value: Any, inputs: int) -> None:
    assert body(input=value).inputs("input") == inputs


@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        5,
        {},
        [1, "a"],
        ["a", 1],
        [1, [2, 3], [4]],
        [[1], "a"],
        [True],
        [1.5],
        [None],
        [{}],
        [["a"]],
        [[[1]]],
        ["x"] * (INPUTS_MAX + 1),
        {"prompt_string": "x", "multimodal_data": []},
    ],
)
def test_inputs_that_nobody_can_count_are_refused(value: Any) -> None:
    with pytest.raises(BadBody) as caught:
        body(prompt=value).inputs("prompt")
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "wants"),
    [
        ({}, False),
        ({"logprobs": None}, False),
        ({"logprobs": False}, False),
        ({"logprobs": True}, True),
        ({"logprobs": 3}, True),
    ],
)
def test_who_wants_log_probabilities(fields: dict[str, Any], wants: bool) -> None:
    assert body(**fields).wants_logprobs is wants


def test_large_values_are_kept_as_the_bytes_that_came() -> None:
    image = msgspec.json.encode("data:image/png;base64," + "A" * 1_000_000)
    data = b'{ "messages" : [ %b ] , "model":"tiny"}' % image
    parsed = parse(data)
    assert parsed.fields["messages"] == b"[ %b ]" % image
    assert parsed.size == len(data)
