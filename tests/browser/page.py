"""A view of the browser on a page of its own: its module, its state, and a model without a kernel.

The model does what a page needs of one: get, set, on, off, save_changes. What a kernel would send,
a test sends with `send`.
"""

import base64
import json

from ipywidgets import DOMWidget

from gptcourse.views.browser import BrowserView

PAGE = """<!doctype html><meta charset="utf-8"><title>a view</title><style>%(style)s</style>
<body data-jp-theme-light="true"><script type="module">
const read = ([type, value]) => type === "json" ? value
  : new DataView(Uint8Array.from(atob(value), (sign) => sign.charCodeAt(0)).buffer);
const state = Object.fromEntries(Object.entries(%(state)s).map(([k, v]) => [k, read(v)]));
const handlers = {};
const fire = (name) => (handlers[`change:${name}`] ?? []).forEach((handler) => handler());
// What the kernel answers to such a message.
window.answer = (...given) => handlers["msg:custom"].forEach((handler) => handler(...given));
window.saved = [];
window.asked = [];
window.model = {
  get: (name) => state[name],
  set(name, value) {
    if (state[name] === value) return;
    state[name] = value;
    fire(name);
    window.saved.push([name, value]);
  },
  on: (event, handler) => (handlers[event] ??= []).push(handler),
  off: (event, handler) => {
    handlers[event] = handlers[event].filter((other) => other !== handler);
  },
  save_changes() {},
  send(content) { window.asked.push(content); },       // a message of its own to the kernel
  listeners: () => Object.values(handlers).flat().length,
};
window.send = (changed) => {
  for (const [name, value] of Object.entries(changed)) state[name] = read(value);
  Object.keys(changed).forEach(fire);
};
const code = Uint8Array.from(atob("%(module)s"), (sign) => sign.charCodeAt(0));
const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
const el = Object.assign(document.createElement("div"), { id: "view" });
window.dispose = module.default.render({ model, el });
document.body.append(el);                    // as JupyterLab does it, after the view was drawn
window.ready = true;
</script>"""


class ViewPage:
    """A page with one view, and what was said to its console."""

    def __init__(self, page, view: BrowserView, source: str = PAGE):
        self.page, self.complaints, self.requests = page, [], []
        self._listeners = {
            "pageerror": lambda error: self.complaints.append(str(error)),
            "console": lambda message: self.complaints.append(message.text)
            if message.type in ("error", "warning") else None,
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)
        page.set_content(source % {
            "style": view._css,
            "state": json.dumps({name: _readable(getattr(view, name)) for name in settings(view)}),
            "module": base64.b64encode(view._esm.encode()).decode(),
        })
        page.wait_for_function("window.ready === true")
        self.settle()

    def stop_listening(self) -> None:
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def send(self, **changed) -> None:
        """What arrives when the kernel changes these traits."""
        self.page.evaluate("changed => window.send(changed)",
                           {name: _readable(value) for name, value in changed.items()})
        self.settle()

    def settle(self) -> None:
        """Wait until what the page has put off to its next pictures is done."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame("
                           "() => requestAnimationFrame(done)))")

    @property
    def saved(self) -> list:
        """Every setting that the page has sent to the kernel, in order."""
        return self.page.evaluate("window.saved")

    def __getattr__(self, name):
        return getattr(self.page, name)


def settings(view: BrowserView) -> list[str]:
    """The names of a view's own synchronized traits."""
    common = DOMWidget.class_trait_names(sync=True)
    return [name for name in view.keys if name not in common and not name.startswith("_")]


def _readable(value) -> list:
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    return ["json", value]
