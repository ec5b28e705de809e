// The checkpoints of a training run: loss, a sample, a text as each predicts it, one head's map.

import {
  askMap, chance, drawHead, largest, lookOf, looks, make, mount, sharpContext, slider, tokenChips,
  triangleRow, weightColor, weightLegend, written,
} from "./common.js";

// ------------------------------------------------------------------------------------- numbers

/** The weights of one head at one checkpoint: T (T + 1) / 2 numbers, row after row. */
export function weightsAt({ weights, shapes }, checkpoint, layer, head) {
  const [, layers, heads, length] = shapes.weights;
  const start = ((checkpoint * layers + layer) * heads + head) * length;
  return Float64Array.from(weights.subarray(start, start + length), (x) => (x / 255) ** 2);
}

/** The probability that a checkpoint gave to each token; NaN for the first, which none precedes. */
export function probabilitiesAt({ surprise, shapes }, checkpoint) {
  const count = shapes.surprise[1];
  const row = surprise.subarray(checkpoint * count, (checkpoint + 1) * count);
  return Float64Array.of(NaN, ...Array.from(row, (x) => Math.exp(-x)));
}

// ---------------------------------------------------------------------------------------- view

const HINT = "Rows look at columns. Point at a cell for its weight.";

const render = (context) => mount(context, (view) => {
  const state = { data: null, hovered: null };

  view.root.classList.add("gpt-time");
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const curve = make("canvas", { class: "gpt-curve", role: "img", title: "Click to travel there" });
  const sampleTitle = make("p", { class: "gpt-heading" });
  const sample = make("div", { class: "gpt-sample", dir: "auto" });
  const sampleEnd = make("p", { class: "gpt-quiet gpt-small" });
  const detail = make("p", { class: "gpt-said gpt-quiet", "aria-live": "polite" });
  const mapTitle = make("p", { class: "gpt-heading" });
  const map = make("canvas", { class: "gpt-map", role: "img" });
  const pointed = make("p", { class: "gpt-quiet gpt-said" }, HINT);
  const lossTitle = make("p", { class: "gpt-heading" });

  const last = () => state.data.steps.length - 1;
  const here = () => Math.min(view.get("checkpoint") ?? Infinity, last());
  const count = () => state.data.labels.length;
  const locked = () => Math.min(view.get("token") ?? Infinity, count() - 1);
  const token = () => state.hovered ?? locked();
  const stepName = (n) => state.data.steps[n].toLocaleString("en");
  const chips = tokenChips(view, locked, hover);
  view.stage.append(said, make("div", { class: "gpt-columns" },
    make("div", { class: "gpt-left" }, lossTitle, curve, sampleTitle, sample, sampleEnd),
    make("div", { class: "gpt-right" }, mapTitle, map, pointed, weightLegend())),
  make("p", { class: "gpt-heading" }, "How probable each token of the text was to it"),
  chips.element, detail);

  function draw() {
    if (!state.data) return;
    const { samples, ended, losses, floor, lossName, shapes } = state.data;
    const [, layers, heads] = shapes.weights;
    const [layer, head] = [view.get("layer"), view.get("head")];
    if (layer >= layers || head >= heads || here() < 0) return;      // the kernel says so
    const n = here();
    state.triangle = weightsAt(state.data, n, layer, head);
    state.probabilities = probabilitiesAt(state.data, n);
    const above = floor === null ? "" : `, ${written(Math.abs(losses[n] - floor))} `
      + `${losses[n] >= floor ? "above" : "below"} the floor`;
    said.textContent = `After step ${stepName(n)}: ${lossName} ${written(losses[n])} nats per `
      + `token${above}.`;
    lossTitle.textContent = lossName[0].toUpperCase() + lossName.slice(1);
    sampleTitle.textContent = `What it tells after step ${stepName(n)}`;
    sample.textContent = samples[n];
    sampleEnd.textContent = ended[n] ? "The text ends by itself." : "The text was cut off here.";
    mapTitle.textContent = `Layer ${layer}, head ${head} after step ${stepName(n)}`;
    drawCurve();
    paintChips();
    drawMap();
  }

  // ----- the loss

  function drawCurve() {
    const { losses, floor, places, steps } = state.data;
    const width = Math.min(curve.parentElement.clientWidth || 440, 560);
    const height = 150;
    const [left, right, top, bottom] = [44, 14, 10, 22];
    const context = sharpContext(curve, width, height);
    const look = looks(view.root);
    const lowest = Math.min(...losses, floor ?? Infinity);
    const highest = Math.max(...losses);
    const pad = 0.08 * (highest - lowest || 1);
    const y = (loss) => top + ((highest + pad - loss) / (highest - lowest + 2 * pad || 1))
      * (height - top - bottom);
    const x = places.map((share) => left + share * (width - left - right));
    state.columns = x;
    context.font = `11px ${look("font-family")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const loss of ticks(lowest - pad, highest + pad)) {
      rule(context, look("--gpt-line"), [left, y(loss)], [width - right, y(loss)]);
      context.fillStyle = look("--gpt-quiet");
      context.fillText(String(loss).replace("-", "−"), left - 7, y(loss));
    }
    if (floor !== null) {
      rule(context, look("--gpt-quiet"), [left, y(floor)], [width - right, y(floor)], [5, 4]);
      context.textAlign = "left";
      context.fillText("floor", left + 4, y(floor) - 7);
    }
    rule(context, look("--gpt-accent"), [x[here()], top], [x[here()], height - bottom]);
    context.strokeStyle = look("--gpt-color-blue");
    context.lineWidth = 2;
    context.beginPath();
    losses.forEach((loss, n) => context.lineTo(x[n], y(loss)));
    context.stroke();
    if (steps[0] === 0 && steps.length > 1) {
      breakAxis(context, (x[0] + x[1]) / 2, height - 8, look("--gpt-quiet"));
    }
    losses.forEach((loss, n) => {
      context.fillStyle = look(n === here() ? "--gpt-accent" : "--gpt-color-blue");
      context.beginPath();
      context.arc(x[n], y(loss), n === here() ? 6 : 3.5, 0, 2 * Math.PI);
      context.fill();
    });
    drawSteps(context, x, width, height - 8, look);
    curve.setAttribute("aria-label", `${said.textContent} Loss of ${losses.length} checkpoints, `
      + `from ${written(losses[0])} to ${written(losses[last()])}.`);
  }

  /** The steps below the curve, as many as have room; first the one that is shown, then the last. */
  function drawSteps(context, x, width, y, look) {
    context.textAlign = "right";
    context.fillStyle = look("--gpt-quiet");
    context.fillText("step", x[0] - 8, y);
    context.textAlign = "center";
    let free = -Infinity;
    x.forEach((_, n) => {
      const room = context.measureText(stepName(n)).width / 2 + 4;
      const isNear = (other) => n !== other && Math.abs(x[n] - x[other]) < 2.4 * room;
      if (n !== here() && (x[n] - room < free || isNear(here()) || isNear(last()))) return;
      context.fillStyle = look(n === here() ? "--gpt-ink" : "--gpt-quiet");
      context.fillText(stepName(n), Math.min(x[n], width - room), y);
      free = x[n] + room;
    });
  }

  curve.addEventListener("click", view.guarded((event) => {
    const at = event.clientX - curve.getBoundingClientRect().left;
    const away = state.columns.map((x) => -Math.abs(x - at));
    view.set({ checkpoint: largest(away, 1)[0] });
  }));

  // ----- the text

  function paintChips() {
    chips.paint(token(), (n) => {
      const p = state.probabilities[n];
      const first = Number.isNaN(p);
      return {
        color: first ? null : weightColor(p),
        number: written(p, 2),
        name: `token ${n} ${state.data.labels[n]}, `
          + (first ? "read first" : `probability ${chance(p, 4)}`),
      };
    });
    const { labels } = state.data;
    const row = triangleRow(state.triangle, token());
    const most = largest(row, 3).map((n) => `‘${labels[n]}’ ${row[n].toFixed(2)}`).join(", ");
    const p = state.probabilities[token()];
    const known = Number.isNaN(p) ? "is read first" : `had probability ${chance(p, 4)}`;
    detail.textContent = `Token ${token()} ‘${labels[token()]}’ ${known}; this head looks from `
      + `there at ${most}.`;
  }

  function hover(n) {
    if (n === state.hovered) return;
    state.hovered = n;
    paintChips();
    drawMap();
  }

  // ----- one head

  let frame = null;                                        // where the cells of the map are

  function drawMap() {
    const looked = largest(triangleRow(state.triangle, token()), 3);
    frame = drawHead(view, map, { labels: state.data.labels, triangle: state.triangle,
      token: token(), rows: [token()], columns: [token(), ...looked] });
    map.setAttribute("aria-label", `${mapTitle.textContent}. ${detail.textContent}`);
  }

  askMap(view, map, () => frame, (cell) => {
    pointed.textContent = cell ? lookOf(state.data.labels, cell.query, cell.key,
      triangleRow(state.triangle, cell.query)[cell.key], 2) : HINT;
    return cell && cell.query;
  }, hover);

  // ----- what follows what

  view.onData("data", (data) => {
    Object.assign(state, { data, hovered: null });
    const [, layers, heads] = data.shapes.weights;
    view.controls.replaceChildren(
      slider(view, "checkpoint", "after step", last, stepName),
      slider(view, "layer", "layer", () => layers - 1),
      slider(view, "head", "head", () => heads - 1),
    );
    chips.write(data.labels);
    draw();
  });
  view.on(["checkpoint", "layer", "head", "token"], draw);
  view.onLook(draw);
});

function rule(context, color, from, to, dashes = []) {
  context.save();
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.setLineDash(dashes);
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  context.restore();
}

/** The two strokes that say: this axis has a gap here. */
function breakAxis(context, x, y, color) {
  for (const side of [-2.5, 2.5]) rule(context, color, [x + side - 2, y + 5], [x + side + 2, y - 5]);
}

/** Three to six round numbers between two. */
export function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 3));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => (high - low) / s <= 6);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) {
    found.push(Number((n * step).toPrecision(6)));
  }
  return found;
}

export default { render };
