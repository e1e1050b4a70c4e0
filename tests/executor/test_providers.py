"""Tables for the choice of execution providers."""

import pytest

from executor.providers import choose, device, full_name, is_asked, kind_of, left_out, placed
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


CUDA_1 = Provider(name="cuda", options={"device_id": 1})


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ((), None, ()),
        (("openvino", "cpu"), None, ("openvino", "cpu")),
        ((), "cpu", (Provider(name="cpu"),)),
        (("openvino",), "cpu", (Provider(name="openvino"),)),
        ((), "cuda:1", (CUDA_1,)),
        (("cuda",), "cuda:1", (CUDA_1,)),
        (
            ("CUDAExecutionProvider", "cpu"),
            "cuda:1",
            (Provider(name="CUDAExecutionProvider", options={"device_id": 1}), Provider(name="cpu")),
        ),
        (("tensorrt", "cuda"), "cuda:1", (Provider(name="tensorrt", options={"device_id": 1}), CUDA_1)),
        ((Provider(name="cuda", options={"device_id": "1"}),), "cuda:1", (CUDA_1,)),
        (("cuda",), "cuda", (Provider(name="cuda"),)),
    ],
)
def test_providers_are_told_their_device(asked, device, expected):
    assert placed(asked, device) == expected


@pytest.mark.parametrize(
    ("asked", "device", "words"),
    [
        (("cpu",), "cuda:1", "expected an execution provider that computes there, found cpu"),
        (("cuda",), "cpu", "expected an execution provider that computes there, found cuda"),
        ((Provider(name="cuda", options={"device_id": 0}),), "cuda:1", "execution provider cuda is told device_id 0"),
        ((), "cpu:1", "expected cpu, or a device with a number that is its own, such as cuda:1"),
        ((), "cdua:1", "did you mean 'cuda'?"),
    ],
)
def test_a_device_that_contradicts_the_providers_is_refused(asked, device, words):
    with pytest.raises(LoadFailed) as refused:
        placed(asked, device)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "full", "name"),
    [
        ((), "CPUExecutionProvider", "cpu"),
        (("openvino",), "OpenVINOExecutionProvider", "cpu"),
        ((), "CUDAExecutionProvider", "cuda:0"),
        ((CUDA_1,), "CUDAExecutionProvider", "cuda:1"),
        ((Provider(name="trt", options={"device_id": 1}),), "TensorrtExecutionProvider", "cuda:1"),
        ((), "MIGraphXExecutionProvider", "rocm:0"),
        ((), "DmlExecutionProvider", "directml:0"),
        ((), "SomethingNewExecutionProvider", "SomethingNewExecutionProvider:0"),
    ],
)
def test_providers_of_the_same_hardware_have_the_same_device(asked, full, name):
    assert device(asked, full) == name
