// A query and a key, a circle for each pair of their numbers, and their score at every distance.

import { largest, make, mount, svg, walk, written } from "./common.js";

// ------------------------------------------------------------------------------------- numbers

/** By what angle a pair turns from one position to the next. */
export function rateOf(pair, width, base) {
  return base ** ((-2 * pair) / width);
}

/** The pairs [a, b] of numbers i and i + D/2, each turned to the position `at`. */
export function turnedPairs(numbers, at, base) {
  const half = numbers.length / 2;
  return Array.from({ length: half }, (_, pair) => {
    const angle = at * rateOf(pair, numbers.length, base);
    const [a, b] = [numbers[pair], numbers[pair + half]];
    return [a * Math.cos(angle) - b * Math.sin(angle), b * Math.cos(angle) + a * Math.sin(angle)];
  });
}

/** What each pair adds to the product of a query and a key. */
export function partsOf(query, key) {
  return query.map(([a, b], pair) => a * key[pair][0] + b * key[pair][1]);
}

/** The same for every distance from 0 on, a row each. */
export function curvesOf({ query, key, base, places }) {
  const still = turnedPairs(key, 0, base);
  return Array.from({ length: places }, (_, distance) => (
    partsOf(turnedPairs(query, distance, base), still)));
}

export function sum(numbers) {
  return numbers.reduce((total, x) => total + x, 0);
}

// ---------------------------------------------------------------------------------------- view

const RADIUS = 30;
const MANY = 16;                                           // beyond, the circles are smaller
const HEIGHT = 190;                                        // of the curves, in CSS pixels

