// The heads of a model as switches, and what it tells without those that are off.

import {
  button, choice, make, mount, seedField, textField, walkGrid, written,
} from "./common.js";

/** The heads that are off, after one of them was switched: pairs of layer and head. */
export function switched(off, layer, head) {
  const others = off.filter(([l, h]) => l !== layer || h !== head);
  return others.length < off.length ? others : [...off, [layer, head]];
}

/** The same, after a whole layer was switched: off, if any of its heads was on. */
export function switchedLayer(off, layer, heads) {
  const others = off.filter(([l]) => l !== layer);
  if (off.length - others.length === heads) return others;
  return [...others, ...Array.from({ length: heads }, (_, head) => [layer, head])];
}

/** The end of an axis that begins at the floor: a round number that is not below the largest. */
export function reachOf(largest) {
  const least = Math.max(largest, 0.02);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((end) => least <= end);
}

// ---------------------------------------------------------------------------------------- view

const INSTEAD = [["zeros", "zeros"], ["mean", "its mean"], ["another story", "another story’s"]];
const SIDES = [["before", "all on"], ["after", "as switched"]];
const NO_KERNEL = "Switching parts off needs the model, so it needs the notebook.";

const render = (context) => mount(context, (view) => {
  const live = Boolean(context.model.send);
  const state = { data: null, place: [0, 1] };         // a row of switches, and the place in it

  view.root.classList.add("gpt-ablation");
  const neurons = textField(view, "neurons", "neurons off");
  neurons.querySelector("textarea").placeholder = "layer 1: 17, 40; layer 0: 3";
  const seed = seedField(view);
  const allOn = button("all on", () => view.set({ off: [], neurons: "" }),
    "Switch all heads and neurons on");
  const instead = choice(view, "instead", "what takes the place of a part", INSTEAD);
  view.controls.append(textField(view, "prompt", "story begins"), neurons,
    make("div", { class: "gpt-field" }, make("span", {}, "in place of a part"), instead), seed,
    allOn);

  const switches = make("div",
    { class: "gpt-switches", role: "group", "aria-label": "heads, on or off" });
  const losses = make("div", { class: "gpt-losses" });
  const said = make("p", { class: "gpt-said", "aria-live": "polite" });
  const stories = SIDES.map(([side, name]) => {
    const words = make("p", { class: "gpt-words", dir: "auto" });
    const judged = make("p", { "aria-live": side === "after" ? "polite" : "off" });
    const element = make("section", { class: "gpt-told", "aria-label": `The story, ${name}` },
      make("p", { class: "gpt-heading" }, `The story, ${name}`), words, judged);
    return { side, words, judged, element };
  });
  view.stage.append(make("div", { class: "gpt-columns" },
    make("div", {}, make("p", { class: "gpt-heading" }, "Heads"), switches,
      make("p", { class: "gpt-quiet" }, live ? "A click, or the space bar, switches a head off or "
        + "on; the name of a layer switches all its heads." : NO_KERNEL)),
    losses), make("div", { class: "gpt-columns" }, ...stories.map(({ element }) => element)), said);

  // ----- switches

  const off = () => view.get("off");
  const isOff = (layer, head) => off().some(([l, h]) => l === layer && h === head);
  const flip = (layer, head) => view.set({ off: switched(off(), layer, head), layer, head });

  function makeSwitches({ layers, heads }) {
    const cells = [];
    for (let layer = 0; layer < layers; layer++) {
      cells.push(make("button", {
        type: "button", class: "gpt-row-name", tabindex: -1, disabled: !live,
        "aria-label": `layer ${layer}: switch all its heads`, title: "switch all heads of the layer",
        onclick: () => view.set({ off: switchedLayer(off(), layer, heads) }),
      }, `layer ${layer}`));
      for (let head = 0; head < heads; head++) {
        cells.push(make("button", {
          type: "button", class: "gpt-switch", role: "switch", tabindex: -1, disabled: !live,
          "aria-label": `layer ${layer}, head ${head}`, title: `layer ${layer}, head ${head}`,
          onclick: () => flip(layer, head),
        }, `${head}`));
      }
    }
    switches.replaceChildren(...cells);
    switches.style.setProperty("--heads", heads);
    switches.dataset.size = `${layers} ${heads}`;
    state.place = [Math.min(state.place[0], layers - 1), Math.min(state.place[1], heads)];
  }

  const at = ([row, column]) => (
    switches.querySelectorAll("button")[row * (state.data.heads + 1) + column]);

  function markSwitches() {
    if (!state.data) return;
    const { layers, heads } = state.data;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const element = at([layer, head + 1]);
        element.setAttribute("aria-checked", String(!isOff(layer, head)));
        element.classList.toggle("gpt-hatched", isOff(layer, head));
      }
    }
    const current = at(state.place);
    switches.querySelectorAll("button").forEach((element) => {
      element.tabIndex = element === current ? 0 : -1;
    });
    allOn.disabled = !live || (!off().length && !view.get("neurons"));
  }

  walkGrid(switches, () => [state.data.layers, state.data.heads + 1], () => {
    const n = [...switches.querySelectorAll("button")].indexOf(document.activeElement);
    return [Math.floor(n / (state.data.heads + 1)), n % (state.data.heads + 1)];
  }, (place) => {
    state.place = place;
    at(place).focus();
  });

  // ----- the loss above the floor, from which it is drawn

  function drawLosses({ before, after, floor, stories: count }) {
    const reach = reachOf(Math.max(...[before, after].map(({ above, error }) => above + error)));
    const share = (x) => `${(100 * Math.min(Math.max(x, 0), reach)) / reach}%`;
    const rows = SIDES.map(([side, name]) => {
      const { above, error } = state.data[side];
      const whisker = make("i", { class: "gpt-whisker" });
      whisker.style.left = share(above - error);
      whisker.style.right = `calc(100% - ${share(above + error)})`;
      const bar = make("i", { class: `gpt-loss-bar gpt-${side}` });
      bar.style.width = share(above);
      return [make("span", {}, name), make("span", { class: "gpt-track" }, bar, whisker),
        make("b", {}, `${written(above)} ± ${written(error)}`)];
    });
    losses.replaceChildren(make("p", { class: "gpt-heading" }, "Loss above the floor"),
      make("div", { class: "gpt-bars" }, ...rows.flat(), make("span"),
        make("span", { class: "gpt-ends" }, make("span", {}, "0"), make("span", {}, `${reach}`)),
        make("span")),
      make("p", { class: "gpt-quiet" }, `Nats per token, on ${count} new stories; ± is twice the `
        + `standard error. 0 is the floor: a perfect reader pays ${written(floor)} nats per token.`));
  }

  // ----- the story, with all on and as switched

  const TAGS = { before: "del", after: "ins" };
  const run = (side) => ([text, changed, wrong]) => {
    const [, before, words, after] = text.match(/^(\s*)([^]*?)(\s*)$/);
    const inner = wrong ? make("mark", { class: "gpt-wrong" }, words) : words;
    return [before, changed ? make(TAGS[side], {}, inner) : inner, after];
  };

  function drawStories(data) {
    for (const { side, words, judged } of stories) {
      const { runs, mistake } = data[side];
      words.replaceChildren(...runs.flatMap(run(side)));
      judged.className = mistake ? "gpt-judged gpt-bad" : "gpt-judged";
      judged.textContent = mistake ? `First mistake: ${mistake}` : "No mistake in it.";
    }
  }

  // ----- what follows what

  view.onData("data", (data) => {
    state.data = data;
    if (switches.dataset.size !== `${data.layers} ${data.heads}`) makeSwitches(data);
    markSwitches();
    drawLosses(data);
    drawStories(data);
    said.textContent = data.said;
  });
  view.on(["off", "neurons"], markSwitches);
  view.on(["layer", "head"], () => {
    if (!state.data || switches.contains(document.activeElement)) return;
    const { layers, heads } = state.data;
    state.place = [Math.min(view.get("layer"), layers - 1), Math.min(view.get("head"), heads - 1) + 1];
    markSwitches();
  });
  for (const control of [...instead.querySelectorAll("input"), seed.querySelector("input")]) {
    control.disabled = !live;
  }
});

export default { render };
