"""No test reaches another machine: the guard is on here, in subprocesses and in kernels."""

import asyncio
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from course import read
from execution import execute
from nbformat.v4 import new_notebook
from small_chapter import code, save

# Addresses and names that are reserved for documentation: nobody is there.
FAR = ("192.0.2.1", 80)
REFUSED = "The tests run without a network"


def connect_by_name():
    socket.create_connection(("example.org", 80))


def connect_by_number():
    with socket.socket() as far:
        far.connect(FAR)


def connect_by_number_in_ipv6():
    with socket.socket(socket.AF_INET6) as far:
        far.connect(("2001:db8::1", 80))


def connect_without_waiting():
    with socket.socket() as far:
        far.connect_ex(FAR)


def send_a_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.sendto(b"hello", FAR)


def connect_by_asyncio():
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor() as pool, closing(loop):  # this thread may have a loop already
        pool.submit(loop.run_until_complete, asyncio.open_connection(*FAR)).result()


def look_up_a_name():
    socket.gethostbyname("example.org")


@pytest.mark.parametrize("attempt", [
    connect_by_name, connect_by_number, connect_by_number_in_ipv6, connect_without_waiting,
    send_a_datagram, connect_by_asyncio, look_up_a_name,
])
def test_another_machine_is_out_of_reach(attempt):
    with pytest.raises(OSError, match=REFUSED):
        attempt()


def test_a_download_is_refused():
    with pytest.raises(urllib.error.URLError, match=REFUSED):
        urllib.request.urlopen("http://example.org")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_within_reach(host):
    with socket.create_server((host, 0)) as server, socket.socket() as near:
        near.connect((host, server.getsockname()[1]))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Windows has none")
def test_unix_sockets_are_within_reach(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # their paths must be short
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as near:
        server.bind("socket")
        server.listen()
        near.connect("socket")


def test_a_subprocess_is_guarded():
    program = f"import socket; socket.create_connection({FAR})"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert REFUSED in finished.stderr


def test_a_kernel_is_guarded(tmp_path):
    lines = (
        "import socket", "try:", f"    socket.create_connection({FAR})",
        "except OSError as error:", "    print(error)",
    )
    path = save(new_notebook(cells=[code("\n".join(lines))]), tmp_path)
    execute(path)
    assert read(path).cells[0].outputs[0].text.startswith(REFUSED)
