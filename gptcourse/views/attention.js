// Every head of a model as one mosaic, one head enlarged, one token's weights over the text.

import { LEAST, MOST_IN_A_LINE, arcsOverWords, firstInLine } from "./arcs.js";
import {
  arrowKeys, askMap, button, choice, drawHead, headColor, largest, lookOf, make, mount, paintPixels,
  rowStart, textField, tokenChips, weightColor, weightLegend, written,
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

/** What several heads make of one token: where each looks most, `rows` by their numbers. */
export function headsSentence(labels, rows, token, direction, rounded = false) {
  const most = rows.map(({ head, weights }) => {
    const [place] = largest(weights.map((weight) => (Number.isNaN(weight) ? -1 : weight)), 1);
    return `head ${head} ‘${labels[place]}’ ${written(weights[place], rounded ? 2 : 4)}`;
  });
  const verb = direction === "row" ? "looks most at" : "is looked at most by";
  return `Token ${token} ‘${labels[token]}’ ${verb}: ${most.join(", ")}.`;
}

// ---------------------------------------------------------------------------------------- view

const ARCS_HINT = "An arc leads from a token back to one that it looks at, the wider the more; "
  + `weights below ${LEAST} have none.`;
const HINT = "Rows look at columns; a click on a cell stays with it.";

const render = (context) => mount(context, (view) => {
  const state = { data: null, exact: null, hovered: null };

  view.root.classList.add("gpt-attention");
  const mosaic = make("div", { class: "gpt-mosaic", role: "group", "aria-label": "heads" });
  const title = make("p", { class: "gpt-heading" });
  const map = make("canvas", { class: "gpt-map", role: "img" });
  const pointed = make("p", { class: "gpt-quiet gpt-said" }, HINT);
  const headChips = make("div",
    { class: "gpt-pick", role: "group", "aria-label": "heads in arcs" });
  const arcTitle = make("p", { class: "gpt-heading" });
  const arcPointed = make("p", { class: "gpt-quiet gpt-said" }, ARCS_HINT);
  const cutLine = make("p", { class: "gpt-quiet gpt-cut" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const text = textField(view, "prompt", "text");
  const cutButton = button("cut here", () => cut(locked()),
    "Cut the text after the chosen token; Alt and a click cut it after any other");
  cutButton.classList.add("gpt-cut-here");
  view.controls.append(
    text,
    choice(view, "direction", "direction", [["row", "what the token looks at"],
      ["column", "who looks at the token"]]),
    choice(view, "look", "show", [["map", "as a map"], ["arcs", "as arcs"]]),
    cutButton,
  );
  const count = () => state.data.labels.length;
  const locked = () => Math.min(view.get("token") ?? Infinity, count() - 1);
  const token = () => state.hovered ?? locked();
  const choose = (token, { altKey }) => (altKey ? cut(token) : view.set({ token }));
  const chips = tokenChips(view, locked, hover, choose);
  const arcs = arcsOverWords(view, locked, hover, tellArc, choose);
  const over = make("div", { class: "gpt-over" },
    make("div", { class: "gpt-pickers" }, arcTitle, headChips), arcs.element, cutLine);
  const right = make("div", { class: "gpt-right" }, title, map, pointed);
  view.stage.append(chips.element, over, said, arcPointed, make("div", { class: "gpt-columns" },
    make("div", { class: "gpt-left" },
      make("p", { class: "gpt-heading" }, "All heads"), mosaic, weightLegend()), right));
  const place = () => ({
    layer: view.get("layer"), head: view.get("head"), mean: view.get("mean"),
  });

  /** Cut the text after a token, which is the last one then. */
  function cut(n) {
    if (text.querySelector("textarea").readOnly) return;                   // no model reads it
    const bytes = new TextEncoder().encode(view.get("prompt")).subarray(0, state.data.ends[n]);
    const prompt = new TextDecoder().decode(bytes, { stream: true });      // whole characters only
    if (prompt) view.set({ prompt, token: null });
  }

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

  const asArcs = () => view.get("look") === "arcs";
  const paint = () => {
    if (asArcs()) paintArcs();
    else paintChips();
    said.style.minHeight = `${said.offsetHeight}px`;         // a shorter sentence moves nothing
  };

  function hover(n) {
    if (n === state.hovered) return;
    state.hovered = n;
    paint();
    if (!asArcs()) drawMap();
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
          onclick: () => enlarge(layer, head),
        }, canvas));
      }
    }
    mosaic.replaceChildren(...cells);
    mosaic.style.setProperty("--heads", heads + 1);
  }

  function sizeMosaic() {
    const [layers, heads] = state.data.shapes.weights;
    const beside = 60 + 3 * heads;                           // numbers of layers, "mean", gaps
    const room = Math.min(560, mosaic.parentElement.clientWidth || 460) - beside;
    const high = asArcs() ? 200 : 340;
    const side = Math.min(76, Math.max(16, high / layers - 3), room / (heads + 1));
    mosaic.style.setProperty("--side", `${Math.floor(side)}px`);
    mosaic.classList.toggle("gpt-fine", side < count());
  }

  function enlarge(layer, head) {
    const heads = state.data.shapes.weights[1];
    view.set({ layer, ...(head === heads ? { mean: true } : { head, mean: false }),
      ...(view.get("heads").length ? { heads: [] } : {}) });
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
    enlarge(layer, head);
    mosaic.querySelectorAll("button")[layer * (heads + 1) + head].focus();
  });

  // ----- arcs over the text, of one head or of several

  const headsInArcs = () => [...new Set([view.get("head"), ...view.get("heads")])]
    .sort((a, b) => a - b);
  const tokenOf = ({ query, key }) => (view.get("direction") === "row" ? query : key);

  function drawArcs() {
    const first = firstInLine(count(), locked());
    const end = Math.min(count(), first + MOST_IN_A_LINE);
    state.rows = place().mean
      ? [{ head: "mean", triangle: state.triangle, color: "var(--gpt-accent)" }]
      : headsInArcs().map((head) => ({
        head, color: headColor(head), triangle: head === view.get("head") ? state.triangle
          : headWeights(state.data, { layer: view.get("layer"), head }),
      }));
    arcs.draw(state.rows, first, end, over.clientWidth || 700, tokenOf);
    arcTitle.textContent = state.rows.length === 1 ? title.textContent
      : `Layer ${view.get("layer")}, ${state.rows.length} heads`;
    cutLine.replaceChildren();
    if (count() <= MOST_IN_A_LINE) return;
    cutLine.append(`${MOST_IN_A_LINE} tokens have room in a line: these are tokens ${first} to `
      + `${end - 1} of 0 to ${count() - 1}. `,
    ...(first > 0 ? [button("‹ earlier", () => view.set({ token: first - 1 }))] : []),
    ...(end < count() ? [button("later ›", () => view.set({
      token: Math.min(end + MOST_IN_A_LINE, count()) - 1 }))] : []));
  }

  function paintArcs() {
    const direction = view.get("direction");
    const rows = state.rows.map(({ head, triangle }) => (
      { head, weights: weightsOf(triangle, count(), token(), direction) }));
    arcs.paint(token(), (n) => {
      const weight = Math.max(...rows.map(({ weights }) => weights[n]));
      const given = rows.map(({ head, weights }) => (
        `${rows.length > 1 ? `head ${head} ` : ""}${written(weights[n], state.rounded ? 2 : 4)}`));
      return { weight, text: `token ${n} ${state.data.labels[n]}, ${Number.isNaN(weight) ? "masked"
        : `${direction === "column" ? "gets" : "gives"} ${given.join(", ")}`}` };
    }, tokenOf);
    said.textContent = rows.length === 1
      ? sentence(state.data.labels, rows[0].weights, token(), direction, state.rounded)
      : headsSentence(state.data.labels, rows, token(), direction, state.rounded);
  }

  function tellArc(look) {
    arcPointed.textContent = look ? `${look.head === "mean" ? "Mean" : `Head ${look.head}`}: `
      + lookOf(state.data.labels, look.query, look.key, look.weight, state.rounded ? 2 : 4)
      : ARCS_HINT;
  }

  function makeHeadChips() {
    const all = Array.from({ length: state.data.shapes.weights[1] }, (_, head) => head);
    const show = (heads) => view.set({ mean: false, head: heads.includes(view.get("head"))
      ? view.get("head") : heads[0], heads: heads.length > 1 ? heads : [] });
    const toggle = (head) => {
      const shown = place().mean ? [] : headsInArcs();
      const heads = shown.includes(head) ? shown.filter((other) => other !== head)
        : [...shown, head];
      if (heads.length) show(heads);
    };
    headChips.replaceChildren(...all.map((head) => make("button", {
      type: "button", "aria-label": `arcs of head ${head}`, title: `head ${head}`,
      style: `--head: ${headColor(head)}`, onclick: () => toggle(head),
    }, `${head}`)), make("button", {
      type: "button", "aria-label": "arcs of all heads", title: "all heads, or one again",
      onclick: () => show(headsInArcs().length < all.length ? all : [view.get("head")]),
    }, "all"));
  }

  function markHeadChips() {
    const heads = state.data.shapes.weights[1];
    const shown = place().mean ? [] : headsInArcs();
    headChips.querySelectorAll("button").forEach((chip, n) => {
      chip.setAttribute("aria-pressed",
        String(n < heads ? shown.includes(n) : shown.length === heads));
    });
  }

  // ----- one head enlarged

  let frame = null;                                        // where the cells of the map are

  function drawMap() {
    const direction = view.get("direction");
    const weights = weightsOf(state.triangle, count(), token(), direction);
    const strong = largest(weights, count()).filter((n) => weights[n] > 0.02).slice(0, 4);
    const kept = [[token()], [token(), ...strong]];
    const [rows, columns] = direction === "row" ? kept : kept.reverse();
    if (state.cell) columns.unshift(state.cell.key);
    frame = drawHead(view, map, { labels: state.data.labels, triangle: state.triangle,
      token: token(), direction, rows, columns });
    map.setAttribute("aria-label", `${title.textContent}. ${said.textContent}`);
  }

  askMap(view, map, () => frame, (cell) => {
    const moved = cell?.key !== state.cell?.key;
    state.cell = cell;
    if (moved) drawMap();
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
    chips.element.hidden = right.hidden = asArcs();
    over.hidden = arcPointed.hidden = !asArcs();
    said.style.minHeight = "";
    sizeMosaic();
    markHead();
    markHeadChips();
    if (asArcs()) drawArcs();
    paint();
    if (!asArcs()) drawMap();
  };
  view.onData("data", (data) => {
    Object.assign(state, { data, exact: null, hovered: null, cell: null });
    chips.write(data.labels);
    arcs.write(data.labels);
    makeMosaic();
    makeHeadChips();
    draw();
  });
  view.onData("exact", (exact) => {
    state.exact = exact;
    draw();
  });
  view.on(["layer", "head", "heads", "mean", "token", "direction", "look"], draw);
  view.onLook(draw);
});

export default { render };
