// The whole GPT as a diagram to walk through: each box opens to the numbers that are really there.

import PALETTE from "../figures/palette.json" with { type: "json" };
import {
  button, make, mount, shortened, slider, svg, textField, tickBox, walk,
} from "./common.js";
import {
  BEFORE, BEHIND, IN_A_LAYER, lengthOf, quoted, sentence, stationOf, stationsOf, stream,
} from "./walk_numbers.js";
import { picture } from "./walk_pictures.js";

const PACE = 4000;                                     // milliseconds that the play stays in a box
const HINT = "Point at a number to read it. A circle beside a box stops the play there.";

// Where the boxes of the map are: their middles from top to bottom, and the stream on the left.
const [BOX, STEP, FRAME, STREAM, BESIDE, WIDTH] = [28, 33, 34, 46, 80, 262];
const MAP = [...BEFORE, ...IN_A_LAYER, ...BEHIND].map(([box, name, part, form, title], n) => {
  const inLayer = n >= BEFORE.length && n < BEFORE.length + IN_A_LAYER.length;
  const beyond = FRAME * (n >= BEFORE.length) + 8 * (n >= BEFORE.length + IN_A_LAYER.length);
  return { box, name, part, form, title, inLayer, y: 18 + STEP * n + beyond };
});
const HEIGHT = MAP.at(-1).y + BOX / 2 + 4;
const middleOf = (box) => MAP.find((one) => one.box === box).y;

/** The head of an arrow, at the end of a path, pointing away from (x, y). */
function tip(x, y) {
  const [back, aside] = [4, 3.5];
  return `m${back * x + aside * y} ${back * y + aside * x} `
    + `l${-back * x - aside * y} ${-back * y - aside * x} `
    + `l${back * x - aside * y} ${back * y - aside * x}`;
}

