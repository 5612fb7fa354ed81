// Numbers from the text that /metrics gives: read, added up, and turned into rates and quantiles.

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
    }
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

export function sum(samples, name, keep = () => true) {
  return samples.reduce((all, one) => (one.name === name && keep(one.labels) ? all + one.value : all), 0);
}

// Sums by the value of one label, the largest first.
export function by(samples, name, label, keep = () => true) {
  const found = new Map();
  for (const one of samples) {
    if (one.name !== name || !keep(one.labels)) continue;
    found.set(one.labels[label], (found.get(one.labels[label]) ?? 0) + one.value);
  }
  return new Map([...found].sort((a, b) => b[1] - a[1]));
}

// Upper edges and counts of a histogram, added up over what is kept.
export function histogram(samples, name, keep = () => true) {
  return new Map(
    [...by(samples, `${name}_bucket`, "le", keep)]
      .map(([edge, value]) => [edge === "+Inf" ? Infinity : Number(edge), value])
      .sort((a, b) => a[0] - b[0]),
  );
}

export function since(later, earlier) {
  return new Map([...later].map(([edge, value]) => [edge, value - (earlier.get(edge) ?? 0)]));
}

// A quantile of a histogram, by a straight line within its bucket as Prometheus draws it; NaN where it is empty.
export function quantile(buckets, share) {
  const total = buckets.get(Infinity) ?? 0;
  if (!total) return NaN;
  let [low, below] = [0, 0];
  for (const [edge, value] of buckets) {
    if (value >= share * total) {
      if (edge === Infinity) return low;
      return low + ((edge - low) * (share * total - below)) / Math.max(1e-12, value - below);
    }
    [low, below] = [edge, value];
  }
  return low;
}
