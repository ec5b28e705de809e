// The pictures of ModelWalk, one kind for each kind of box: elements that show numbers, and that
// tell them in words, by `state.tell`, to the pointer and to the arrow keys.

import PALETTE from "../figures/palette.json" with { type: "json" };
import {
  ARCS, arc, chance, farthest, headColor, largest, make, onDark, paintPixels, shortened,
  signedColor, signedLegend, svg, walk, weightColor, written,
} from "./common.js";
import {
  at, leaving, lengthOf, meanOf, ofHead, quoted, stream, vectors,
} from "./walk_numbers.js";

const CELLS_IN_A_ROW = 192;                    // of a strip, so that each can be pointed at

const [SHADES, SHADES_ON_DARK] = [false, true].map((dark) => (
  Array.from({ length: 511 }, (_, n) => signedColor(n - 255, 255, dark))));
/** `signedColor` in 511 steps: some pictures have thousands of cells. */
function shader(reach) {
  const shades = onDark() ? SHADES_ON_DARK : SHADES;
  return (x) => shades[255 + Math.round(255 * (x / (reach || 1)))];
}
const titled = (title, ...children) => make("div", { class: "gpt-part" },
  make("p", { class: "gpt-name" }, title), ...children);

/**
 * A place with a cursor: arrow keys and the pointer move it over `count` numbers. `mark(n, shown)`
 * shows it and says in words what is there; `placeOf(event)` is what the pointer is over, or null.
 */
function cursor(state, label, count, mark, placeOf, start = 0) {
  let place = start;
  const area = make("div", {
    class: "gpt-area", role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": 0,
    "aria-valuemax": count - 1,
  });
  const go = (n, shown = true) => {
    place = n;
    const words = mark(n, shown);
    area.setAttribute("aria-valuenow", n);
    area.setAttribute("aria-valuetext", words);
    if (shown) state.tell(words);
  };
  const leave = () => {
    mark(place, false);
    state.tell("");
  };
  walk(area, () => count, () => place, go, ["ArrowRight", "ArrowUp"], ["ArrowLeft", "ArrowDown"]);
  area.addEventListener("focus", () => go(place));
  area.addEventListener("blur", leave);
  area.addEventListener("pointermove", (event) => {
    const n = placeOf(event);
    if (n !== null) go(n);
  });
  area.addEventListener("pointerleave", () => {
    if (area !== document.activeElement) leave();
  });
  go(start, false);
  return area;
}

/** Which cell of `lines` times `columns` the pointer is over, or null. */
function cellAt(element, event, lines, columns) {
  const box = element.getBoundingClientRect();
  const line = Math.floor(lines * (event.clientY - box.top) / box.height);
  const column = Math.floor(columns * (event.clientX - box.left) / box.width);
  const inside = line >= 0 && line < lines && column >= 0 && column < columns;
  return inside ? { line, column } : null;
}

/** Numbers as colored cells, in several lines where they are many, and a frame around one. */
function strip(numbers, reach, height, most = CELLS_IN_A_ROW) {
  const lines = Math.ceil(numbers.length / most);
  const columns = Math.ceil(numbers.length / lines);
  const canvas = make("canvas", { "aria-hidden": "true" });
  const shade = shader(reach);
  paintPixels(canvas, columns, lines, (line, column) => {
    const x = numbers[line * columns + column];
    return x === undefined ? null : shade(x);
  });
  const frame = make("div", { class: "gpt-cell", hidden: true });
  const element = make("div", { class: "gpt-strip", style: `height: ${height}px` }, canvas, frame);
  return {
    element,
    mark(n, shown) {
      frame.hidden = !shown;
      frame.style.left = `${100 * (n % columns) / columns}%`;
      frame.style.top = `${100 * Math.floor(n / columns) / lines}%`;
      frame.style.width = `${100 / columns}%`;
      frame.style.height = `${100 / lines}%`;
    },
    placeOf(event) {
      const cell = cellAt(element, event, lines, columns);
      const n = cell && cell.line * columns + cell.column;
      return cell && n < numbers.length ? n : null;
    },
  };
}

