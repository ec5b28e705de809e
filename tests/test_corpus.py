import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from pydoc_data.topics import topics

import pytest

from gptlib.corpus import load_text, texts

STORY = b"Once upon a time\nthere was a server.\n"


def fails(error, sentence):
    """Expect an error of this very kind whose message is exactly one line with `sentence` in it."""
    return pytest.raises(error, match=rf"^(?s:(?!.*\n).*{sentence}.*)$")


# Names


def test_pydoc_is_all_of_pythons_help_in_the_order_of_its_names():
    text = load_text("pydoc")
    assert len(text) > 400_000
    places = [text.index(topics[name].strip()) for name in sorted(topics)]
    assert places[0] == 0
    assert text == load_text("pydoc")
    assert len(text) == sum(len(topics[name].strip()) + 2 for name in topics) - 1


def test_a_misspelt_name_is_answered_with_the_nearest():
    with fails(FileNotFoundError, "pydoc, shakespeare, the-verdict: did you mean 'shakespeare'?"):
        load_text("shakespear")
    with fails(FileNotFoundError, "did you mean 'the-verdict'?"):
        load_text("the_verdict")


@pytest.mark.parametrize("wrong", ["moby-dick", "some/moby.txt", "Call me Ishmael. " * 500])
def test_what_is_neither_name_nor_file_is_answered_with_the_names(wrong):
    with fails(
        FileNotFoundError, "nor one of the texts pydoc, shakespeare, the-verdict: check"
    ) as told:
        load_text(wrong)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("wrong", [None, 5, b"pydoc", ["pydoc"], "\0"])
def test_what_could_be_neither_is_refused(wrong):
    with fails(TypeError, r"must be a text or a pathlib\.Path: name a file, or one of pydoc"):
        load_text(wrong)


# Files


def test_a_file_is_read_as_utf8_without_byte_order_mark_and_with_plain_line_ends(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "Zoë\r\n\r\n😀 a\rb\n".encode())
    assert load_text(path) == load_text(str(path)) == "Zoë\n\n😀 a\rb\n"


def test_a_tilde_means_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "book.txt").write_bytes(STORY)
    assert load_text("~/book.txt") == STORY.decode()


def test_a_name_wins_over_a_file_of_the_same_name_unless_it_is_written_as_a_path(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pydoc").write_bytes(STORY)
    assert load_text("pydoc") != STORY.decode()
    assert load_text("./pydoc") == STORY.decode()


def test_a_folder_is_refused(tmp_path):
    with fails(IsADirectoryError, "is a folder, but must be a text file"):
        load_text(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, content):
    (tmp_path / "empty.txt").write_bytes(content)
    with fails(ValueError, "empty.txt is empty"):
        load_text(tmp_path / "empty.txt")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_in_another_encoding_is_refused_with_the_place(tmp_path, mark):
    (tmp_path / "latin.txt").write_bytes(mark + "naïve".encode("latin-1"))
    with fails(ValueError, rf"latin.txt is not UTF-8, as byte {len(mark) + 2} \(0xef\) shows"):
        load_text(tmp_path / "latin.txt")


# Downloads, from a server on this machine


class Server:
    """Serves one content and counts how often it was asked for."""

    def __init__(self, content, status=200):
        server = self
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests += 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/story.txt"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Let "shakespeare" be STORY, to be had from a server that the test describes."""
    servers = []
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def start(content=STORY, status=200):
        servers.append(Server(content, status))
        digest = hashlib.sha256(STORY).hexdigest()
        monkeypatch.setitem(texts.DOWNLOADS, "shakespeare", (servers[-1].url, digest))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_a_text_is_downloaded_once_and_then_needs_no_server(serve, tmp_path, capfd):
    server = serve()
    assert load_text("shakespeare") == STORY.decode()
    assert load_text("shakespeare") == STORY.decode()
    assert server.requests == 1
    server.stop()
    assert load_text("shakespeare") == STORY.decode()
    assert os.listdir(tmp_path / "cache" / "gptlib") == ["shakespeare.txt"]
    assert capfd.readouterr() == ("", "")


def test_a_wrong_text_is_refused_and_thrown_away(serve, tmp_path):
    server = serve(STORY.replace(b"time", b"lime"))
    with fails(RuntimeError, f"not the text 'shakespeare' .* save {server.url} .* use 'pydoc'"):
        load_text("shakespeare")
    assert os.listdir(tmp_path / "cache" / "gptlib") == []


def test_a_spoilt_copy_is_downloaded_anew(serve, tmp_path):
    server = serve()
    load_text("shakespeare")
    (tmp_path / "cache" / "gptlib" / "shakespeare.txt").write_bytes(STORY[:-5])
    assert load_text("shakespeare") == STORY.decode()
    assert server.requests == 2


def test_no_network_is_said_with_what_to_do(serve):
    server = serve()
    server.stop()
    with fails(ConnectionError, f"could not be downloaded .* save {server.url} .* use 'pydoc'"):
        load_text("shakespeare")


def test_no_name_service_is_said_with_what_to_do(serve, monkeypatch):
    def no_names(*_args, **_options):
        raise socket.gaierror("Temporary failure in name resolution")

    serve()
    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    with fails(ConnectionError, r"could not be downloaded \(ConnectionError\)"):
        load_text("shakespeare")


def test_a_text_that_is_no_longer_there_is_said(serve):
    serve(b"not found", status=404)
    with fails(ConnectionError, r"could not be downloaded \(HTTPError\)"):
        load_text("shakespeare")


def test_a_cache_that_cannot_be_written_to_is_named(serve, tmp_path):
    serve()
    (tmp_path / "cache").write_text("a file where a folder should be")
    with fails(OSError, "'shakespeare' could not be kept in .*cache.* use 'pydoc'"):
        load_text("shakespeare")


def test_a_file_saved_by_hand_serves_instead(tmp_path):
    (tmp_path / "input.txt").write_bytes(STORY)
    assert load_text(tmp_path / "input.txt") == STORY.decode()


def test_the_addresses_are_https_and_the_digests_are_sha256():
    for url, digest in texts.DOWNLOADS.values():
        assert url.startswith("https://") and len(bytes.fromhex(digest)) == 32


def test_importing_the_package_loads_no_downloader():
    code = "import sys, gptlib.corpus; print(*{'pooch', 'requests'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
