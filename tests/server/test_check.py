"""What a model takes, decided before anything is queued."""

import numpy as np
import pytest

from headrace.datatypes import Datatype
from headrace.errors import BadRequest
from headrace.models import ModelId, ModelMetadata, TensorSpec
from headrace.padding import Mask, Padded, Padding
from headrace.requests import RequestedOutput
from server.check import RequestCheck

A = TensorSpec("a", Datatype.FP32, (-1, 2))
B = TensorSpec("b", Datatype.INT64, (-1,))
OPTIONAL = TensorSpec("o", Datatype.FP32, (-1, 1), optional=True)
FREE = TensorSpec("f", Datatype.BYTES, (-1, -1, 3))
SCALAR = TensorSpec("s", Datatype.FP32, ())
FIXED = TensorSpec("x", Datatype.FP32, (1, 4))
OUTPUTS = (TensorSpec("y", Datatype.FP32, (-1, 2)), TensorSpec("z", Datatype.FP32, (-1,)))


def check_of(*inputs, batchable=True):
    return RequestCheck(ModelMetadata(ModelId("m", 1), "onnxruntime_onnx", inputs, OUTPUTS, batchable))


def zeros(spec, *shape):
    return {spec.name: np.zeros(shape, spec.datatype.numpy)}


@pytest.mark.parametrize(
    ("inputs", "given", "rows"),
    [
        ((A,), zeros(A, 3, 2), 3),
        ((A,), zeros(A, 0, 2), 0),
        ((A, B), zeros(A, 3, 2) | zeros(B, 3), 3),
        ((A, B), zeros(B, 3) | zeros(A, 3, 2), 3),
        ((A, OPTIONAL), zeros(A, 3, 2), 3),
        ((A, OPTIONAL), zeros(A, 3, 2) | zeros(OPTIONAL, 3, 1), 3),
        ((FREE,), zeros(FREE, 2, 9, 3), 2),
    ],
)
def test_request_that_fits_has_as_many_rows_as_its_first_axis(inputs, given, rows):
    assert check_of(*inputs).check(given)[0] == rows


@pytest.mark.parametrize(
    ("spec", "shape"), [(SCALAR, ()), (FIXED, (1, 4)), (A, (5, 2))], ids=["scalar", "fixed", "free"]
)
def test_request_of_an_unbatched_model_is_one_row(spec, shape):
    assert check_of(spec, batchable=False).check(zeros(spec, *shape)) == (1, ())


@pytest.mark.parametrize(
    ("inputs", "given", "sentence"),
    [
        ((A,), {}, r"model 'm' needs input 'a', which the request lacks"),
        ((A, B), {}, r"needs input 'a', 'b', which"),
        ((A, B), zeros(A, 1, 2), r"needs input 'b', which"),
        ((A, OPTIONAL), zeros(OPTIONAL, 1, 1), r"needs input 'a', which"),
        ((A, B), zeros(A, 1, 2) | zeros(SCALAR), r"model 'm' has no input 's'; its inputs are 'a', 'b'"),
        ((A,), {"a": np.zeros((1, 2), np.float64)}, r"input 'a' of model 'm' is FP32, the request has FP64"),
        ((FREE,), {"f": np.zeros((1, 1, 3), np.uint8)}, r"input 'f' of model 'm' is BYTES, the request has UINT8"),
        ((A,), zeros(A, 1, 3), r"input 'a' of model 'm' has shape \[-1, 2\] \(-1 is free\), the request has \[1, 3\]"),
        ((A,), zeros(A, 2), r"shape \[-1, 2\] \(-1 is free\), the request has \[2\]"),
        ((A,), zeros(A), r"the request has \[\]"),
        ((A,), zeros(A, 1, 2, 1), r"the request has \[1, 2, 1\]"),
        ((SCALAR,), zeros(SCALAR, 1), r"input 's' of model 'm' has shape \[\] .* the request has \[1\]"),
        ((FIXED,), zeros(FIXED, 2, 4), r"has shape \[1, 4\] .* the request has \[2, 4\]"),
        ((FREE,), zeros(FREE, 2, 9, 4), r"has shape \[-1, -1, 3\] .* the request has \[2, 9, 4\]"),
        (
            (A, B),
            zeros(A, 3, 2) | zeros(B, 2),
            r"of model 'm' must have equally many rows: 'a' has 3, 'b' has 2",
        ),
        ((A, B), zeros(A, 0, 2) | zeros(B, 2), r"equally many rows: 'a' has 0, 'b' has 2"),
        ((A, B), zeros(A, 1, 2) | zeros(B), r"input 'b' .* the request has \[\]"),
    ],
)
def test_request_that_does_not_fit_is_refused_with_the_reason(inputs, given, sentence):
    batchable = all(spec.shape and spec.shape[0] == -1 for spec in inputs)
    with pytest.raises(BadRequest, match=sentence):
        check_of(*inputs, batchable=batchable).check(given)


