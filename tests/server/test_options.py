"""Flag > environment > file > default, and every option in all three."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from server.options import merge, misspelt, spelling, with_options


@pytest.fixture
def told(monkeypatch, tmp_path):
    """`told(*flags, environment={...}, file="...")` is the configuration that a command gets."""
    made = []
    app = typer.Typer()
    path = tmp_path / "headrace.yaml"

    @app.command()
    @with_options
    def command(context: typer.Context, **given):
        made.append(merge(given, path if path.exists() else None, spelling(context)))

    def run(*flags, environment=None, file=None):
        if file is not None:
            path.write_text(file)
        answer = CliRunner().invoke(app, flags, env=environment, catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return made[-1]

    return run


def test_without_a_word_everything_is_default(told):
    assert told() == ServerConfig()


@pytest.mark.parametrize(
    ("flags", "environment", "file", "port"),
    [
        ((), {}, "http_port: 1", 1),
        ((), {"HEADRACE_HTTP_PORT": "2"}, "http_port: 1", 2),
        (("--http-port", "3"), {"HEADRACE_HTTP_PORT": "2"}, "http_port: 1", 3),
        (("--http-port", "8000"), {"HEADRACE_HTTP_PORT": "2"}, "http_port: 1", 8000),
        ((), {"HEADRACE_GRPC_PORT": "2"}, "http_port: 1", 1),
    ],
)
def test_flag_beats_environment_beats_file(told, flags, environment, file, port):
    assert told(*flags, environment=environment, file=file).http_port == port


@pytest.mark.parametrize("name", ServerConfig.model_fields)
def test_every_field_is_a_flag_a_variable_and_a_key(told, name):
    values = {
        "model_repository": "/m",
        "host": "h",
        "replicas": "3",
        "model_control_mode": "poll",
        "load_model": "digits",
        "lazy": "true",
    }
    values |= {"log_format": "json", "log_level": "debug", "cache_dir": "/c", "refuse_status": "429"}
    values |= {"default_model": "m"}
    values |= {"grpc_tls_certificate": "/cert.pem", "grpc_tls_key": "/key.pem"}
    text = values.get(name, "2048")
    by_flag = told(f"--{name.replace('_', '-')}", text)
    by_variable = told(environment={f"HEADRACE_{name.upper()}": text})
    many = isinstance(getattr(ServerConfig(), name), tuple)
    by_key = told(file=f"{name}: {[text] if many else text}\n")

    assert by_flag == by_variable == by_key
    assert getattr(by_flag, name) != getattr(ServerConfig(), name)


def test_repositories_may_be_several(told):
    assert told("--model-repository", "/a", "--model-repository", "/b").model_repository == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("htp_port: 1", r"headrace.yaml: unknown key 'htp_port'; did you mean 'http_port'\?"),
        ("http_port: many", r"headrace.yaml: 'http_port': .*, found 'many'"),
        ("[1, 2]", r"must be a mapping of options, found list"),
        ("a: {", r"headrace.yaml cannot be read"),
    ],
)
def test_mistake_in_the_file_is_blamed_on_the_file(told, file, sentence):
    with pytest.raises(ConfigError, match=sentence):
        told(file=file)


def test_mistake_in_the_file_is_not_covered_by_a_flag(told):
    with pytest.raises(ConfigError, match="configuration file"):
        told("--http-port", "1", file="http_port: many")


def test_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        merge({}, tmp_path / "gone.yaml")


def test_empty_file_says_nothing(told):
    assert told(file="# nothing yet\n") == ServerConfig()


@pytest.mark.parametrize(
    ("flags", "environment", "sentence"),
    [
        (("--http-port", "many"), {}, "--http-port: expected a whole number, found 'many'"),
        ((), {"HEADRACE_HTTP_PORT": "tcp://10.0.0.1:80"}, "HEADRACE_HTTP_PORT: .* found 'tcp://10.0.0.1:80'"),
        (("--http-port", "x"), {"HEADRACE_HTTP_PORT": "y"}, "--http-port: .* found 'x'"),
        (("--replicas", "0"), {}, "--replicas: expected at least 1 or 'auto', found '0'"),
        (("--replicas", "0"), {"HEADRACE_LOG_LEVEL": "loud"}, "--replicas: .*; HEADRACE_LOG_LEVEL: .* found 'loud'"),
    ],
)
def test_mistake_is_blamed_on_what_was_written(told, flags, environment, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        told(*flags, environment=environment, file="log_format: json")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HEADRACE_HTP_PORT", "HEADRACE_HTTP_PORT"),
        ("HEADRACE_REPLICA", "HEADRACE_REPLICAS"),
        ("HEADRACE_CONFG", "HEADRACE_CONFIG"),
    ],
)
def test_misspelt_variable_is_pointed_out(name, meant):
    (sentence,) = misspelt({"PATH": "/bin", name: "1", meant: "2"})
    assert sentence == f"{name} in the environment is no option and is ignored; did you mean {meant}?"


@pytest.mark.parametrize(
    "name", ["HEADRACE_PORT", "HEADRACE_SERVICE_HOST", "HEADRACE_PORT_8000_TCP_ADDR", "HEADRACE_NOTES", "HTTP_PORT"]
)
def test_variable_of_somebody_else_is_left_alone(name):
    assert not list(misspelt({name: "1"}))


def test_help_names_every_option_with_its_variable_and_default():
    app = typer.Typer()
    app.command()(with_options(lambda **given: None))
    page = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "250", "TERM": "dumb"}).output
    for name, field in ServerConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in page
        assert f"HEADRACE_{name.upper()}" in page
        assert field.description[:20] in page
    assert "[default: (8000)]" in page
    for form in ("<number|auto>", "<debug|info|warning|error>", "<path>", "<text>"):
        assert form in page


def test_the_control_mode_has_a_short_flag_too(told):
    assert told("--control", "poll") == told("--model-control-mode", "poll")
