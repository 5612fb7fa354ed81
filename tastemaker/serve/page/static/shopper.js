// The shopper's view.

import { Problem, showModel } from "./api.js";
import { glide, list, places } from "./cards.js";
import { byId, h } from "./dom.js";
import { announce, toast } from "./live.js";
import { productSearch, shopperSearch, showKnown } from "./picker.js";
import { Session } from "./session.js";
import { clean, METHODS, several, titleOf } from "./text.js";
import { Why } from "./why.js";

const FIRST = 10;
const MOST = 50;
const session = new Session();
const why = new Why(session);
const answerBox = byId("answer");
const method = byId("method");
const other = byId("other");
const compare = byId("compare");
const shown = { n: FIRST, before: null, running: null };

for (const select of [method, other]) {
  select.append(...[...METHODS].map(([value, name]) => h("option", { value }, name)));
}
other.value = "popular";

// Ask again and show the answer; `marked` shows what changed since the list before.
async function refresh({ marked = false, said = "" } = {}) {
  shown.running?.abort();
  const running = (shown.running = new AbortController());
  why.forget();
  answerBox.setAttribute("aria-busy", "true");
  const methods = compare.checked ? [method.value, other.value] : [method.value];
  const real = methods.length === 1 && methods[0] === "auto";
  try {
    const answers = await Promise.all(
      methods.map((name) => session.recommend(name, { n: shown.n, preview: !real, signal: running.signal })),
    );
    if (running.signal.aborted) return;
    show(methods, answers, marked);
    const changed = marked ? difference(answers[0]) : "";
    const degraded = answers.some((one) => one.degraded) ? " Degraded." : "";
    announce(`${said}${said ? " " : ""}${changed || several(answers[0].items.length, "product")}.${degraded}`);
    shown.before = places(answers[0]);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    if (shown.running === running) answerBox.setAttribute("aria-busy", "false");
  }
}

function difference(answer) {
  const changed = answer.items.filter((item) => shown.before?.get(item.item_id) !== item.rank).length;
  return changed ? `${changed} of ${several(answer.items.length, "place")} changed` : "The list stays as it was";
}

function show(methods, answers, marked) {
  const [a, b] = answers.map(places);
  const lists = answers.map((answer, place) =>
    list(answer, methods[place], {
      before: marked && place === 0 ? shown.before : null,
      other: b && (place ? a : b),
      why: (item) => why.open(item, answer),
      judge,
    }),
  );
  const common = b && [...a.keys()].filter((id) => b.has(id)).length;
  glide(answerBox, () => {
    answerBox.classList.toggle("two", Boolean(b));
    answerBox.replaceChildren(
      b ? h("p", { class: "soft common" }, `${several(common, "product")} of ${a.size} in both lists.`) : "",
      ...lists,
      more(answers[0]),
    );
  });
}

function more(answer) {
  if (answer.items.length < shown.n || shown.n >= MOST) return "";
  const act = () => {
    shown.n = Math.min(MOST, shown.n + FIRST);
    refresh();
  };
  return h("button", { type: "button", class: "more", on: { click: act } }, "Show more");
}

function fail(error) {
  const problem = error instanceof Problem ? error : new Problem(0, "The page failed; reload it.");
  if (!(error instanceof Problem)) console.error(error);
  const titles = new Map([
    [0, "No answer"],
    [403, "Not allowed"],
    [409, "There is no model yet"],
    [429, "Too many questions"],
    [503, "The service is busy"],
  ]);
  answerBox.replaceChildren(
    h(
      "div",
      { class: "problem", role: "alert" },
      h("h2", {}, titles.get(problem.status) ?? "That did not work"),
      h("p", {}, clean(problem.message)),
      ...problem.errors.map((one) => h("p", { class: "soft small" }, `${clean(one.place)}: ${clean(one.message)}`)),
      problem.retryAfter && h("p", {}, `It may go well in ${several(problem.retryAfter, "second")}.`),
      problem.requestId && h("p", { class: "soft small" }, `Request ${clean(problem.requestId)}`),
      problem.status === 409
        ? h("p", {}, h("a", { href: "/operator" }, "Activate one in the operator’s view"))
        : h("button", { type: "button", on: { click: () => refresh() } }, "Try again"),
    ),
  );
}

async function judge(item, wanted, answer) {
  const rows = [...answerBox.querySelectorAll(".card")];
  const place = rows.findIndex((one) => one.contains(document.activeElement));
  const row = rows[place] ?? rows.find((one) => one.dataset.item === item.item_id);
  for (const button of answerBox.querySelectorAll(".thumb")) button.disabled = true;
  row?.classList.add(wanted ? "liked" : "disliked");
  try {
    const local = await session.judge(item, wanted, answer);
    const words = wanted ? "Noted: more like this." : "Noted: not wanted.";
    toast(local ? `${words} It counts on this page alone: ${local}.` : words);
    known();
    await refresh({ marked: true, said: words });
    const near = answerBox.querySelectorAll(`.thumb.${wanted ? "up" : "down"}`)[Math.max(0, place)];
    (near ?? byId("title")).focus({ preventScroll: true });
  } catch (error) {
    toast(clean(error.message));
    row?.classList.remove("liked", "disliked");
    for (const button of answerBox.querySelectorAll(".thumb")) button.disabled = false;
  }
}

function known() {
  const { user, visitor, empty } = session;
  byId("title").textContent = visitor ? "A new shopper" : `Shopper ${clean(user, 60)}`;
  const basis = several(session.items.length + session.basket.length, "product");
  byId("subtitle").textContent = visitor
    ? empty
      ? "Add products that they looked at, or find somebody who has been here before."
      : `The list rests on ${basis}. Thumbs are stored as events of ${user}.`
    : `The list rests on ${basis}. Thumbs are stored as events of this shopper.`;
  showKnown(session, (item) => {
    session.remove(item);
    known();
    refresh({ marked: true, said: "Removed." });
    byId("title").focus({ preventScroll: true });
  });
}

async function open(user) {
  session.reset(user);
  Object.assign(shown, { n: FIRST, before: null });
  byId("wish-words").value = "";
  history.replaceState(null, "", user === null ? location.pathname : `#shopper=${encodeURIComponent(user)}`);
  if (user !== null) {
    try {
      await session.learn();
    } catch (error) {
      toast(clean(error.message));
    }
  }
  known();
  await refresh({ said: user === null ? "A new shopper." : `Shopper ${clean(user, 60)}.` });
}

function fromAddress() {
  const found = /^#shopper=(.+)$/.exec(location.hash);
  if (!found) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

const again = () => refresh();
method.addEventListener("change", again);
other.addEventListener("change", again);
compare.addEventListener("change", () => {
  other.disabled = !compare.checked;
  refresh();
});
byId("wish").addEventListener("submit", (event) => {
  event.preventDefault();
  session.wish = byId("wish-words").value.trim();
  refresh({ marked: true });
});
byId("start-over").addEventListener("click", () => {
  open(null);
  byId("title").focus();
});
addEventListener("hashchange", () => open(fromAddress()));

const report = (error) => toast(clean(error.message));
const searchProducts = productSearch((item) => {
  session.add(item);
  known();
  refresh({ marked: true, said: `Added ${clean(titleOf(item), 60)}.` });
}, report);
const listShoppers = shopperSearch(open, report);

if (matchMedia("(max-width: 52rem)").matches) {
  byId("known").open = false;
  byId("add").open = false;
  byId("find").open = false;
}
try {
  await showModel();
} catch (error) {
  report(error);
}
await Promise.all([searchProducts(), listShoppers(), open(fromAddress())]);