/** Horizontal bars with a name and a number each; one of `most` fills the whole width. */
function bars(rows, most = Math.max(...rows.map(({ x }) => Math.abs(x)))) {
  return make("ol", { class: "gpt-bars" }, ...rows.map(({ name, x, told, current }) => (
    make("li", { class: current ? "gpt-now" : "" }, make("bdi", {}, name),
      make("span", { class: "gpt-track" }, make("span", {
        class: x < 0 ? "gpt-fill gpt-below" : "gpt-fill",
        style: `width: ${100 * Math.abs(x) / most}%`,
      })), make("span", { class: "gpt-number" }, told)))));
}

// -------------------------------------------------------------------------- tokens and vectors

function drawTokens({ data, token }) {
  const chips = data.labels.map((label, n) => make("li", {
    class: n === token ? "gpt-chip gpt-followed" : "gpt-chip",
    style: n === token ? "" : `background: ${PALETTE.chips[n % PALETTE.chips.length]}; `
      + `color: ${PALETTE.ink}`,
  }, make("bdi", {}, shortened(label, 24)), make("small", {}, String(data.ids[n]))));
  return [titled("Each token, and below it its id", make("ul", {
    class: chips.length > 32 ? "gpt-chips gpt-many" : "gpt-chips" }, ...chips))];
}

/** Vectors under each other, column by column: a sum, or what goes into a norm and comes out. */
function drawVectors(view, state, box, layer) {
  const rows = vectors(state.data, box, layer, state.row);
  const own = rows.map(({ numbers }) => farthest(numbers));
  const normed = box.endsWith("norm");            // then both would be too different for one scale
  const reach = normed ? own.at(-1) : Math.max(...own);
  const strips = rows.map(({ numbers }, n) => strip(numbers, normed ? own[n] : reach, 26));
  const count = rows[0].numbers.length;
  const area = cursor(state, "numbers", count, (n, shown) => {
    strips.forEach((one) => one.mark(n, shown));
    const told = rows.map(({ sign, numbers }) => `${sign} ${written(numbers[n])}`);
    return `Number ${n} of these ${count}: ${told.join(" ").trim()}`;
  }, (event) => strips.reduce((found, one) => found ?? one.placeOf(event), null));
  rows.forEach(({ sign, name, numbers }, n) => {
    const scale = normed && !n ? `in colors up to ±${written(own[0], 1)}, ` : "";
    area.append(make("p", { class: "gpt-name" }, make("b", {}, sign), name,
      make("span", { class: "gpt-number" }, `${scale}length ${written(lengthOf(numbers), 2)}`)),
    strips[n].element);
  });
  const additions = { "after attention": 2 * layer + 1, "after feed-forward": 2 * layer + 2 }[box];
  const below = additions ? drawGrowth(state, additions)
    : drawAllTokens(view, state, box, layer, reach, 330 - 54 * rows.length);
  return [area, signedLegend(reach, "each cell is one number", false), ...below];
}

/** What leaves a box for every token: a line each, and a frame around the one that is followed. */
function drawAllTokens(view, { data, token, tell }, box, layer, reach, room) {
  if (data.places.length < 2) return [];
  const rows = data.places.map((_, row) => leaving(data, box, layer, row));
  const columns = rows[0].length;
  const canvas = make("canvas", { "aria-hidden": "true" });
  const shade = shader(reach);
  paintPixels(canvas, columns, rows.length, (line, n) => (
    shade(Math.max(-reach, Math.min(reach, rows[line][n])))));
  const height = Math.min(16, Math.max(2, Math.floor(room / rows.length)));
  const frame = make("div", { class: "gpt-cell", style: `left: 0; width: 100%; `
    + `top: ${100 * token / rows.length}%; height: ${100 / rows.length}%` });
  const element = make("div", {
    class: "gpt-strip gpt-all", style: `height: ${height * rows.length}px`,
    onpointermove: (event) => {
      const cell = cellAt(element, event, rows.length, columns);
      if (cell) {
        tell(`Number ${cell.column} of token ${cell.line} ${quoted(data.labels[cell.line])}: `
          + written(rows[cell.line][cell.column]));
      }
    },
    onpointerleave: () => tell(""),
    onclick: (event) => {
      const cell = cellAt(element, event, rows.length, columns);
      if (cell) view.set({ token: cell.line });
    },
  }, canvas, frame);
  return [titled(`The same for all tokens, a line each; in the frame ${quoted(data.labels[token])}`,
    element)];
}

