"""A roll-out behind a real reverse proxy: the new server comes, the old one goes, and no request fails.

With an engine the servers are containers, without one they are processes of this machine. The proxy asks for ready, as
load balancers do, and the old server goes on accepting for longer than that takes to notice.
"""

import contextlib
import csv
import shutil
import signal
import subprocess
import time

import containers
import pytest
from containers import EXPECTED, INFER, REQUEST, free_ports
from live import serving
from verified_load import Load

pytestmark = pytest.mark.slow

LAG_S = 3
HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option redispatch
frontend all
    bind 127.0.0.1:{port}
    stats enable
    stats uri /haproxy
    default_backend servers
backend servers
    option httpchk GET /v2/health/ready
    http-check expect status 200
    default-server check inter 300ms fall 1 rise 1
    server old 127.0.0.1:{old}
    server new 127.0.0.1:{new}
"""
NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 500; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    upstream servers {{ server 127.0.0.1:{backend}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


@contextlib.contextmanager
def server(repository, http_port, image):
    """One that is ready on this port. What it yields ends it: SIGTERM, and 0 must come of it."""
    if image:
        options = {"HEADRACE_HTTP_PORT": http_port, "HEADRACE_DRAIN_LAG_S": LAG_S, "HEADRACE_REPLICAS": 1}
        with containers.running(repository, environment=options, ready=False) as container:
            container.http_port = http_port
            container.wait_ready()
            yield lambda: container.stop()[0]
    else:
        flags = ["--http-port", str(http_port), "--drain-lag-s", str(LAG_S)]
        with serving(repository, *flags) as process:

            def end():
                process.process.send_signal(signal.SIGTERM)
                return process.process.wait(30)

            yield end


@contextlib.contextmanager
def proxy(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and not _answers(port):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def _answers(port):
    return containers.Container("proxy", port, 0).is_ready()


def _until_up(port, name):
    end = time.monotonic() + 20
    while True:
        table = csv.DictReader(containers.Container("proxy", port, 0).get("/haproxy;csv")[1].decode().splitlines())
        if any((row["svname"], row["status"]) == (name, "UP") for row in table):
            return
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(params=["processes", "containers"])
def image(request):
    if request.param == "containers" and not containers.ENGINE:
        pytest.skip(containers.NONE)
    return containers.IMAGE if request.param == "containers" else None


def test_haproxy_sees_ready_go_and_no_request_fails(digits, tmp_path, image):
    if not shutil.which("haproxy"):
        pytest.skip("haproxy (Debian: haproxy) is not installed")
    port, old, new = free_ports(3)
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(folder=tmp_path, port=port, old=old, new=new))
    with server(digits, old, image) as end_old, proxy(["haproxy", "-db", "-f", str(config)], port):
        with Load(f"127.0.0.1:{port}", INFER, REQUEST, EXPECTED, clients=6) as load:
            load.until(50)
            with server(digits, new, image):
                _until_up(port, "new")  # the orchestrator's part: it ends the old one when the new one is counted in
                load.until(50)
                assert end_old() == 0
                load.until(50)
                assert (load.wrong, load.broken) == ([], [])
        assert load.right > 150


def test_nginx_is_pointed_at_the_new_server_and_no_request_fails(digits, tmp_path, image):
    if not shutil.which("nginx"):
        pytest.skip("nginx (Debian: nginx-light) is not installed")
    port, old, new = free_ports(3)
    config = tmp_path / "nginx.conf"
    nginx = ["nginx", "-p", str(tmp_path), "-c", str(config)]
    config.write_text(NGINX.format(folder=tmp_path, port=port, backend=old))
    with server(digits, old, image) as end_old, proxy([*nginx, "-g", "daemon off;"], port):
        # A reload of nginx closes its clients' idle connections, perhaps in somebody's face; that is between those two.
        with Load(f"127.0.0.1:{port}", INFER, REQUEST, EXPECTED, clients=6, kept=False) as load:
            load.until(50)
            with server(digits, new, image):
                config.write_text(NGINX.format(folder=tmp_path, port=port, backend=new))
                subprocess.run([*nginx, "-s", "reload"], check=True, capture_output=True)
                load.until(50)
                assert end_old() == 0
                load.until(50)
                assert (load.wrong, load.broken) == ([], [])
        assert load.right > 150
