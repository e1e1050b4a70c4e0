import pytest

from headrace.batching import BatchingLimits
from headrace.config import Instances, Latest
from headrace.datatypes import Datatype
from headrace.errors import ConfigError, RepositoryError
from headrace.models import TensorSpec
from model_repo.pbtxt import DATATYPES, parse

WHERE = "m/config.pbtxt"
TENSORS = """
input [{ name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] }, { name: "w" data_type: TYPE_STRING dims: 1 optional: true }]
output { name: "y" data_type: TYPE_INT64 dims: [ 10 ] label_filename: "labels.txt" }
"""


def test_a_usual_file_is_read_whole():
    found = parse(
        """
        name: "m"
        platform: "onnxruntime_onnx"  # a comment
        backend: "onnxruntime"
        max_batch_size: 16
        version_policy: { specific: { versions: [ 1, 3 ] } }
        dynamic_batching { max_queue_delay_microseconds: 250 default_queue_policy {
          max_queue_size: 100 default_timeout_microseconds: 1500 allow_timeout_override: true } }
        instance_group [{ count: 2 kind: KIND_CPU }]
        default_model_filename: "net.onnx"
        parameters { key: "intra_op_thread_count" value: { string_value: "4" } }
        optimization { execution_accelerators { cpu_execution_accelerator: [ { name: "openvino" } ] } }
        """
        + TENSORS,
        WHERE,
        "m",
    )
    config = found.config
    limits = BatchingLimits(
        enabled=True, max_batch_rows=16, max_queue_delay_ms=0.25, max_queue_rows=100, default_timeout_ms=1.5
    )
    assert config.batching == limits
    assert config.instances == Instances(count=2, threads=4)
    assert config.versions == (1, 3)
    assert config.execution_providers == ("openvino", "cpu")
    assert config.labels == {"y": "labels.txt"}
    assert found.model_filename == "net.onnx"
    assert found.inputs == (
        TensorSpec("x", Datatype.FP32, (-1, 3, -1)),
        TensorSpec("w", Datatype.BYTES, (-1, 1), optional=True),
    )
    assert found.outputs == (TensorSpec("y", Datatype.INT64, (-1, 10)),)


@pytest.mark.parametrize(
    ("text", "enabled", "shapes"),
    [
        ("", "auto", []),
        ("max_batch_size: 0", "auto", []),  # cannot be told from its absence
        (TENSORS, False, [(3, -1), (1,)]),  # the declared dims are whole shapes
        ("max_batch_size: 8", True, []),
        ("max_batch_size: 8" + TENSORS, True, [(-1, 3, -1), (-1, 1)]),
    ],
)
def test_max_batch_size_says_whether_dims_are_whole_shapes(text, enabled, shapes):
    found = parse(text, WHERE, "m")
    assert found.config.batching.enabled == enabled
    assert [tensor.shape for tensor in found.inputs] == shapes


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", Latest(latest=1)),
        ("version_policy { latest { num_versions: 2 } }", Latest(latest=2)),
        ("version_policy { latest { } }", Latest(latest=1)),
        ("version_policy { all { } }", "all"),
        ("version_policy { specific { versions: 7 } }", (7,)),
    ],
)
def test_version_policies(policy, versions):
    assert parse(policy, WHERE, "m").config.versions == versions


def test_priorities_are_read():
    text = "max_batch_size: 8 dynamic_batching { priority_levels: 5 default_priority_level: 3 }"
    batching = parse(text, WHERE, "m").config.batching
    assert (batching.priority_levels, batching.default_priority, batching.level) == (5, 3, 3)


TENSORRT = "optimization { execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } } }"
OPENVINO = "optimization { execution_accelerators { cpu_execution_accelerator { name: 'openvino' } } }"


@pytest.mark.parametrize(
    ("text", "providers"),
    [
        ("", ()),
        ("instance_group { count: 1 }", ()),
        ("instance_group { kind: KIND_AUTO }", ()),
        ("instance_group { kind: KIND_CPU }", ("cpu",)),
        ("instance_group { kind: KIND_GPU }", ("cuda",)),
        ("instance_group { kind: KIND_GPU }" + TENSORRT, ("tensorrt", "cuda")),
        ("instance_group { kind: KIND_CPU }" + TENSORRT, ("cpu",)),  # a GPU's accelerator is not for the CPU
        (TENSORRT, ("tensorrt", "cuda")),
        (OPENVINO, ("openvino", "cpu")),
    ],
)
def test_instance_kind_and_accelerators_become_execution_providers(text, providers):
    assert parse(text, WHERE, "m").config.execution_providers == providers


