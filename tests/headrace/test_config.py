from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.batching import BatchingLimits
from headrace.config import Latest, ModelConfig, Provider, ServerConfig
from headrace.errors import ConfigError
from headrace.parsing import parse

KEYS = st.sampled_from(
    [*ModelConfig.model_fields, *BatchingLimits.model_fields, "latest", "name", "options", "count", "str", "odd"]
)


def problem(kind, values):
    with pytest.raises(ConfigError) as caught:
        parse(kind, values, "config.yaml")
    return str(caught.value)


def test_nothing_said_is_all_defaults():
    server, model = parse(ServerConfig, {}, "flags"), parse(ModelConfig, {}, "config.yaml")
    assert (server.http_port, server.grpc_port, server.replicas) == (8000, 8001, "auto")
    assert model == ModelConfig()
    assert model.batching == BatchingLimits(
        enabled="auto", max_batch_rows=64, max_queue_delay_ms=None, max_queue_rows=4096
    )
    assert model.versions == Latest(latest=1)


def test_what_is_said_is_kept():
    config = parse(
        ModelConfig,
        {
            "batching": {"enabled": False, "max_batch_rows": 8, "max_queue_delay_ms": 2.5},
            "instances": {"count": 2},
            "execution_providers": ["cpu", {"name": "cuda", "options": {"device_id": 1}}],
            "versions": [1, 3],
            "labels": {"y": "labels.txt"},
        },
        "config.yaml",
    )
    assert config.batching.enabled is False
    assert config.batching.max_batch_rows == 8
    assert config.batching.max_queue_delay_ms == 2.5
    assert config.instances.count == 2
    assert config.execution_providers == ("cpu", Provider(name="cuda", options={"device_id": 1}))
    assert config.versions == (1, 3)
    assert config.labels == {"y": "labels.txt"}


@pytest.mark.parametrize(("said", "meant"), [("all", "all"), ({"latest": 2}, Latest(latest=2)), ([7], (7,))])
def test_versions_may_be_said_in_three_ways(said, meant):
    assert parse(ModelConfig, {"versions": said}, "config.yaml").versions == meant


@pytest.mark.parametrize("share", [5, 5.0, "5%", "5.0 %", " 5%", "5"])
def test_a_share_may_be_said_as_a_number_or_a_percentage(share):
    config = parse(ModelConfig, {"version_labels": {"canary": 4}, "traffic": {"canary": share}}, "config.yaml")
    assert (config.version_labels, config.traffic, config.sticky) == ({"canary": 4}, {"canary": 5.0}, "none")


def test_shares_that_add_up_to_all_but_for_the_last_digit_are_no_mistake():
    assert (
        sum(
            parse(ModelConfig, {"traffic": {"1": 59.2, "2": 18.1, "3": 5.9, "4": 16.8}}, "config.yaml").traffic.values()
        )
        > 100
    )