const motionIsUnwanted = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const render = (context) => mount(context, (view) => {
  const state = { data: null, playing: null, tell: (words) => {
    told.textContent = words || HINT;
    told.classList.toggle("gpt-quiet", !words);
  } };
  const layers = () => state.data?.shapes.weights[0] ?? 1;
  view.root.classList.add("gpt-walk");
  const [followed, accent] = PALETTE.parts.attention;
  view.root.style.cssText = `--gpt-followed: ${followed}; --gpt-rim: ${accent}; `
    + `--gpt-on-fill: ${PALETTE.ink}`;
  view.onData("data", (data) => { state.data = data; });           // before the slider asks for it

  const tokens = make("div", { class: "gpt-line", role: "group", "aria-label": "tokens" });
  const back = button("← back", () => go(here() - 1), "back to the box before");
  state.allHeads = tickBox(view, "all_heads", "arcs of all heads");
  const play = button("play", () => (state.playing === null ? start() : stop()));
  const next = button("next →", () => go(here() + 1), "on to the next box");
  const counter = make("span", { class: "gpt-quiet" });
  const title = make("p", { class: "gpt-title" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const scene = make("div", { class: "gpt-scene" });
  const told = make("p", { class: "gpt-told gpt-quiet" }, HINT);
  const builtIn = make("p", { class: "gpt-built-in" });
  const field = textField(view, "prompt", "text");
  view.controls.append(field);
  view.stage.append(tokens, make("div", { class: "gpt-columns" },
    make("div", { class: "gpt-left" }, make("div", { class: "gpt-buttons" }, back, play, next),
      makeMap()),
    make("div", { class: "gpt-right" }, make("div", { class: "gpt-top" }, title, counter), said,
      scene, told, builtIn)));

  const stations = () => stationsOf(layers());
  const here = () => stationOf(stations(), view.get("box"), view.get("layer"));
  const locked = () => Math.min(view.get("token") ?? Infinity, state.data.labels.length - 1);

  // ----- from box to box

  function go(n, playing = false) {
    if (!state.data || n < 0 || n >= stations().length) return;
    if (!playing) stop();
    view.set(stations()[n]);
  }

  const endsAt = (n) => n === stations().length - 1
    || view.get("breakpoints").includes(stations()[n].box);

  function start() {
    if (!state.data) return;
    if (here() === stations().length - 1) go(0);
    if (motionIsUnwanted()) {                            // to the stop at once, without a show
      let n = here() + 1;
      while (!endsAt(n)) n++;
      go(n);
      return;
    }
    state.playing = setTimeout(tick, PACE);
    showPlay();
  }

  function stop() {
    clearTimeout(state.playing);
    state.playing = null;
    showPlay();
  }

  function tick() {
    if (!view.root.isConnected) return;
    if (motionIsUnwanted()) {
      stop();
      return;
    }
    const n = here() + 1;
    go(n, true);
    if (endsAt(n)) stop();
    else state.playing = setTimeout(tick, PACE);
  }

  function showPlay() {
    play.textContent = state.playing === null ? "play" : "pause";
    play.setAttribute("aria-label", state.playing === null ? "play" : "pause");
    play.title = state.playing === null ? "Walk on by itself, up to the next stop" : "Stay here";
    said.setAttribute("aria-live", state.playing === null ? "polite" : "off");
  }

  // ----- the whole GPT

  function makeMap() {
    state.lines = svg("svg", { width: WIDTH, height: HEIGHT, "aria-hidden": "true" });
    state.pill = make("bdi", { class: "gpt-pill gpt-followed", "aria-hidden": "true" });
    state.boxes = MAP.map(({ box, name, part, form, inLayer, y }) => {
      const left = { on: STREAM - 16, plus: STREAM - 13, beside: BESIDE }[form];
      const [fill, outline] = PALETTE.parts[part];
      return make("button", {
        type: "button", class: `gpt-box gpt-${form}`, "data-lm-suppress-shortcuts": "true",
        "aria-label": inLayer ? `${box}, in this layer` : box,
        style: `left: ${left}px; top: ${y - BOX / 2}px; width: ${WIDTH - 4 - left}px; `
          + `height: ${BOX}px; --fill: ${fill}; --outline: ${outline}`,
        onclick: () => {
          stop();
          view.set({ box });
        },
      }, ...(form === "plus" ? [make("span", { class: "gpt-plus" }, "+")] : []), name);
    });
    state.stops = MAP.map(({ box, y }) => make("button", {
      type: "button", class: "gpt-stop", "data-lm-suppress-shortcuts": "true", title: "stop here",
      "aria-label": `stop at ${box}`, style: `top: ${y - 12}px`, onclick: () => toggle(box),
    }));
    const [boxes, stops] = [["boxes", state.boxes], ["stops of the play", state.stops]].map(
      ([label, children]) => make("div", { role: "group", "aria-label": label }, ...children));
    const place = () => MAP.findIndex(({ box }) => box === view.get("box"));
    walk(boxes, () => MAP.length, place, (n) => {
      stop();
      view.set({ box: MAP[n].box });
      state.boxes[n].focus();
    });
    walk(stops, () => MAP.length, () => state.stops.indexOf(document.activeElement),
      (n) => state.stops[n].focus());
    state.stops.forEach((one, n) => { one.tabIndex = n ? -1 : 0; });
    const layer = slider(view, "layer", "layer", () => layers() - 1,
      (n) => `${n} of 0–${layers() - 1}`);
    layer.style.top = `${middleOf("attention norm") - FRAME - 12}px`;
    const frame = make("div", { class: "gpt-frame", style: `left: ${STREAM - 22}px; `
      + `top: ${middleOf("attention norm") - FRAME - 14}px; `
      + `height: ${middleOf("after feed-forward") - middleOf("attention norm") + FRAME + 36}px` });
    state.map = make("div", { class: "gpt-map", style: `width: ${WIDTH}px; height: ${HEIGHT}px` },
      frame, state.lines, stops, boxes, state.pill, layer);
    return state.map;
  }

  function toggle(box) {
    const others = view.get("breakpoints").filter((one) => one !== box);
    const set = others.length < view.get("breakpoints").length ? others : [...others, box];
    view.set({ breakpoints: set });
  }

  function markStops() {
    MAP.forEach(({ box }, n) => state.stops[n].setAttribute("aria-pressed",
      String(view.get("breakpoints").includes(box))));
  }

  /**
   * The stream, as thick as its numbers are large, and the ways of the two parts beside it. What
   * the token has behind it is colored.
   */
  function drawLines() {
    const { data, row, layer } = state;
    const sizes = Array.from({ length: 2 * layers() + 1 }, (_, n) => (
      Math.log1p(lengthOf(stream(data, row, n)))));
    const thick = (n) => 2 + 6 * sizes[n] / Math.max(...sizes);
    const line = (to, d, width = 1.5) => svg("path", { d, "stroke-width": width, class:
      stationOf(stations(), to, layer) <= here() ? "gpt-way gpt-behind" : "gpt-way" });
    const down = (from, to, width) => (
      line(to, `M${STREAM} ${middleOf(from)} V${middleOf(to)}`, width));
    const branch = (norm, part, plus) => [
      line(norm, `M${STREAM} ${middleOf(norm)} H${BESIDE - 2} ${tip(-1, 0)}`),
      line(part, `M${BESIDE + 30} ${middleOf(norm)} V${middleOf(part) - BOX / 2 - 1} `
        + tip(0, -1)),
      line(plus, `M${BESIDE} ${middleOf(part)} H${STREAM + 22} V${middleOf(plus)} H${STREAM + 13} `
        + tip(1, 0))];
    state.lines.replaceChildren(
      down("tokens", "token embedding", 2), down("token embedding", "position embedding", 2),
      down("position embedding", "attention norm", thick(2 * layer)),
      down("attention norm", "after attention", thick(2 * layer)),
      down("after attention", "feed-forward norm", thick(2 * layer + 1)),
      down("feed-forward norm", "after feed-forward", thick(2 * layer + 1)),
      down("after feed-forward", "final norm", thick(2 * layer + 2)),
      down("final norm", "output head", 2), down("output head", "next token", 2),
      down("next token", "loss", 2),
      ...branch("attention norm", "attention", "after attention"),
      ...branch("feed-forward norm", "feed-forward", "after feed-forward"));
  }

  function markBoxes() {
    const current = MAP.findIndex(({ box }) => box === view.get("box"));
    const lit = view.get("lit");
    state.map.classList.toggle("gpt-lit", lit.length > 0);
    MAP.forEach(({ box, part }, n) => {
      const element = state.boxes[n];
      element.classList.toggle("gpt-colored", lit.length ? lit.includes(part) : n === current);
      element.classList.toggle("gpt-now", n === current);
      element.classList.toggle("gpt-done", stationOf(stations(), box, state.layer) < here());
      element.setAttribute("aria-current", n === current ? "step" : "false");
      element.tabIndex = n === current ? 0 : -1;
    });
    state.pill.textContent = state.data.labels[state.token];
    state.pill.style.top = `${MAP[current].y - 10}px`;
  }

  // ----- the text

  walk(tokens, () => state.data.labels.length, locked, (token) => {
    view.set({ token });
    tokens.children[token].focus();
  });

  function writeTokens() {
    tokens.replaceChildren(...state.data.labels.map((label, token) => make("button", {
      type: "button", "data-lm-suppress-shortcuts": "true",
      "aria-label": `follow token ${token} ${label}`, onclick: () => view.set({ token }),
    }, make("bdi", {}, shortened(label, 24)))));
  }

  function markTokens() {
    [...tokens.children].forEach((one, n) => {
      one.classList.toggle("gpt-followed", n === state.token);
      one.tabIndex = n === state.token ? 0 : -1;
      one.setAttribute("aria-pressed", String(n === state.token));
    });
  }

  // ----- the token that is drawn

  /** Why the token that was drawn cannot be appended to the text, or nothing. */
  function hindrance(drawn, token) {
    const { data } = state;
    if (token < data.labels.length - 1) {
      return "Follow the last token to append what is drawn after it.";
    }
    if (data.texts[drawn] === undefined) {
      return `${quoted(data.names[drawn])} ends the text here: draw again.`;
    }
    if (data.room < 1) return "The text is as long as this view can show: take a shorter one.";
    return field.querySelector("textarea").readOnly
      ? "That needs the model, so it needs the notebook." : "";
  }

  state.drawButtons = (drawn, token) => {
    const { data } = state;
    const text = data.texts[drawn];
    const count = data.shapes.drawn[1];
    const why = hindrance(drawn, token);
    const append = button("append it, walk on", () => {
      if (why) state.tell(why);
      else view.set({ prompt: view.get("prompt") + text, token: null, layer: 0, box: "tokens" });
    }, why || "Append the token to the text, and start over");
    append.setAttribute("aria-label", append.textContent);
    append.setAttribute("aria-disabled", String(Boolean(why)));
    return [button("draw again", () => view.set({ draw: (view.get("draw") + 1) % count })), append];
  };

  // ----- what follows what

  function draw() {
    const { data } = state;
    const [head, layer, box] = ["head", "layer", "box"].map(view.get);
    if (!data || layer >= layers() || head >= data.shapes.weights[1]) return;  // the kernel says so
    const token = locked();
    const row = data.places.indexOf(token);
    if (row < 0) {
      state.tell(`The numbers of ${quoted(data.labels[token])} are still on their way.`);
      return;
    }
    Object.assign(state, { token, row, head, layer, width: scene.clientWidth || 560 });
    drawLines();
    markBoxes();
    markTokens();
    const station = MAP.find((one) => one.box === box);
    title.textContent = station.inLayer ? `Layer ${layer} · ${station.title}` : station.title;
    counter.textContent = `box ${here() + 1} of ${stations().length}`;
    said.textContent = sentence(data, { box, layer, head, token, draw: view.get("draw") });
    linkToChapters(station.part);
    back.setAttribute("aria-disabled", String(here() === 0));
    next.setAttribute("aria-disabled", String(here() === stations().length - 1));
    const focused = scene.contains(document.activeElement) ? document.activeElement : null;
    scene.replaceChildren(...picture(view, state, box, layer));
    if (focused) refocus(focused);
    state.tell("");
  }

  /** Where the part that is open is built and filled. Who has the focus on a link keeps it. */
  function linkToChapters(part) {
    if (state.linked === part) return;
    state.linked = part;
    const { chapters, filled } = state.data;
    const links = chapters[part].map(([name, title]) => view.link(name, title));
    builtIn.replaceChildren("Built in ", ...links.flatMap((link, n) => (n ? [", ", link] : link)),
      ...(filled[part] ? ["; filled in ", view.link(...filled[part])] : []));
  }

  /** What had the focus was replaced; its successor gets it. */
  function refocus({ className, textContent }) {
    const alike = [...scene.querySelectorAll("button, [tabindex]")].filter((one) => (
      one.className === className && one.tabIndex === 0));
    const successor = alike.find((one) => one.textContent === textContent) ?? alike[0];
    successor?.focus({ preventScroll: true });
  }

  view.on(["data"], () => {
    if (!state.data) return;
    writeTokens();
    draw();
  });
  view.on(["box", "layer", "head", "token", "draw", "all_heads", "lit"], draw);
  view.on(["breakpoints"], markStops);
  view.onLook(() => {
    if (state.data && scene.clientWidth !== state.width) draw();
  });
  view.onTheme(() => { if (state.data) draw(); });
  showPlay();
});

export default { render };
