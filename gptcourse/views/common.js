// What the views of the browser share. A view's module imports from here; on a page the kernel
// puts this text in front of the view's own, for there are no files to import from.
import PALETTE from "../figures/palette.json" with { type: "json" };

// ------------------------------------------------------------------------------------- numbers

const HOLDERS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array,
};

/**
 * Words and arrays out of the bytes that `pack` in browser.py made; their shapes are in `shapes`.
 * Typed arrays keep the byte order of the machine, which is little end first wherever browsers run.
 */
export function unpack({ buffer, byteOffset, byteLength }) {
  const headerStart = byteOffset + 4;
  const start = headerStart + new DataView(buffer, byteOffset, byteLength).getUint32(0, true);
  const header = new Uint8Array(buffer, headerStart, start - headerStart);
  const { arrays, ...words } = JSON.parse(new TextDecoder().decode(header));
  const shapes = {};
  for (const [name, { type, shape, offset }] of Object.entries(arrays)) {
    const length = shape.reduce((product, side) => product * side, 1);
    const end = start + offset + length * HOLDERS[type].BYTES_PER_ELEMENT;
    words[name] = new HOLDERS[type](buffer.slice(start + offset, end));   // a copy is aligned
    shapes[name] = shape;
  }
  return { ...words, shapes };
}

/** exp(x - max) of each number over their sum; -Infinity becomes 0. */
export function softmax(scores) {
  const highest = scores.reduce((most, x) => Math.max(most, x), -Infinity);
  const powers = Float64Array.from(scores, (x) => Math.exp(x - highest));
  const total = powers.reduce((sum, x) => sum + x, 0);
  return powers.map((x) => x / total);
}

/** Places of the largest numbers, largest first; of equal ones the earlier comes first. */
export function largest(numbers, count) {
  const places = Array.from(numbers, (_, n) => n);
  return places.sort((a, b) => numbers[b] - numbers[a] || a - b).slice(0, count);
}

/** How far any number in these lists is from 0. */
export function farthest(...lists) {
  return Math.max(...lists.map((list) => list.reduce((most, x) => Math.max(most, Math.abs(x)), 0)));
}

/** Where row `query` begins in a lower triangle that is stored row after row. */
export function rowStart(query) {
  return (query * (query + 1)) / 2;
}

/** What one token looks at: a row of such a triangle. */
export function triangleRow(triangle, query) {
  return triangle.subarray(rowStart(query), rowStart(query + 1));
}

/** A number for reading, with a true minus sign: 0.031, −1.500, −∞. */
export function written(x, digits = 3) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "∞" : "−∞";
  const text = x.toFixed(digits);                         // traces of rounding are shown as zero
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** A probability; one that would read as zero has one digit that says it is not, as in base.py. */
export function chance(p, digits) {
  const text = written(p, digits);
  if (Number(text) || !p) return text;
  return (p < 1e-4 ? p.toExponential(0) : p.toPrecision(1)).replace("-", "−");
}

/** How many decimals tell the probabilities up to this one apart, as `decimals` in base.py says. */
export function decimals(probability) {
  return probability >= 0.01 ? 3 : 5;
}

/** A token as a label, cut where it is long. Its outer white space comes as signs already. */
export function shortened(label, limit = 14) {
  const signs = Array.from(label);
  return signs.length <= limit ? label : signs.slice(0, limit - 1).join("") + "…";
}

/** What one cell of an attention map says, in a sentence. */
export function lookOf(labels, query, key, weight, digits) {
  return key > query
    ? `‘${labels[query]}’ may not look ahead at ‘${labels[key]}’.`
    : `‘${labels[query]}’ looks at ‘${labels[key]}’ with weight ${weight.toFixed(digits)}.`;
}

/**
 * Which of the labels that stand `cell` pixels apart have room in this size of type: those that are
 * `kept` come first, the earlier before the later, then every nth of the others.
 */
export function labelPlaces(count, cell, kept, size) {
  const every = Math.ceil((0.95 * size) / cell);
  const others = Array.from({ length: Math.ceil(count / every) }, (_, n) => n * every);
  const places = [];
  for (const n of [...kept, ...others]) {
    if (places.every((m) => Math.abs(m - n) * cell >= 0.95 * size)) places.push(n);
  }
  return places;
}

// -------------------------------------------------------------------------------------- colors

