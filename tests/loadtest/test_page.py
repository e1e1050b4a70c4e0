"""The report's page: everything in one file, and what the findings say is on it."""

import re
from html.parser import HTMLParser

import pytest
import uvloop
from misbehaving import misbehaving

from loadtest.attack import Attack, Course
from loadtest.chart import Axis, Series, line_chart
from loadtest.client import Client
from loadtest.findings import findings
from loadtest.page import page
from loadtest.shot import Shot
from loadtest.where import parse


@pytest.fixture(scope="module")
def runs():
    async def scenario(connections):
        async with misbehaving(refuse_every=100) as (server, _):
            shots = [Shot("m", Client(parse("localhost")).request("POST", "/x", {}, b"{}"))]
            return await Attack(server, shots, Course(0, 0.6, window_s=0.2), connections).run()

    return [
        findings(uvloop.run(scenario(count)), f"{count} <connections>", 0.1, bound=False) | {"server": {}}
        for count in (1, 2, 4)
    ]


class Balanced(HTMLParser):
    VOID = ("meta", "circle", "line", "polyline", "rect")

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def parsed(text):
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return parser.tags


def test_one_run_has_its_numbers_and_three_charts(runs):
    text = page("http://x:1", runs[:1])
    assert parsed(text).count("svg") == 3
    assert f"{runs[0]['requests']['sent']:,}" in text
    assert "status 503" in text
    assert "1 &lt;connections&gt;" in text


def test_several_runs_have_throughput_against_latency_with_the_knee(runs):
    text = page("http://x:1", runs)
    assert parsed(text).count("svg") == 2
    assert "Throughput and latency" in text
    assert "knee: " in text


SERVER = {
    "models": {
        "fr<ud": {
            "requests": 10,
            "total_ms": 3.5,
            "queue_ms": 1.25,
            "input_ms": 0.5,
            "infer_ms": 1.5,
            "output_ms": 0.25,
            "rows_per_batch": 1.7,
            "batches": {"1": 3, "8": 1},
        }
    },
    "replicas": {"0": 30, "1": 10},
}


def test_what_the_server_says_is_on_the_page(runs):
    text = page("http://x:1", [runs[0] | {"server": SERVER}])
    assert parsed(text).count("svg") == 5
    for said in ("fr&lt;ud", "1.250", "1.7", "1: 75.0%", "8: 25.0%", "0: 75%, 1: 25%", "queue: 35.7%", "else: 0.0%"):
        assert said in text


def test_who_answered_is_said_only_where_there_is_a_choice(runs):
    for replicas in ({}, {"0": 30}, {"0": 0, "1": 0}):
        assert "answered by replica" not in page("http://x:1", [runs[0] | {"server": {"replicas": replicas}}])


def test_models_have_lines_of_their_own_if_there_are_several(runs):
    models = {"a": runs[0]["models"]["m"], "b&": runs[0]["models"]["m"]}
    text = page("http://x:1", [runs[0] | {"models": models}])
    parsed(text)
    assert "<td>b&amp;</td>" in text


def test_nothing_is_fetched(runs):
    text = page("http://x:1", runs)
    assert not re.search(r"(src|href)=|url\(|<script|@import", text)


def test_doubts_are_on_the_page(runs):
    doubted = {**runs[0], "generator": {"doubts": ["the generator needed 99% of its core"]}}
    assert "needed 99% of its core" in page("http://x:1", [doubted])


@pytest.mark.parametrize("points", [[(0, 0)], [(1, 5), (1, 5)], [(0, 1e-9), (1, 1e9)], [(-3, -2), (4, 7)]])
@pytest.mark.parametrize("log", [False, True])
def test_a_chart_of_anything_stays_inside_its_frame(points, log):
    text = line_chart("t", Axis("x"), Axis("y", log=log), [Series("s", points)])
    for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', text):
        assert 0 <= float(x) <= 640
        assert 0 <= float(y) <= 300


def test_a_chart_of_nothing_is_nothing():
    assert line_chart("t", Axis("x"), Axis("y"), [Series("s", [])]) == ""
