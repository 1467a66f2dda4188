import socket

from services.runtime import ports


def test_free_ports_are_different_and_below_the_range_of_outgoing_connections():
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(15_000 <= port < 32_000 for port in found)


def test_a_port_somebody_listens_on_is_not_free(monkeypatch):
    with socket.create_server((ports.HOST, 0)) as taken:
        taken_port = taken.getsockname()[1]
        draws = iter([taken_port, taken_port, 15_001, 15_002])
        free = [port for port in (15_001, 15_002) if ports._can_bind(port)]
        monkeypatch.setattr(ports.secrets, "randbelow", lambda _: next(draws) - ports._LOW)
        assert ports.free_ports(1) == free[:1]


def test_accepts_says_whether_anybody_listens():
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        assert ports.accepts(port)
    assert not ports.accepts(port)
