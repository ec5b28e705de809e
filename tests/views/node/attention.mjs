import { answer, bytes, given, view } from "./asked.mjs";

const data = view.unpack(bytes(given.packed));
answer(given.places.map((place) => {
  const triangle = view.headWeights(data, place);
  const weights = view.weightsOf(triangle, data.labels.length, place.token, place.direction);
  return { weights, sentence: view.sentence(data.labels, weights, place.token, place.direction) };
}));
