// Every head of a model as one mosaic, one head enlarged, one token's weights over the text.

import {
  arrowKeys, askMap, choice, drawTriangle, largest, lookOf, looks, make, mount, paintPixels,
  rowStart, sharpContext, shortened, textField, tokenChips, weightColor, weightLegend, written,
} from "./common.js";

// ------------------------------------------------------------------------------------- numbers

/** The weights of one head, or of a layer's mean: T (T + 1) / 2 numbers. */
export function headWeights(data, { layer, head, mean }) {
  const [, heads, length] = data.shapes.weights;
  if (mean) {
    const total = new Float64Array(length);
    for (let h = 0; h < heads; h++) {
      headWeights(data, { layer, head: h }).forEach((weight, n) => { total[n] += weight / heads; });
    }
    return total;
  }
  const start = (layer * heads + head) * length;
  const stored = data.weights.subarray(start, start + length);
  const rounded = data.weights instanceof Uint8Array;      // 255 √weight
  return rounded ? Float64Array.from(stored, (x) => (x / 255) ** 2) : Float64Array.from(stored);
}

/** What one token gives (row) or gets (column); NaN where the mask forbids a look. */
export function weightsOf(triangle, count, token, direction) {
  return Float64Array.from({ length: count }, (_, other) => {
    const [query, key] = direction === "row" ? [token, other] : [other, token];
    return key > query ? NaN : triangle[rowStart(query) + key];
  });
}

/** One sentence about the weights of one token; rounded ones are told with fewer digits. */
export function sentence(labels, weights, token, direction, rounded = false) {
  const digits = rounded ? 2 : 4;
  const allowed = weights.filter((weight) => !Number.isNaN(weight));
  const order = largest(weights, weights.length).filter((n) => !Number.isNaN(weights[n]));
  const most = order.slice(0, 3).map((n) => `‘${labels[n]}’ ${written(weights[n], digits)}`);
  const sum = allowed.reduce((total, weight) => total + weight, 0);
  const verb = direction === "row" ? "looks at" : "is looked at by";
  const one = allowed.length === 1;
  const whose = direction === "row" ? "its" : one ? "this" : "these";
  const noun = one ? "weight sums" : "weights sum";
  return `Token ${token} ‘${labels[token]}’ ${verb} ${most.join(", ")}`
    + `${order.length > 3 ? " …" : ""}; ${whose} ${allowed.length} ${noun} to `
    + `${rounded ? `about ${written(sum, 1)}` : written(sum, digits)}.`;
}

// ---------------------------------------------------------------------------------------- view

const HINT = "Rows look at columns. Point at a cell for its weight, click to stay with its token.";

