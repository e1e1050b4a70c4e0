import socket

import pytest

from headrace.errors import ConfigError
from server.pool.sockets import listen, port_of

HOST = "127.0.0.1"


def test_port_zero_takes_a_free_port_and_says_which():
    with listen(HOST, 0, "http_port") as bound, socket.create_connection((HOST, port_of(bound))):
        assert port_of(bound) > 0


@pytest.mark.parametrize("key", ["http_port", "grpc_port"])
def test_port_in_use_is_named(key):
    with listen(HOST, 0, "http_port") as taken:
        port = port_of(taken)
        with pytest.raises(ConfigError, match=f"{key}: {HOST}:{port} is already in use by another process"):
            listen(HOST, port, key)


def test_address_of_another_machine_is_named():
    with pytest.raises(ConfigError, match=r"http_port: cannot listen on 192\.0\.2\.1:8000: "):
        listen("192.0.2.1", 8000, "http_port")


def test_host_that_is_no_address_is_named():
    with pytest.raises(ConfigError, match="host: expected an address of this machine, found 'no such host'"):
        listen("no such host", 8000, "http_port")


def test_port_can_be_taken_while_old_connections_linger():
    """TIME_WAIT of the server that had it before."""
    with listen(HOST, 0, "http_port") as old:
        port = port_of(old)
        client = socket.create_connection((HOST, port))
        old.setblocking(True)
        old.accept()[0].close()
        client.close()
    with listen(HOST, port, "http_port") as again:
        assert port_of(again) == port


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_double_colon_listens_on_both_families():
    with listen("::", 0, "http_port") as bound:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port_of(bound))).close()
