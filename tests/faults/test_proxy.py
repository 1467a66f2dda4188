import socket
import socketserver
import threading

import pytest

from tests.faults.proxy import HOST, Proxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1000):
            self.server.heard.append(data)
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Resets are what these tests are about."""


@pytest.fixture
def server():
    with Server((HOST, 0), Echo) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server):
    with Proxy(server.server_address[1]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        yield client


def is_reset(client):
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


def is_refused(proxy):
    try:
        with socket.create_connection((HOST, proxy.port), timeout=5) as client:
            return is_reset(client)
    except ConnectionError:
        return True


def test_bytes_go_through(client):
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"


def test_a_cut_ends_connections_and_new_ones_are_refused_until_mended(proxy, client):
    client.sendall(b"hello")
    client.recv(100)
    proxy.refuses = True
    proxy.cut()
    assert is_reset(client)
    assert is_refused(proxy)
    proxy.mend()
    with socket.create_connection((HOST, proxy.port), timeout=5) as other:
        test_bytes_go_through(other)


def test_a_silent_proxy_keeps_the_connection_and_passes_nothing(proxy, client):
    proxy.is_silent = True
    client.sendall(b"hello")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(100)


def test_a_connection_is_reset_after_some_bytes(proxy, server, client):
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    proxy.reset_after = 3
    client.sendall(b"hello")
    assert is_reset(client)
    assert proxy.broken == 1
    assert b"".join(server.heard) in (b"a", b"ahel")


def test_only_the_reply_is_lost(proxy, server, client):
    proxy.lost_reply_to = b"ell"
    client.sendall(b"hello")
    assert is_reset(client)
    assert server.heard == [b"hello"]
