import { answer, bytes, given, view } from "./asked.mjs";

const data = view.unpack(bytes(given.packed));
answer(given.places.map((place) => {
  const triangle = view.headWeights(data, place);
  const count = data.labels.length;
  const weights = view.weightsOf(triangle, count, place.token, place.direction);
  const { first = 0, end = count } = place;
  return {
    weights, sentence: view.sentence(data.labels, weights, place.token, place.direction),
    arcs: view.arcsOf(triangle, count, first, end),
  };
}));
