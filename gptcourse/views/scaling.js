// Stored runs, two laws fitted to the valleys of their budgets, and what these recommend. The kernel
// has computed and said all of it, for every budget.

import { choice, make, mount, svg, walk } from "./common.js";

/** The loss of a size where the best one and its loss are known; as in scaling_numbers.py. */
export function valley(size, best, loss, curvature) {
  return loss * Math.exp(curvature * Math.log(size / best) ** 2);
}

/** The stored runs, one by one. */
export function runsOf({ runs, shapes }) {
  const count = shapes.runs[1];
  return Array.from({ length: count }, (_, n) => {
    const [budget, parameters, tokens, flops, loss] = [0, 1, 2, 3, 4].map(
      (row) => runs[row * count + n]);
    return { budget, parameters, tokens, flops, loss };
  });
}

/** So many sizes from one to another, each as many times as large as the one before. */
export function sizesBetween(low, high, count = 41) {
  return Array.from({ length: count }, (_, n) => low * (high / low) ** (n / (count - 1)));
}

// ---------------------------------------------------------------------------------------- marks

const COLORS = ["blue", "green", "violet", "teal", "red", "brown", "slate"];
const SHAPES = [
  "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0", "M-4 -4H4V4H-4Z", "M0 -5.2L5 3.8H-5Z",
  "M0 -5.6L5.2 0L0 5.6L-5.2 0Z", "M0 5.2L5 -3.8H-5Z",
  "M0 -6L1.6 -1.8L6 -1.8L2.5 1L3.8 5.4L0 2.8L-3.8 5.4L-2.5 1L-6 -1.8L-1.6 -1.8Z",
];
const colorOf = (n) => `var(--gpt-color-${COLORS[n % COLORS.length]})`;

function mark(n, attributes = {}) {
  return svg("path", { d: SHAPES[n % SHAPES.length], fill: colorOf(n), class: "gpt-mark",
    ...attributes });
}

// ---------------------------------------------------------------------------------------- view

const AGAINST = [["compute", "compute"], ["tokens", "tokens"]];
const HINT = "Point at a run for its numbers; a click takes its budget.";