/** A token's stream after each addition up to `now`, and how long it was; of many, those nearby. */
function drawGrowth({ data, row }, now) {
  const count = 2 * data.shapes.weights[0] + 1;
  const first = Math.min(Math.max(now - 3, 1), Math.max(count - 6, 1));
  const shown = [0, ...Array.from({ length: Math.min(6, count - 1) }, (_, n) => first + n)];
  const longest = Math.max(...Array.from({ length: count }, (_, n) => (
    lengthOf(stream(data, row, n)))));
  const lines = shown.map((n) => {
    const numbers = stream(data, row, n);
    const there = n <= now;
    const name = n ? `+ ${["feed-forward", "attention"][n % 2]} ${Math.floor((n - 1) / 2)}`
      : "embeddings";
    const cells = there ? strip(numbers, farthest(numbers), 16).element
      : make("div", { class: "gpt-strip gpt-hatched", style: "height: 16px" });
    const share = Math.log1p(lengthOf(numbers)) / Math.log1p(longest);
    return make("li", { class: n === now ? "gpt-now" : "" },
      make("span", { class: "gpt-step" }, name), cells,
      make("span", { class: "gpt-track" }, make("span", { class: "gpt-fill",
        style: `width: ${there ? 100 * share : 0}%` })),
      make("span", { class: "gpt-number" }, there ? written(lengthOf(numbers), 2) : "–"));
  });
  return [titled("The stream after each addition, and its length (bars on a log scale)",
    make("ol", { class: "gpt-growth" }, ...lines))];
}

function drawNeurons(view, state, box, layer) {
  const neurons = at(state.data, "activations", layer, state.row);
  const reach = farthest(neurons);
  const width = Math.min(state.data.shapes.start[1], CELLS_IN_A_ROW);
  const lines = Math.ceil(neurons.length / width);
  const cells = strip(neurons, reach, Math.min(108, 22 * lines), width);
  const area = cursor(state, "neurons", neurons.length, (n, shown) => {
    cells.mark(n, shown);
    return `Neuron ${n} of ${neurons.length} answers ${written(neurons[n])}`;
  }, cells.placeOf);
  area.append(make("p", { class: "gpt-name" }, "What each neuron answers"), cells.element);
  const rows = largest(neurons, 8).map((n) => (
    { name: `neuron ${n}`, x: Math.max(neurons[n], 0), told: written(neurons[n], 2) }));
  return [area, signedLegend(reach, "each cell is one neuron", false),
    titled("The largest answers", bars(rows))];
}

// ----------------------------------------------------------------------------------- attention

const [LABELS, GUTTER] = [74, 60];             // height, and room left of the tokens

function drawAttention(view, state, box, layer) {
  const { data, token, head } = state;
  const count = data.labels.length;
  const heads = data.shapes.weights[1];
  const weights = Array.from({ length: heads }, (_, h) => (
    ofHead(data, "weights", layer, h, token)));
  const cell = Math.min(96, (state.width - GUTTER - 10) / count);
  const color = (h) => (h === head ? "var(--gpt-accent)" : headColor(h));
  const shown = view.get("all_heads") ? weights.map((_, h) => h).filter((h) => h !== head) : [];
  const least = (h) => (h === head ? 0.005 : 0.05);
  const arcs = svg("svg", { width: cell * count, height: ARCS, "aria-hidden": "true" },
    ...[...shown, head].flatMap((h) => Array.from(weights[h], (weight, key) => (
      weight < least(h) ? "" : arc(token, key, weight, color(h), count, cell)))));
  const column = make("div", { class: "gpt-column", hidden: true, style: `width: ${cell}px` });
  const area = cursor(state, "keys", token + 1, (key, visible) => {
    column.hidden = !visible;
    column.style.left = `${GUTTER + key * cell}px`;
    return looked(data, layer, head, token, key);
  }, (event) => {
    const place = cellAt(arcs, event, 1, count);
    return place && place.column <= token ? place.column : null;
  }, largest(weights[head], 1)[0]);
  area.append(make("div", { style: `padding-left: ${GUTTER}px` }, arcs), column);
  const top = make("div", { class: "gpt-arcs" }, state.allHeads, area);
  return [top, headRows(view, state, weights, cell, color),
    labelLine(data.labels, weights[head], token, cell, token),
    keyTable(data, layer, head, token)];
}

function looked(data, layer, head, token, key) {
  const product = ofHead(data, "products", layer, head, token)[key];
  const weight = ofHead(data, "weights", layer, head, token)[key];
  return `Head ${head}, ${quoted(data.labels[token])} at ${quoted(data.labels[key])}: q · k = `
    + `${written(product, 2)}, weight ${chance(weight, 4)}`;
}

