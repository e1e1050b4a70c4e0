"""The dashboard's queries, asked of a real Prometheus that scrapes a real server."""

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from containers import DIGITS, EXPECTED, INFER, REQUEST, free_ports
from live import serving
from verified_load import Load

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "headrace.json"
EMPTY = {"headrace_request_failures_total", "headrace_requests_refused_total", "headrace_requests_left_total"}
"""Metrics without a series as long as nothing goes wrong."""


def expressions():
    document = json.loads(DASHBOARD.read_text())
    found = [(panel["title"], target["expr"]) for panel in document["panels"] for target in panel.get("targets", ())]
    return found + [(each["name"], each["expr"]) for each in document["annotations"]["list"]]


def concrete(expression):
    """As Grafana sends it: every model, and a rate over four scrapes."""
    return expression.replace("$model", ".*").replace("$__rate_interval", "4s")


def test_the_dashboard_is_what_its_table_says():
    """`python docker/grafana/make_dashboard.py` has been run since the last change."""
    spec = importlib.util.spec_from_file_location("make_dashboard", DOCKER / "grafana" / "make_dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert DASHBOARD.read_text() == module.text()


def test_every_metric_of_the_server_is_on_the_dashboard():
    shown = set(re.findall(r"headrace_\w+?(?=_bucket|\b)", " ".join(each for _, each in expressions())))
    with serving(DIGITS.parent) as server:
        exposed = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics").decode(), re.MULTILINE))
    assert exposed - shown == set()
    assert shown - exposed == set()


def test_provisioning_points_at_what_is_mounted():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    source = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    provider = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/headrace.yaml").read_text())
    (host, port) = source["datasources"][0]["url"].removeprefix("http://").split(":")
    assert host in compose["services"]
    assert f"{port}:{port}" in compose["services"][host]["ports"]
    folder = provider["providers"][0]["options"]["path"]
    assert any(folder in volume for volume in compose["services"]["grafana"]["volumes"])
    scraped = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["server:8000"]


@contextlib.contextmanager
def prometheus(folder, target):
    """The address of one that scrapes `target` every second, by the project's own configuration."""
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    said = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        ["prometheus", *said, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url, query):
    """The samples; fails with Prometheus' own words if the query is wrong."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}") as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it is starting
            raise
        raise AssertionError(f"{query}: {error.read().decode()}") from None


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus (Debian: prometheus) is not installed")
def test_every_query_has_an_answer_while_the_server_is_asked_and_a_model_is_replaced(tmp_path):
    repository = tmp_path / "models"
    shutil.copytree(DIGITS, repository / "digits")
    with (
        serving(repository, "--model-control-mode", "poll", replicas=2) as server,
        prometheus(tmp_path, server.url) as url,
        Load(server.url, INFER, REQUEST, EXPECTED) as load,
    ):
        _until(lambda: _up(url))
        load.until(50)
        shutil.copytree(repository / "digits" / "1", repository / "digits" / "part")
        (repository / "digits" / "part").rename(repository / "digits" / "2")
        server.wait_for("digits/2 is ready")
        left = dict.fromkeys(expressions())
        end = time.monotonic() + 40
        while left and time.monotonic() < end:
            load.until(1)
            for name, expression in list(left):
                answer = ask(url, concrete(expression))
                if answer or any(metric in expression for metric in EMPTY):
                    numbers = [float(sample["value"][1]) for sample in answer]
                    if all(number == number for number in numbers):  # noqa: PLR0124 - NaN: no two scrapes yet
                        del left[name, expression]
            time.sleep(0.2)
        assert not left, "no answer to these"
        answers = ask(url, "sum(rate(headrace_requests_total[10s]))")
        assert float(answers[0]["value"][1]) > 0


def _up(url):
    try:
        found = ask(url, "up")
    except OSError:
        return False
    return found and found[0]["value"][1] == "1"


def _until(true, within_s=30):
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