def test_requests_share_a_batch_only_if_their_rows_fit_together():
    free, optional = check_of(FREE), check_of(A, OPTIONAL)
    key = lambda check, given: check.check(given)[1]  # noqa: E731 - a name for what is compared

    assert key(free, zeros(FREE, 1, 9, 3)) == key(free, zeros(FREE, 5, 9, 3))
    assert key(free, zeros(FREE, 1, 9, 3)) != key(free, zeros(FREE, 1, 8, 3))
    assert key(optional, zeros(A, 1, 2)) != key(optional, zeros(A, 1, 2) | zeros(OPTIONAL, 1, 1))
    assert key(optional, zeros(A, 1, 2) | zeros(OPTIONAL, 1, 1)) == key(
        optional, zeros(OPTIONAL, 2, 1) | zeros(A, 2, 2)
    )
    assert key(check_of(A, B), zeros(A, 1, 2) | zeros(B, 1)) == ()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["w"], r"model 'm' has no output 'w'; its outputs are 'y', 'z'"),
        (["y", "y"], r"output 'y' is requested twice"),
        (["y", ""], r"has no output ''"),
    ],
)
def test_outputs_that_are_not_there_or_twice_are_refused(names, sentence):
    with pytest.raises(BadRequest, match=sentence):
        check_of(A).check_outputs([RequestedOutput(name) for name in names])


def test_outputs_may_be_asked_for_in_any_order():
    check_of(A).check_outputs([RequestedOutput("z"), RequestedOutput("y")])


IDS, MASK = TensorSpec("ids", Datatype.INT64, (-1, -1)), TensorSpec("mask", Datatype.BOOL, (-1, -1))
FRAMES = TensorSpec("frames", Datatype.FP32, (-1, 80, -1))
PADDING = Padding({"ids": Padded(1, 0), "mask": Padded(1, False)}, {}, Mask("mask", True))


def padded_check(padding, *inputs):
    return RequestCheck(ModelMetadata(ModelId("m", 1), "onnxruntime_onnx", inputs, OUTPUTS, True, padding))


def test_requests_of_a_padded_model_differ_in_length_and_not_in_key():
    check = padded_check(PADDING, IDS, MASK)
    five, nine = (zeros(IDS, 2, length) | zeros(MASK, 2, length) for length in (5, 9))
    assert check.check(five)[0] == 2
    assert check.line(five) == (5, (("ids", ()), ("mask", ())))
    assert check.line(nine) == (9, (("ids", ()), ("mask", ())))


def test_what_is_not_padded_stays_in_the_key():
    check = padded_check(Padding({"frames": Padded(2, 0.0)}, {}), FRAMES, FREE, OPTIONAL)
    given = zeros(FRAMES, 1, 80, 7) | zeros(FREE, 1, 4, 3)
    assert check.line(given) == (7, (("f", (4, 3)), ("frames", (80,))))
    assert check.line(given | zeros(OPTIONAL, 1, 1))[1] != check.line(given)[1]


@pytest.mark.parametrize("given", [zeros(IDS, 1, 5) | zeros(MASK, 1, 1), zeros(IDS, 1, 0) | zeros(MASK, 1, 0)])
def test_requests_without_a_common_length_share_batches_with_their_like_only(given):
    check = padded_check(PADDING, IDS, MASK)
    assert check.line(given) == (0, (("ids", given["ids"].shape[1:]), ("mask", given["mask"].shape[1:])))


def test_a_mask_that_is_not_sent_is_put_in_and_says_that_all_is_real():
    given = zeros(IDS, 2, 3)
    padded_check(PADDING, IDS, MASK).check(given)
    assert given["mask"].dtype == bool
    assert given["mask"].tolist() == [[True] * 3] * 2


def test_a_mask_alone_is_not_enough():
    with pytest.raises(BadRequest, match="needs input 'ids', which the request lacks"):
        padded_check(PADDING, IDS, MASK).check(zeros(MASK, 1, 3))


def test_without_padding_nothing_is_put_in():
    with pytest.raises(BadRequest, match="needs input 'mask', which the request lacks"):
        padded_check(None, IDS, MASK).check(zeros(IDS, 1, 3))
