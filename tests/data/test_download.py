"""A file arrives whole or not at all. The server is a thread here that breaks in the ways servers do."""

import builtins
import errno
import hashlib
import http.server
import shutil
import socket
import threading
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from geoscope.data import download as module
from geoscope.data.download import cache_folder, download, record_sha256, recorded_sha256
from geoscope.errors import Cancelled, DownloadError

CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(NamedTuple):
    """Where the server is, how it misbehaves (set before a request) and what it was asked."""

    url: str
    ways: dict
    asked: list


class PatientServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        ways = self.server.ways
        self.server.asked.append(dict(self.headers))
        self.close_connection = True
        for status in ways.get("status", [])[:1]:
            ways["status"].pop(0)
            return self.answer(status, b"no")
        if "location" in ways and self.path == "/weights.pt":
            return self.answer(302, b"", {"Location": ways["location"]})
        content, start = ways.get("content", CONTENT), 0
        tag = ways.get("etag", '"one"')
        wanted = self.headers.get("Range", "")
        if wanted and not ways.get("ignores_range") and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.answer(416, b"")
        first = start + ways.get("shift", 0)
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if start else {}
        headers |= {"ETag": tag} if tag else {}
        headers |= {"Last-Modified": ways["modified"]} if "modified" in ways else {}
        self.answer(206 if start else 200, content[start:], headers | ways.get("headers", {}))

    def answer(self, status, body, headers=None):
        ways = self.server.ways
        self.send_response(status)
        self.send_header("Connection", "close")
        framing = ways.get("framing", "length")
        if framing == "length":
            self.send_header("Content-Length", str(len(body)))
        if framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        breaks = ways.get("breaks_after", [])
        if status in (200, 206) and breaks:
            body = body[: breaks.pop(0)]
        if framing == "chunked":
            body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with PatientServer(("127.0.0.1", 0), Handler) as running:
        running.ways, running.asked = {}, []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Server(f"http://127.0.0.1:{running.server_port}/weights.pt", running.ways, running.asked)
        running.shutdown()
        thread.join()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole(server, tmp_path):
    steps = []
    target = tmp_path / "deep" / "weights.pt"
    report = lambda stage, done: steps.append((stage, done))  # noqa: E731
    assert download(server.url, target, sha256=SHA256, size=len(CONTENT), progress=report) == target
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == ["weights.pt"]
    fetching = [done for stage, done in steps if stage == "fetching"]
    assert fetching == sorted(fetching)
    assert fetching[-1] == 1
    assert len(fetching) > 2
    assert steps[-1] == ("done", 1.0)


def test_without_an_official_sha256_the_one_found_is_recorded(server, tmp_path):
    target = download(server.url, tmp_path / "weights.pt")
    assert recorded_sha256(target) == SHA256
    assert (tmp_path / "weights.pt.sha256").read_text() == f"{SHA256}  weights.pt\n"


def test_a_file_that_changed_since_it_was_recorded_is_refused(server, tmp_path):
    target = download(server.url, tmp_path / "weights.pt")
    server.ways["content"] = CONTENT[::-1]
    with pytest.raises(DownloadError, match=r"if the change is right, delete .*weights.pt.sha256 first"):
        download(server.url, target)
    assert target.read_bytes() == CONTENT


def test_there_is_no_record_of_a_file_never_fetched(tmp_path):
    assert recorded_sha256(tmp_path / "none.pt") is None
    (tmp_path / "empty.pt.sha256").write_text("")
    assert recorded_sha256(tmp_path / "empty.pt") is None
    (tmp_path / "own.pt").write_bytes(CONTENT)
    assert record_sha256(tmp_path / "own.pt") == recorded_sha256(tmp_path / "own.pt") == SHA256