const render = (context) => mount(context, (view) => {
  const state = { data: null, exact: null, hovered: null };

  view.root.classList.add("gpt-attention");
  const mosaic = make("div", { class: "gpt-mosaic", role: "group", "aria-label": "heads" });
  const title = make("p", { class: "gpt-heading" });
  const map = make("canvas", { class: "gpt-map", role: "img" });
  const pointed = make("p", { class: "gpt-quiet gpt-said" }, HINT);
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  view.controls.append(
    textField(view, "prompt", "text"),
    choice(view, "direction", "direction", [["row", "what the token looks at"],
      ["column", "who looks at the token"]]),
  );
  const count = () => state.data.labels.length;
  const locked = () => Math.min(view.get("token") ?? Infinity, count() - 1);
  const token = () => state.hovered ?? locked();
  const chips = tokenChips(view, locked, hover);
  view.stage.append(chips.element, said, make("div", { class: "gpt-columns" },
    make("div", { class: "gpt-left" },
      make("p", { class: "gpt-heading" }, "All heads"), mosaic, weightLegend()),
    make("div", { class: "gpt-right" }, title, map, pointed)));
  const place = () => ({
    layer: view.get("layer"), head: view.get("head"), mean: view.get("mean"),
  });

  // ----- one token's weights over the text

  function paintChips() {
    const weights = weightsOf(state.triangle, count(), token(), view.get("direction"));
    const most = view.get("direction") === "column" ? "gets" : "gives";
    chips.paint(token(), (n) => ({
      color: Number.isNaN(weights[n]) ? null : weightColor(weights[n]),
      number: written(weights[n], state.rounded ? 2 : 3),
      name: `token ${n} ${state.data.labels[n]}, `
        + (Number.isNaN(weights[n]) ? "masked"
          : `${most} ${written(weights[n], state.rounded ? 2 : 4)}`),
    }));
    said.textContent = sentence(state.data.labels, weights, token(), view.get("direction"),
      state.rounded);
  }

  function hover(n) {
    if (n === state.hovered) return;
    state.hovered = n;
    paintChips();
    drawMap();
  }

  // ----- every head

  function makeMosaic() {
    const [layers, heads] = state.data.shapes.weights;
    const cells = [make("span")];
    for (let h = 0; h < heads; h++) cells.push(make("span", {}, `${h}`));
    cells.push(make("span", { class: "gpt-mean" }, "mean"));
    for (let layer = 0; layer < layers; layer++) {
      cells.push(make("span", { class: "gpt-layer" }, `${layer}`));
      for (let head = 0; head <= heads; head++) {
        const here = { layer, head: Math.min(head, heads - 1), mean: head === heads };
        const canvas = make("canvas", { "aria-hidden": "true" });
        const triangle = headWeights(state.data, here);
        paintPixels(canvas, count(), count(), (query, key) => (
          key > query ? null : weightColor(triangle[rowStart(query) + key])));
        const label = here.mean ? `layer ${layer}, mean of heads` : `layer ${layer}, head ${head}`;
        cells.push(make("button", {
          type: "button", class: "gpt-head gpt-hatched", "aria-label": label, title: label,
          onclick: () => choose(layer, head),
        }, canvas));
      }
    }
    mosaic.replaceChildren(...cells);
    mosaic.style.setProperty("--heads", heads + 1);
  }

  function sizeMosaic() {
    const [layers, heads] = state.data.shapes.weights;
    const beside = 60 + 3 * heads;                           // numbers of layers, "mean", gaps
    const room = Math.min(400, (view.root.clientWidth || 460) - beside);
    const side = Math.min(76, Math.max(24, 460 / layers), room / (heads + 1));
    mosaic.style.setProperty("--side", `${Math.floor(side)}px`);
    mosaic.classList.toggle("gpt-fine", side < count());
  }

  function choose(layer, head) {
    const heads = state.data.shapes.weights[1];
    view.set(head === heads ? { layer, mean: true } : { layer, head, mean: false });
  }

  function markHead() {
    const heads = state.data.shapes.weights[1];
    const { layer, head, mean } = place();
    const current = layer * (heads + 1) + (mean ? heads : head);
    mosaic.querySelectorAll("button").forEach((button, n) => {
      button.tabIndex = n === current ? 0 : -1;
      button.setAttribute("aria-pressed", String(n === current));
    });
  }

  arrowKeys(mosaic, {
    ArrowRight: ([layer, head]) => [layer, head + 1],
    ArrowLeft: ([layer, head]) => [layer, head - 1],
    ArrowDown: ([layer, head]) => [layer + 1, head],
    ArrowUp: ([layer, head]) => [layer - 1, head],
  }, () => {
    const { layer, head, mean } = place();
    return [layer, mean ? state.data.shapes.weights[1] : head];
  }, ([layer, head]) => {
    const [layers, heads] = state.data.shapes.weights;
    if (layer < 0 || layer >= layers || head < 0 || head > heads) return;
    choose(layer, head);
    mosaic.querySelectorAll("button")[layer * (heads + 1) + head].focus();
  });

  // ----- one head enlarged

  let shape = null;                          // where the cells of the map are, and its labels

  function drawMap() {
    const room = map.parentElement.clientWidth || 560;
    shape = layout(map, state.data.labels, room);
    const { left, top, cell } = shape;
    const side = cell * count();
    const context = sharpContext(map, left + side + 2, top + side + 2);
    const look = looks(view.root);
    drawTriangle(context, shape, count(), state.triangle, look("--gpt-line"));
    drawFrame(context, look("--gpt-accent"));
    drawLabels(context, look("--gpt-ink"), look("--gpt-quiet"));
    map.setAttribute("aria-label", `${title.textContent}. ${said.textContent}`);
  }

  function drawFrame(context, color) {
    const { left, top, cell } = shape;
    const side = cell * count();
    context.strokeStyle = color;
    context.lineWidth = 2;
    if (view.get("direction") === "row") {
      context.strokeRect(left, top + token() * cell, side, cell);
    } else {
      context.strokeRect(left + token() * cell, top, cell, side);
    }
  }

  /** All labels where there is room; else those of the token and of what it weighs most. */
  function drawLabels(context, ink, quiet) {
    const { left, top, cell, all } = shape;
    const weights = weightsOf(state.triangle, count(), token(), view.get("direction"));
    const strong = largest(weights, count()).filter((n) => weights[n] > 0.02).slice(0, 4);
    const rows = view.get("direction") === "row" ? [token()] : strong;
    const columns = view.get("direction") === "row" ? strong : [token()];
    context.textBaseline = "middle";
    const write = (n, kept, draw) => {
      if (!all && !kept.includes(n)) return;
      if (!all && kept.slice(0, kept.indexOf(n)).some((m) => Math.abs(m - n) * cell < 12)) return;
      context.fillStyle = kept.includes(n) ? ink : quiet;
      context.font = `${kept.includes(n) && all ? "600 " : ""}${shape.size}px ${shape.family}`;
      draw(shortened(state.data.labels[n]));
    };
    for (let n = 0; n < count(); n++) {
      write(n, rows, (label) => {
        context.textAlign = "right";
        context.fillText(label, left - 5, top + (n + 0.5) * cell);
      });
      write(n, columns, (label) => {
        context.save();
        context.translate(left + (n + 0.5) * cell, top - 5);
        context.rotate(-Math.PI / 2);
        context.textAlign = "left";
        context.fillText(label, 0, 0);
        context.restore();
      });
    }
  }

  askMap(view, map, () => shape, (cell) => {
    pointed.textContent = cell ? lookOf(state.data.labels, cell.query, cell.key,
      state.triangle[rowStart(cell.query) + cell.key], state.rounded ? 2 : 6) : HINT;
    return cell && (view.get("direction") === "row" ? cell.query : cell.key);
  }, hover);

  // ----- what follows what

  function takeHead() {
    const { layer, head, mean } = place();
    const { exact } = state;
    const known = exact && exact.layer === layer && exact.mean === mean && (mean
      || exact.head === head) && exact.weights.length === state.data.shapes.weights[2];
    state.triangle = known ? exact.weights : headWeights(state.data, place());
    state.rounded = !known && state.data.weights instanceof Uint8Array;
    title.textContent = mean ? `Layer ${layer}, mean of its heads` : `Layer ${layer}, head ${head}`;
  }
  const draw = () => {
    const [layers, heads] = state.data?.shapes.weights ?? [0, 0];
    if (view.get("layer") >= layers || view.get("head") >= heads) return;   // the kernel says so
    takeHead();
    sizeMosaic();
    markHead();
    paintChips();
    drawMap();
  };
  view.onData("data", (data) => {
    Object.assign(state, { data, exact: null, hovered: null });
    chips.write(data.labels);
    makeMosaic();
    draw();
  });
  view.onData("exact", (exact) => {
    state.exact = exact;
    draw();
  });
  view.on(["layer", "head", "mean", "token", "direction"], draw);
  view.onLook(draw);
});

/** How large a cell can be, and what room the labels need beside it. */
function layout(canvas, labels, room) {
  const context = canvas.getContext("2d");
  const family = getComputedStyle(canvas).fontFamily;
  context.font = `600 12px ${family}`;
  const widest = Math.max(...labels.map((label) => context.measureText(shortened(label)).width));
  const left = Math.ceil(Math.min(widest, 110)) + 8;
  const cell = Math.min(34, (Math.min(room, 620) - left - 2) / labels.length);
  const all = cell >= 10;
  const size = all ? Math.min(12, 0.95 * cell) : 11;
  return { left, top: left, cell, count: labels.length, all, family, size };
}

export default { render };
