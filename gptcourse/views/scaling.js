// Stored runs, the law fitted to them, and what it recommends for a budget.

import { choice, make, mount, svg, walk } from "./common.js";

// ------------------------------------------------------------------------------------- numbers
// The kernel has computed all of it for some budgets; between two of them, lines are straight.

/** What the rows say for a budget, each of as many numbers; as `interpolated` in scaling_numbers.py. */
export function interpolated(budgets, rows, budget) {
  const length = rows.length / budgets.length;
  let n = 0;
  while (n < budgets.length - 2 && budgets[n + 1] <= budget) n += 1;
  const [low, high] = [Math.log(budgets[n]), Math.log(budgets[n + 1])];
  const share = Math.min(Math.max((Math.log(budget) - low) / (high - low), 0), 1);
  return Float64Array.from({ length }, (_, k) => {
    const [from, to] = [Math.log(rows[n * length + k]), Math.log(rows[(n + 1) * length + k])];
    return Math.exp(from + share * (to - from));
  });
}

/** With two digits that count: 0.025, 1.3, 480, 13,000. This and what follows as in scaling.py. */
export function rounded(x) {
  return Number(x.toPrecision(2)).toLocaleString("en", { maximumSignificantDigits: 2 });
}

function withUnit(x, units) {
  const power = Math.floor(Math.log10(Number(x.toPrecision(2))) / 3 + 1e-9);
  const unit = Math.min(Math.max(0, power), units.length - 1);
  return rounded(x / 1000 ** unit) + units[unit];
}

/** A large number: 830, 13 thousand, 1.3 million. */
export function counted(x) {
  return withUnit(x, ["", " thousand", " million", " billion", " trillion"]);
}

/** 620 to 850 thousand. */
export function ranged(low, high) {
  const [from, to] = [counted(low), counted(high)];
  const unit = to.includes(" ") ? to.slice(to.indexOf(" ")) : "";
  return `${unit && from.endsWith(unit) ? from.slice(0, -unit.length) : from} to ${to}`;
}

/** Floating-point operations: 4 TFLOP, 120 PFLOP. */
export function work(x) {
  return withUnit(x, ["", "k", "M", "G", "T", "P", "E"].map((sign) => ` ${sign}FLOP`));
}

/** 4.2 seconds, 2.5 minutes, 1.4 hours, 3.2 days. */
export function duration(seconds) {
  for (const [unit, length] of [["days", 86400], ["hours", 3600], ["minutes", 60]]) {
    if (seconds >= 1.5 * length) return `${rounded(seconds / length)} ${unit}`;
  }
  return `${rounded(seconds)} seconds`;
}

/** What a budget is best used for, in numbers. */
export function chosen(data, budget) {
  const at = (rows) => interpolated(data.budgets, rows, budget);
  return { best: at(data.best), loss: at(data.loss), tokens: at(data.tokens)[0],
    valley: at(data.valley) };
}

/** What a budget is best used for, in a sentence. */
export function sentence(data, found, budget) {
  const [low, size, high] = found.best;
  const [least, loss, most] = Array.from(found.loss, rounded);
  const time = data.speed ? ` (${duration(budget / data.speed)} at ${work(data.speed)}/s)` : "";
  const times = budget / largestBudget(data);
  const beyond = times > 1.05 ? ` That is ${rounded(times)} times the largest run: a forecast.` : "";
  return `With ${work(budget)}${time}, the law's best model has ${counted(size)} parameters (`
    + `${ranged(low, high)}) and reads ${counted(found.tokens)} tokens: ${loss} nats per token above the floor `
    + `(${least} to ${most}).${beyond}`;
}

/** The stored runs, one by one. */
export function runsOf({ runs, shapes }) {
  const count = shapes.runs[1];
  return Array.from({ length: count }, (_, n) => {
    const [parameters, tokens, flops, loss] = [0, 1, 2, 3].map((row) => runs[row * count + n]);
    return { parameters, tokens, flops, loss };
  });
}

