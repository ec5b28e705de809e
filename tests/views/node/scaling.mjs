import { answer, bytes, given, view } from "./asked.mjs";

const data = given.packed && view.unpack(bytes(given.packed));
answer({
  said: given.budgets?.map((budget) => view.sentence(data, view.chosen(data, budget), budget)),
  runs: data && view.runsOf(data),
  words: given.numbers?.map((x) => [
    view.rounded(x), view.counted(x), view.work(x), view.duration(x), view.ranged(x, 1.7 * x),
    view.nats(x)]),
  valley: given.places?.map((place) => view.valley(...place)),
  ticks: given.axes?.map((axis) => view.logTicks(...axis)),
});
