"""What ONNX Runtime 1.32 was seen to say, and what a client reads instead."""

from pathlib import Path

import pytest

from executor.failures import load_failed, readable, run_failed
from headrace.errors import BadRequest, ExecutorFailed, OutOfMemory
from headrace.models import ModelId

NODE = "Non-zero status code returned while running {} node. Name:'{}' Status Message: "
RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("Reshape", "") + "/onnxruntime_src/onnxruntime/core/providers/cpu/"
    "tensor/reshape_helper.h:84 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, "
    "onnxruntime::TensorShapeVector&, bool) size != 0 && (input_shape_size % size) == 0 was false. "
    "The input tensor cannot be reshaped to the requested shape. Input shape:{3}, requested shape:{-1,4}\n"
)
ALLOCATE = (
    "[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("ConstantOfShape", "") + "/onnxruntime_src/onnxruntime/core/"
    "framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
    "Failed to allocate memory for requested buffer of size 4398046511104\n"
)
SMALL_ARENA = (
    "[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("Conv", "") + "/onnxruntime_src/onnxruntime/core/framework/"
    "bfc_arena.cc:402 AllocateRawInternal Available memory of 19968 is smaller than requested bytes of 1572864"
)
GATHER = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : " + NODE.format("Gather", "") + "indices element out of data bounds, "
    "idx=9 must be within the inclusive range [-4,3]"
)
RANK = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the following indices\n "
    "index: 1 Got: 63 Expected: 64\n Please fix either the inputs/outputs or the model."
)
NESTED = (
    "[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("ConstantOfShape", "zeros") + "/onnxruntime_src/onnxruntime/core/"
    "framework/op_kernel.cc:87 virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int, const onnxruntime::"
    "TensorShape&) [ONNXRuntimeError] : 1 : FAIL : tensor.cc:57 CalculateTensorStorageSize Tensor shape.Size() must "
    "be >= 0\n"
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (GATHER, "node Gather: indices element out of data bounds, idx=9 must be within the inclusive range [-4,3]"),
        (
            RESHAPE,
            "node Reshape: The input tensor cannot be reshaped to the requested shape. "
            "Input shape:{3}, requested shape:{-1,4}",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("MatMul", "") + "matmul_helper.h:59 Compute MatMul "
            "dimension mismatch",
            "node MatMul: MatMul dimension mismatch",
        ),
        (RANK, "Got invalid dimensions for input: x for the following indices index: 1 Got: 63 Expected: 64"),
        (NESTED, "node ConstantOfShape 'zeros': Tensor shape.Size() must be >= 0"),
        (ALLOCATE, "node ConstantOfShape: Failed to allocate memory for requested buffer of size 4398046511104"),
        ("", "no reason given"),
        ("plain words.", "plain words"),
    ],
)
def test_sentences_lose_codes_paths_and_signatures(said, expected):
    assert readable(said) == expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError(GATHER), BadRequest),
        (RuntimeError(RANK), BadRequest),
        (RuntimeError(RESHAPE), BadRequest),  # FAIL, but a node refused this request's shapes
        (RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : " + NODE.format("Cast", "") + "stod"), BadRequest),
        (RuntimeError(ALLOCATE), OutOfMemory),
        (RuntimeError(SMALL_ARENA), OutOfMemory),
        (RuntimeError("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0"), OutOfMemory),
        (RuntimeError("[ONNXRuntimeError] : 1 : FAIL : CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"), OutOfMemory),
        (RuntimeError(NODE.format("Conv", "") + "CUDNN_STATUS_ALLOC_FAILED"), OutOfMemory),
        (
            RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : " + NODE.format("Loop", "") + "std::bad_alloc"),
            OutOfMemory,
        ),
        (RuntimeError("[ONNXRuntimeError] : 1 : FAIL : CUDA_ERROR_OUT_OF_MEMORY"), OutOfMemory),
        (
            RuntimeError("[ONNXRuntimeError] : 1 : FAIL : " + NODE.format("Conv", "") + "CUDNN failure 8"),
            ExecutorFailed,
        ),
        (RuntimeError("[ONNXRuntimeError] : 11 : EP_FAIL : the device is gone"), ExecutorFailed),
        (RuntimeError("[ONNXRuntimeError] : 1 : FAIL : something else"), ExecutorFailed),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), BadRequest),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ExecutorFailed),
        (MemoryError(), OutOfMemory),
    ],
)
def test_the_request_is_to_blame_only_for_its_values(error, kind):
    failure = run_failed(ModelId("m", 3), error)
    assert type(failure) is kind
    assert "m/3" in str(failure)


def test_load_failures_name_the_file_and_say_what_is_wrong_with_it():
    said = (
        "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /r/m/1/model.onnx failed:Protobuf parsing failed."
    )
    failure = load_failed(ModelId("m", 1), Path("/r/m/1/model.onnx"), RuntimeError(said))
    assert str(failure) == (
        "model m/1: /r/m/1/model.onnx cannot be loaded: Protobuf parsing failed "
        "(the file is not an ONNX model, or not a whole one)"
    )
