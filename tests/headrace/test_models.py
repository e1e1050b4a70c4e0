import pytest

from headrace.datatypes import Datatype
from headrace.models import ModelId, ModelMetadata, TensorSpec


def test_an_id_reads_as_name_and_version():
    assert str(ModelId("digits", 3)) == "digits/3"


def test_ids_sort_by_name_then_by_number():
    ids = [ModelId("b", 1), ModelId("a", 10), ModelId("a", 9)]
    assert sorted(ids) == [ModelId("a", 9), ModelId("a", 10), ModelId("b", 1)]


FIXED = TensorSpec("x", Datatype.FP32, (-1, 3, 2))
FREE = TensorSpec("y", Datatype.INT64, (-1, -1))
TEXT = TensorSpec("z", Datatype.BYTES, (-1, 4))
OPTIONAL = TensorSpec("o", Datatype.FP16, (-1, 5), optional=True)
SCALAR = TensorSpec("s", Datatype.INT64, ())


@pytest.mark.parametrize(
    ("inputs", "batchable", "least"),
    [
        ((FIXED,), True, 24),
        ((FIXED, FREE, TEXT, OPTIONAL), True, 24),
        ((FREE,), True, 0),
        ((SCALAR,), False, 8),
        ((FIXED, SCALAR), False, 8),
    ],
)
def test_a_row_has_at_least_the_bytes_of_what_is_fixed_and_needed(inputs, batchable, least):
    assert ModelMetadata(ModelId("m", 1), "", inputs, (), batchable).row_bytes == least