const render = (context) => mount(context, (view) => {
  const state = { data: null, runs: [], current: 0, widths: [] };

  view.root.classList.add("gpt-scaling");
  const input = make("input", { type: "range", min: 0, step: 1, "aria-label": "budget",
    oninput: () => view.set({ budget: state.data.budgets[Number(input.value)] }) });
  const readout = make("output", { "aria-hidden": "true" });
  view.controls.append(
    make("label", { class: "gpt-field" }, make("span", {}, "budget"), input, readout),
    make("div", { class: "gpt-field" }, make("span", {}, "runs against"),
      choice(view, "against", "what the runs are drawn against", AGAINST)));

  const legend = make("div", { class: "gpt-legend", "aria-hidden": "true" });
  const left = svg("svg", { role: "img" });
  const right = svg("svg", { role: "group", "aria-label": "stored runs" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const facts = make("div", { class: "gpt-facts", "aria-hidden": "true" });
  const detail = make("p", { class: "gpt-said gpt-quiet" }, HINT);
  const laws = make("p", { class: "gpt-quiet" });
  const column = (title, picture) => (
    make("div", {}, make("p", { class: "gpt-heading" }, title), picture));
  const valleys = column("By size: a valley for each budget", right);
  view.stage.append(legend, make("div", { class: "gpt-columns" },
    column("Loss above the floor, nats per token", left), valleys), facts, said, detail, laws);

  function draw() {
    if (!state.data) return;
    const n = state.data.budgets.indexOf(view.get("budget"));
    if (n < 0) return;                            // the kernel sends it, or says what is wrong
    input.value = n;
    readout.textContent = state.data.work[n];
    input.setAttribute("aria-valuetext", readout.textContent);
    said.textContent = state.data.said[n];
    state.left.choose(n);
    state.right.choose(n);
    facts.replaceChildren(...state.data.facts[n].map(([name, number, more]) => make("div", {},
      make("span", {}, name), make("b", {}, number), make("small", {}, more))));
  }

  function tell(n = null) {
    detail.textContent = n === null ? HINT : state.data.named[n];
  }

  // ----- the runs, and how the loss of the best size goes on

  function drawRuns() {
    const { data, runs } = state;
    const byTokens = view.get("against") === "tokens";
    const along = byTokens ? data.tokens : data.budgets;
    const place = (run) => (byTokens ? run.tokens : run.flops);
    const plot = axes(left, state.widths[0], data.axes[view.get("against")], data.axes.loss);
    left.setAttribute("aria-label", `Loss above the floor of ${runs.length} runs against `
      + `${view.get("against")}, and the law for the best size`);
    plot.area(along, lossOf(0), lossOf(2));
    data.sizes.forEach((size, n) => {
      const own = runs.filter((run) => run.parameters === size)
        .sort((a, b) => place(a) - place(b));
      plot.line(own.map(place), own.map((run) => run.loss),
        { stroke: colorOf(n), class: "gpt-curve" });
    });
    drawLaw(plot, along);
    const rule = plot.rule();
    plot.add(...runs.map((run) => markOf(run, { transform: plot.at(place(run), run.loss) })));
    if (!byTokens) drawLowest(plot, data.tried);
    const best = plot.add(svg("circle", { r: 6, class: "gpt-best" }));
    state.left = {
      choose(n) {
        rule(along[n]);
        best.setAttribute("transform", plot.at(along[n], data.loss[3 * n + 1]));
      },
    };
  }

  const markOf = (run, look) => mark(state.data.sizes.indexOf(run.parameters), look);

  /** In the valleys, for there they are far apart. */
  function runAt(run, n, place) {
    const point = svg("g", { role: "button", tabindex: n === state.current ? 0 : -1,
      class: "gpt-run", transform: place, "aria-label": state.data.named[n] },
    svg("circle", { r: 9, class: "gpt-reach" }), markOf(run));
    const take = () => view.set({ budget: run.budget });
    const answers = {
      pointerenter: () => tell(n), pointerleave: () => tell(), blur: () => tell(), click: take,
      focus() { state.current = n; tell(n); },
      keydown(event) {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        take();
      },
    };
    for (const [kind, act] of Object.entries(answers)) {
      point.addEventListener(kind, view.guarded(act));
    }
    return point;
  }

  // In the column, for an SVG that listens to the focus would be a place for the tabulator itself.
  walk(valleys, () => state.runs.length, () => state.current, (n) => {
    right.querySelectorAll(".gpt-run")[n].focus();
  });

  // ----- the valleys of the budgets

  function drawValleys() {
    const { data, runs } = state;
    const steepness = data.curvature.reduce((sum, x) => sum + x) / data.curvature.length;
    const plot = axes(right, state.widths[1], data.axes.sizes, data.axes.loss);
    const band = plot.add(svg("rect", { class: "gpt-band" }));
    drawLaw(plot, data.budgets.map((_, n) => data.best[3 * n + 1]));
    data.tried.forEach((budget, n) => {
      const own = runs.filter((run) => run.budget === budget).map((run) => run.parameters);
      const sizes = sizesBetween(Math.min(...own), Math.max(...own));
      const [best, loss] = data.lowest.subarray(2 * n);
      plot.line(sizes, sizes.map((size) => valley(size, best, loss, data.curvature[n])),
        { class: "gpt-tried" });
    });
    const line = plot.line([], [], { class: "gpt-foretold" });
    plot.add(...runs.map((run, n) => runAt(run, n, plot.at(run.parameters, run.loss))));
    drawLowest(plot, data.tried.map((_, n) => data.lowest[2 * n]));
    const point = plot.add(svg("circle", { r: 6, class: "gpt-best" }));
    state.right = {
      choose(n) {
        const [low, best, high] = data.best.subarray(3 * n);
        const loss = data.loss[3 * n + 1];
        plot.widen(band, low, high);
        const sizes = sizesBetween(best / 8, 8 * best);
        line(sizes, sizes.map((size) => valley(size, best, loss, steepness)));
        point.setAttribute("transform", plot.at(best, loss));
      },
    };
  }

  // ----- what both pictures have

  const lossOf = (column) => state.data.budgets.map((_, n) => state.data.loss[3 * n + column]);

  function drawLaw(plot, along) {
    const { budgets, tried } = state.data;
    const known = budgets.findLastIndex((budget) => budget <= tried.at(-1)) + 1;
    plot.line(along.slice(0, known), lossOf(1).slice(0, known), { class: "gpt-law" });
    plot.line(along.slice(known - 1), lossOf(1).slice(known - 1), { class: "gpt-law gpt-beyond" });
  }

  function drawLowest(plot, along) {
    plot.add(...Array.from(along, (x, n) => svg("circle", { r: 3.5, class: "gpt-lowest",
      transform: plot.at(x, state.data.lowest[2 * n + 1]) })));
  }

  function writeLegend() {
    const sample = (kind) => svg("svg", { width: 24, height: 12 },
      svg("path", { d: "M1 6H23", class: kind }));
    const sign = (shape) => svg("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14 }, shape);
    const item = (shown, words) => make("span", { class: "gpt-key" }, shown, words);
    legend.replaceChildren("parameters:",
      ...Array.from(state.data.sizes, (_, n) => item(sign(mark(n)), state.data.counted[n])),
      item(sign(svg("circle", { r: 3.5, class: "gpt-lowest" })), "lowest point"),
      item(sample("gpt-law"), "law"), item(sample("gpt-law gpt-beyond"), "not tried yet"),
      item(sample("gpt-foretold"), "this budget"));
  }

  function drawAll() {
    if (!state.data) return;
    // Both before anything is drawn, for then the page need not be laid out in between.
    state.widths = [left, right].map(
      (picture) => Math.max(240, picture.parentElement.clientWidth || 480));
    drawRuns();
    drawValleys();
    draw();
  }

  view.onData("data", (data) => {
    Object.assign(state, { data, runs: runsOf(data), current: 0 });
    input.max = data.budgets.length - 1;
    laws.textContent = data.laws;
    writeLegend();
    drawAll();
  });
  view.on(["against"], () => {
    if (!state.data) return;
    drawRuns();
    draw();
  });
  view.on(["budget"], draw);
  view.onLook(drawAll);
});

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [300, 48, 14, 8, 40];

/** Two logarithmic axes in a picture, and what draws in them. */
function axes(picture, width, across, up) {
  const [[left, right], [low, high]] = [across.ends, up.ends];
  const [inner, tall] = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const x = (value) => (Math.log(value / left) / Math.log(right / left)) * inner;
  const y = (value) => (Math.log(high / value) / Math.log(high / low)) * tall;
  const to = (xs, ys) => Array.from(ys, (value, n) => [x(xs[n]), y(value)]);
  const path = (places) => {
    const inside = places.filter(([at]) => at >= 0 && at <= inner);
    const numbers = inside.map((place) => place.map((number) => number.toFixed(1)).join(" "));
    return inside.length ? `M${numbers.join("L")}` : "";
  };
  picture.setAttribute("width", width);
  picture.setAttribute("height", HEIGHT);
  const plot = svg("svg", { x: LEFT, y: TOP, width: inner, height: tall });      // cuts lines off
  const ink = (tag, attributes, ...children) => svg(tag, { ...attributes, "aria-hidden": "true" },
    ...children);
  const scenery = [
    ink("text", { x: LEFT + inner, y: HEIGHT - 4, "text-anchor": "end" }, across.name)];
  for (const [tick, words] of up.ticks) {
    scenery.push(
      ink("path", { d: `M${LEFT} ${TOP + y(tick)}h${inner}`, class: "gpt-rule" }),
      ink("text", { x: LEFT - 7, y: TOP + y(tick) + 4, "text-anchor": "end" }, words));
  }
  const named = [];                                       // where, and how far to each side
  const isPower = ([tick]) => Math.log10(tick) % 1 === 0;
  const ticks = [...across.ticks].sort((a, b) => isPower(b) - isPower(a));
  for (const [tick, words] of ticks) {
    scenery.push(ink("path", { d: `M${LEFT + x(tick)} ${TOP}v${tall}`, class: "gpt-rule" }));
    const [at, room] = [x(tick), 3.2 * words.length + 4];
    const isFree = named.every(([other, side]) => Math.abs(other - at) >= side + room);
    if (!isFree || at - room < -LEFT || at + room > inner + RIGHT) continue;
    scenery.push(
      ink("text", { x: LEFT + at, y: TOP + tall + 16, "text-anchor": "middle" }, words));
    named.push([at, room]);
  }
  picture.replaceChildren(...scenery, plot);
  return {
    at: (right_, up_) => `translate(${x(right_).toFixed(1)} ${y(up_).toFixed(1)})`,
    add(...elements) {
      plot.append(...elements);
      return elements[0];
    },
    /** A line; returns what gives it other places. */
    line(xs, ys, look) {
      const line = ink("path", look);
      const set = (xs_, ys_) => line.setAttribute("d", path(to(xs_, ys_)));
      plot.append(line);
      set(xs, ys);
      return set;
    },
    area(xs, lows, highs) {
      const there = [...to(xs, lows), ...to(xs, highs).reverse()];
      plot.append(ink("path", { d: path(there), class: "gpt-band" }));
    },
    rule() {
      const line = ink("path", { class: "gpt-now" });
      plot.append(line);
      return (value) => line.setAttribute("d", `M${x(value).toFixed(1)} 0v${tall}`);
    },
    widen(band, from, to_) {
      const [start, end] = [from, to_].map((value) => Math.min(Math.max(x(value), 0), inner));
      for (const [key, value] of Object.entries({ x: start, y: 0, width: end - start,
        height: tall })) band.setAttribute(key, value);
    },
  };
}

export default { render };
