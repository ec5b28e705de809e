"""JupyterLab as `make lab` starts it, and Chromium to look at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from course import ROOT, without_models
from driver import Lab
from playwright.sync_api import Error, sync_playwright

CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Whatever else it might look up does not exist.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium or Chrome. Without, these tests are left out, but never in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    where = {"executable_path": executable} if executable else {"channel": "chrome"}
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(args=CHROMIUM_FLAGS, **where)
        except Error as error:
            message = f"Chromium does not start; is it installed? {error.message.splitlines()[0]}"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        yield browser
        browser.close()


class Window:
    """Pages for a view each. One that a test gives back is handed out again, blank: to open another
    would take longer than most tests."""

    def __init__(self, browser):
        self.context, self.blank = browser.new_context(), []

    def page(self):
        return self.blank.pop() if self.blank else self.context.new_page()

    def give_back(self, page) -> None:
        page.mouse.move(0, 0)                # or else the next view would find the pointer on it
        page.goto("about:blank")
        page.emulate_media(color_scheme="null", reduced_motion="null")
        self.blank.append(page)


@pytest.fixture(scope="session")
def window(chromium):
    window = Window(chromium)
    yield window
    window.context.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    """JupyterLab on fresh copies of the chapters, started by the command of `make lab`."""
    home = tmp_path_factory.mktemp("home")
    folder, port = home / "workbook", free_port()
    command = [
        sys.executable, str(ROOT / "tools" / "notebooks.py"), "lab", "--into", str(folder),
        "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=for-the-tests", "--LabApp.expose_app_in_browser=True",
        *(["--allow-root"] if os.name == "posix" and os.geteuid() == 0 else []),
    ]
    environment = {
        **os.environ,
        **{f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
        "IPYTHONDIR": str(home / "ipython"),
        **without_models(home),                     # the chapters' stored outputs are without, too
    }
    environment.pop("GPTLIB_CHECK", None)           # a wrong answer stops no chapter
    log = home / "jupyterlab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_it_answers(server, port, log)
        yield Lab(chromium, f"http://localhost:{port}", "for-the-tests", folder, log)
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        finally:
            server.kill()                           # a hanging one must not stay


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_answers(server, port, log, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-4000:]}")
