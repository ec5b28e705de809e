// One query on its way through one attention head: q · k, ÷ √D, mask, softmax, × v, output.

import {
  css, farthest, inkOn, largest, make, mount, paintPixels, signedColor, signedLegend, slider,
  softmax, textField, tickBox, walk, written,
} from "./common.js";

// ------------------------------------------------------------------------------------- numbers

/** Row `n` of a matrix that is stored row after row, `width` numbers each. */
export function rowOf(matrix, n, width) {
  return matrix.subarray(n * width, (n + 1) * width);
}

/** Every step from one token's query to its output, as `AttentionMicroscope.compute` has them. */
export function stages(head, { token, scale, mask }) {
  const [count, width] = head.shapes.keys;
  const query = rowOf(head.queries, token, width);
  const products = Float64Array.from(head.keys, (x, n) => x * query[n % width]);       // (T, D)
  const scores = sumRows(products, count, width);                                      // (T)
  const scaled = scale ? scores.map((x) => x / Math.sqrt(width)) : scores;             // (T)
  const masked = mask ? scaled.map((x, key) => (key > token ? -Infinity : x)) : scaled;
  const weights = softmax(masked);                                                     // (T)
  const weighted = Float64Array.from(head.values, (x, n) => (                          // (T, D)
    weights[Math.floor(n / width)] * x));
  const output = new Float64Array(width);                                              // (D)
  weighted.forEach((x, n) => { output[n % width] += x; });
  return { products, scores, scaled, masked, weights, weighted, output };
}

function sumRows(matrix, count, width) {
  return Float64Array.from({ length: count }, (_, n) => (
    rowOf(matrix, n, width).reduce((sum, x) => sum + x, 0)));
}

/** The largest distance between two lists of numbers. */
export function distance(left, right) {
  return left.reduce((most, x, n) => Math.max(most, Math.abs(x - right[n])), 0);
}

/** The keys whose rows are shown: all, or of many those that are `kept` and the heaviest. */
export function keysShown(weights, kept, most) {
  if (weights.length <= most + 1) return [...weights.keys()];
  return [...new Set([...kept, ...largest(weights, most)])].slice(0, most).sort((a, b) => a - b);
}

// ---------------------------------------------------------------------------------------- view

const [NARROW, MOST_ROWS, FEW_ROWS] = [860, 16, 8];        // the numbers stand below the table then

