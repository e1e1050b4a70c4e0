"""A provider that is not the runtime's own, for real: where onnxruntime-openvino is installed, `make test-openvino`."""

import asyncio

import numpy as np
import onnx_models
import pytest
import sharded_models

from executor import runtime
from executor.devices import device_of
from executor.providers import ON_THE_CPU
from headrace.errors import LoadFailed

OPENVINO, CPU = "OpenVINOExecutionProvider", "CPUExecutionProvider"
pytestmark = pytest.mark.skipif(
    OPENVINO not in runtime.available_providers(), reason="needs onnxruntime-openvino: make test-openvino"
)


def answer(model, inputs):
    return asyncio.run(model.executor.run(inputs))


def inputs_of(model, rows=5):
    rng = np.random.default_rng(0)
    shapes = {spec: [rows, *(5 if axis == -1 else axis for axis in spec.shape[1:])] for spec in model.metadata.inputs}
    return {spec.name: (rng.random(shape) * 2).astype(spec.datatype.numpy) for spec, shape in shapes.items()}


@pytest.mark.parametrize("make", [sharded_models.layers, sharded_models.branches, sharded_models.encoder])
@pytest.mark.parametrize("asked", [(), ("openvino",), ({"name": "openvino", "options": {"device_type": "CPU"}},)])
def test_it_is_what_is_taken_by_default_or_by_name_and_answers_what_the_cpu_does(load, make, asked):
    model = load(make(), execution_providers=asked)
    assert model.providers == (OPENVINO, CPU)
    assert model.metadata.batchable
    assert model.device == ON_THE_CPU
    inputs = inputs_of(model)
    expected = answer(load(make()), inputs)
    for name, values in answer(model, inputs).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4)


def test_where_it_computes_is_known_before_it_is_loaded():
    assert device_of(("openvino",)) == device_of(()) == ON_THE_CPU


def test_an_option_that_it_does_not_have_is_named(load):
    with pytest.raises(LoadFailed, match="devic_type"):
        load(onnx_models.mlp(), execution_providers=({"name": "openvino", "options": {"devic_type": "CPU"}},))


def test_a_device_that_is_not_there_is_an_error_and_nothing_else_is_taken_instead(load):
    with pytest.raises(LoadFailed, match="could not start it"):
        load(onnx_models.mlp(), execution_providers=({"name": "openvino", "options": {"device_type": "NPU"}},))


def test_a_stage_of_a_sharded_model_may_run_on_it(load):
    whole = load(sharded_models.layers())
    staged = load(sharded_models.layers(), sharding={"devices": ["openvino:0", "cpu:0"]})
    assert set(staged.providers) == {OPENVINO, CPU}
    inputs = inputs_of(whole)
    np.testing.assert_allclose(answer(staged, inputs)["y"], answer(whole, inputs)["y"], rtol=1e-3, atol=1e-4)