const CIVIDIS = (
  "00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d 5a5f6e 61656f " +
  "686a71 6f7073 767676 7d7c78 848279 8c8878 938e78 9b9476 a39a74 aba072 b4a76f bcae6c c4b468 " +
  "cdbb63 d5c25e dec958 e7d150 f0d846 f9e03a fee838"
).split(" ").map(channels);
const [SIGNED, SIGNED_ON_DARK] = [PALETTE, PALETTE.dark].map(({ signed }) => signed.map(channels));

function channels(code) {
  return code.match(/\w\w/g).map((digits) => parseInt(digits, 16));
}

function between(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((x, n) => Math.round(x + (place - low) * (stops[low + 1][n] - x)));
}

/** Dark blue for 0 to yellow for 1, as [red, green, blue]. */
export function cividis(share) {
  return between(CIVIDIS, share);
}

/** The color of a weight from 0 to 1: by its square root, so that small ones can be told apart. */
export function weightColor(weight) {
  return cividis(Math.sqrt(Math.max(weight, 0)));
}

const WEIGHT_STYLES = Array.from({ length: 256 }, (_, n) => css(weightColor((n / 255) ** 2)));

/** The same, ready for a canvas, in 256 steps: a map has thousands of cells. */
export function weightStyle(weight) {
  return WEIGHT_STYLES[Math.round(255 * Math.sqrt(weight))];
}

/** Whether the page is dark now. */
export function onDark() {
  return globalThis.document?.body?.dataset?.jpThemeLight === "false";
}

/** Orange for -reach, gray for 0, blue for reach, as [red, green, blue]; 0 is close to the page. */
export function signedColor(x, reach, dark = onDark()) {
  return between(dark ? SIGNED_ON_DARK : SIGNED, 0.5 + 0.5 * (x / (reach || 1)));
}

/** What the page's style says now: its colors, which follow the theme, and its font. */
export function looks(element) {
  const style = getComputedStyle(element);
  return (name) => style.getPropertyValue(name).trim();
}

export function css([red, green, blue]) {
  return `rgb(${red}, ${green}, ${blue})`;
}

/** The color for text on a ground, black or white: the one with more contrast (WCAG 2.2). */
export function inkOn(ground) {
  const [red, green, blue] = ground.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

/** Slanted lines over a square, under the cells that are drawn later. */
export function hatch(context, left, top, side, color) {
  context.save();
  context.beginPath();
  context.rect(left, top, side, side);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.beginPath();
  for (let x = -side; x < side; x += 5) {
    context.moveTo(left + x, top + side);
    context.lineTo(left + x + side, top);
  }
  context.stroke();
  context.restore();
}

/**
 * A head's map: from `left` and `top` on, a colored cell of `cell` pixels for each weight of a
 * triangle of `count` rows, and the hatched mask above it.
 */
export function drawTriangle(context, { left, top, cell }, count, triangle, hatching) {
  const edge = (n) => Math.round(n * cell);                  // whole pixels leave no seams
  hatch(context, left, top, edge(count), hatching);
  for (let query = 0; query < count; query++) {
    triangleRow(triangle, query).forEach((weight, key) => {
      context.fillStyle = weightStyle(weight);
      context.fillRect(left + edge(key), top + edge(query), edge(key + 1) - edge(key),
        edge(query + 1) - edge(query));
    });
  }
}

const LARGEST_MAP = 344;                          // pixels of an enlarged head, with its labels

/**
 * Draw an enlarged head on a canvas: its map, a frame around the row or column of `token`, and
 * labels, all where there is room, else every nth and those in `rows` and `columns`, which stand
 * out. Returns where the cells are, for `askMap`.
 */
export function drawHead(view, map, { labels, triangle, token, direction = "row", rows, columns }) {
  const frame = layout(map, labels);
  const { left, top, cell } = frame;
  const side = cell * labels.length;
  const context = sharpContext(map, left + side + 2, top + side + 2);
  const look = looks(view.root);
  drawTriangle(context, frame, labels.length, triangle, look("--gpt-line"));
  context.strokeStyle = look("--gpt-accent");
  context.lineWidth = 2;
  if (direction === "row") context.strokeRect(left, top + token * cell, side, cell);
  else context.strokeRect(left + token * cell, top, cell, side);
  drawLabels(context, frame, rows, columns, look);
  return frame;
}

/** How large a cell can be, and what room the labels need beside it: less for a long text. */
function layout(canvas, labels) {
  const context = canvas.getContext("2d");
  const family = getComputedStyle(canvas).fontFamily;
  const room = Math.min(canvas.parentElement.clientWidth || LARGEST_MAP, LARGEST_MAP);
  const names = labels.map((label) => shortened(label, labels.length > 24 ? 9 : 14));
  const place = (size) => {
    context.font = `600 ${size}px ${family}`;
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    const left = Math.ceil(widest) + 8;
    return { left, cell: Math.min(34, (room - left - 2) / labels.length) };
  };
  const size = Math.min(12, Math.max(9.5, 0.95 * place(12).cell));
  const { left, cell } = place(size);
  return { left, top: left, cell, count: labels.length, names, family, size };
}

function drawLabels(context, { left, top, cell, count, names, family, size }, rows, columns, look) {
  const write = (n, kept, x, y, turned) => {
    context.save();
    context.translate(x, y);
    context.rotate(turned);
    context.fillStyle = look(kept.includes(n) ? "--gpt-ink" : "--gpt-quiet");
    context.font = `${kept.includes(n) ? "600 " : ""}${size}px ${family}`;
    context.fillText(names[n], 0, 0);
    context.restore();
  };
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const n of labelPlaces(count, cell, rows, size)) {
    write(n, rows, left - 5, top + (n + 0.5) * cell, 0);
  }
  context.textAlign = "left";
  for (const n of labelPlaces(count, cell, columns, size)) {
    write(n, columns, left + (n + 0.5) * cell, top - 5, -Math.PI / 2);
  }
}