const render = (context) => mount(context, (view) => {
  view.root.classList.add("gpt-microscope");
  const state = { head: null, pointed: null, rows: [] };

  const heads = make("tr");
  const body = make("tbody", { class: "gpt-keys" });
  const foot = make("tr");
  const rest = make("th", { colspan: 8 });
  const table = make("table", {}, make("thead", {}, heads), body,
    make("tfoot", {}, make("tr", { class: "gpt-rest" }, rest), foot));
  const legend = make("div");
  const products = numberList();
  const outputs = numberList();
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  view.stage.append(said, make("div", { class: "gpt-columns" },
    make("div", {}, make("div", { class: "gpt-frame" }, table), legend),
    make("div", {}, ...products.elements, ...outputs.elements)));

  const count = () => state.head.shapes.keys[0];
  const width = () => state.head.shapes.keys[1];
  const token = () => Math.min(view.get("token") ?? Infinity, count() - 1);
  const locked = () => Math.min(view.get("key") ?? largest(state.steps.weights, 1)[0], count() - 1);
  const key = () => state.pointed ?? locked();
  const label = (n) => state.head.labels[n];

  view.onData("data", (head) => {
    Object.assign(state, { head, pointed: null });
    makeTable();
    draw();
  });
  view.controls.append(
    textField(view, "prompt", "text"),
    slider(view, "layer", "layer", () => (state.head?.n_layers ?? 1) - 1),
    slider(view, "head", "head", () => (state.head?.n_heads ?? 1) - 1),
    slider(view, "token", "query", () => (state.head?.labels.length ?? 1) - 1,
      (n) => `${n}  ${state.head?.labels[n] ?? ""}`),
    tickBox(view, "scale", "scale by √D"),
    tickBox(view, "mask", "causal mask"),
  );

  // ----- the table: a row per key, a column per step

  function strip(description) {
    return make("canvas", { class: "gpt-strip", role: "img", "aria-label": description });
  }

  function paintStrip(canvas, numbers, most) {
    paintPixels(canvas, numbers.length, 1, (_, n) => signedColor(numbers[n], most));
  }

  function makeTable() {
    const { labels, keys, values, queries } = state.head;
    state.reach = { qk: farthest(queries, keys), v: farthest(values) };
    state.query = strip("the query");
    state.titles = ["q · k", "", "", "softmax"].map((text) => make("th", { scope: "col" }, text));
    heads.replaceChildren(
      make("th", { scope: "col" }, "key"),
      make("th", { scope: "col" }, make("span", {}, "q"), state.query, make("span", {}, "k")),
      ...state.titles,
      make("th", { scope: "col" }, "v"), make("th", { scope: "col" }, "weight × v"));
    state.rows = labels.map((text, n) => {
      const row = { cells: [0, 1, 2].map(() => make("td", { class: "gpt-number" })) };
      row.key = strip(`key of ${text}`);
      row.value = strip(`value of ${text}`);
      row.weighted = strip(`weighted value of ${text}`);
      row.bar = make("div", { class: "gpt-bar" });
      row.weight = make("span");
      row.element = make("tr", {
        onpointerenter: view.guarded(() => point(n)),
        onclick: () => view.set({ key: n }),
      }, make("th", { scope: "row" }, make("bdi", {}, text)), make("td", {}, row.key), ...row.cells,
      make("td", {}, make("div", { class: "gpt-weight" }, make("div", {}, row.bar), row.weight)),
      make("td", {}, row.value),
      make("td", {}, row.weighted));
      return row;
    });
    paintGiven();
    body.replaceChildren(...state.rows.map((row) => row.element));
    state.output = strip("output");
    state.total = make("td");
    foot.replaceChildren(...[0, 1, 2, 3].map(() => make("td")),
      make("th", { scope: "row" }, "sum"), state.total, make("td", {}, "output"),
      make("td", {}, state.output));
    state.reaches = make("span");
    legend.replaceChildren(signedLegend(state.reach.qk, "q and k"));
    legend.firstChild.append(state.reaches);
  }

  /** What no setting changes. */
  function paintGiven() {
    const { keys, values } = state.head;
    state.rows.forEach((row, n) => {
      paintStrip(row.key, rowOf(keys, n, width()), state.reach.qk);
      paintStrip(row.value, rowOf(values, n, width()), state.reach.v);
    });
  }

  function paintTable() {
    const { steps } = state;
    const root = written(Math.sqrt(width()));
    state.titles[1].textContent = view.get("scale") ? `÷ √${width()}` : "no scale";
    state.titles[1].title = view.get("scale") ? `divided by ${root}` : "";
    state.titles[2].textContent = view.get("mask") ? "mask" : "no mask";
    paintStrip(state.query, rowOf(state.head.queries, token(), width()), state.reach.qk);
    const most = farthest(steps.weighted, steps.output);
    state.rows.forEach((row, n) => {
      const hidden = steps.masked[n] === -Infinity;
      [steps.scores, steps.scaled, steps.masked].forEach((numbers, step) => {
        row.cells[step].textContent = written(numbers[n]);
      });
      row.cells[2].classList.toggle("gpt-hatched", hidden);
      row.weight.textContent = written(steps.weights[n], 4);
      row.bar.style.width = `${100 * steps.weights[n]}%`;
      row.element.classList.toggle("gpt-hidden", hidden);
      row.element.classList.toggle("gpt-own", n === token());
      paintStrip(row.weighted, rowOf(steps.weighted, n, width()), most);
    });
    state.total.textContent = written(steps.weights.reduce((sum, x) => sum + x, 0), 4);
    paintStrip(state.output, steps.output, most);
    state.reaches.textContent = `v to ±${written(state.reach.v, 1)}, `
      + `weight × v and output to ±${written(most, 1)}`;
  }

  /** Of many keys, those that matter; what the others weigh together stands below. */
  function showRows() {
    const { weights } = state.steps;
    const narrow = view.root.clientWidth && view.root.clientWidth < NARROW;
    const shown = keysShown(weights, [locked(), token()], narrow ? FEW_ROWS : MOST_ROWS);
    state.rows.forEach(({ element }, n) => { element.hidden = !shown.includes(n); });
    const left = count() - shown.length;
    const weight = weights.reduce((sum, x, n) => sum + (shown.includes(n) ? 0 : x), 0);
    rest.parentElement.hidden = !left;
    rest.textContent = `${left} other keys weigh ${written(weight, 4)} together: the arrow keys `
      + "reach each";
  }

  // ----- what the query makes of one key

  function paintNumbers() {
    const { steps } = state;
    showRows();
    state.rows.forEach(({ element }, n) => {
      element.tabIndex = n === locked() ? 0 : -1;
      element.classList.toggle("gpt-current", n === key());
      element.setAttribute("aria-current", String(n === locked()));
    });
    const query = rowOf(state.head.queries, token(), width());
    const keys = rowOf(state.head.keys, key(), width());
    products.show(
      `q of ‘${label(token())}’ × k of ‘${label(key())}’: these ${width()} products sum to `
        + written(steps.scores[key()]),
      rowOf(steps.products, key(), width()), farthest(steps.products),
      (n) => `${written(query[n], 2)} × ${written(keys[n], 2)}`);
    const values = rowOf(state.head.values, key(), width());
    const share = written(steps.weights[key()]);
    outputs.show(
      `The output: ${width()} numbers, each a sum over all keys; in small what ‘${label(key())}’ adds`,
      steps.output, farthest(steps.output),
      (n) => `${share} × ${written(values[n], 2)}`);
    const off = distance(steps.output, rowOf(state.head.head_outputs, token(), width()));
    const rounding = 1e-5 * Math.max(1, farthest(steps.output));
    said.textContent = `‘${label(key())}’: q · k = ${written(steps.scores[key()])}, `
      + `${view.get("scale") ? "scaled" : "not scaled"} ${written(steps.scaled[key()])}, `
      + `weight ${written(steps.weights[key()], 6)}. `
      + (off > rounding ? `This output is up to ${written(off)} away from the model's.`
        : `The output equals the model's${off ? ` to ${off.toExponential(0).replace("-", "−")}` : ""}.`);
  }

  function point(n) {
    state.pointed = n;
    paintNumbers();
  }
  body.addEventListener("pointerleave", view.guarded(() => point(null)));
  walk(body, count, locked, (key) => {
    state.pointed = null;
    view.set({ key });
    state.rows[key].element.hidden = false;
    state.rows[key].element.focus();
  });

  // ----- what follows what

  function draw() {
    if (!state.head) return;
    const settings = { scale: view.get("scale"), mask: view.get("mask") };
    state.steps = stages(state.head, { token: token(), ...settings });
    paintTable();
    paintNumbers();
  }
  view.on(["token", "scale", "mask"], draw);
  view.on(["key"], () => state.head && paintNumbers());
  view.onLook(() => state.head && paintNumbers());
  view.onTheme(() => {
    if (!state.head) return;
    paintGiven();
    draw();
  });
});

/** Numbers as colored boxes, with how each came about in small above it. */
function numberList() {
  const title = make("p", { class: "gpt-heading" });
  const list = make("ol", { class: "gpt-numbers", start: "0" });
  return {
    elements: [title, list],
    show(text, numbers, most, origin) {
      const many = numbers.length > 16;                 // then their origins are hints
      title.textContent = text;
      list.classList.toggle("gpt-many", many);
      list.replaceChildren(...Array.from(numbers, (x, n) => {
        const ground = signedColor(x, most);
        return make("li", { style: `background: ${css(ground)}; color: ${inkOn(ground)}`,
          title: many ? origin(n) : null },
        ...(many ? [] : [make("small", {}, origin(n))]), make("b", {}, written(x, many ? 2 : 3)));
      }));
    },
  };
}

export default { render };