/** What every head does with the tokens so far, a line each; a click chooses the head. */
function headRows(view, { data, token, head, tell, layer }, weights, cell, color) {
  const count = data.labels.length;
  const height = Math.max(5, Math.min(15, Math.floor(124 / weights.length)));
  const fine = height < 13;
  const rows = weights.map((row, h) => {
    const canvas = make("canvas", { "aria-hidden": "true",
      style: `width: ${cell * count}px; height: ${height - 1}px` });
    paintPixels(canvas, count, 1, (_, n) => (n > token ? null : weightColor(row[n])));
    const [most] = largest(row, 1);
    return make("button", {
      type: "button", class: "gpt-row", style: `height: ${height}px`, tabindex: h === head ? 0 : -1,
      "aria-pressed": String(h === head), "data-lm-suppress-shortcuts": "true",
      "aria-label": `head ${h}, most at ${data.labels[most]} ${written(row[most])}`,
      onclick: () => view.set({ head: h }),
      onpointermove: (event) => {
        const place = cellAt(canvas, event, 1, count);
        if (place) {
          tell(place.column > token ? `${quoted(data.labels[token])} may not look ahead.`
            : looked(data, layer, h, token, place.column));
        }
      },
      onpointerleave: () => tell(""),
    }, make("span", {},
      view.get("all_heads") ? make("i", { style: `background: ${color(h)}` }) : "",
      fine && h !== head ? "" : `head ${h}`), canvas);
  });
  const group = make("div", { class: "gpt-rows", role: "group", "aria-label": "heads" }, ...rows);
  walk(group, () => rows.length, () => view.get("head"), (h) => view.set({ head: h }));
  return group;
}

/** The words below: all where there is room, else those that matter most. Those after `end` are
 * pale. */
function labelLine(labels, weights, token, cell, end) {
  const order = [token, ...largest(weights, weights.length).filter((n) => n !== token)];
  const flat = labels.every((label) => 7.4 * Math.min(label.length, 10) + 10 < cell);
  const kept = [];
  for (const n of cell >= 11.5 ? labels.keys() : order) {
    if (cell >= 11.5 || kept.every((m) => Math.abs(m - n) * cell >= 13)) kept.push(n);
  }
  const angle = flat ? 0 : cell < 14.5 ? -90 : -58;
  return svg("svg", { class: "gpt-labels", width: GUTTER + cell * labels.length + 2,
    height: LABELS, "aria-hidden": "true" }, ...kept.map((n) => {
    const x = GUTTER + (n + 0.5) * cell;
    const label = shortened(labels[n], 10);
    const width = 7.3 * label.length;
    const y = angle === -90 ? 10 : 14;
    const text = svg("text", { x: flat ? x : x + 1, y, "text-anchor": flat ? "middle" : "end",
      class: n === token ? "gpt-own" : n > end ? "gpt-ahead" : weights[n] > 0.1 ? "gpt-strong"
        : "",
    }, label);
    const pill = svg("rect", { x: flat ? x - width / 2 - 5 : x - width - 4, y: y - 11.5,
      width: width + 10, height: 16, rx: 8 });
    return svg("g", angle ? { transform: `rotate(${angle} ${x} 6)` } : {},
      ...(n === token ? [pill, text] : [text]));
  }));
}

/** How the largest weights came about. */
function keyTable(data, layer, head, token) {
  const products = ofHead(data, "products", layer, head, token);
  const weights = ofHead(data, "weights", layer, head, token);
  const width = data.shapes.start[1] / data.shapes.weights[1];
  const cells = (tag, ...texts) => texts.map((text) => make(tag, {}, text));
  return make("table", {}, make("thead", {}, make("tr", {},
    ...cells("th", "key of", "q · k", `÷ √${width}`, "softmax"))),
  make("tbody", {}, ...largest(weights, 3).map((key) => make("tr", {},
    make("th", { scope: "row" }, make("bdi", {}, shortened(data.labels[key], 18))),
    ...cells("td", written(products[key], 2), written(products[key] / Math.sqrt(width), 2)),
    make("td", {}, make("div", {}, make("span", { class: "gpt-track" }, make("span", {
      class: "gpt-fill", style: `width: ${100 * weights[key]}%` })),
    make("span", { class: "gpt-number" }, chance(weights[key], 3))))))));
}

