// Words and numbers as people read them. Product text is hostile: what hides or reorders letters is removed.

const HOSTILE = new RegExp(
  "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5" +
    "\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff9-\\ufffb" +
    "\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}\\u{f0000}-\\u{10ffff}]",
  "gu",
);

export function clean(text, longest = 300) {
  const plain = String(text ?? "").replace(HOSTILE, "").replace(/\s+/g, " ").trim();
  return plain.length > longest ? `${plain.slice(0, longest - 1).trimEnd()}…` : plain;
}

export function titleOf(item) {
  return clean(item.title) || `Product ${clean(item.item_id, 80)}`;
}

export function price(item) {
  if (typeof item.price !== "number") return "";
  if (/^[A-Z]{3}$/.test(item.currency ?? "")) {
    return new Intl.NumberFormat(undefined, { style: "currency", currency: item.currency }).format(item.price);
  }
  return new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(item.price);
}

export function kindOf(item) {
  const path = Array.isArray(item.categories) ? item.categories : [item.categories];
  const last = path.filter(Boolean).at(-1);
  return [item.brand, last].filter(Boolean).map((part) => clean(part, 60)).join(" · ");
}

export const count = (number) => new Intl.NumberFormat().format(number);
export const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function duration(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds >= 10) return `${Math.round(milliseconds)} ms`;
  return `${milliseconds.toFixed(1)} ms`;
}

export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const digits = share > 0 && share < 0.0995 ? 1 : 0;
  return `${(100 * share).toFixed(digits)} %`;
}

export function moment(milliseconds) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" }).format(new Date(milliseconds));
}

export const METHODS = new Map([
  ["auto", "Automatic"],
  ["full", "With language model"],
  ["fast", "Without language model"],
  ["retriever", "Retriever alone"],
  ["text", "Text"],
  ["popular", "Popular"],
]);
