"""Real sessions on tiny models."""

import asyncio

import pytest
from onnx_models import save

from executor.load import load_model
from executor.metadata import read_signature
from executor.runners import runner_for
from executor.sessions import open_session
from headrace.config import ModelConfig
from headrace.models import ModelId

ID = ModelId("m", 1)


def pytest_make_parametrize_id(val):
    return "model" if isinstance(val, bytes) else None


@pytest.fixture
def read(tmp_path):
    """Model bytes -> signature."""

    def read_model(serialised, labels=None, ranks=None):
        path = save(serialised, tmp_path)
        session = open_session(ID, path, ("cpu",), 1)
        return read_signature(ID, path, session, labels or {}, ranks or {})

    return read_model


@pytest.fixture
def runner(tmp_path):
    """Model bytes -> (signature, runner)."""

    def open_runner(serialised):
        path = save(serialised, tmp_path)
        session = open_session(ID, path, ("cpu",), 1)
        signature = read_signature(ID, path, session, {}, {})
        return signature, runner_for(ID, session, signature)

    return open_runner


@pytest.fixture
def load(tmp_path):
    """Model bytes and configuration -> LoadedModel, closed afterwards."""
    loaded = []

    def load_it(serialised, labels=None, declared_inputs=(), declared_outputs=(), **config):
        model = load_model(
            ID,
            save(serialised, tmp_path),
            ModelConfig(**{"execution_providers": ("cpu",), **config}),
            labels=labels or {},
            declared_inputs=declared_inputs,
            declared_outputs=declared_outputs,
        )
        loaded.append(model)
        return model

    yield load_it

    async def close_all():
        for model in loaded:
            await model.executor.close()

    asyncio.run(close_all())
