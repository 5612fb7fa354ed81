// Who the list is for: a shopper of the shop, or one who is made up here by clicking products.

import { ask, pathOf, Problem } from "./api.js";

const BUDGET = 2000;
const NOT_STORED = new Map([
  [403, "this key may not store events"],
  [409, "this service stores no events"],
]);

export class Session {
  constructor() {
    this.reset();
  }

  reset(user = null) {
    this.user = user ?? `visitor-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.visitor = user === null;
    this.basket = []; // products clicked here, oldest first; they are not stored
    this.excluded = new Map(); // products not wanted that could not be stored
    this.items = []; // what the service knows, oldest first
    this.notWanted = [];
    this.wish = "";
  }

  get empty() {
    return !this.items.length && !this.basket.length && !this.notWanted.length && !this.excluded.size;
  }

  async learn(signal) {
    const told = await ask("GET", `/v1/users/${pathOf(this.user)}/history`, undefined, { signal });
    this.items = told.items;
    this.notWanted = told.not_wanted;
  }

  add(item) {
    this.remove(item);
    this.basket.push(item);
  }

  remove(item) {
    this.basket = this.basket.filter((one) => one.item_id !== item.item_id);
    this.excluded.delete(item.item_id);
  }

  // A preview is a list that no shopper would have seen: it takes part in no experiment, and is not noted as shown.
  recommend(strategy, { n = 10, explain = true, preview = true, signal } = {}) {
    const body = {
      user_id: this.user,
      session_items: this.basket.map((item) => item.item_id).slice(-200),
      exclude: [...this.excluded.keys()],
      n,
      strategy,
      explain,
      preview,
      budget_ms: BUDGET,
    };
    if (this.wish) body.wish = this.wish;
    return ask("POST", "/v1/recommend", body, { signal });
  }

  // Post what the shopper thinks of a product; return why it counts on this page alone, "" where it was stored.
  async judge(item, wanted, answer) {
    const event = {
      event_id: `page-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`,
      user_id: this.user,
      item_id: item.item_id,
      event_type: wanted ? "like" : "dislike",
      timestamp: Date.now(),
      request_id: answer.request_id,
      position: item.rank - 1,
    };
    try {
      const told = await ask("POST", "/v1/events", { events: [event] });
      if (told.results[0].status === "erased") return this.#here(item, wanted, "this shopper was erased");
      await this.learn();
      return "";
    } catch (error) {
      const why = error instanceof Problem ? NOT_STORED.get(error.status) : undefined;
      if (why === undefined) throw error;
      return this.#here(item, wanted, why);
    }
  }

  #here(item, wanted, why) {
    if (wanted) this.add(item);
    else {
      this.remove(item);
      this.excluded.set(item.item_id, item);
    }
    return why;
  }
}
