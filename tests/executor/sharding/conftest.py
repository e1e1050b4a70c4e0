"""Models on disk, and plans for them."""

import pytest
from sharding_runs import on

from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes
from executor.sharding.source import read_source


def pytest_make_parametrize_id(val):
    return val.__name__ if callable(val) else None


@pytest.fixture
def source(tmp_path):
    """Model bytes -> Source of a file with them."""

    def read(serialised, name="model.onnx"):
        (tmp_path / name).write_bytes(serialised)
        return read_source(tmp_path / name)

    return read


@pytest.fixture
def plan(source):
    """Model bytes, number of stages -> (source, plan)."""

    def plan_it(serialised, stages, **wish):
        read = source(serialised)
        return read, make_plan(read, Wish(on(stages), stages, **{"sizes": Sizes(3, 5), **wish}))

    return plan_it
