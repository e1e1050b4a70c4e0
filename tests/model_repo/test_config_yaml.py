import pytest

from headrace.config import Latest, ModelConfig
from headrace.errors import ConfigError, RepositoryError
from model_repo.config_yaml import parse

WHERE = "m/config.yaml"


def test_everything_that_may_be_set_is_read():
    config = parse(
        """
        batching: {max_batch_rows: 8, max_queue_delay_ms: 2.5, enabled: false}
        instances: {count: 2, threads: 1}
        execution_providers: [cuda, {name: cpu, options: {arena: 1}}]
        versions: {latest: 3}
        labels: {probabilities: labels.txt}
        """,
        WHERE,
    )
    assert config.batching.max_batch_rows == 8
    assert config.batching.enabled is False
    assert config.instances.threads == 1
    assert config.execution_providers[0] == "cuda"
    assert config.versions == Latest(latest=3)
    assert config.labels == {"probabilities": "labels.txt"}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "null"])
def test_an_empty_file_is_the_default_configuration(text):
    assert parse(text, WHERE) == ModelConfig()


@pytest.mark.parametrize("versions", ["all", "[1, 4]"])
def test_versions_may_be_all_or_named(versions):
    assert parse(f"versions: {versions}", WHERE).versions in ("all", (1, 4))


def test_labels_and_shares_are_read_and_a_version_is_a_number_as_it_is_anywhere_else():
    config = parse("{version_labels: {canary: 4}, traffic: {canary: 5%, 3: 20}, sticky: request_id}", WHERE)
    assert (config.version_labels, config.traffic, config.sticky) == (
        {"canary": 4},
        {"canary": 5, "3": 20},
        "request_id",
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("batchin: {}", ConfigError, "m/config.yaml: unknown key 'batchin'; did you mean 'batching'?"),
        ("batching: {max_batch_row: 3}", ConfigError, "did you mean 'max_batch_rows'?"),
        ("batching: {max_batch_rows: many}", ConfigError, "'batching.max_batch_rows': .* found 'many'"),
        ("version_labels: {4: 4}", ConfigError, "'version_labels.4': expected a label"),
        ("version_labels: {yes: 4}", ConfigError, "expected text, found True"),
        ("traffic: {3: 0}", ConfigError, "'traffic.3': expected more than 0, found 0"),
        ("traffic: &a {x: *a}", ConfigError, "'traffic.*': expected"),
        ("1: x", ConfigError, "unknown key '1'"),
        ("- a\n- b", RepositoryError, "m/config.yaml: expected keys and values, found list"),
        ("just text", RepositoryError, "found str"),
        ("a: [1,\nb: 2", RepositoryError, "m/config.yaml: line [23]: "),
        ("a: !!python/object:os.system {}", RepositoryError, "line 1: could not determine a constructor"),
        ("a: 2001-99-99", RepositoryError, "m/config.yaml: not YAML: month must be in 1..12"),
        ("a: \x00", RepositoryError, "m/config.yaml"),
        ("[" * 5_000, RepositoryError, "m/config.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_file_place_and_reason(text, kind, message):
    with pytest.raises(kind, match=message):
        parse(text, WHERE)