// ------------------------------------------------------------------------- scores, probabilities

function drawScores(view, { data, row }) {
  const names = at(data, "best", row);
  const rows = Array.from(at(data, "logits", row), (x, n) => (
    { name: data.names[names[n]], x, told: written(x, 2) }));
  return [titled(`The highest of ${data.vocabulary.toLocaleString("en-US")} scores`, bars(rows))];
}

function drawChances(view, state) {
  const { data, row, token } = state;
  const names = at(data, "best", row);
  const chances = at(data, "chances", row);
  const turn = view.get("draw");
  const drawn = at(data, "drawn", row)[turn];
  const rows = Array.from(chances, (x, n) => (
    { name: data.names[names[n]], x, told: chance(x, 3), current: names[n] === drawn }));
  const rest = 1 - chances.reduce((sum, p) => sum + p, 0);
  return [
    titled("The same tokens with their probabilities", bars(rows, 1)),
    make("p", { class: "gpt-quiet gpt-rest" }, data.vocabulary > rows.length
      ? `All other tokens together: ${chance(Math.max(rest, 0), 3)}` : ""),
    make("div", { class: "gpt-drawn" }, "Drawn:", make("bdi", { class: "gpt-followed" },
      shortened(data.names[drawn], 24)), ...state.drawButtons(drawn, token)),
  ];
}

// ------------------------------------------------------------------------------------- the loss

const SURPRISES = 250;                                       // how high its picture is

/** How surprising each token was, over the text; a click on a bar follows the token before it. */
function drawSurprises(view, state) {
  const { data: { labels, surprises }, token, width } = state;
  if (!surprises.length) return [];
  const cell = Math.min(96, (width - GUTTER - 10) / labels.length);
  const mean = meanOf(surprises);
  const most = Math.max(...surprises, 1);
  const y = (x) => SURPRISES - 10 - (SURPRISES - 30) * (x / most);
  const line = (x, name, look) => [
    svg("line", { class: look, x1: GUTTER, x2: GUTTER + cell * labels.length, y1: y(x), y2: y(x) }),
    svg("text", { class: look, x: GUTTER - 6, y: y(x) + 4, "text-anchor": "end" }, name)];
  const column = svg("rect", { class: "gpt-column", y: 0, width: cell, height: SURPRISES });
  const chart = svg("svg", { class: "gpt-surprises", width: GUTTER + cell * labels.length + 2,
    height: SURPRISES, "aria-hidden": "true" }, ...line(0, "0", ""),
  ...(mean < 0.9 * most ? line(most, written(most, 1), "") : []), column,
  ...Array.from(surprises, (x, n) => svg("rect", {
    class: n === token ? "gpt-bar gpt-own" : "gpt-bar", x: GUTTER + (n + 1.1) * cell,
    y: Math.min(y(x), y(0) - 1), width: 0.8 * cell, height: Math.max(y(0) - y(x), 1),
  })), ...line(mean, "mean", "gpt-mean"));
  const placeOf = (event) => {
    const box = chart.getBoundingClientRect();
    const n = Math.floor((event.clientX - box.left - GUTTER) / cell) - 1;
    return surprises[n] === undefined ? null : n;
  };
  const area = cursor(state, "surprises", surprises.length, (n, shown) => {
    column.setAttribute("visibility", shown ? "visible" : "hidden");
    column.setAttribute("x", GUTTER + (n + 1) * cell);
    return `${quoted(labels[n + 1])} after ${quoted(labels[n])}: probability `
      + `${chance(Math.exp(-surprises[n]), 3)}, surprise ${written(surprises[n])}`;
  }, placeOf, Math.min(token, surprises.length - 1));
  area.addEventListener("click", (event) => {
    const n = placeOf(event);
    if (n !== null) view.set({ token: n });
  });
  area.append(chart);
  return [titled("The surprise at each token, −ln p, in nats", area),
    labelLine(labels, [0, ...surprises.map((x) => x / most)], token, cell, labels.length)];
}

/** The elements that show a box. */
export function picture(view, state, box, layer) {
  const draw = { tokens: () => drawTokens(state), attention: drawAttention,
    "feed-forward": drawNeurons, "output head": drawScores, "next token": drawChances,
    loss: drawSurprises }[box];
  return (draw ?? drawVectors)(view, state, box, layer);
}
