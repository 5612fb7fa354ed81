// The newest events, looked at again and again while somebody watches.

import { ask } from "./api.js";
import { byId, h } from "./dom.js";
import { missing, nothing, table } from "./panels.js";
import { clean, moment } from "./text.js";

const SHOWN = 20;
let last = "";

export async function events() {
  const box = byId("events");
  try {
    const { events: newest } = await ask("GET", `/v1/events?limit=${SHOWN}`);
    const sign = newest.map((one) => one.event_id).join();
    if (sign === last && box.hasChildNodes()) return;
    last = sign;
    box.replaceChildren(
      newest.length
        ? table(
            "Latest events",
            ["When", "Shopper", "Event", "Product", "From a list"],
            newest.map((one) => [
              moment(one.timestamp),
              h("a", { href: `/#shopper=${encodeURIComponent(one.user_id)}` }, clean(one.user_id, 60)),
              clean(one.event_type, 40),
              clean(one.item_id, 60),
              one.request_id ? (one.position === null ? "yes" : `place ${one.position + 1}`) : "",
            ]),
          )
        : nothing("None yet. A shop sends them with POST /v1/events; thumbs on the shopper’s page do."),
    );
  } catch (error) {
    last = "";
    box.replaceChildren(missing(error, "events"));
  }
}
