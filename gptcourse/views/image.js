// A picture from the kernel. A new one is decoded before it takes the old one's place, so that no
// frame of the page is without a picture while a slider moves.

function render({ model, el }) {
  el.classList.add("gpt-picture");
  let newest = 0;                            // how many pictures came
  let shown = 0;                             // which of them is on the page
  let image = null;

  const name = () => image?.setAttribute("alt", model.get("alt"));
  const classes = () => {                    // anywidget leaves them to its widgets
    el.classList.toggle("gpt-stale", (model.get("_dom_classes") ?? []).includes("gpt-stale"));
  };
  const draw = async () => {
    const bytes = model.get("value");
    if (!bytes?.byteLength) return;
    newest += 1;
    const number = newest;
    const next = new Image(model.get("width"));
    next.alt = model.get("alt");
    const address = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    next.src = address;
    try {
      await next.decode();
    } catch {
      return;                                // the old picture stays
    } finally {
      URL.revokeObjectURL(address);          // what is decoded needs it no more
    }
    if (number < shown) return;              // a later picture was quicker
    shown = number;
    el.replaceChildren(next);
    image = next;
  };
  model.on("change:value", draw);
  model.on("change:alt", name);
  model.on("change:_dom_classes", classes);
  classes();
  draw();
  return () => {
    model.off("change:value", draw);
    model.off("change:alt", name);
    model.off("change:_dom_classes", classes);
    shown = Infinity;
  };
}

export default { render };
