"""Tables for the choice of execution providers."""

import pytest

from executor.providers import choose, full_name, is_asked, kind_of, left_out
from headrace.config import Provider
from headrace.errors import LoadFailed

CPU, CUDA, TRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
GUESSING = {"cudnn_conv_algo_search": "HEURISTIC"}
AZURE, OPENVINO = "AzureExecutionProvider", "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("asked", "available", "expected"),
    [
        ((), (CPU,), [CPU]),
        ((), (AZURE, CPU), [CPU]),  # never a remote service that nobody asked for
        ((), (CUDA, CPU), [CUDA, CPU]),
        ((), (TRT, CUDA, CPU), [CUDA, CPU]),  # TensorRT only by name
        ((), ("CoreMLExecutionProvider", CPU), [CPU]),
        ((), (OPENVINO, CPU), [OPENVINO, CPU]),
        (("cpu",), (CUDA, CPU), [CPU]),
        (("CUDA",), (CUDA, CPU), [CUDA, CPU]),
        (("cuda", "cpu"), (CUDA, CPU), [CUDA, CPU]),
        (("cpu", "cuda"), (CUDA, CPU), [CPU, CUDA]),  # the operator's order stands
        ((CUDA,), (CUDA, CPU), [CUDA, CPU]),
        (("gpu",), (CUDA, CPU), [CUDA, CPU]),
        (("dml",), ("DmlExecutionProvider", CPU), ["DmlExecutionProvider", CPU]),
        (("tensorrt",), (TRT, CUDA, CPU), [TRT, CUDA, CPU]),  # what it cannot compile stays on the GPU
        (("tensorrt", "cuda"), (TRT, CUDA, CPU), [TRT, CUDA, CPU]),
        (("tensorrt",), (TRT, CPU), [TRT, CPU]),
        (("azureexecutionprovider",), (AZURE, CPU), [AZURE, CPU]),  # by name, if it must be
        (("BrandNewExecutionProvider",), ("BrandNewExecutionProvider", CPU), ["BrandNewExecutionProvider", CPU]),
    ],
)
def test_choice(asked, available, expected):
    assert [name for name, _ in choose(asked, available)] == expected


def test_options_reach_the_runtime_as_text():
    asked = [Provider(name="cuda", options={"device_id": 1, "use_tf32": False, "arena_extend_strategy": "kSame"})]
    assert choose(asked, (CUDA, CPU)) == [
        (CUDA, GUESSING | {"device_id": "1", "use_tf32": "False", "arena_extend_strategy": "kSame"}),
        (CPU, {}),
    ]


@pytest.mark.parametrize("asked", [(), ("cuda",), ("tensorrt",)])
def test_convolutions_are_guessed_unless_somebody_wants_them_searched(asked):
    assert (CUDA, GUESSING) in choose(asked, (TRT, CUDA, CPU))
    searching = Provider(name="cuda", options={"cudnn_conv_algo_search": "EXHAUSTIVE"})
    assert choose([searching], (CUDA, CPU))[0] == (CUDA, {"cudnn_conv_algo_search": "EXHAUSTIVE"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cuda", ["'cuda'", CUDA, f"available: {CPU}", "onnxruntime-gpu", "headrace[gpu]"]),
        ("openvino", [OPENVINO, "onnxruntime-openvino"]),
        ("rocm", ["onnxruntime-rocm"]),
        ("directml", ["onnxruntime-directml"]),
        ("TensorrtExecutionProvider", ["onnxruntime-gpu", "TensorRT"]),
        ("cudda", ["unknown execution provider 'cudda'", "did you mean 'cuda'?"]),
        ("zzz", ["unknown execution provider 'zzz'", "known short names: cpu, cuda"]),
    ],
)
def test_named_and_missing_says_what_brings_it(name, words):
    with pytest.raises(LoadFailed) as caught:
        full_name(name, (CPU,))
    for word in words:
        assert word in str(caught.value)


def test_one_missing_among_several_is_still_an_error():
    with pytest.raises(LoadFailed, match="CUDAExecutionProvider"):
        choose(("cuda", "cpu"), (CPU,))


def test_a_provider_named_twice_is_refused():
    with pytest.raises(LoadFailed, match="twice"):
        choose(("cuda", CUDA), (CUDA, CPU))


def test_silent_fallback_of_the_runtime_is_noticed():
    chosen = choose((), (CUDA, CPU))
    assert left_out(chosen, [CPU]) == [CUDA]
    assert left_out(chosen, [CUDA, CPU]) == []
    assert is_asked(["cuda"], CUDA)
    assert is_asked([Provider(name=CUDA)], CUDA)
    assert not is_asked([], CUDA)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cpu", "cpu"), ("openvino", "cpu"), (CPU, "cpu"), ("cuda", "cuda"), ("GPU", "cuda"), ("trt", "tensorrt")],
)
def test_kinds_are_known_whether_installed_or_not(name, kind):
    assert kind_of(name) == kind


def test_an_unknown_kind_is_refused():
    with pytest.raises(LoadFailed, match=r"unknown execution provider 'cudda'; did you mean 'cuda'\?"):
        kind_of("cudda")