function largestBudget({ runs, shapes }) {
  return runs.subarray(2 * shapes.runs[1], 3 * shapes.runs[1]).reduce((a, b) => Math.max(a, b));
}

/** 1, 10, 100, and 2 and 5 of each where there are few. */
export function logTicks(low, high) {
  const few = high / low < 1e3;
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const digit of few ? [1, 2, 5] : [1]) {
      const tick = Number(`${digit}e${power}`);
      if (tick >= low && tick <= high) found.push(tick);
    }
  }
  return found;
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
  const state = { data: null, runs: [], current: 0 };

  view.root.classList.add("gpt-scaling");
  const input = make("input", { type: "range", min: 0, step: 1, "aria-label": "budget",
    oninput: () => view.set({ budget: state.data.budgets[Number(input.value)] }) });
  const readout = make("output", { "aria-hidden": "true" });
  view.controls.append(
    make("label", { class: "gpt-field" }, make("span", {}, "budget"), input, readout),
    make("div", { class: "gpt-field" }, make("span", {}, "runs against"),
      choice(view, "against", "what the runs are drawn against", AGAINST)));

  const legend = make("div", { class: "gpt-legend", "aria-hidden": "true" });
  const left = svg("svg", { role: "group", "aria-label": "stored runs" });
  const right = svg("svg", { role: "img" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const facts = make("dl", { class: "gpt-facts", "aria-hidden": "true" });
  const detail = make("p", { class: "gpt-said gpt-quiet" }, HINT);
  const law = make("p", { class: "gpt-quiet" });
  view.stage.append(legend, make("div", { class: "gpt-columns" },
    make("div", {}, make("p", { class: "gpt-heading" }, "Loss above the floor, nats per token"),
      left),
    make("div", {}, make("p", { class: "gpt-heading" }, "The sizes that this budget can train"),
      right)), facts, said, detail, law);

  const within = (budget) => state.data && budget >= state.data.budgets[0]
    && budget <= state.data.budgets.at(-1);

  function draw() {
    if (!state.data) return;
    const budget = view.get("budget");
    if (!within(budget)) return;                                      // the kernel says so
    const found = chosen(state.data, budget);
    const near = state.data.budgets.map((other) => Math.abs(Math.log(other / budget)));
    input.value = near.indexOf(Math.min(...near));
    readout.textContent = work(budget);
    input.setAttribute("aria-valuetext", readout.textContent);
    said.textContent = sentence(state.data, found, budget);
    state.left.choose(found, budget);
    state.right.choose(found);
    tellFacts(found, budget);
  }

  function tellFacts({ best, loss, tokens }, budget) {
    const { speed } = state.data;
    facts.replaceChildren(...[
      ["best size", `${counted(best[1])}`, `parameters; ${ranged(best[0], best[2])}`],
      ["tokens to read", counted(tokens), `${rounded(tokens / best[1])} for each parameter`],
      ["above the floor", rounded(loss[1]), `nats per token; ${rounded(loss[0])} to ${rounded(loss[2])}`],
      ...(speed ? [["time", duration(budget / speed), `at ${work(speed)}/s`]] : []),
    ].map(([name, number, more]) => make("div", {}, make("dt", {}, name),
      make("dd", {}, make("b", {}, number), make("small", {}, more)))));
  }

  // ----- the runs

  function nameOf({ parameters, tokens, flops, loss }, n) {
    const size = state.data.sizes.indexOf(parameters);
    const told = interpolated(state.data.budgets, curve(size), flops)[0];
    return `Run ${n + 1} of ${state.runs.length}: ${parameters.toLocaleString("en")} parameters, `
      + `${counted(tokens)} tokens, ${work(flops)}. Loss above the floor ${rounded(loss)}; the law `
      + `says ${rounded(told)}.`;
  }

  function curve(size) {
    const count = state.data.budgets.length;
    return state.data.curves.subarray(size * count, (size + 1) * count);
  }

  function tell(n = null) {
    detail.textContent = n === null ? HINT : nameOf(state.runs[n], n);
  }

  function drawRuns() {
    const { data, runs } = state;
    const byTokens = view.get("against") === "tokens";
    const along = byTokens ? data.tokens : data.budgets;
    const place = (run) => (byTokens ? run.tokens : run.flops);
    const xs = [...runs.map(place), ...along];
    const plot = axes(left, [Math.min(...xs) / 1.3, 1.3 * Math.max(...xs)], heights(),
      byTokens ? "tokens read" : "FLOPs of the training",
      byTokens ? counted : work);
    const column = (k) => Array.from(data.budgets, (_, n) => data.loss[3 * n + k]);
    const end = data.budgets.findLastIndex((budget) => budget <= largestBudget(data)) + 1;
    plot.area(along, column(0), column(2));
    data.sizes.forEach((size, n) => {
      const own = runs.filter((run) => run.parameters === size).map((run) => run.flops);
      const x = byTokens ? data.budgets.map((budget) => budget / data.cost[n]) : data.budgets;
      const known = data.budgets.findLastIndex((budget) => budget <= Math.max(...own)) + 1;
      plot.line(x, curve(n), known, { stroke: colorOf(n), class: "gpt-curve" });
    });
    plot.line(along, column(1), end, { class: "gpt-front" });
    const rule = plot.rule();
    const points = runs.map((run, n) => {
      const point = svg("g", { role: "button", tabindex: n === state.current ? 0 : -1,
        class: "gpt-run", transform: plot.at(place(run), run.loss), "aria-label": nameOf(run, n) },
      svg("circle", { r: 9, class: "gpt-reach" }), mark(data.sizes.indexOf(run.parameters)));
      point.addEventListener("pointerenter", view.guarded(() => tell(n)));
      point.addEventListener("pointerleave", view.guarded(() => tell()));
      point.addEventListener("focus", view.guarded(() => { state.current = n; tell(n); }));
      point.addEventListener("blur", view.guarded(() => tell()));
      point.addEventListener("click", view.guarded(() => view.set({ budget: run.flops })));
      point.addEventListener("keydown", view.guarded((event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        view.set({ budget: run.flops });
      }));
      return point;
    });
    plot.add(...points);
    const best = plot.add(svg("circle", { r: 6, class: "gpt-best" }));
    state.left = {
      choose({ loss, tokens }, budget) {
        const x = byTokens ? tokens : budget;
        rule(x);
        best.setAttribute("transform", plot.at(x, loss[1]));
      },
    };
  }

  walk(left, () => state.runs.length, () => state.current, (n) => {
    left.querySelectorAll(".gpt-run")[n].focus();
  }, ["ArrowRight", "ArrowDown"], ["ArrowLeft", "ArrowUp"]);

  // ----- one budget's sizes

  function drawValley() {
    const { data } = state;
    const [first, last] = [data.sizes[0], data.sizes.at(-1)];
    const plot = axes(right, [first / 4, 4 * Math.max(last, data.best.at(-2))], heights(),
      "parameters", counted);
    const band = plot.add(svg("rect", { class: "gpt-band" }));
    const line = plot.line(data.grid, data.valley.subarray(0, data.grid.length),
      data.grid.findLastIndex((size) => size <= last) + 1, { class: "gpt-front" });
    const marks = Array.from(data.sizes, (_, n) => plot.add(
      mark(n, { class: "gpt-mark gpt-foretold", stroke: colorOf(n) })));
    const best = plot.add(svg("circle", { r: 6, class: "gpt-best" }));
    state.right = {
      choose(found) {
        const { best: sizes, loss, valley } = found;
        plot.widen(band, sizes[0], sizes[2]);
        line(data.grid, valley);
        data.sizes.forEach((size, n) => {
          const there = interpolated(data.grid, valley, size)[0];
          marks[n].setAttribute("transform", plot.at(size, there));
        });
        best.setAttribute("transform", plot.at(sizes[1], loss[1]));
        right.setAttribute("aria-label", `Loss above the floor of every size at this budget: `
          + `lowest, ${rounded(loss[1])}, at ${counted(sizes[1])} parameters.`);
      },
    };
  }

  /** Both pictures have the same: from below all that is foretold to above all runs. */
  function heights() {
    return [state.data.loss.at(-3) / 1.2, 1.4 * Math.max(...state.runs.map((run) => run.loss))];
  }

  function writeLegend() {
    const sample = (kind) => svg("svg", { width: 24, height: 12 },
      svg("path", { d: "M1 6H23", class: kind }));
    const item = (sign, words) => make("span", { class: "gpt-key" }, sign, words);
    legend.replaceChildren("parameters:", ...Array.from(state.data.sizes, (size, n) => item(
      svg("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14 }, mark(n)), counted(size))),
    item(sample("gpt-front"), "the law’s best"),
    item(make("span", { class: "gpt-swatch gpt-nine" }), "nine of ten refits"),
    item(sample("gpt-front gpt-beyond"), "beyond the runs"));
  }

  function drawAll() {
    if (!state.data) return;
    drawRuns();
    drawValley();
    draw();
  }

  view.onData("data", (data) => {
    Object.assign(state, { data, runs: runsOf(data), current: 0 });
    input.max = data.budgets.length - 1;
    law.textContent = data.law;
    writeLegend();
    drawAll();
  });
  view.on(["against"], drawAll);
  view.on(["budget"], draw);
  view.onLook(drawAll);
});

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [330, 48, 14, 8, 40];

/** Two logarithmic axes in a picture that is as wide as there is room, and what draws in them. */
function axes(picture, [left, right], [low, high], name, write) {
  const width = Math.max(240, picture.parentElement.clientWidth || 480);
  const [inner, tall] = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const x = (value) => (Math.log(value / left) / Math.log(right / left)) * inner;
  const y = (value) => (Math.log(high / value) / Math.log(high / low)) * tall;
  const to = (xs, ys) => Array.from(ys, (value, n) => [x(xs[n]), y(value)]);
  const path = (places) => {
    const inside = places.filter(([at]) => at >= 0 && at <= inner);
    return inside.length ? `M${inside.map((place) => place.map((n) => n.toFixed(1))).join("L")}` : "";
  };
  picture.setAttribute("width", width);
  picture.setAttribute("height", HEIGHT);
  const plot = svg("svg", { x: LEFT, y: TOP, width: inner, height: tall });      // cuts lines off
  const ink = (tag, attributes, ...children) => svg(tag, { ...attributes, "aria-hidden": "true" },
    ...children);
  const scenery = [ink("text", { x: LEFT + inner, y: HEIGHT - 4, "text-anchor": "end" }, name)];
  for (const tick of logTicks(low, high)) {
    scenery.push(
      ink("path", { d: `M${LEFT} ${TOP + y(tick)}h${inner}`, class: "gpt-rule" }),
      ink("text", { x: LEFT - 7, y: TOP + y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  let free = 0;
  for (const tick of logTicks(left, right)) {
    scenery.push(ink("path", { d: `M${LEFT + x(tick)} ${TOP}v${tall}`, class: "gpt-rule" }));
    const room = 3.2 * write(tick).length + 4;
    if (LEFT + x(tick) - room < free || x(tick) + room > inner + RIGHT) continue;
    scenery.push(ink("text", { x: LEFT + x(tick), y: TOP + tall + 16, "text-anchor": "middle" },
      write(tick)));
    free = LEFT + x(tick) + room;
  }
  picture.replaceChildren(...scenery, plot);
  return {
    at: (right_, up) => `translate(${x(right_).toFixed(1)} ${y(up).toFixed(1)})`,
    add(...elements) {
      plot.append(...elements);
      return elements[0];
    },
    /** A line, dashed from its `known`th place on; returns what gives it others. */
    line(xs, ys, known, look) {
      const [solid, dashed] = [look.class, `${look.class} gpt-beyond`].map((kind) => (
        ink("path", { ...look, class: kind })));
      plot.append(solid, dashed);
      const set = (xs_, ys_) => {
        const places = to(xs_, ys_);
        solid.setAttribute("d", path(places.slice(0, known)));
        dashed.setAttribute("d", path(places.slice(Math.max(known - 1, 0))));
      };
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
