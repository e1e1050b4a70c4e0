import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import sharded_models
from onnx import ModelProto, TensorProto, numpy_helper
from sharding_runs import AS_IT_IS, FUSED, OPTIMISED, inputs_for, on, run_stages, session

from executor.cache import Cache
from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes
from executor.sharding.source import read_source
from executor.sharding.stages import facts_of, stage_models

MODELS = [
    sharded_models.layers,
    sharded_models.branches,
    sharded_models.encoder,
    sharded_models.tied,
    sharded_models.several_outputs,
    sharded_models.optional_input,
    sharded_models.control_flow,
    sharded_models.sequences,
    sharded_models.functions,
    sharded_models.fused_kinds,
    sharded_models.quantised,
    sharded_models.quantised_operators,
    sharded_models.sparse,
]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def whole_and_stages(source, plan, level, rows=3):
    """(what the model gives whole, what its stages give)."""
    file = source.folder / source.files[0][0]
    whole = session(file.read_bytes(), source.folder, level)
    inputs = inputs_for(whole, rows)
    names = [output.name for output in whole.get_outputs()]
    known = run_stages(stage_models(source, plan), source.folder, inputs, level)
    return dict(zip(names, whole.run(None, inputs), strict=True)), {name: known[name] for name in names}


def assert_bitwise(expected, found):
    for name, values in expected.items():
        assert np.asarray(values).tobytes() == np.asarray(found[name]).tobytes(), name


@pytest.mark.parametrize("level", [AS_IT_IS, OPTIMISED], ids=["as it is", "optimised"])
@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("model", MODELS)
def test_stages_give_what_the_whole_model_gives_bit_by_bit(plan, model, stages, level):
    source, planned = plan(model(), stages)
    assert len(planned.stages) == stages
    assert_bitwise(*whole_and_stages(source, planned, level))


@pytest.mark.parametrize("rows", [1, 7])
def test_free_axes_stay_free(plan, rows):
    source, planned = plan(sharded_models.encoder(), 3)
    assert_bitwise(*whole_and_stages(source, planned, OPTIMISED, rows))


def with_random_weights(file):
    """ONNX's light models have weights that are all alike, made by ConstantOfShape: they would hide any mistake."""
    model, rng = onnx.load(file), np.random.default_rng(4)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(map(int, shapes[node.input[0]]))
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0
        values = rng.uniform(0.5, 1.5, shape) if len(shape) < 2 else rng.normal(size=shape) * scale
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "inception_v1", "shufflenet", "squeezenet"])
def test_stages_of_known_networks_give_what_they_give_whole(source, name):
    read = source(with_random_weights(LIGHT / f"light_{name}.onnx"))
    for stages in (2, 3, 4):
        planned = make_plan(read, Wish(on(stages), stages, Sizes(1)))
        assert_bitwise(*whole_and_stages(read, planned, FUSED, 1))
        expected, found = whole_and_stages(read, planned, OPTIMISED, 1)
        if name != "densenet121":
            assert_bitwise(expected, found)
        # Its convolutions after a cut are run in another layout of the tensors, which adds up in another order.
        for output, values in expected.items():
            assert np.ptp(values) > 0
            np.testing.assert_allclose(found[output], values, rtol=0, atol=1e-6 * np.abs(values).max())


def external(model, folder):
    """The same model with its weights in a file beside it."""
    proto = ModelProto.FromString(model)
    onnx.save(proto, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=256)


def test_weights_that_lie_beside_the_model_are_taken_from_there(tmp_path):
    external(sharded_models.layers(), tmp_path)
    source = read_source(tmp_path / "model.onnx")
    planned = make_plan(source, Wish(on(3), 3, Sizes(3)))
    assert_bitwise(*whole_and_stages(source, planned, OPTIMISED))
    assert [name for name, *_ in source.files] == ["model.onnx", "w.bin"]


def test_stages_have_references_instead_of_weights(plan):
    serialised = sharded_models.layers(width=128)
    source, planned = plan(serialised, 2)
    stages = stage_models(source, planned)
    assert sum(len(stage.model) for stage in stages) < len(serialised) / 10
    for stage in stages:
        for tensor in ModelProto.FromString(stage.model).graph.initializer:
            is_large = np.prod(tensor.dims) * 4 >= 1024
            assert (tensor.data_location == TensorProto.EXTERNAL) == is_large