const render = (context) => mount(context, (view) => {
  view.root.classList.add("gpt-rotary");
  const state = { data: null, circles: [] };
  const said = make("p", { class: "gpt-said gpt-sum", "aria-live": "polite" });
  const circles = make("div", { class: "gpt-circles", role: "group", "aria-label": "pairs" });
  const chart = svg("svg", { class: "gpt-curves", role: "img" });
  const pointed = make("p", { class: "gpt-said gpt-quiet" });
  const key = (kind, words) => make("span", { class: "gpt-key" }, make("i", { class: kind }), words);
  view.stage.append(said,
    make("p", { class: "gpt-keys" }, key("gpt-query", "query"), key("gpt-other", "key"),
      make("span", { class: "gpt-quiet" },
        "above a circle: tokens for a full turn; below: what the pair adds to the score")),
    circles,
    make("p", { class: "gpt-keys" }, key("gpt-total", "score at every distance"),
      key("gpt-alone", "what the chosen pair adds")),
    chart, pointed);

  const last = () => (state.data?.places ?? 1) - 1;
  const [queryAt, keyAt] = ["query_at", "key_at"].map((name) => () => view.get(name));
  const distance = () => queryAt() - keyAt();
  const pair = () => Math.min(view.get("pair"), state.circles.length - 1);

  view.onData("data", (data) => {
    const curves = curvesOf(data);
    Object.assign(state, { data, curves, totals: curves.map(sum) });
    makeCircles();
    draw();
  });

  // ----- the two positions; no token looks ahead, so one pushes the other

  function placeSlider(label, least, most, place, move) {
    const readout = make("output", { "aria-hidden": "true" });
    const input = make("input", {
      type: "range", step: 1, "aria-label": label,
      oninput: () => view.set(move(Number(input.value))),
    });
    view.on(["query_at", "key_at"], () => {
      input.min = least();
      input.max = most();
      input.value = place();
      readout.textContent = `${place()}`;
    });
    return make("label", { class: "gpt-field" }, make("span", {}, label), input, readout);
  }

  const none = () => 0;
  view.controls.append(
    placeSlider("query at", none, last, queryAt, (at) => (
      { query_at: at, key_at: Math.min(at, keyAt()) })),
    placeSlider("key at", none, last, keyAt, (at) => (
      { query_at: Math.max(at, queryAt()), key_at: at })),
    placeSlider("both", distance, last, queryAt, (at) => (
      { query_at: at, key_at: at - distance() })),
  );

  // ----- a circle for each pair

  function makeCircles() {
    const { query, base } = state.data;
    state.circles = Array.from({ length: query.length / 2 }, (_, n) => {
      const turn = (2 * Math.PI) / rateOf(n, query.length, base);
      const circle = {
        turn: (turn < 999.5 ? Number(turn.toPrecision(3)) : Math.round(turn)).toLocaleString("en"),
        arrows: svg("g"), part: make("small"),
      };
      const size = RADIUS + 3;
      const picture = svg("svg", { "aria-hidden": "true",
        viewBox: `${-size} ${-size} ${2 * size} ${2 * size}` },
      svg("circle", { class: "gpt-ring", r: RADIUS }), circle.arrows);
      circle.element = make("button", {
        type: "button", class: "gpt-circle", onclick: () => view.set({ pair: n }),
      }, make("small", { class: "gpt-quiet" }, circle.turn), picture, circle.part);
      return circle;
    });
    circles.classList.toggle("gpt-many", state.circles.length > MANY);
    circles.replaceChildren(...state.circles.map(({ element }) => element));
  }

  function paintCircles() {
    const { query, other, parts } = state;
    const longest = Math.max(...[...query, ...other].map(([a, b]) => Math.hypot(a, b))) || 1;
    state.circles.forEach(({ element, turn, arrows, part }, n) => {
      arrows.replaceChildren(...arrow(query[n], longest, "gpt-query"),
        ...arrow(other[n], longest, "gpt-other"));
      part.textContent = written(parts[n], 2);
      element.tabIndex = n === pair() ? 0 : -1;
      element.setAttribute("aria-pressed", String(n === pair()));
      element.setAttribute("aria-label",
        `pair ${n}, a full turn in ${turn} tokens, adds ${written(parts[n], 2)}`);
    });
  }

  walk(circles, () => state.circles.length, pair, (n) => {
    view.set({ pair: n });
    state.circles[n].element.focus();
  });

  // ----- the score at every distance

  function paintCurves() {
    const { curves, totals } = state;
    const width = chart.parentElement.clientWidth || 700;
    const alone = curves.map((row) => row[pair()]);
    const [least, most] = [Math.min(0, ...totals, ...alone), Math.max(0, ...totals, ...alone)];
    const [left, right, top, bottom] = [44, 12, 8, 34];
    const x = (d) => left + (d / Math.max(last(), 1)) * (width - left - right);
    const y = (score) => top + ((most - score) / (most - least || 1)) * (HEIGHT - top - bottom);
    const line = (numbers, kind) => svg("path", { class: kind,
      d: numbers.map((score, d) => `${d ? "L" : "M"}${x(d).toFixed(1)} ${y(score).toFixed(1)}`)
        .join("") });
    const text = (words, at, anchor, down) => svg("text", { x: at, y: down, "text-anchor": anchor },
      words);
    const rule = (score) => svg("path", { class: "gpt-rule",
      d: `M${left} ${y(score)}H${width - right}` });
    const marks = [...new Set([least, 0, most])];
    const distances = [0, 16, 32, 48, 64, 80, 96, 112].filter((d) => d <= last());
    state.x = x;
    chart.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    chart.setAttribute("height", HEIGHT);
    chart.setAttribute("aria-label", `${said.textContent} At a distance of `
      + `${largest(totals, 1)[0]} tokens the score is highest.`);
    chart.replaceChildren(
      ...marks.map(rule), ...marks.map((score) => (
        text(written(score, 1), left - 6, "end", y(score) + 4))),
      ...distances.map((d) => text(`${d}`, x(d), "middle", HEIGHT - 18)),
      text("distance between query and key, in tokens", (left + width - right) / 2, "middle",
        HEIGHT - 3),
      line(alone, "gpt-alone"), line(totals, "gpt-total"),
      svg("path", { class: "gpt-here", d: `M${x(distance())} ${top}V${HEIGHT - bottom}` }),
      svg("circle", { class: "gpt-now", cx: x(distance()), cy: y(totals[distance()]), r: 5 }));
  }

  function distanceAt(event) {
    const at = event.clientX - chart.getBoundingClientRect().left;
    return largest(state.totals.map((_, d) => -Math.abs(state.x(d) - at)), 1)[0];
  }

  function tell(d) {
    pointed.textContent = d === undefined
      ? "Point at the curve for the score at another distance; a click goes there."
      : `At a distance of ${d}, the score is ${written(state.totals[d], 2)}; pair ${pair()} adds `
        + `${written(state.curves[d][pair()], 2)}.`;
  }

  chart.addEventListener("pointermove", view.guarded((event) => {
    if (state.data) tell(distanceAt(event));
  }));
  chart.addEventListener("pointerleave", view.guarded(() => tell()));
  chart.addEventListener("click", view.guarded((event) => {
    if (!state.data) return;
    const d = distanceAt(event);
    const query_at = Math.max(queryAt(), d);
    view.set({ query_at, key_at: query_at - d });
  }));

  // ----- what follows what

  function draw() {
    if (!state.data || distance() < 0) return;                       // the kernel says so
    const { base } = state.data;
    const [query, other] = [turnedPairs(state.data.query, queryAt(), base),
      turnedPairs(state.data.key, keyAt(), base)];
    Object.assign(state, { query, other, parts: partsOf(query, other) });
    said.textContent = `Query at ${queryAt()}, key at ${keyAt()}, distance ${distance()}: the `
      + `${state.parts.length} pairs add up to a score of ${written(sum(state.parts), 2)}. Pair `
      + `${pair()}, which turns once in ${state.circles[pair()].turn} tokens, adds `
      + `${written(state.parts[pair()], 2)}.`;
    paintCircles();
    paintCurves();
    tell();
  }

  view.on(["query_at", "key_at", "pair"], draw);
  view.onLook(() => state.data && paintCurves());
});

/** From the middle of a circle to a pair's tip; up is b. */
function arrow([a, b], longest, kind) {
  const [x, y] = [(RADIUS * a) / longest, (-RADIUS * b) / longest];
  return [svg("path", { class: kind, d: `M0 0L${x.toFixed(2)} ${y.toFixed(2)}` }),
    svg("circle", { class: `${kind} gpt-tip`, cx: x.toFixed(2), cy: y.toFixed(2), r: 2.4 })];
}

export default { render };
