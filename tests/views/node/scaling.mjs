import { answer, bytes, given, view } from "./asked.mjs";

const data = given.packed && view.unpack(bytes(given.packed));
answer({
  data,
  runs: data && view.runsOf(data),
  valley: given.places?.map((place) => view.valley(...place)),
});
