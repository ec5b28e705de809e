"""A chapter in JupyterLab, driven as a learner does, and read through JupyterLab's own model.

The cells are read from the model because JupyterLab draws only those near the window.
"""

import json
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from nbformat import NotebookNode, from_dict

LOCAL_HOSTS = {"localhost", "127.0.0.1"}
LONGEST_RUN = 600  # seconds that a chapter may take
PATIENCE = 180_000  # milliseconds to wait for a page or a kernel; a busy machine needs some

# Every code cell as [number, number of errors], the current state of the kernel beside.
STATE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = [];
    for (let i = 0; i < panel.content.model.cells.length; i++) {
        const cell = panel.content.model.cells.get(i);
        if (cell.type !== 'code') continue;
        const outputs = cell.outputs.toJSON();
        cells.push({
            source: cell.sharedModel.getSource(),
            count: cell.executionCount,
            errors: outputs.filter(o => o.output_type === 'error')
                           .map(o => o.ename + ': ' + o.evalue),
            stderr: outputs.filter(o => o.output_type === 'stream' && o.name === 'stderr')
                           .map(o => [].concat(o.text).join('')),
        });
    }
    return {cells, kernel: panel.sessionContext.session?.kernel?.status ?? 'none'};
}"""
# Asked again and again while cells run, so it copies no outputs.
ALL_DONE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    let all = panel.sessionContext.session?.kernel?.status === 'idle';
    for (let i = 0; i < panel.content.model.cells.length; i++) {
        const cell = panel.content.model.cells.get(i);
        if (cell.type !== 'code') continue;
        all = all && cell.executionCount !== null;
        for (let n = 0; n < cell.outputs.length; n++) {
            if (cell.outputs.get(n).type === 'error') return true;
        }
    }
    return all;
}"""


# JupyterLab's page, as if it had just been loaded; what is closed is not saved.
CLOSE_ALL = """() => {
    for (const widget of [...window.jupyterapp.shell.widgets("main")]) widget.dispose();
}"""
OPEN = """async name => {
    await window.jupyterapp.commands.execute("docmanager:open", { path: name });
}"""


class Lab:
    """A JupyterLab that runs, and a browser to open its pages in."""

    def __init__(self, browser, url: str, token: str, folder: Path, log: Path):
        self.browser, self.url, self.token = browser, url, token
        self.folder, self.log = folder, log
        self.page = None           # where JupyterLab is loaded and nothing is open: loading is slow

    @contextmanager
    def open(self, name: str, afresh: bool = False):
        """The notebook `name`, the only one that is open; its kernel ends with it.

        It opens in the page of the one before, or in a browser that never saw JupyterLab: `afresh`,
        and after something went wrong.
        """
        loaded = None if afresh else self.page
        page, whole = loaded or self.browser.new_context().new_page(), False
        page.set_viewport_size({"width": 1280, "height": 1600})
        page.set_default_timeout(PATIENCE)
        chapter = ChapterPage(page)
        try:
            if loaded:
                page.evaluate(OPEN, name)
            else:
                # Without `reset`, JupyterLab opens again what was open before.
                page.goto(f"{self.url}/lab/tree/{name}?reset&token={self.token}")
            page.wait_for_function(
                "name => window.jupyterapp?.shell.currentWidget?.context?.path === name",
                arg=name,
            )
            page.wait_for_function(f"() => ({STATE})().kernel === 'idle'")
            yield chapter
            page.evaluate(CLOSE_ALL)
            chapter.stop_listening()
            whole = True
        finally:
            if not afresh:
                self.page = page if whole else None
            if afresh or not whole:
                page.context.close()
            self.end_kernels()

    def end_kernels(self):
        for session in json.loads(self._request("GET", "api/sessions")):
            self._request("DELETE", f"api/sessions/{session['id']}")

    def _request(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(
            f"{self.url.replace('localhost', '127.0.0.1')}/{path}", method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


class ChapterPage:
    """One open notebook, and what its page did that it should not."""

    def __init__(self, page):
        self.page = page
        self.requests, self.console_errors = [], []
        self._listeners = {
            "request": lambda request: self.requests.append(request.url),
            "websocket": lambda websocket: self.requests.append(websocket.url),
            "pageerror": lambda error: self.console_errors.append(str(error)),
            "console": self._keep_errors,
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def stop_listening(self):
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _keep_errors(self, message):
        if message.type == "error":
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    def run_all(self, seconds: float):
        """Choose Run > Run All Cells, and wait until every cell has run or one has failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(ALL_DONE, timeout=seconds * 1000, polling=250)

    def run_to_the_end(self):
        """Run a chapter of the course, in which nothing may go wrong."""
        self.run_all(seconds=LONGEST_RUN)
        cells = self.cells
        for cell in cells:
            assert not cell["errors"], f"{cell['source']}\n{cell['errors']}"
            assert not cell["stderr"], f"{cell['source']}\n{cell['stderr']}"
        assert all(cell["count"] for cell in cells)
        assert self.questions == []
        assert self.foreign_requests == []
        assert self.console_errors == []

    @property
    def cells(self) -> list[dict]:
        return self.page.evaluate(STATE)["cells"]

    @property
    def notebook(self) -> NotebookNode:
        """All of it, as it would be saved now."""
        return from_dict(self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.model.toJSON()"))

    @property
    def foreign_requests(self) -> list[str]:
        """What was asked of other machines."""
        return [
            url for url in self.requests
            if urlsplit(url).scheme in ("http", "https", "ws", "wss")
            and urlsplit(url).hostname not in LOCAL_HOSTS
        ]

    @property
    def questions(self) -> list[str]:
        """What JupyterLab wants to know: dialogs, and notices in the corner."""
        return self.page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts()