def test_what_is_said_of_the_model_is_said_of_its_stages(source):
    proto = ModelProto.FromString(sharded_models.fused_kinds())
    proto.producer_name = "somebody"
    proto.metadata_props.add(key="a", value="b")
    read = source(proto.SerializeToString())
    for stage in stage_models(read, make_plan(read, Wish(on(2), 2, Sizes(3)))):
        made = ModelProto.FromString(stage.model)
        assert made.opset_import == proto.opset_import
        assert made.metadata_props == proto.metadata_props
        assert (made.ir_version, made.producer_name) == (proto.ir_version, "somebody")


def test_stages_are_whole_models_by_onnxs_own_check(plan):
    source, planned = plan(sharded_models.encoder(), 3)
    for at, stage in enumerate(stage_models(source, planned)):
        made = source.folder / f"stage-{at}.onnx"  # beside the weights, which the check looks for
        made.write_bytes(stage.model)
        onnx.checker.check_model(made, full_check=True)


def test_inputs_with_defaults_may_be_fed_to_each_stage_that_uses_them(plan):
    source, planned = plan(sharded_models.optional_input(), 3)
    models = stage_models(source, planned)
    assert [stage.defaults for stage in models] == [("scale",), (), ("scale",)]
    x, scale = np.ones((2, sharded_models.WIDTH), np.float32), np.full(sharded_models.WIDTH, 0.5, np.float32)
    whole = session((source.folder / "model.onnx").read_bytes(), source.folder, AS_IT_IS)
    answers = []
    for inputs in ({"x": x}, {"x": x, "scale": scale}):
        found = run_stages(models, source.folder, inputs, AS_IT_IS)["y"]
        assert found.tobytes() == whole.run(None, inputs)[0].tobytes()
        answers.append(found)
    assert not np.array_equal(*answers)


def test_weights_among_the_inputs_of_old_models_stay_constants(source):
    """Up to IR version 3 they had to stand there."""
    proto = ModelProto.FromString(sharded_models.optional_input())
    proto.ir_version = 3
    proto.opset_import[0].version = 8
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, weight.dims)
        for weight in proto.graph.initializer
        if weight.name != "scale"
    )
    read = source(proto.SerializeToString())
    planned = make_plan(read, Wish(on(2), 2, Sizes(3)))
    assert_bitwise(*whole_and_stages(read, planned, OPTIMISED))
    for at, stage in enumerate(stage_models(read, planned)):
        assert stage.defaults == ()
        (read.folder / f"{at}.onnx").write_bytes(stage.model)
        onnx.checker.check_model(read.folder / f"{at}.onnx", full_check=True)


# The cache


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return Cache(folder, 1 << 20)


def entries(cache):
    return [path for path in cache.folder.iterdir() if path.is_dir()]


def test_stages_are_made_once_and_found_again(plan, cache):
    source, planned = plan(sharded_models.layers(), 2)
    made = stage_models(source, planned, cache)
    (entry,) = entries(cache)
    before = {path: path.stat().st_mtime_ns for path in entry.glob("*.onnx")}
    assert len(before) == 2
    assert stage_models(source, planned, cache) == made
    assert {path: path.stat().st_mtime_ns for path in entry.glob("*.onnx")} == before


def test_damaged_stages_are_made_anew(plan, cache):
    source, planned = plan(sharded_models.layers(), 2)
    made = stage_models(source, planned, cache)
    (entry,) = entries(cache)
    (entry / "stage-1.onnx").write_bytes(b"damaged")
    assert stage_models(source, planned, cache) == made
    assert (entry / "stage-1.onnx").read_bytes() == made[1].model


def test_other_cuts_and_other_graphs_are_other_stages(source):
    read = source(sharded_models.layers())
    plans = [make_plan(read, Wish(on(count), count, Sizes(3))) for count in (2, 3)]
    other = source(sharded_models.layers(count=7), "other.onnx")
    of_other = make_plan(other, Wish(on(2), 2, Sizes(3)))
    facts = [facts_of(read, plans[0]), facts_of(read, plans[1]), facts_of(other, of_other)]
    assert all(facts[a] != facts[b] for a, b in ((0, 1), (0, 2), (1, 2)))


def test_where_nothing_can_be_kept_stages_are_made_all_the_same(plan, cache):
    source, planned = plan(sharded_models.layers(), 2)
    expected = stage_models(source, planned)
    assert stage_models(source, planned, Cache(cache.folder, 10)) == expected
    assert not entries(cache)


# The weights that belong


def test_a_file_that_was_replaced_is_noticed(plan):
    source, _ = plan(sharded_models.layers(), 2)
    assert source.changed() is None
    file = source.folder / "model.onnx"
    os.utime(file, ns=(1, 1))
    assert source.changed() == "model.onnx"