def test_a_connection_that_breaks_is_taken_up_where_it_stopped(server, tmp_path):
    server.ways["breaks_after"] = [300_000, 200_000]
    target = download(server.url, tmp_path / "weights.pt", sha256=SHA256, pause_s=0)
    assert target.read_bytes() == CONTENT
    assert [headers.get("Range") for headers in server.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert server.asked[1]["If-Range"] == '"one"'
    assert names_in(tmp_path) == ["weights.pt"]


def test_the_next_call_goes_on_where_the_last_one_gave_up(server, tmp_path):
    target = tmp_path / "weights.pt"
    server.ways["breaks_after"] = [300_000]
    with pytest.raises(DownloadError, match=r"broke 1 times .*300000 bytes are kept, run it again"):
        download(server.url, target, attempts=1)
    assert names_in(tmp_path) == ["weights.pt.part", "weights.pt.part.json"]
    download(server.url, target, attempts=1)
    assert server.asked[-1]["Range"] == "bytes=300000-"
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_range_is_read_from_the_start(server, tmp_path):
    server.ways.update({"breaks_after": [300_000], "ignores_range": True})
    target = download(server.url, tmp_path / "weights.pt", sha256=SHA256, pause_s=0)
    assert "Range" in server.asked[1]
    assert target.read_bytes() == CONTENT


def test_another_version_is_not_glued_to_the_first_part(server, tmp_path):
    server.ways["breaks_after"] = [300_000]
    target = tmp_path / "weights.pt"
    with pytest.raises(DownloadError):
        download(server.url, target, attempts=1)
    server.ways.update({"content": CONTENT[::-1], "etag": '"two"'})
    assert download(server.url, target).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("ways", [{"etag": ""}, {"etag": 'W/"weak"'}])
def test_a_part_of_no_known_version_is_fetched_again(server, tmp_path, ways):
    server.ways.update({"breaks_after": [300_000], **ways})
    target = download(server.url, tmp_path / "weights.pt", sha256=SHA256, pause_s=0)
    assert "Range" not in server.asked[1]
    assert target.read_bytes() == CONTENT


def test_the_date_of_a_version_serves_where_there_is_no_tag(server, tmp_path):
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    server.ways.update({"breaks_after": [300_000], "etag": "", "modified": date})
    download(server.url, tmp_path / "weights.pt", pause_s=0)
    assert server.asked[1]["If-Range"] == date


def test_the_part_of_another_address_is_not_used(server, tmp_path):
    server.ways["breaks_after"] = [300_000]
    with pytest.raises(DownloadError):
        download(server.url, tmp_path / "weights.pt", attempts=1)
    download(server.url + "?other", tmp_path / "weights.pt")
    assert "Range" not in server.asked[1]


def test_a_part_that_is_not_the_one_asked_for_is_thrown_away(server, tmp_path):
    server.ways.update({"breaks_after": [300_000], "shift": 7})
    target = download(server.url, tmp_path / "weights.pt", sha256=SHA256, pause_s=0)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "weights.pt.part").write_bytes(CONTENT + b"more")
    (tmp_path / "weights.pt.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"one\\""}}')
    target = download(server.url, tmp_path / "weights.pt", sha256=SHA256, pause_s=0)
    assert target.read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.ways["status"] = [503, 429]
    target = download(server.url, tmp_path / "weights.pt", pause_s=0)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_a_redirect_is_followed(server, tmp_path):
    server.ways["location"] = server.url.replace("weights", "elsewhere")
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_redirect_in_a_circle_is_refused(server, tmp_path):
    server.ways["location"] = server.url
    with pytest.raises(DownloadError, match=r"weights.pt: .*redirects"):
        download(server.url, tmp_path / "weights.pt")


def test_a_wrong_size_is_refused_before_anything_is_fetched(server, tmp_path):
    with pytest.raises(DownloadError, match=r"has 700000 bytes, expected 699999; not fetched"):
        download(server.url, tmp_path / "weights.pt", size=699_999)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("size", [600_000, 800_000])
def test_a_wrong_size_that_the_server_did_not_tell_is_refused(server, tmp_path, size):
    server.ways["framing"] = "chunked"
    with pytest.raises(
        DownloadError, match=f"700000 bytes came, expected {size}|expected {size}; thrown away"
    ):
        download(server.url, tmp_path / "weights.pt", size=size)
    assert names_in(tmp_path) == []


def test_a_wrong_hash_is_refused_and_thrown_away(server, tmp_path):
    with pytest.raises(
        DownloadError, match=f"sha256 is {SHA256[:12]}..., expected 000000000000...; thrown away"
    ):
        download(server.url, tmp_path / "weights.pt", sha256="0" * 64)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, "the file is not there"), (410, "the file is not there"), (403, "the server refuses it")],
)
def test_a_file_that_is_not_there_is_said_so_at_once(server, tmp_path, status, meaning):
    server.ways["status"] = [status]
    with pytest.raises(DownloadError, match=rf"{meaning} \(HTTP {status}\)"):
        download(server.url, tmp_path / "weights.pt")
    assert len(server.asked) == 1
    assert names_in(tmp_path) == []


