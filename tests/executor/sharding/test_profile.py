import pytest
import sharded_models

from executor.sharding.profile import profile
from executor.sharding.shapes import Sizes
from headrace.errors import LoadFailed


@pytest.mark.parametrize("model", [sharded_models.branches, sharded_models.control_flow, sharded_models.quantised])
def test_every_node_that_runs_is_measured(source, model):
    read = source(model())
    measured = profile(read, Sizes(2))
    assert len(measured) == len(read.graph.nodes)
    for node, seconds in zip(read.graph.nodes, measured, strict=True):
        assert (seconds > 0) != read.graph.constant.issuperset(node.makes), node


def test_names_in_the_file_are_no_obstacle(source):
    """Nodes of one name, or of none."""
    proto = sharded_models.ModelProto.FromString(sharded_models.layers())
    for node in proto.graph.node:
        node.name = "same"
    assert all(profile(source(proto.SerializeToString()), Sizes(2)))


def test_a_model_that_does_not_run_is_refused_by_name(source):
    proto = sharded_models.ModelProto.FromString(sharded_models.layers())
    proto.graph.node[0].op_type = "Nonsense"
    read = source(proto.SerializeToString())
    with pytest.raises(LoadFailed, match=r"model\.onnx cannot be profiled: "):
        profile(read, Sizes(2))
