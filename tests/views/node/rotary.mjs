import { answer, bytes, given, view } from "./asked.mjs";

const data = view.unpack(bytes(given.packed));
const curves = view.curvesOf(data);
answer(given.cases.map(({ query_at, key_at }) => {
  const query = view.turnedPairs(data.query, query_at, data.base);
  const key = view.turnedPairs(data.key, key_at, data.base);
  return { query, key, parts: view.partsOf(query, key), curves };
}));
