import { answer, bytes, given, view } from "./asked.mjs";

const data = view.unpack(bytes(given.packed));
answer({
  parts: [...view.BEFORE, ...view.IN_A_LAYER, ...view.BEHIND].map(([box, , part]) => [box, part]),
  stations: view.stationsOf(given.layers),
  places: view.stationsOf(given.layers).map(({ box, layer }, n) => (
    view.stationOf(view.stationsOf(given.layers), box, layer ?? n % given.layers))),
  sentences: given.settings.map((settings) => view.sentence(data, settings)),
  vectors: given.settings.map(({ box, layer, token }) => (
    view.vectors(data, box, layer, data.places.indexOf(token)).map(({ numbers }) => numbers))),
  weights: given.settings.map(({ layer, head, token }) => (
    view.ofHead(data, "weights", layer, head, token))),
});
