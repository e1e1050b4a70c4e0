import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.config import ModelConfig
from headrace.errors import ConfigError
from headrace.parsing import parse
from headrace.sharding import Sharding, enough, in_words, size


def problem(values):
    with pytest.raises(ConfigError) as caught:
        parse(ModelConfig, {"sharding": values}, "config.yaml")
    return str(caught.value)


def test_devices_are_all_that_must_be_said():
    config = parse(ModelConfig, {"sharding": {"devices": ["cuda:0", "cuda:1"]}}, "config.yaml")
    assert config.sharding == Sharding(
        devices=("cuda:0", "cuda:1"), memory_limit=None, stages="auto", micro_batch_rows="auto", replicas=1
    )
    assert parse(ModelConfig, {}, "config.yaml").sharding is None


@pytest.mark.parametrize(
    ("said", "meant"), [("8GiB", 8 << 30), (1000, 1000), (["1 MB", "2Mi"], (10**6, 2 << 20)), (None, None)]
)
def test_memory_may_be_said_for_all_or_for_each(said, meant):
    values = {"sharding": {"devices": ["cpu:0", "cpu:1"], "memory_limit": said}}
    assert parse(ModelConfig, values, "config.yaml").sharding.memory_limit == meant


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "'sharding.devices' is missing"),
        ({"devices": []}, "'sharding.devices'"),
        ({"devices": ["GPU 1"]}, "'sharding.devices.0': expected a device such as cuda:0 or cpu:0, found 'GPU 1'"),
        ({"devices": ["cpu:0", "cpu:0"]}, "'sharding.devices': expected each device once"),
        ({"devices": ["cpu:0"], "stages": 0}, "'sharding.stages': expected at least 1 or 'auto', found 0"),
        ({"devices": ["cpu:0"], "stage": 1}, "unknown key 'sharding.stage'; did you mean 'stages'?"),
        ({"devices": ["cpu:0"], "memory_limit": "8 apples"}, "expected a size such as 8GiB or 500MB"),
        (
            {"devices": ["cpu:0"], "memory_limit": ["1GB"] * 2},
            "'sharding.memory_limit': expected one size for all or 1",
        ),
        ({"devices": ["cpu:0"], "replicas": 2}, "'sharding.replicas': expected a number that divides the 1 devices"),
        ({"devices": ["cpu:0"], "micro_batch_rows": 0}, "'sharding.micro_batch_rows': expected at least 1 or 'auto'"),
    ],
)
def test_what_is_wrong_is_named(values, sentence):
    assert sentence in problem(values)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("17", 17), ("1k", 1000), ("1.5KiB", 1536), ("2 mb", 2 * 10**6), ("1Gi", 1 << 30), ("3TB", 3 * 10**12)],
)
def test_sizes_are_read(text, count):
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 KiKB", "1ib", "1e9", "1.2.3M", "8 GiB each"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="expected a size such as 8GiB or 500MB"):
        size(text)


@given(st.integers(0, 1 << 50))
def test_what_is_said_to_be_enough_is(count):
    said = size(in_words(enough(count)).replace("bytes", "B"))
    assert count <= said <= count * 1.011 + 1
