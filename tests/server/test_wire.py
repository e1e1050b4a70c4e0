"""Raw tensor bytes: what is written is read again, and nothing else than tensors is."""

import struct

import numpy as np
import pytest
from arrays import arrays_of, same
from hypothesis import given
from hypothesis import strategies as st

from headrace.datatypes import Datatype
from headrace.errors import BadRequest
from server.wire import MAX_RANK, array_over, checked_shape, datatype_named, from_raw, shaped, text, to_raw

FLOAT, BYTES = Datatype.FP32, Datatype.BYTES


def strings(*texts):
    return b"".join(struct.pack("<I", len(each)) + each for each in texts)


@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.value)
def test_every_array_comes_back_from_its_bytes(datatype):
    @given(arrays_of(datatype))
    def check(array):
        back = from_raw("x", datatype, list(array.shape), to_raw(array))
        assert same(back, array)

    check()


@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.value)
def test_any_bytes_and_any_shape_are_a_tensor_or_a_bad_request(datatype):
    sentences = set()

    @given(st.lists(st.integers(-(2**70), 2**70) | st.integers(0, 4), max_size=40), st.binary(max_size=64))
    def check(shape, data):
        try:
            array = from_raw("x", datatype, shape, data)
        except BadRequest as error:
            sentences.add(str(error))
        else:
            assert array.shape == tuple(shape)
            assert array.dtype == datatype.numpy

    check()
    assert all("'x'" in sentence for sentence in sentences)


def test_bytes_are_little_endian_and_row_major():
    assert to_raw(np.array([[1, 2], [3, 4]], "<u2").T) == b"\1\0\3\0\2\0\4\0"
    assert from_raw("x", Datatype.INT16, [1, 2], b"\1\0\xff\xff").tolist() == [[1, -1]]
    assert to_raw(np.array(["é", ""], object)) == b"\2\0\0\0\xc3\xa9\0\0\0\0"


def test_array_is_a_view_on_the_body():
    body = bytearray(struct.pack("<2f", 1, 2))
    array = from_raw("x", FLOAT, [2], memoryview(body))
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


def test_array_that_lies_askew_in_the_body_is_copied():
    body = b"{" + struct.pack("<2d", 1, 2)
    array = from_raw("x", Datatype.FP64, [2], memoryview(body)[1:])
    assert array.flags.aligned
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "sentence"),
    [
        (FLOAT, [2], bytes(7), r"'x' of datatype FP32 and shape \[2\] takes 8 bytes, the request has 7"),
        (FLOAT, [2], bytes(9), r"takes 8 bytes, the request has 9"),
        (FLOAT, [], bytes(0), r"shape \[\] takes 4 bytes, the request has 0"),
        (FLOAT, [1, 2**31], bytes(8), r"takes 8589934592 bytes, the request has 8"),
        (FLOAT, [2**32, 2**32], b"", r"takes 73786976294838206464 bytes, the request has 0"),
        (FLOAT, [2**62, 4], b"", r"takes 73786976294838206464 bytes"),
        (FLOAT, [0, 2**62, 2**62], b"", r"'x' cannot have shape"),
        (FLOAT, [-1], bytes(4), r"'x' has dimension -1 in its shape; dimensions are 0 or more"),
        (FLOAT, [2**64], bytes(4), r"'x' has dimension 18446744073709551616"),
        (FLOAT, [1] * 10_000, bytes(4), r"'x' has 10000 dimensions, at most 32 are possible"),
        (Datatype.BOOL, [2], b"\1\2", r"'x' is BOOL: its bytes must be 0 or 1, found 2"),
        (BYTES, [2], strings(b"a"), r"'x' of shape \[2\] needs 2 strings of at least 4 bytes each, .* has 5 bytes"),
        (BYTES, [2**62], strings(b"a"), r"needs 4611686018427387904 strings"),
        (BYTES, [1], strings(b"a") + b"x", r"holds 1 strings in 5 bytes, the request has 6"),
        (BYTES, [2], strings(b"abcd") + b"\1\0", r"ends in the length of string 1 of 2"),
        (BYTES, [1], b"\5\0\0\0abcd", r"string 0 of tensor 'x' says 5 bytes, only 4 are left"),
        (BYTES, [1], b"\xff\xff\xff\xffabcd", r"string 0 of tensor 'x' says 4294967295 bytes, only 4 are left"),
        (BYTES, [1], strings(b"a\xff"), r"element 0 of tensor 'x' is not UTF-8 text \(invalid start byte at byte 1\)"),
        (BYTES, [0, 2**62, 2**62], b"", r"'x' cannot have shape"),
    ],
)
def test_bytes_that_are_no_such_tensor_are_refused_with_the_reason(datatype, shape, data, sentence):
    with pytest.raises(BadRequest, match=sentence):
        from_raw("x", datatype, shape, data)


@pytest.mark.parametrize("shape", [[0], [0, 5], [3, 0]])
@pytest.mark.parametrize("datatype", [FLOAT, Datatype.BOOL, BYTES], ids=lambda datatype: datatype.value)
def test_empty_tensor_has_its_shape(datatype, shape):
    assert from_raw("x", datatype, shape, b"").shape == tuple(shape)


def test_unknown_datatype_is_refused_with_the_known_ones():
    assert datatype_named("x", "BF16") is Datatype.BF16
    with pytest.raises(BadRequest, match=r"'x' has unknown datatype 'float'; known are BOOL, .*, BYTES"):
        datatype_named("x", "float")


def test_shape_may_have_the_largest_rank():
    assert checked_shape("x", [1] * MAX_RANK) == (1,) * MAX_RANK


def test_shape_that_numpy_cannot_have_is_a_bad_request():
    wild = (0, 2**62, 2**62)
    with pytest.raises(BadRequest, match="'x' cannot have shape"):
        array_over("x", wild, FLOAT, b"")
    with pytest.raises(BadRequest, match="'x' cannot have shape"):
        shaped("x", np.empty(0, object), wild)


def test_text_names_the_element_that_is_none():
    assert text("x", 0, "é".encode()) == "é"
    with pytest.raises(BadRequest, match=r"element 7 of tensor 'x' is not UTF-8 text \(unexpected end of data"):
        text("x", 7, b"\xc3")