/** A canvas of one pixel per number, which the style stretches; NaN stays transparent. */
export function paintPixels(canvas, width, height, colorAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let n = 0; n < width * height; n++) {
    const color = colorAt(Math.floor(n / width), n % width);
    if (color) image.data.set([...color, 255], 4 * n);
  }
  context.putImageData(image, 0, 0);
}

/** A canvas that is sharp on every screen; returns its context, measured in CSS pixels. */
export function sharpContext(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// -------------------------------------------------------------------------------- attention arcs

export const ARCS = 104;                          // how high the picture of arcs is, in CSS pixels

/** The color of a head's arcs, the same wherever they are drawn. */
export function headColor(head) {
  return `var(--gpt-color-${PALETTE.heads[head % PALETTE.heads.length]})`;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * From one token back to one that it looks at, as wide as its weight is large; a circle where that
 * is itself. The tokens stand in a line below, `count` cells of `cell` pixels; `lift` raises the
 * arc, so that several heads' do not hide each other.
 */
export function arc(from, to, weight, color, count, cell, height = ARCS, lift = 0) {
  const look = { fill: "none", stroke: color, "stroke-width": Math.max(0.7, 10 * weight).toFixed(2),
    "stroke-linecap": "round", opacity: (0.35 + 0.6 * weight).toFixed(2) };
  const [start, end] = [from, to].map((n) => (n + 0.5) * cell);
  if (from === to) {
    const radius = 5 + 4 * weight;
    return svg("circle", { ...look, cx: start, cy: height - radius - 5 - lift, r: radius });
  }
  const rise = 16 + ((height - 28) * Math.abs(from - to)) / Math.max(count - 1, 1) + lift;
  return svg("path", { ...look, d: `M${start} ${height} C${start} ${height - 1.33 * rise} `
    + `${end} ${height - 1.33 * rise} ${end} ${height}` });
}

// ----------------------------------------------------------------------------- elements, controls

/** An element with attributes, listeners (`onclick`) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function labeled(label, control, ...more) {
  control.setAttribute("aria-label", label);
  return make("label", { class: "gpt-field" }, make("span", {}, label), control, ...more);
}

// Each control below shows the setting `name` of the view, changes it, and follows it.

/** A text, seen whole; taken over on enter and when it is left. Shift and enter begin a line. */
export function textField(view, name, label) {
  const take = () => view.set({ [name]: input.value });
  const input = make("textarea", {
    rows: 1, spellcheck: "false", dir: "auto",
    onchange: take,
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      take();
    },
  });
  view.on([name], () => { if (input.value !== view.get(name)) input.value = view.get(name); });
  const field = labeled(label, input);
  field.classList.add("gpt-wide");
  return field;
}

/**
 * A slider over the whole numbers from 0 to `last()`, which is asked again when other data comes;
 * a setting that is empty or beyond stands for the last. `show` writes the number beside it.
 */
export function slider(view, name, label, last, show = String) {
  const readout = make("output", { "aria-hidden": "true" });
  const input = make("input", {
    type: "range", min: 0, step: 1,
    oninput: () => view.set({ [name]: Number(input.value) }),
  });
  view.on([name, "data"], () => {
    input.max = last();
    input.disabled = last() === 0;
    input.value = view.get(name) ?? last();
    readout.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", readout.textContent);
  });
  return labeled(label, input, readout);
}

/** A box to tick. */
export function tickBox(view, name, label) {
  const input = make("input", {
    type: "checkbox", "aria-label": label,
    onchange: () => view.set({ [name]: input.checked }),
  });
  view.on([name], () => { input.checked = view.get(name); });
  return make("label", { class: "gpt-tick" }, input, label);
}

/** One of two or more; options are pairs of value and label. */
export function choice(view, name, label, options) {
  const group = `gpt-${name}-${Math.random()}`;          // two views on a page are two groups
  const inputs = options.map(([value, text]) => make("input", {
    type: "radio", name: group, "aria-label": text,
    onchange: () => view.set({ [name]: value }),
  }));
  view.on([name], () => options.forEach(([value], n) => {
    inputs[n].checked = value === view.get(name);
  }));
  return make("div", { class: "gpt-choice", role: "radiogroup", "aria-label": label },
    ...options.map(([, text], n) => make("label", { class: "gpt-tick" }, inputs[n], text)));
}

const LARGEST_SEED = 2 ** 31 - 1;

/** A whole number, taken over on enter and when it is left; what is none leaves the seed as it is. */
export function seedField(view) {
  const take = () => {
    const seed = Number(input.value);
    const usable = input.value && Number.isInteger(seed) && seed >= 0 && seed <= LARGEST_SEED;
    if (usable) view.set({ seed });
    else input.value = view.get("seed");
  };
  const input = make("input", {
    type: "number", min: 0, max: LARGEST_SEED, step: 1, "aria-label": "seed",
    onchange: take,
    onkeydown: (event) => { if (event.key === "Enter") take(); },   // JupyterLab swallows enter
  });
  view.on(["seed"], () => { input.value = view.get("seed"); });
  return make("label", { class: "gpt-field" }, make("span", { class: "gpt-quiet" }, "seed"), input);
}

export function button(label, action, hint = label) {
  return make("button", {
    type: "button", class: "gpt-button", "aria-label": hint, title: hint, onclick: action,
  }, label);
}

/**
 * A link to a chapter, which lies beside the notebook of this view. JupyterLab opens it when it is
 * told its whole path; a page without a kernel leads to another page.
 */
function chapterLink(model, name, title) {
  const place = model.widget_manager?.context?.path;
  const file = `${name}.${model.send ? "ipynb" : "html"}`;
  const path = place?.replace(/[^/]*$/, file);
  return make("a", { href: file, ...(path && {
    "data-commandlinker-command": "rendermime:handle-local-link",
    "data-commandlinker-args": JSON.stringify({ path }),
  }) }, title);
}

/** What the colors of weights mean. */
export function weightLegend() {
  const steps = Array.from({ length: 17 }, (_, n) => css(cividis(n / 16)));
  const ticks = [0, 0.05, 0.25, 0.5, 1].map((weight) => make("span", {
    style: `left: ${100 * Math.sqrt(weight)}%` }, String(weight)));
  return legend(`linear-gradient(90deg, ${steps.join(", ")})`, ticks, "weight");
}

/** What the colors of signed numbers mean; `what` names those that go as far as `reach`, and
 * `masked` says whether some are hidden. */
export function signedLegend(reach, what, masked = true) {
  const ticks = [-reach, 0, reach].map((x, n) => make("span", { style: `left: ${50 * n}%` },
    written(x, 1)));
  return legend("var(--gpt-signed)", ticks, what, masked);
}

function legend(gradient, ticks, what, masked = true) {
  return make("div", { class: "gpt-legend" }, make("span", {}, what),
    make("div", { class: "gpt-scale" },
      make("div", { class: "gpt-ramp", style: `background: ${gradient}` }),
      make("div", { class: "gpt-ticks" }, ...ticks)),
    ...(masked ? [make("span", { class: "gpt-key" },
      make("span", { class: "gpt-swatch gpt-hatched" }), "masked")] : []));
}

/**
 * Elements of which the tabulator reaches one, and arrow keys the others.
 * `moves` maps keys to functions from place to place; `choose` is told the new place.
 */
export function arrowKeys(container, moves, place, choose) {
  container.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    choose(move(place()));
  });
  container.addEventListener("focusin", ({ target }) => {     // where the tabulator comes back to
    container.querySelectorAll("[tabindex]").forEach((element) => {
      element.tabIndex = element === target ? 0 : -1;
    });
  });
}