def test_a_length_that_cannot_be_known_is_refused(server, tmp_path):
    server.ways["framing"] = "none"
    with pytest.raises(DownloadError, match=r"does not say how long the file is"):
        download(server.url, tmp_path / "weights.pt")
    assert download(server.url, tmp_path / "weights.pt", sha256=SHA256).read_bytes() == CONTENT


def test_a_chunked_answer_is_whole_by_itself(server, tmp_path):
    server.ways["framing"] = "chunked"
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == CONTENT


def test_an_encoded_answer_is_refused(server, tmp_path):
    server.ways["headers"] = {"Content-Encoding": "gzip"}
    with pytest.raises(DownloadError, match=r"encoded as gzip"):
        download(server.url, tmp_path / "weights.pt")


def test_without_network_there_is_one_clear_line(tmp_path, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        DownloadError, match=f"no connection to 127.0.0.1:{port}.*check the network"
    ) as caught:
        download(f"http://127.0.0.1:{port}/weights.pt", tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_proxy_from_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url.rsplit("/", 1)[0])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    target = download("http://weights.invalid/weights.pt", tmp_path / "weights.pt")
    assert target.read_bytes() == CONTENT
    assert server.asked[0]["Host"] == "weights.invalid"


def test_a_proxy_that_cannot_be_used_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://loft:1")
    with pytest.raises(
        DownloadError, match=r"proxy settings in the environment cannot be used.*carrier-pigeon"
    ):
        download(server.url, tmp_path / "weights.pt")


def test_a_proxy_that_is_down_is_no_network(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"no connection to weights.invalid"):
        download("http://weights.invalid/weights.pt", tmp_path / "weights.pt")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/weights.pt", "/etc/hostname", "file:///etc/hostname"])
def test_an_address_that_is_not_http_is_refused(tmp_path, url):
    with pytest.raises(DownloadError, match=r"expected an address that begins with https"):
        download(url, tmp_path / "weights.pt")


def test_an_address_that_makes_no_sense_is_refused(tmp_path, server):
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:port/"):
        download("http://127.0.0.1:port/weights.pt", tmp_path / "weights.pt")


def test_a_redirect_away_from_encryption_is_refused(tmp_path, monkeypatch):
    def answer(request):
        if request.url.scheme == "https":
            return httpx.Response(302, headers={"Location": "http://weights.invalid/weights.pt"})
        return httpx.Response(200, content=CONTENT)

    client = httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True)
    monkeypatch.setattr(module, "_client", lambda: client)
    with pytest.raises(DownloadError, match=r"without encryption"):
        download("https://weights.invalid/weights.pt", tmp_path / "weights.pt")


def test_too_little_space_is_said_before_anything_is_fetched(server, tmp_path, monkeypatch):
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(DownloadError, match=r"weights.pt needs 68 MB, 1 MB are free.*GEOSCOPE_CACHE"):
        download(server.url, tmp_path / "weights.pt")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_gets_its_space_back(server, tmp_path, code):
    def report(stage, done):
        if stage == "fetching":
            raise OSError(code, "No space left on device")  # as stream.write does

    with pytest.raises(DownloadError, match=r"no space left in .*make space there"):
        download(server.url, tmp_path / "weights.pt", progress=report)
    assert names_in(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match=r"cannot write .*weights.pt .*set GEOSCOPE_CACHE"):
        download(server.url, tmp_path / "file" / "weights.pt")


def test_cancelling_stops_and_keeps_the_part(server, tmp_path):
    def report(stage, done):
        if done > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        download(server.url, tmp_path / "weights.pt", progress=report)
    assert names_in(tmp_path) == ["weights.pt.part", "weights.pt.part.json"]
    download(server.url, tmp_path / "weights.pt")
    assert "Range" in server.asked[1]


def test_two_processes_do_not_write_one_file(server, tmp_path):
    messages = []

    def report(stage, done):
        if stage == "fetching" and not messages:
            with pytest.raises(DownloadError, match=r"being fetched by another process") as caught:
                download(server.url, tmp_path / "weights.pt")
            messages.append(str(caught.value))

    assert download(server.url, tmp_path / "weights.pt", progress=report).read_bytes() == CONTENT
    assert len(messages) == 1


def test_where_files_cannot_be_locked_they_are_fetched_all_the_same(server, tmp_path, monkeypatch):
    really_import = builtins.__import__

    def no_fcntl(name, *rest, **options):
        if name == "fcntl":
            raise ImportError(name)
        return really_import(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", no_fcntl)
    assert download(server.url, tmp_path / "weights.pt").read_bytes() == CONTENT


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("GEOSCOPE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("GEOSCOPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "geoscope"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "geoscope"
