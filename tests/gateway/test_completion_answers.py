"""What is read of a language model's answer while it passes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.completions.answers import MOST_EVENT_BYTES, Events, Reading

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"late"},"finish_reason":null}]}\n\n'
CALL = b'data: {"choices":[{"delta":{"role":"assistant","tool_calls":[{"index":0}]},"finish_reason":"tool_calls"}]}\n\n'
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


@given(
    st.lists(st.sampled_from([ROLE, TOKEN, COUNTS, DONE, b": a comment\n\n", b"data: a\r\ndata: b\r\n\r\n"]), max_size=6),
    st.lists(st.integers(0, 1000), max_size=20),
    st.sampled_from([b"", b"data: {", b"\n", b"\r\n\r"]),
)
def test_wherever_a_stream_is_cut_its_events_are_the_same(events: list[bytes], places: list[int], rest: bytes) -> None:
    reader, found = Events(), []
    for piece in cut(b"".join(events) + rest, places):
        found += reader.feed(piece)
    assert found == events
    assert reader.rest() == rest


def test_an_event_that_never_ends_is_none() -> None:
    reader = Events()
    assert list(reader.feed(b"x" * MOST_EVENT_BYTES)) == []
    with pytest.raises(ValueError, match="bytes"):
        list(reader.feed(b"x"))


def test_the_role_is_no_token_and_what_follows_is() -> None:
    for first, begun in ((ROLE, False), (TOKEN, True), (CALL, True)):
        reading = Reading()
        assert not reading.event(first)
        assert reading.begun is begun


def test_the_event_of_the_counts_is_told_from_counts_beside_a_token() -> None:
    reading = Reading()
    assert reading.event(COUNTS)
    assert (reading.prompt_tokens, reading.completion_tokens) == (7, 4)
    assert not reading.event(TOKEN.replace(b"}\n", b',"usage":{"prompt_tokens":8,"completion_tokens":1}}\n'))
    assert not reading.event(TOKEN.replace(b"}\n", b',"usage":null}\n'))
    assert reading.prompt_tokens == 8


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls"), ("eos", "other"), ("abort", "other")],
)
def test_the_reason_of_an_end_is_one_of_a_few(reason: str, finish: str) -> None:
    reading = Reading()
    reading.whole(b'{"choices":[{"finish_reason":"%s","message":{"content":"x"}}]}' % reason.encode())
    assert reading.finish == finish


@pytest.mark.parametrize(
    "strange",
    [b"", b"data: \n\n", b"data: {\n\n", b"event: x\n\n", b"data: 7\n\n", b'data: {"choices":7}\n\n', b"data: \xff\n\n"],
)
def test_what_is_not_understood_teaches_nothing(strange: bytes) -> None:
    reading = Reading()
    assert not reading.event(strange)
    assert (reading.begun, reading.failed, reading.done, reading.prompt_tokens) == (False, False, False, None)


def test_impossible_counts_are_none() -> None:
    reading = Reading()
    reading.whole(b'{"usage":{"prompt_tokens":-1,"completion_tokens":99999999999}}')
    assert (reading.prompt_tokens, reading.completion_tokens) == (None, None)


@pytest.mark.parametrize("error", [b'{"error":{"message":"x","code":500}}', b'{"error":"x"}'])
def test_a_failure_in_a_stream_is_noticed(error: bytes) -> None:
    reading = Reading()
    reading.event(b"data: " + error + b"\n\n")
    assert reading.failed
    reading.event(DONE)
    assert reading.done