/** Arrow keys along a list of `count()` elements, forth and back, to its beginning and its end. */
export function walk(container, count, place, choose, forth = ["ArrowRight", "ArrowDown"],
  back = ["ArrowLeft", "ArrowUp"]) {
  const moves = { Home: () => 0, End: () => count() - 1 };
  for (const key of forth) moves[key] = (n) => Math.min(n + 1, count() - 1);
  for (const key of back) moves[key] = (n) => Math.max(n - 1, 0);
  arrowKeys(container, moves, place, choose);
}

/** Arrow keys along the places [row, column] of a grid of `size()`; Home and End stay in the row. */
export function walkGrid(container, size, place, choose) {
  const within = (n, count) => Math.min(Math.max(n, 0), count - 1);
  const move = (rows, columns) => ([row, column]) => (
    [within(row + rows, size()[0]), within(column + columns, size()[1])]);
  arrowKeys(container, {
    ArrowRight: move(0, 1), ArrowLeft: move(0, -1), ArrowDown: move(1, 0), ArrowUp: move(-1, 0),
    Home: ([row]) => [row, 0], End: ([row]) => [row, size()[1] - 1],
  }, place, choose);
}

/**
 * The tokens of a text as chips. Pointing at one calls `hover` with its place, leaving it with
 * null; a click chooses it, and so do the arrow keys. `locked()` is the place that is chosen.
 */