def test_text_from_flags_and_environment_is_read_as_its_field_wants_it():
    config = parse(
        ServerConfig,
        {"http_port": "9000", "replicas": "2", "drain_grace_s": "1.5", "model_repository": ["a"]},
        "flags and environment",
    )
    assert (config.http_port, config.replicas, config.drain_grace_s) == (9000, 2, 1.5)
    assert config.model_repository == (Path("a"),)


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (ServerConfig, {"http_prot": 1}, "unknown key 'http_prot'; did you mean 'http_port'?"),
        (ModelConfig, {"batch": {}}, "unknown key 'batch'; did you mean 'batching'?"),
        (
            ModelConfig,
            {"batching": {"max_batch_size": 1}},
            "unknown key 'batching.max_batch_size'; did you mean 'max_batch_rows'?",
        ),
        (
            ModelConfig,
            {"instances": {"zzz": 1}},
            "unknown key 'instances.zzz'; known keys are count, device, runs, threads",
        ),
        (ServerConfig, {"http_port": 70000}, "'http_port': expected at most 65535, found 70000"),
        (ModelConfig, {"batching": {"max_batch_rows": 0}}, "'batching.max_batch_rows': expected at least 1, found 0"),
        (ModelConfig, {"instances": {"count": "two"}}, "'instances.count': expected a whole number"),
        (ModelConfig, {"instances": {"count": "two"}}, "found 'two'"),
        (ModelConfig, {"batching": 3}, "'batching': expected a mapping, found 3"),
        (ServerConfig, {"replicas": 0}, "'replicas': expected at least 1 or 'auto', found 0"),
        (ServerConfig, {"receive_timeout_s": 0}, "'receive_timeout_s': expected more than 0, found 0"),
        (ServerConfig, {"keep_alive_s": "long"}, "'keep_alive_s': expected a number, found 'long'"),
        (ServerConfig, {"drain_grace_s": "inf"}, "'drain_grace_s': expected a number, found 'inf'"),
        (ServerConfig, {"host": 7}, "'host': expected text, found 7"),
        (ModelConfig, {"version_labels": {"3x": 4}}, "'version_labels.3x': expected a label (a letter or _, then"),
        (ModelConfig, {"version_labels": {"4": 4}}, "'version_labels.4': expected a label"),
        (ModelConfig, {"version_labels": {"x" * 65: 4}}, "expected a label"),
        (ModelConfig, {"version_labels": {"a\n": 4}}, "expected a label"),
        (ModelConfig, {"version_labels": {"a": 0}}, "'version_labels.a': expected at least 1, found 0"),
        (ModelConfig, {"version_labels": {"a": True}}, "'version_labels.a': expected a whole number, found True"),
        (ModelConfig, {"version_labels": ["a"]}, "'version_labels': expected a mapping, found ['a']"),
        (
            ModelConfig,
            {"version_labels": {"canary": 4}, "traffic": {"cnary": 5}},
            "'traffic.cnary': expected a version number or one of the labels canary (did you mean 'canary'?), found 'c",
        ),
        (
            ModelConfig,
            {"traffic": {"canary": 5}},
            "'traffic.canary': expected a version number or a label of version_labels, found 'canary'",
        ),
        (ModelConfig, {"traffic": {"0": 5}}, "'traffic.0': expected a version number or a label"),
        (ModelConfig, {"traffic": {"1": 0}}, "'traffic.1': expected more than 0, found 0"),
        (ModelConfig, {"traffic": {"1": "101%"}}, "'traffic.1': expected at most 100, found '101%'"),
        (ModelConfig, {"traffic": {"1": "five%"}}, "'traffic.1': expected a number, found 'five%'"),
        (ModelConfig, {"traffic": {"1": True}}, "'traffic.1': expected a number or a percentage, found True"),
        (
            ModelConfig,
            {"traffic": {"1": 60, "2": "50%"}},
            "'traffic': expected shares that add up to at most 100 (not to 110), found {'1': 60, '2': '50%'}",
        ),
        (ModelConfig, {"sticky": "id"}, "'sticky': expected 'none' or 'request_id', found 'id'"),
        (ServerConfig, {"log_format": "xml"}, "'log_format': expected 'text' or 'json', found 'xml'"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_and_what_was_found(kind, values, sentence):
    message = problem(kind, values)
    assert message.startswith("config.yaml: ")
    assert sentence in message


def test_all_mistakes_are_named_at_once():
    message = problem(ServerConfig, {"http_prot": 1, "log_level": "loud"})
    assert "http_prot" in message
    assert "log_level" in message


def test_an_endless_value_is_not_repeated_whole():
    assert len(problem(ServerConfig, {"log_level": "x" * 10_000})) < 300


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"versions": {"lates": 1}}, "unknown key 'versions.lates'; did you mean 'latest'?"),
        ({"versions": {"latest": 0}}, "'versions.latest': expected at least 1, found 0"),
        ({"versions": [1, "x"]}, "'versions.1': expected a whole number, found 'x'"),
        ({"versions": "newest"}, "'versions': expected a mapping or 'all' or a list, found 'newest'"),
        (
            {"execution_providers": [{"nam": "cuda"}]},
            "'execution_providers.0.name' is missing; unknown key 'execution_providers.0.nam'; did you mean 'name'?",
        ),
    ],
)
def test_of_a_field_with_several_forms_the_one_that_was_meant_is_complained_about(values, message):
    said = problem(ModelConfig, values)
    assert message in said
    assert said.count("; ") == message.count("; "), "and no other"


@pytest.mark.parametrize("pad", ["auto", False, {"ids": 1, "mask": False, "x": 0.5, "words": "."}])
def test_what_is_filled_in_travels_to_the_replicas_as_it_was_written(pad):
    config = parse(ModelConfig, {"batching": {"pad": pad}}, "config.yaml")
    there = ModelConfig.model_validate_json(config.model_dump_json()).batching.pad
    assert there == pad
    if isinstance(pad, dict):
        assert [type(value) for value in there.values()] == [type(value) for value in pad.values()]


@pytest.mark.parametrize("pad", [True, "always", ["ids"], {"ids": None}])
def test_what_cannot_be_filled_in_is_refused(pad):
    with pytest.raises(ConfigError, match=r"batching\.pad"):
        parse(ModelConfig, {"batching": {"pad": pad}}, "config.yaml")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(0, 3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
def test_whatever_a_file_says_is_a_configuration_or_an_error_that_says_why(values):
    try:
        parse(ModelConfig, values, "config.yaml")
    except ConfigError as error:
        assert str(error).startswith("config.yaml: ")
        assert len(str(error)) > len("config.yaml: ")


@pytest.mark.parametrize("config", [ServerConfig(), ModelConfig(), BatchingLimits()])
def test_what_was_checked_does_not_change(config):
    field = next(iter(type(config).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, field, getattr(config, field))


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({}, 2),
        ({"priority_levels": 1}, 1),
        ({"priority_levels": 5}, 2),
        ({"priority_levels": 5, "default_priority": 4}, 4),
    ],
)
def test_the_level_of_requests_without_a_priority(said, level):
    assert BatchingLimits(**said).level == level


def test_a_default_priority_that_is_no_level_is_refused():
    said = problem(ModelConfig, {"batching": {"priority_levels": 3, "default_priority": 4}})
    assert "the highest level is 3 (priority_levels), found 4" in said
