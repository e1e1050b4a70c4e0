import numpy as np
import pytest

from headrace.datatypes import BY_NAME, BY_NUMPY, BY_ONNX, Datatype

# V2 name, numpy, ONNX Runtime's type string, bytes per item: the specification's table, written out once more.
TABLE = [
    ("BOOL", "bool", "tensor(bool)", 1),
    ("UINT8", "uint8", "tensor(uint8)", 1),
    ("UINT16", "uint16", "tensor(uint16)", 2),
    ("UINT32", "uint32", "tensor(uint32)", 4),
    ("UINT64", "uint64", "tensor(uint64)", 8),
    ("INT8", "int8", "tensor(int8)", 1),
    ("INT16", "int16", "tensor(int16)", 2),
    ("INT32", "int32", "tensor(int32)", 4),
    ("INT64", "int64", "tensor(int64)", 8),
    ("FP16", "float16", "tensor(float16)", 2),
    ("FP32", "float32", "tensor(float)", 4),
    ("FP64", "float64", "tensor(double)", 8),
    ("BF16", "bfloat16", "tensor(bfloat16)", 2),
    ("BYTES", "object", "tensor(string)", 0),
]


@pytest.mark.parametrize(("name", "numpy", "onnx", "item_bytes"), TABLE)
def test_a_datatype_and_its_names(name, numpy, onnx, item_bytes):
    datatype = BY_NAME[name]
    assert datatype.wire == name
    assert datatype.numpy.name == numpy
    assert datatype.onnx == onnx
    assert datatype.item_bytes == item_bytes
    assert datatype.is_float == ("float" in numpy)


def test_the_table_is_complete():
    assert [name for name, *_ in TABLE] == [datatype.wire for datatype in Datatype]


@pytest.mark.parametrize("names", [BY_NAME, BY_NUMPY, BY_ONNX], ids=["wire", "numpy", "onnx"])
def test_every_name_belongs_to_one_datatype(names):
    assert sorted(names.values(), key=list(Datatype).index) == list(Datatype)


def test_a_name_leads_to_its_datatype_and_back():
    for datatype in Datatype:
        assert BY_NAME[datatype.wire] is datatype
        assert BY_NUMPY[datatype.numpy] is datatype
        assert BY_ONNX[datatype.onnx] is datatype


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", ">f4", ">i8", "U3", "S3", "i4,f4"])
def test_what_has_no_v2_name_is_no_key(dtype):
    assert np.dtype(dtype) not in BY_NUMPY


@pytest.mark.parametrize("datatype", Datatype)
def test_arrays_made_of_it_are_found_again(datatype):
    assert BY_NUMPY[np.zeros(2, datatype.numpy).dtype] is datatype