export function tokenChips(view, locked, hover, choose = (token) => view.set({ token })) {
  const element = make("div", { class: "gpt-chips", role: "group", "aria-label": "tokens" });
  const buttons = () => element.querySelectorAll("button");
  walk(element, () => buttons().length, locked, (token) => {
    hover(null);
    view.set({ token });
    buttons()[token].focus();
  });
  return {
    element,
    write(labels) {
      element.replaceChildren(...labels.flatMap((label, n) => {
        const button = make("button", {
          type: "button", class: "gpt-chip", onclick: (event) => choose(n, event),
          onpointerenter: view.guarded(() => hover(n)),
          onpointerleave: view.guarded(() => hover(null)),
        }, make("bdi", {}, label), make("small", {}, " "));
        return label.endsWith("↵") ? [button, make("span", { class: "gpt-break" })] : [button];
      }));
      element.classList.toggle("gpt-many", labels.length > 40);
    },
    /** `look(n)` says a chip's color, or null for a hatched one, its number, and its name. */
    paint(current, look) {
      buttons().forEach((button, n) => {
        const { color, number, name } = look(n);
        button.classList.toggle("gpt-hatched", !color);
        button.classList.toggle("gpt-current", n === current);
        button.style.backgroundColor = color ? css(color) : "";
        button.style.color = color ? inkOn(color) : "";
        button.lastChild.textContent = color ? number : "–";
        button.tabIndex = n === locked() ? 0 : -1;
        button.setAttribute("aria-pressed", String(n === locked()));
        button.setAttribute("aria-label", name);
      });
    },
  };
}

/**
 * A head's map answers the pointer. `frame()` says where its cells are, as `drawTriangle` has it.
 * `ask(cell)` says what is there, `{ query, key }` or null, and gives the token it belongs to;
 * over that one `hover` is called, and a click, or a tap, chooses it.
 */
