"""`headrace health` against anything that answers on a port, or does not."""

import http.server
import subprocess
import sys
import threading

import pytest

from server.health import here, ill


@pytest.fixture
def answering():
    """`answering(status)` is the address of a server that answers every GET with it; its `paths` are what was asked."""
    servers = []

    def start(status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.paths.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        server.paths = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", server.paths

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def headrace(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "server", "health", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_exit_code_is_what_container_engines_expect(answering, status, code):
    url, paths = answering(status)
    result = headrace("--url", url)
    assert result.returncode == code
    assert paths == ["/v2/health/ready"]
    assert (f"{url} is not ready: HTTP status {status}" in result.stderr) is (code == 1)


def test_nobody_there_is_unhealthy_in_one_sentence():
    result = headrace("--url", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("headrace: no server answers at http://127.0.0.1:1: ")
    assert result.stderr.count("\n") == 1


def test_live_asks_for_the_process_only(answering):
    url, paths = answering(200)
    assert ill(url.removeprefix("http://"), "live", 5.0) == ""
    assert paths == ["/v2/health/live"]


def test_the_help_lists_it_with_the_other_commands():
    result = subprocess.run(
        [sys.executable, "-m", "server", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "health" in result.stdout


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://localhost:8000"),
        ({"HEADRACE_HTTP_PORT": "9000", "HEADRACE_HOST": "0.0.0.0"}, "http://localhost:9000"),
        ({"HEADRACE_HOST": "10.0.0.3"}, "http://10.0.0.3:8000"),
        ({"HEADRACE_HOST": "::1"}, "http://[::1]:8000"),
        ({"HEADRACE_HOST": "::"}, "http://localhost:8000"),
    ],
)
def test_without_an_address_it_asks_the_server_of_the_same_environment(environment, url):
    assert here(environment) == url


def test_a_probe_imports_none_of_what_serving_needs():
    """It runs every few seconds, on the cores that serve."""
    heavy = {"numpy", "pydantic", "httpx", "rich", "asyncio"}
    code = f"import sys, server.entry, server.health; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == ""
