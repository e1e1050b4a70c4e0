"""What Prometheus reads, as its own parser and its own linter read it."""

import http.client
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace import __version__, cell
from headrace.models import ModelId
from server.metrics import PoolMetrics
from server.pool.board import Board, State
from server.statistics import REFUSALS, Statistics

DIGITS = {"model": "digits", "version": "3"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "models" / "digits" / "example.json"


@pytest.fixture
def pool(tmp_path):
    counters = tmp_path / "counters"
    counters.mkdir()
    return Statistics(counters, 0), Board.create(tmp_path / "board", 2)


@pytest.fixture
def scrape(pool):
    def scrape():
        text = PoolMetrics(*pool).text().decode()
        samples = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            for sample in family.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                assert key not in samples, "every series stands there once"
                samples[key] = sample.value
        return samples

    return scrape


def series(name, labels=None, **more):
    return (name, *sorted(((labels or {}) | more).items()))


def test_events_are_counted_by_kind_and_those_that_never_happened_are_there(pool):
    text = PoolMetrics(*pool, events=lambda: {"published": 3}).text().decode()
    assert 'headrace_events_total{kind="published"} 3\n' in text
    assert 'headrace_events_total{kind="refused"} 0\n' in text


def test_counters_and_gauges_of_a_model(pool, scrape):
    counters = pool[0].open(ModelId("digits", 3), 8)
    counters.batch_ran(5, [1000, 2000], 10, 20, 30)
    counters.succeeded(3_000_000)
    counters.succeeded(3_000_000)
    counters.failed("bad_request")
    counters.add(cell.QUEUE_ROWS, 4)
    counters.add(cell.IN_FLIGHT, 2)

    samples = scrape()

    assert samples[series("headrace_requests_total", DIGITS)] == 2
    assert samples[series("headrace_rows_total", DIGITS)] == 5
    assert samples[series("headrace_batches_total", DIGITS)] == 1
    assert samples[series("headrace_request_failures_total", DIGITS, reason="bad_request")] == 1
    assert samples[series("headrace_queue_rows", DIGITS)] == 4
    assert samples[series("headrace_requests_in_flight", DIGITS)] == 2


def test_histograms_are_cumulative_and_in_seconds(pool, scrape):
    counters = pool[0].open(ModelId("digits", 3), 8)
    for took_ns in (40_000, 2_000_000, 60_000_000_000):
        counters.succeeded(took_ns)
    counters.batch_ran(5, [1_500_000], 0, 3_000_000, 0)

    samples = scrape()

    bucket = lambda name, bound: samples[series(f"{name}_bucket", DIGITS, le=bound)]  # noqa: E731
    assert [bucket("headrace_request_seconds", bound) for bound in ("5e-05", "0.001", "0.0025", "10.0", "+Inf")] == [
        *(1, 1, 2, 2, 3)
    ]
    assert samples[series("headrace_request_seconds_sum", DIGITS)] == pytest.approx(60.00204)
    assert samples[series("headrace_request_seconds_count", DIGITS)] == 3
    assert samples[series("headrace_queue_seconds_sum", DIGITS)] == pytest.approx(0.0015)
    assert samples[series("headrace_compute_seconds_sum", DIGITS)] == pytest.approx(0.003)
    assert [bucket("headrace_batch_rows", bound) for bound in ("4", "8", "+Inf")] == [0, 1, 1]
    assert samples[series("headrace_batch_rows_sum", DIGITS)] == 5
    assert samples[series("headrace_batch_rows_count", DIGITS)] == 1


@pytest.mark.parametrize(("limit", "last"), [(1, "1"), (8, "8"), (65, "128")])
def test_batch_buckets_reach_the_largest_batch(pool, scrape, limit, last):
    pool[0].open(ModelId("digits", 3), limit).batch_ran(limit, [0], 0, 0, 0)
    samples = scrape()
    assert samples[series("headrace_batch_rows_bucket", DIGITS, le=last)] == 1


def test_refusals_have_a_reason_and_no_model(pool, scrape):
    pool[0].open(REFUSALS, 1).failed("too_large")
    samples = scrape()
    assert samples[series("headrace_requests_refused_total", reason="too_large")] == 1
    assert not [key for key in samples if ("model", "") in key]


def test_pool_shows_its_replicas(pool, scrape):
    board = pool[1]
    board.seat(0, 100)
    board.advance(0, State.READY)
    board.http(0).opened()
    board.grpc(0).opened()
    board.grpc(0).opened()
    board.seat(1, 101)
    board.advance(1, State.DEAD)
    board.seat(1, 102)

    samples = scrape()

    states = {state: samples[series("headrace_replicas", state=state)] for state in ("ready", "starting", "dead")}
    assert states == {"ready": 1, "starting": 1, "dead": 0}
    assert samples[series("headrace_http_connections", replica="0")] == 1
    assert samples[series("headrace_grpc_connections", replica="0")] == 2
    assert samples[series("headrace_replica_restarts_total", replica="0")] == 0
    assert samples[series("headrace_replica_restarts_total", replica="1")] == 1
    assert samples[series("headrace_build_info", version=__version__)] == 1


def test_what_each_replica_has_answered_is_counted(pool, scrape):
    _, board = pool[0], pool[1]
    for replica in (0, 1):
        board.seat(replica, 100 + replica)
    for version in (1, 2):
        pool[0].open(ModelId("digits", version), 1).succeeded(1)
    samples = scrape()
    assert samples[series("headrace_replica_requests_total", replica="0")] == 2
    assert samples[series("headrace_replica_requests_total", replica="1")] == 0


def test_model_name_with_quotes_and_line_breaks_is_still_one_series(pool, scrape):
    pool[0].open(ModelId('a"b\\c\nd', 1), 1).succeeded(1)
    assert scrape()[series("headrace_requests_total", model='a"b\\c\nd', version="1")] == 1


# -- a live server's ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposition(server):
    """What a server says that has answered, failed and refused a request."""
    connection = http.client.HTTPConnection(server.url)
    for model, body in (("digits", EXAMPLE.read_bytes()), ("digits", b'{"inputs":[]}'), ("none", b"{}")):
        connection.request("POST", f"/v2/models/{model}/infer", body)
        connection.getresponse().read()
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.getheader("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    yield answer.read().decode()
    connection.close()


def test_every_family_has_a_type_a_sentence_and_our_name(exposition):
    families = list(text_string_to_metric_families(exposition))
    assert len({family.name for family in families}) == len(families) > 10
    for family in families:
        assert family.name.startswith("headrace_")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.documentation.endswith(".")


@pytest.mark.parametrize("name", ["headrace_requests", "headrace_request_failures", "headrace_requests_refused"])
def test_what_became_of_a_request_is_counted(exposition, name):
    (family,) = [family for family in text_string_to_metric_families(exposition) if family.name == name]
    assert sum(sample.value for sample in family.samples) >= 1


def test_buckets_of_a_live_histogram_rise_to_its_count(exposition):
    found = {"_bucket": [], "_count": [], "_sum": []}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples if family.name == "headrace_request_seconds" else ():
            if sample.labels["model"] == "digits":
                found[sample.name.removeprefix(family.name)].append(sample.value)
    assert found["_bucket"] == sorted(found["_bucket"])
    assert found["_bucket"][-1:] == found["_count"]
    assert found["_sum"][0] > 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_has_no_complaint(exposition):
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