export function askMap(view, map, frame, ask, hover) {
  const tokenAt = (event) => {
    if (!frame()) return null;                               // nothing is drawn yet
    const { left, top, cell, count } = frame();
    const box = map.getBoundingClientRect();
    const key = Math.floor((event.clientX - box.left - left) / cell);
    const query = Math.floor((event.clientY - box.top - top) / cell);
    const inside = Math.min(key, query) >= 0 && Math.max(key, query) < count;
    return ask(inside ? { query, key } : null);
  };
  map.addEventListener("pointermove", view.guarded((event) => hover(tokenAt(event))));
  map.addEventListener("pointerleave", view.guarded(() => hover(ask(null))));
  map.addEventListener("click", view.guarded((event) => {
    const token = tokenAt(event);
    if (token !== null) view.set({ token });
  }));
}

// -------------------------------------------------------------------------------- keeping it

const CAPTION = { size: 13, lead: 19, edge: 12 };            // in CSS pixels

/**
 * A button that saves the picture of a view, with its sentence below, as a file. The kernel draws
 * it, so where there is none, there is no button.
 */
export function saveButton(model) {
  const element = button("save picture", () => model.send("picture"),
    "Save this view as a picture, with its sentence");
  element.classList.add("gpt-save");
  const save = async ({ picture, width, words, name }, buffers) => {
    if (!picture) return;
    const file = new Blob([buffers[0]], { type: picture });
    const address = URL.createObjectURL(await captioned(file, width, words));
    make("a", { href: address, download: `${name}.png` }).click();
    URL.revokeObjectURL(address);
  };
  model.on("msg:custom", save);
  return { element, end: () => model.off("msg:custom", save) };
}

/** A picture of so many CSS pixels with words under it, as a PNG of twice as many. */
async function captioned(file, width, words) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  await image.decode();
  const height = Math.round((image.naturalHeight / image.naturalWidth) * width);
  const canvas = make("canvas");
  const context = canvas.getContext("2d");
  const { size, lead, edge } = CAPTION;
  const font = `${size}px system-ui, sans-serif`;
  context.font = font;
  const lines = broken(words, width - 2 * edge, (text) => context.measureText(text).width);
  canvas.width = 2 * width;
  canvas.height = 2 * (height + lines.length * lead + edge);
  context.scale(2, 2);
  context.fillStyle = PALETTE.card;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, width, height);
  URL.revokeObjectURL(image.src);
  context.font = font;                                       // a new size has forgotten it
  context.fillStyle = PALETTE.ink;
  lines.forEach((line, n) => context.fillText(line, edge, height + n * lead + size));
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

