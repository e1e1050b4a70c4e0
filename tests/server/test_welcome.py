"""What is printed when the server is ready can be pasted."""

import json
import shlex

import pytest

from headrace.config import ServerConfig
from server.welcome import welcome

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}]}


@pytest.fixture
def printed(tmp_path):
    """`printed(examples, **options)`; `examples` are file texts by model."""

    def printed(examples=(), **options):
        for model, text in dict(examples).items():
            (tmp_path / model).mkdir()
            (tmp_path / model / "example.json").write_text(text)
        return welcome(ServerConfig(model_repository=(tmp_path,), **options), 8000, 8001)

    return printed


def pasted(text):
    (line,) = [line for line in text.splitlines() if "try" in line]
    return shlex.split(line.partition("try")[2])


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "localhost"), ("::", "localhost"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("box", "box")],
)
def test_addresses_are_those_a_client_uses(printed, host, shown):
    text = printed(host=host)
    assert f"REST on http://{shown}:8000, gRPC on {shown}:8001" in text
    assert f"http://{shown}:8000/docs" in text


def test_line_to_paste_is_the_first_example(printed):
    text = printed({"b": json.dumps(REQUEST, indent=2), "c": "{}"})
    *_, url, flag, body = pasted(text)
    assert url == "http://localhost:8000/v2/models/b/infer"
    assert flag == "-d"
    assert json.loads(body) == REQUEST


@pytest.mark.parametrize("broken", ["{", '{"text": "it\'s"}', ""])
def test_example_that_cannot_be_pasted_is_passed_over(printed, broken):
    assert "/v2/models/z/infer" in printed({"a": broken, "z": json.dumps(REQUEST)})


def test_without_an_example_the_line_lists_the_models(printed):
    assert pasted(printed()) == ["curl", "-s", "-X", "POST", "http://localhost:8000/v2/repository/index"]
