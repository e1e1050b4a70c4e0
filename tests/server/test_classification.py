"""The best classes of an output, as Triton words them."""

import numpy as np
import pytest

from headrace.datatypes import Datatype
from headrace.errors import BadRequest
from headrace.models import ModelId, ModelMetadata, TensorSpec
from headrace.requests import RequestedOutput
from server.classification import chosen_form, classify


def best(values, count=2, labels=(), batched=True, dtype=np.float32):
    return classify("y", np.array(values, dtype), count, labels, batched=batched).tolist()


def test_best_classes_come_first_with_value_index_and_label():
    assert best([[0.25, 0.5, 0.125]], labels=("cat", "dog", "eel")) == [["0.500000:1:dog", "0.250000:0:cat"]]


def test_every_row_has_its_own_classes():
    assert best([[1, 2], [2, 1]], count=1) == [["2.000000:1"], ["2.000000:0"]]


def test_equal_values_keep_the_order_of_their_indices():
    assert best([[1, 1, 1]], count=3) == [["1.000000:0", "1.000000:1", "1.000000:2"]]


def test_more_classes_than_there_are_gives_all():
    assert best([[1, 2]], count=2**62) == [["2.000000:1", "1.000000:0"]]


def test_class_without_a_label_has_none():
    assert best([[1, 2, 3]], count=3, labels=("only",)) == [["3.000000:2", "2.000000:1", "1.000000:0:only"]]


def test_unbatched_output_is_one_list():
    assert best([1, 3, 2], batched=False) == ["3.000000:1", "2.000000:2"]
    assert best(5, batched=False) == ["5.000000:0"]


def test_classes_of_more_axes_count_through_the_row():
    assert best([[[1, 2], [4, 3]]]) == [["4.000000:2", "3.000000:3"]]


def test_nan_is_never_among_the_best():
    assert best([[np.nan, 1, np.inf, -np.inf]], count=3) == [["inf:2", "1.000000:1", "-inf:3"]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, Datatype.BF16.numpy])
def test_every_kind_of_number_has_classes(dtype):
    assert best([[1, 3, 2]], dtype=dtype) == [["3.000000:1", "2.000000:2"]]


def test_smallest_integer_is_the_last():
    assert best([[-128, 127, 0]], dtype=np.int8) == [["127.000000:1", "0.000000:2"]]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_rows_or_no_classes_give_no_strings(shape):
    assert classify("y", np.zeros(shape, np.float32), 2, (), batched=True).size == 0


@pytest.mark.parametrize(("dtype", "name"), [(object, "BYTES"), (bool, "BOOL")])
def test_what_are_no_numbers_has_no_classes(dtype, name):
    with pytest.raises(BadRequest, match=f"output 'y' is {name}: classification needs numbers"):
        classify("y", np.zeros((1, 2), dtype), 1, (), batched=True)


def test_output_keeps_its_form_unless_classes_are_asked_for():
    spec = TensorSpec("y", Datatype.FP32, (-1, 2), labels=("no", "yes"))
    metadata = ModelMetadata(ModelId("m", 1), "onnxruntime_onnx", (spec,), (spec,), batchable=True)
    output = np.array([[1, 2]], np.float32)

    assert chosen_form(RequestedOutput("y"), output, metadata) is output
    assert chosen_form(RequestedOutput("y", classification=1), output, metadata).tolist() == [["2.000000:1:yes"]]
