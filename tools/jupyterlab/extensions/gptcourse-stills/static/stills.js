// A notebook that is opened again, while the kernel of its views is long gone, shows their pictures.
//
// An output holds a view as a widget, and the same as a picture or text. JupyterLab always takes
// the widget; where nothing is left of that, it writes "model not found". This extension has it
// take the picture then. It is a container as JupyterLab loads them ("module federation"), written
// by hand, since it needs no build.

const WIDGET = "application/vnd.jupyter.widget-view+json";
const RUN_AGAIN = "This is a picture. To use it, run this cell (Shift+Enter), after those above it.";

/** The widget of an output, if a kernel is behind it. Waits until the notebook has found its own. */
async function livingWidget(manager, { model_id }) {
  if (!manager.restoredStatus) {
    await new Promise((found) => manager.restored.connect(found));
  }
  if (!manager.has_model(model_id)) return null;
  const widget = await manager.get_model(model_id);
  return widget.comm_live ? widget : null;
}

/** Show in `output` what there is of `model` besides the widget. */
async function showStill(output, rendermime, model) {
  const { [WIDGET]: _, ...data } = model.data;
  const type = rendermime.preferredMimeType(data, "any");
  const still = rendermime.createRenderer(type);
  await still.renderModel(rendermime.createModel({
    data, metadata: model.metadata, trusted: model.trusted }));
  still.node.querySelector("img")?.setAttribute("alt", model.metadata[type]?.alt ?? "");
  const words = document.createElement("div");
  words.textContent = RUN_AGAIN;
  words.style.cssText = "color: var(--jp-ui-font-color2); padding: 2px 4px 6px";
  output.node.replaceChildren(still.node, words);
}

/** Teach the class that draws widgets into outputs. Every notebook has its own objects of it. */
function teach(rendermime) {
  const { constructor: Output } = rendermime.getFactory(WIDGET).createRenderer({ mimeType: WIDGET });
  const showWidget = Output.prototype.renderModel;
  Output.prototype.renderModel = async function renderModel(model) {
    const place = model.data[WIDGET];
    // A view that gets another picture, because its loop has ended, stays as it is on the page.
    if (place.model_id && place.model_id === this.shownWidget) return undefined;
    const living = !place.model_id || await livingWidget(await this._manager.promise, place);
    this.shownWidget = living && place.model_id;
    return living ? showWidget.call(this, model) : showStill(this, rendermime, model);
  };
}

async function extension(shared) {
  const [version] = Object.values(shared["@jupyterlab/rendermime"]);
  const { IRenderMimeRegistry } = (await version.get())();
  return {
    id: "gptcourse-stills:plugin",
    description: "Shows a view's picture where its kernel is gone.",
    autoStart: true,
    requires: [IRenderMimeRegistry],
    activate: (app, rendermime) => { app.started.then(() => teach(rendermime)); },
  };
}

window._JUPYTERLAB ??= {};
window._JUPYTERLAB["gptcourse-stills"] = (() => {
  let shared;
  return {
    init: (scope) => { shared = scope; },
    get: async () => {
      const plugin = await extension(shared);
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