/** A text as lines of at most this width. */
export function broken(text, width, measure) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trimStart();
    if (lines.at(-1) && measure(longer) > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

// ------------------------------------------------------------------------------- life of a view

const FOCUSABLE = "input, select, textarea, button, summary, a[href], [tabindex], [contenteditable]";

/**
 * Keep what is pressed on anything in `root`, now or later, from JupyterLab, where a letter may
 * delete a cell. It looks for the mark on the very element that has the focus. Returns the end.
 */
export function ownKeys(root) {
  return whenChanged(root, { childList: true, subtree: true, attributeFilter: ["tabindex"] }, () => {
    for (const element of root.querySelectorAll(FOCUSABLE)) {
      element.setAttribute("data-lm-suppress-shortcuts", "true");
    }
  });
}

export const GONE = "The kernel that made this is gone, so nothing answers here any more: "
  + "run this cell again.";
const ENDINGS = new Set(["restarting", "autorestarting", "terminating", "dead"]);

/**
 * Call `tell`, once, when the kernel behind a view is gone: restarted, ended, or another one's, or
 * when its notebook is closed. `el` is what JupyterLab made for the view; it marks it on a restart.
 * Returns the end.
 */
export function whenGone({ model, el }, tell) {
  let told = false;
  const gone = () => {
    if (!told) tell();
    told = true;
  };
  const session = model.widget_manager?.context?.sessionContext;
  const ended = (_, status) => { if (ENDINGS.has(status)) gone(); };
  const changed = (_, { oldValue }) => { if (oldValue) gone(); };
  session?.statusChanged.connect(ended);
  session?.kernelChanged.connect(changed);
  session?.disposed.connect(gone);
  const stop = whenChanged(el, { attributeFilter: ["class"] }, () => {
    if (el.classList.contains("jupyter-widgets-disconnected")) gone();
  });
  return () => {
    session?.statusChanged.disconnect(ended);
    session?.kernelChanged.disconnect(changed);
    session?.disposed.disconnect(gone);
    stop();
  };
}

/** Run `action` now, and whenever the element changes in this way. Returns the end. */
function whenChanged(element, how, action) {
  action();
  if (!globalThis.MutationObserver) return () => {};
  const observer = new MutationObserver(action);
  observer.observe(element, how);
  return () => observer.disconnect();
}

/**
 * Builds a view in the page and keeps it right: `build(view)` makes the elements, puts them into
 * `view.controls` and `view.stage`, and says with `view.on` what follows which settings. What
 * goes wrong, here or in the kernel, is said in words on the page, and the controls go on working.
 */
export function mount({ model, el }, build) {
  const alert = make("div", { class: "gpt-alert", role: "alert" });
  const notice = make("div", { class: "gpt-notice", role: "status" });
  const controls = make("div", { class: "gpt-controls" });
  const stage = make("div", { class: "gpt-stage" });
  const root = make("div", { class: "gpt" }, controls, alert, notice, stage);
  el.append(root);

  const undo = [];
  const failures = new Map();
  const say = () => {
    alert.textContent = [...failures.values(), model.get("error")].filter(Boolean).join(" ");
    notice.textContent = model.get("error") ? "" : model.get("notice");
    stage.classList.toggle("gpt-stale", Boolean(model.get("error")));
  };
  const guarded = (action) => (...values) => {
    try {
      failures.delete(action);
      return action(...values);
    } catch (error) {
      failures.set(action, `The page could not draw this: ${error.message}.`);
    } finally {
      say();
    }
  };
  const view = {
    root, controls, stage, guarded,
    get: (name) => model.get(name),
    link: (name, title) => chapterLink(model, name, title),
    set(values) {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      model.save_changes();
    },
    /** Run `follow` now, and again, once per message, after any of these settings changed. */
    on(names, follow) {
      const act = guarded(follow);
      const handler = once(act, undo);
      for (const name of names) {
        model.on(`change:${name}`, handler);
        undo.push(() => model.off(`change:${name}`, handler));
      }
      act();
    },
    /** Run `follow` with what a block of bytes holds, now if there is one, and for every other. */
    onData(name, follow) {
      view.on([name], () => {
        const data = model.get(name);
        if (data?.byteLength) follow(unpack(data));
      });
    },
    /** Run `follow` whenever the page turns dark or light. */
    onTheme(follow) {
      let dark = onDark();
      view.onLook(() => {
        if (dark === onDark()) return;
        dark = onDark();
        follow();
      });
    },
    /** Run `follow` whenever the width or the theme of the page changes. */
    onLook(follow) {
      const act = guarded(follow);
      if (globalThis.ResizeObserver) {
        let width = 0;
        const observer = new ResizeObserver(() => {
          if (Math.abs(root.clientWidth - width) >= 1) {
            width = root.clientWidth;
            act();
          }
        });
        observer.observe(root);
        undo.push(() => observer.disconnect());
      }
      if (globalThis.MutationObserver && document.body) {
        const observer = new MutationObserver(act);
        observer.observe(document.body, { attributes: true, attributeFilter: [
          "data-jp-theme-light", "data-jp-theme-name", "class"] });
        undo.push(() => observer.disconnect());
      }
    },
  };
  for (const name of ["error", "notice"]) {
    model.on(`change:${name}`, say);
    undo.push(() => model.off(`change:${name}`, say));
  }
  say();
  guarded(build)(view);
  if (model.send) {
    const saving = saveButton(model);
    root.append(saving.element);
    undo.push(saving.end);
  }
  undo.push(ownKeys(root));
  undo.push(whenGone({ model, el }, () => {
    el.classList.add("gpt-gone");
    alert.textContent = GONE;
    for (const part of root.children) part.inert = part !== alert;
  }));
  return () => {
    undo.forEach((step) => step());
    root.remove();
  };
}

/** Several changes in a row lead to one action, before the next picture. */
function once(action, undo) {
  let waiting = false;
  let gone = false;
  undo.push(() => { gone = true; });
  return () => {
    if (waiting) return;
    waiting = true;
    const act = () => {
      waiting = false;
      if (!gone) action();
    };
    if (globalThis.requestAnimationFrame && !document.hidden) requestAnimationFrame(act);
    else queueMicrotask(act);
  };
}
