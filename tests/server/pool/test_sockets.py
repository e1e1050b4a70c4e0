import socket

import pytest

from headrace.errors import ConfigError
from server.pool.sockets import listen_http, port_of, reserve_grpc

HOST = "127.0.0.1"


def test_port_zero_takes_a_free_port_and_says_which():
    with listen_http(HOST, 0) as bound, socket.create_connection((HOST, port_of(bound))):
        assert port_of(bound) > 0


def test_http_port_in_use_is_named():
    with listen_http(HOST, 0) as taken:
        port = port_of(taken)
        with pytest.raises(ConfigError, match=f"http_port: {HOST}:{port} is already in use by another process"):
            listen_http(HOST, port)


def test_address_of_another_machine_is_named():
    with pytest.raises(ConfigError, match=r"http_port: cannot listen on 192\.0\.2\.1:8000: "):
        listen_http("192.0.2.1", 8000)


def test_host_that_is_no_address_is_named():
    with pytest.raises(ConfigError, match="host: expected an address of this machine, found 'no such host'"):
        listen_http("no such host", 8000)


def grpc_like(port):
    """Binds as a gRPC server with so_reuseport does."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((HOST, port))
    server.listen()
    return server


def test_replicas_listen_on_the_reserved_port_and_the_reservation_takes_no_connection():
    with reserve_grpc(HOST, 0) as reserved:
        port = port_of(reserved)
        with grpc_like(port) as first, grpc_like(port) as second:
            first.setblocking(False)
            second.setblocking(False)
            clients = [socket.create_connection((HOST, port)) for _ in range(20)]
            assert accepted(first) + accepted(second) == 20
            for client in clients:
                client.close()


def accepted(server):
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_reserved_port_is_refused_to_a_second_pool_before_and_after_replicas_listen():
    with reserve_grpc(HOST, 0) as reserved:
        port = port_of(reserved)
        sentence = f"grpc_port: {HOST}:{port} is already in use by another process"
        with pytest.raises(ConfigError, match=sentence):
            reserve_grpc(HOST, port)
        with grpc_like(port), pytest.raises(ConfigError, match=sentence):
            reserve_grpc(HOST, port)


def test_port_can_be_reserved_while_old_connections_linger():
    """TIME_WAIT of a server that did not share its port."""
    with listen_http(HOST, 0) as old:
        port = port_of(old)
        client = socket.create_connection((HOST, port))
        old.setblocking(True)
        old.accept()[0].close()
        client.close()
    with reserve_grpc(HOST, port) as reserved:
        assert port_of(reserved) == port


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_double_colon_listens_on_both_families():
    with listen_http("::", 0) as bound:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port_of(bound))).close()