def test_every_datatype_of_tritons_has_one_of_ours():
    assert set(DATATYPES.values()) == set(Datatype)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("sequence_batching { }", "sequence_batching"),
        ("ensemble_scheduling { step { model_name: 'a' } }", "ensemble_scheduling"),
        ("dynamic_batching { preferred_batch_size: [ 4, 8 ] }", "dynamic_batching.preferred_batch_size"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } preserve_ordering: true }",
            "dynamic_batching.preserve_ordering, dynamic_batching.default_queue_policy.timeout_action",
        ),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { } } }",
            "dynamic_batching.priority_queue_policy[1]",
        ),
        ("input { name: 'x' reshape { shape: 1 } format: FORMAT_NHWC }", "input.format, input.reshape"),
        ("instance_group { gpus: [ 0 ] name: 'g' }", "instance_group.name, instance_group.gpus"),
        ("parameters { key: 'b' value { string_value: '1' } }", "parameters[b]"),
        (
            "parameters { key: 'b' value { } } parameters { key: 'a' value { } } model_warmup { name: 'w' }",
            "parameters[a], parameters[b], model_warmup",
        ),
        ("metric_tags { key: 'a' value: 'b' }", "metric_tags[a]"),
        ("response_cache { enable: true }", "response_cache"),
        (
            TENSORRT.replace("'tensorrt'", "'tensorrt' parameters { key: 'precision_mode' value: 'FP16' }"),
            "optimization.execution_accelerators.gpu_execution_accelerator.parameters[precision_mode]",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_its_full_name(text, refused):
    with pytest.raises(RepositoryError) as caught:
        parse(text, WHERE, "m")
    said = str(caught.value).removeprefix("m/config.pbtxt: not supported: ").split(", ")
    assert sorted(said) == sorted(refused.split(", "))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('name: "m"\nmax_batch: 3\n', RepositoryError, 'm/config.pbtxt: line 2: .*no field named "max_batch"'),
        ("input {\n name: }", RepositoryError, "m/config.pbtxt: line 2: .*Expected string"),
        ("max_batch_size: 99999999999", RepositoryError, "line 1: .*out of range"),
        ("name: 'other'", RepositoryError, "name is 'other', expected 'm'"),
        ("platform: 'tensorflow_savedmodel'", RepositoryError, "expected 'onnxruntime_onnx'"),
        ("backend: 'python'", RepositoryError, "backend is 'python', expected 'onnxruntime'"),
        ("max_batch_size: -1", RepositoryError, "max_batch_size is -1"),
        ("max_batch_size: 1000000", ConfigError, "m/config.pbtxt: 'batching.max_batch_rows'.*found 1000000"),
        ("default_model_filename: '../x.onnx'", RepositoryError, "expected the name of a file"),
        ("default_model_filename: '..'", RepositoryError, "expected the name of a file"),
        ("input { name: 'x' dims: 1 }", RepositoryError, "data_type of 'x' is missing"),
        ("input { name: 'x' data_type: 99 dims: 1 }", RepositoryError, "data_type of 'x' is missing or unknown"),
        ("input { data_type: TYPE_FP32 }", RepositoryError, "has no name"),
        ("input { name: 'x' data_type: TYPE_FP32 dims: [ 0 ] }", RepositoryError, r"dims of 'x' are \[0\]"),
        ("instance_group { kind: KIND_MODEL }", RepositoryError, "not supported: instance_group.kind"),
        ("instance_group { count: -1 }", ConfigError, "'instances.count'"),
        ("instance_group [{ count: 1 }, { count: 2 }]", RepositoryError, "2 entries of instance_group"),
        (TENSORRT.replace("tensorrt", "magic"), RepositoryError, "'magic', expected tensorrt"),
        (
            "parameters { key: 'intra_op_thread_count' value { string_value: 'many' } }",
            RepositoryError,
            r"parameters\[intra_op_thread_count\] is 'many', expected a number",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_file_place_and_reason(text, kind, message):
    with pytest.raises(kind, match=message):
        parse(text, WHERE, "m")
