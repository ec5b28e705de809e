// Starts every view of the page. Its model does what a widget's does, without a kernel: get, set,
// on, off and save_changes.
function modelOf(state) {
  const handlers = {};
  const fire = (name) => (handlers[`change:${name}`] ?? []).forEach((handler) => handler());
  return {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      fire(name);
    },
    on: (event, handler) => (handlers[event] ??= []).push(handler),
    off(event, handler) {
      handlers[event] = (handlers[event] ?? []).filter((other) => other !== handler);
    },
    save_changes() {},
  };
}

const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
const read = ([kind, value]) => (kind === "json" ? value : new DataView(bytes(value).buffer));

// The views follow the colors of the page.
const dark = matchMedia("(prefers-color-scheme: dark)");
const tell = () => { document.body.dataset.jpThemeLight = String(!dark.matches); };
dark.addEventListener("change", tell);
tell();

for (const place of document.querySelectorAll("[data-view]")) {
  const parts = JSON.parse(new TextDecoder().decode(bytes(place.dataset.view)));
  delete place.dataset.view;
  const style = document.createElement("style");
  style.textContent = parts.style;
  const el = document.createElement("div");
  place.append(style, el);
  const entries = Object.entries(parts.state).map(([name, value]) => [name, read(value)]);
  const code = new Blob([parts.module], { type: "text/javascript" });
  const module = await import(URL.createObjectURL(code));
  await module.default.render({ model: modelOf(Object.fromEntries(entries)), el });
  for (const field of el.querySelectorAll("input[type=text]")) {
    field.readOnly = true;
    field.title = "Another text needs the model, so it needs the notebook.";
  }
}
document.documentElement.dataset.ready = "true";
