import { answer, bytes, given, view } from "./asked.mjs";

const data = given.packed && view.unpack(bytes(given.packed));
answer({
  data,
  heads: given.heads?.map((place) => view.weightsAt(data, ...place)),
  rows: given.tokens?.map((token) => view.triangleRow(view.weightsAt(data, 0, 0, 0), token)),
  probabilities: given.checkpoints?.map((n) => view.probabilitiesAt(data, n)),
  ticks: given.ranges?.map((range) => view.ticks(...range)),
});
