// The data sets, and how points become inputs. A set: {x: points or rows, y: numbers or classes, kind}.
"use strict";

const FEATURES = {
  x1: { label: "x₁", value: (a, b) => a, python: "x1" },
  x2: { label: "x₂", value: (a, b) => b, python: "x2" },
  x1x1: { label: "x₁²", value: (a, b) => a * a, python: "x1**2" },
  x2x2: { label: "x₂²", value: (a, b) => b * b, python: "x2**2" },
  x1x2: { label: "x₁x₂", value: (a, b) => a * b, python: "x1 * x2" },
  sin1: { label: "sin x₁", value: (a, b) => Math.sin(a), python: "np.sin(x1)" },
  sin2: { label: "sin x₂", value: (a, b) => Math.sin(b), python: "np.sin(x2)" },
};

// Numbers of [0, 1) from a seed (mulberry32), so that a shared address shows the same network.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function normal(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const BUMPS = [[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1], [4, -2.5, -1]];

// A point and its label (1 or 0; a number where the set is a regression) for the i-th of n samples.
const POINTS = {
  circle: (i, n, random) => {
    const inside = i % 2 === 0, radius = inside ? 2.5 * random() : 3.5 + 1.5 * random(), angle = 2 * Math.PI * random();
    return [radius * Math.sin(angle), radius * Math.cos(angle), Number(inside)];
  },
  xor: (i, n, random) => {
    const [a, b] = [random(), random()].map((r) => 10 * r - 5).map((v) => v + (v > 0 ? 0.3 : -0.3));
    return [a, b, Number(a * b >= 0)];
  },
  gauss: (i, n, random) => {
    const center = i % 2 ? -2 : 2;
    return [center + normal(random), center + normal(random), 1 - (i % 2)];
  },
  spiral: (i, n, random) => {
    const t = Math.floor(i / 2) / (n / 2), angle = 1.75 * t * 2 * Math.PI + (i % 2 ? Math.PI : 0);
    return [5 * t * Math.sin(angle), 5 * t * Math.cos(angle), 1 - (i % 2)];
  },
  moons: (i, n, random) => {
    const angle = Math.PI * random(), a = 3 * Math.cos(angle), b = 3 * Math.sin(angle);
    return i % 2 ? [1.5 - a, 0.75 - b, 0] : [a - 1.5, b - 0.75, 1];
  },
  plane: (i, n, random) => {
    const [a, b] = [12 * random() - 6, 12 * random() - 6];
    return [a, b, (a + b) / 12];
  },
  bumps: (i, n, random) => {
    const [a, b] = [12 * random() - 6, 12 * random() - 6];
    const at = ([x, y, sign]) => sign * Math.max(0, 1 - Math.hypot(a - x, b - y) / 2);
    return [a, b, BUMPS.reduce((sum, bump) => sum + at(bump), 0)];
  },
};
const IS_REGRESSION = { plane: true, bumps: true };

// Points of the plane with noise, and what the network gets of them.
function makePoints(name, features, noise, seed, n = 500) {
  const random = generator(seed), points = [], y = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const [a, b, label] = POINTS[name](i, n, random);
    points.push([a + noise * (2 * random() - 1), b + noise * (2 * random() - 1)]);
    y[i] = label;
  }
  return { points, y, loss: IS_REGRESSION[name] ? "mse" : "bce", classes: 1, inputs: asInputs(points, features) };
}

function asInputs(points, features) {
  return Float32Array.from(points.flatMap(([a, b]) => features.map((f) => FEATURES[f].value(a, b))));
}

function makeDigits() {
  const bytes = Uint8Array.from(atob(KERNELS.digits.pixels), (c) => c.charCodeAt(0));
  const inputs = new Float32Array(2 * bytes.length);
  bytes.forEach((b, i) => inputs.set([(b >> 4) / 8 - 1, (b & 15) / 8 - 1], 2 * i));
  const y = Int32Array.from(KERNELS.digits.classes, Number);
  return { y, loss: "ce", classes: 10, inputs, columns: 64, names: [..."0123456789"], image: 8 };
}

// A table of numbers whose last column is what is predicted: a class if it is text or has at most 12 whole values.
function makeTable(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim()), head = lines[0] || "";
  const delimiter = ["\t", ";"].find((mark) => head.includes(mark)) || ",";
  const outsideQuotes = new RegExp(`${delimiter}(?=(?:[^"]*"[^"]*")*[^"]*$)`);
  const cellOf = (cell) => cell.trim().replace(/^"(.*)"$/, "$1").replace(/""/g, '"').trim();
  const rows = lines.map((line) => line.split(outsideQuotes).map(cellOf));
  if (!lines.length) rows.push([]);
  const isNumber = (cell) => cell !== "" && Number.isFinite(Number(cell));
  const header = rows[0].slice(0, -1).every(isNumber) ? null : rows.shift();
  const width = rows.length ? rows[0].length : 0;
  if (width < 2 || rows.length < 4) throw new Error("expected at least 4 rows of numbers and a last column to predict");
  rows.forEach((row, i) => {
    if (row.length !== width) throw new Error(`row ${i + 1} has ${row.length} columns; expected ${width}`);
    const bad = row.slice(0, -1).findIndex((cell) => !isNumber(cell));
    if (row[width - 1] === "") throw new Error(`row ${i + 1} has nothing in its last column; expected what is predicted`);
    if (bad >= 0) throw new Error(`row ${i + 1}, column ${bad + 1} is "${row[bad]}"; expected a number`);
  });
  const last = rows.map((row) => row[width - 1]), names = [...new Set(last)].sort();
  const whole = last.every((cell) => /^-?\d+$/.test(cell)) && names.length <= 12;
  const isClass = whole || !last.every(isNumber);
  if (isClass && names.length < 2) throw new Error("the last column has one value only; expected several");
  if (isClass && names.length > 30) throw new Error(`the last column has ${names.length} classes; expected at most 30`);
  const columns = rows[0].slice(0, -1).map((_, j) => scaled(rows.map((row) => Number(row[j]))));
  const inputs = Float32Array.from(rows.flatMap((_, i) => columns.map((column) => column[i])));
  const labels = header ? header.slice(0, -1) : columns.map((_, j) => `column ${j + 1}`);
  const common = { inputs, columns: width - 1, labels, delimiter, skipped: header ? 1 : 0 };
  if (!isClass) return { ...common, y: scaled(last.map(Number)), loss: "mse", classes: 1 };
  const y = Int32Array.from(last, (cell) => names.indexOf(cell));
  return { ...common, y, loss: "ce", classes: names.length, names };
}

function scaled(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length) + 1e-12;
  return Float32Array.from(values, (v) => (v - mean) / deviation);
}

// Rows in an order of the seed, the first `share` of them, but never none or all, for training: {train, test}, each
// {x, y, rows, order}.
function split(set, columns, share, seed) {
  const n = set.y.length, order = shuffled(n, generator(seed + 1)), count = Math.max(1, Math.min(n - 1, Math.round(n * share)));
  const part = (rows) => {
    const x = new Float32Array(rows.length * columns), y = new set.y.constructor(rows.length);
    rows.forEach((row, i) => {
      x.set(set.inputs.subarray(row * columns, (row + 1) * columns), i * columns);
      y[i] = set.y[row];
    });
    return { x, y, rows: rows.length, order: rows };
  };
  return { train: part(order.slice(0, count)), test: part(order.slice(count)) };
}

function shuffled(n, random) {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
