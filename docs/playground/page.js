// The page: the settings, the network that they describe, the loop of the training, and what is shown.
"use strict";

const byId = (id) => document.getElementById(id);
const named = (names) => names.map((name) => [name, name]);
const CHOICES = { // [value, text]; keys of an object would not keep the order of numbers
  data: Object.entries({ circle: "Circle", xor: "XOR", gauss: "Two clouds", spiral: "Spiral", moons: "Moons", plane: "Plane (numbers)",
    bumps: "Bumps (numbers)", digits: "Digits", table: "A table of yours" }),
  activation: named(Object.keys(ACTIVATIONS)),
  optimizer: [["SGD", "SGD"], ["momentum", "SGD, momentum"], ["Adam", "Adam"]],
  regularisation: [["none", "none"], ["l1", "L1"], ["l2", "L2"]],
  rate: named(["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"]),
  strength: named(["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1"]),
  speed: [["step", "a step a frame"], ["epoch", "an epoch a frame"], ["fast", "as fast as it goes"]],
};
const SLIDERS = { share: (v) => `${v} %`, noise: (v) => Number(v).toFixed(1), batch: (v) => v };
const START = { data: "circle", features: "x1,x2", hidden: "6,3", activation: "Tanh", optimizer: "Adam", rate: "0.03",
  regularisation: "none", strength: "0.001", noise: "0", share: "50", batch: "10", speed: "epoch", seed: "1", run: "0" };
const LARGEST = { layers: 6, units: 8 };
const KEEP_WEIGHTS = new Set(["optimizer", "regularisation", "strength", "batch"]);

const settings = { ...START };
const state = { running: false, epoch: 0, position: 0, order: [], history: [], selected: null, table: null, steps: 0 };
let machine, colors, table;

// --- settings and the address

function isValid(name, value) {
  if (!Object.hasOwn(START, name)) return false;
  if (CHOICES[name]) return CHOICES[name].some(([choice]) => choice === value);
  if (name === "features") { // in the order of the diagram
    const chosen = value.split(",");
    return value !== "" && String(Object.keys(FEATURES).filter((f) => chosen.includes(f))) === value;
  }
  if (name === "hidden") {
    const counts = hiddenOf(value);
    return counts.length <= LARGEST.layers && counts.every((n) => Number.isInteger(n) && n >= 1 && n <= LARGEST.units);
  }
  if (name in SLIDERS) return Object.assign(byId(name), { value }).value === value; // a slider rounds to its steps
  return /^\d{1,7}$/.test(value);
}

const hiddenOf = (text) => (text ? text.split(",").map(Number) : []);

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
    if (isValid(name, value)) settings[name] = value;
  if (settings.data === "table") settings.data = START.data; // a table is not in the address
}

function writeAddress() {
  const changed = Object.entries(settings).filter(([name, value]) => value !== START[name] && name !== "run");
  history.replaceState(null, "", changed.length ? `#${new URLSearchParams(changed)}` : location.pathname + location.search);
}

function set(name, value) {
  settings[name] = String(value);
  writeAddress();
  showSettings();
  if (name === "speed") return;
  if (name === "rate") {
    network().form.rate = Number(value);
    machine.rate = Number(value);
    state.watch.restart();
    say();
    return;
  }
  if (name === "strength" && settings.regularisation === "none") return;
  rebuild(KEEP_WEIGHTS.has(name));
}

function showSettings() {
  for (const name of Object.keys(CHOICES)) byId(name).value = settings[name];
  for (const [name, text] of Object.entries(SLIDERS)) {
    byId(name).value = settings[name];
    byId(name).setAttribute("aria-valuetext", text(settings[name]));
    byId(`${name}-shown`).textContent = text(settings[name]);
  }
  const isPoints = settings.data in POINTS;
  byId("table").hidden = settings.data !== "table";
  byId("noise-label").hidden = !isPoints;
  byId("test-label").hidden = settings.data === "digits"; // their picture is of test data always
  byId("strength").disabled = settings.regularisation === "none";
  const hidden = hiddenOf(settings.hidden);
  byId("depth").textContent = hidden.length === 1 ? "1 hidden layer" : `${hidden.length} hidden layers`;
  byId("fewer").disabled = hidden.length === 0;
  byId("more").disabled = hidden.length === LARGEST.layers;
}

// --- the network

const network = () => state.network;

function makeForm(data, rows) {
  const { regularisation: kind, strength } = settings, features = settings.features.split(",");
  const inputs = data.points ? features.length : data.columns;
  return {
    data: dataName(), delimiter: data.delimiter, skipped: data.skipped, features, noise: Number(settings.noise), loss: data.loss, activation: settings.activation,
    sizes: [inputs, ...hiddenOf(settings.hidden), data.classes], optimizer: settings.optimizer, rate: Number(settings.rate),
    l1: kind === "l1" ? Number(strength) : 0, l2: kind === "l2" ? Number(strength) : 0,
    batch: Math.min(Number(settings.batch), rows),
  };
}

// Before there is a table, the clouds are shown.
const dataName = () => (settings.data === "table" && !state.table ? "gauss" : settings.data);

function makeData() {
  const name = dataName();
  if (name === "digits") return makeDigits();
  if (name === "table") return state.table;
  return makePoints(name, settings.features.split(","), Number(settings.noise), Number(settings.seed));
}

function weightsOf(net) {
  return net.program.layers.flatMap(({ weight, bias }) => [weight, bias]).map((b) => Float32Array.from(machine.view(b)));
}

function rebuild(keepWeights = false) {
  const old = keepWeights && network() ? { sizes: network().form.sizes, weights: weightsOf(network()) } : null;
  const data = makeData(), seed = Number(settings.seed);
  const columns = data.points ? settings.features.split(",").length : data.columns;
  const parts = split(data, columns, Number(settings.share) / 100, seed);
  const net = new Network(machine, makeForm(data, parts.train.rows), generator(seed));
  if (old && String(old.sizes) === String(net.form.sizes))
    net.program.layers.flatMap(({ weight, bias }) => [weight, bias]).forEach((b, i) => machine.view(b).set(old.weights[i]));
  else Object.assign(state, { epoch: 0, steps: 0, history: [], selected: null });
  Object.assign(state, { network: net, data, parts, position: 0, random: generator(seed + 2), order: [] });
  state.measure = { train: net.evaluator(parts.train.x, parts.train.rows, parts.train.y),
    test: net.evaluator(parts.test.x, parts.test.rows, parts.test.y) };
  state.watch = new Watch(net.form, parts.train.y);
  state.plane = data.points ? net.evaluator(asInputs(gridPoints(), net.form.features), GRID * GRID) : null;
  state.batchX = new Float32Array(net.form.batch * columns);
  state.batchY = new data.y.constructor(net.form.batch);
  buildDiagram();
  showUnit();
  draw();
  if (state.file) showText(state.file);
}

function trainBatch() {
  const { train } = state.parts, net = network(), columns = net.form.sizes[0], n = net.form.batch;
  if (state.position + n > state.order.length) {
    state.order = shuffled(train.rows, state.random);
    state.position = 0;
  }
  for (let i = 0; i < n; i++) {
    const row = state.order[state.position + i];
    state.batchX.set(train.x.subarray(row * columns, (row + 1) * columns), i * columns);
    state.batchY[i] = train.y[row];
  }
  net.step(state.batchX, state.batchY);
  state.steps++;
  state.position += n;
  const isEnd = state.position + n > state.order.length;
  if (isEnd) state.epoch++;
  return isEnd;
}

// --- what is shown

function predictions({ output }, rows) {
  const classes = network().form.sizes[network().form.sizes.length - 1];
  return Array.from({ length: rows }, (_, i) => {
    const row = output.subarray(i * classes, (i + 1) * classes);
    return network().form.loss === "ce" ? row.indexOf(Math.max(...row)) : row[0];
  });
}

function measured() {
  const score = (part, run) => {
    const { loss, output, layers } = run(), predicted = predictions({ output }, part.rows), kind = network().form.loss;
    const isRight = (p, i) => (kind === "bce" ? Number(p > 0) : p) === part.y[i];
    const accuracy = kind === "mse" ? null : predicted.filter(isRight).length / part.rows;
    return { loss, accuracy, predicted, layers };
  };
  return { train: score(state.parts.train, state.measure.train), test: score(state.parts.test, state.measure.test) };
}

function draw() {
  const { train, test } = measured();
  state.isFinite = Number.isFinite(train.loss);
  if (state.running || !state.history.length) state.history.push([train.loss, test.loss]);
  if (state.history.length > 2000) state.history = state.history.filter((_, i) => i % 2 === 0);
  const text = ({ loss, accuracy }) => `loss ${loss.toFixed(4)}${accuracy === null ? "" : `, ${(100 * accuracy).toFixed(1)} % right`}`;
  byId("scores").innerText = `training: ${text(train)}\ntest: ${text(test)}`;
  byId("epoch").textContent = `epoch ${state.epoch}`;
  state.scores = `training ${text(train)}; test ${text(test)}`;
  state.watch.see(train.loss, train.layers, state.epoch);
  if (!state.isFinite) run(false);
  say();
  paintCurve(byId("curve"), state.history, colors);
  drawDiagram();
  refreshFields();
  drawResult(train, test);
}

// What a screen reader says: a sentence for each state, and none for the numbers of each frame.
function say() {
  const { watch: { hint }, running, epoch, scores } = state;
  const text = !state.isFinite ? "The loss is not a number any more: take a lower learning rate and new weights."
    : running ? hint || "It trains."
    : `${state.steps ? `Stopped at epoch ${epoch}: ${scores}.` : "New weights, not trained yet."} ${hint}`.trim();
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

function drawResult(train, test) {
  const { data, parts } = state, isTest = byId("show-test").checked, unit = largeUnit();
  if (data.points) drawPlane(unit, isTest);
  else if (unit) drawWeights(unit);
  else {
    const map = byId("map"), [part, { predicted }] = isTest || data.image ? [parts.test, test] : [parts.train, train];
    if (data.image) paintDigits(map, data, part, predicted, colors);
    else if (data.loss === "ce") paintConfusion(map, data.names, part.y, predicted, colors);
    else paintScatter(map, part.y, predicted, colors);
    showScale();
  }
}

// The output over the plane or, large, the values of a unit.
function drawPlane(unit, isTest) {
  const { data, parts } = state, isClass = network().form.loss === "bce", sign = byId("discrete").checked;
  const level = (v) => (isClass ? 2 / (1 + Math.exp(-v)) - 1 : v);
  let values = state.shown.output.map((v) => (sign ? Math.sign(level(v)) : level(v)));
  if (unit) {
    const { out, j, l } = unit, of = state.shown.layers[l].filter((_, i) => i % out === j);
    const most = rounded(of.reduce((a, v) => Math.max(a, Math.abs(v)), 0));
    values = of.map((v) => v / most);
    showScale(-most, 0, most);
  } else if (isClass) showScale("0 %", "50 %", "100 %");
  else showScale(-1, 0, 1);
  const labels = (part) => Array.from(part.y, (v) => (isClass ? 2 * v - 1 : v));
  const sets = [[data.points, labels(parts.train), parts.train.order, false]];
  if (isTest) sets.push([data.points, labels(parts.test), parts.test.order, true]);
  paintMap(byId("map"), values, sets, colors, table, state.buffer);
}

function drawWeights({ in: inputs, weight, l, j }) {
  const row = Array.from(machine.view(weight).subarray(j * inputs, (j + 1) * inputs));
  const most = Number(Math.max(...row.map(Math.abs)).toPrecision(2));
  paintWeights(byId("map"), row, l ? 0 : state.data.image, table, colors, 330);
  showScale(-most, 0, most);
}

// 1, or the next of 2, 5, 10, 20 ... above a number.
function rounded(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, number)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= number) || 1;
}

// The numbers of the colors below the picture; none for pictures without a scale.
function showScale(...numbers) {
  byId("scale").hidden = !numbers.length;
  byId("scale").setAttribute("aria-label", `Colours: ${numbers.join(", ")}`);
  [...byId("scale").children].forEach((place, i) => { place.textContent = String(numbers[i]).replace("-", "−"); });
}

// --- the loop

function run(isOn) {
  if (isOn && !state.running) requestAnimationFrame(frame);
  state.running = isOn;
  byId("play").textContent = isOn ? "Stop" : "Run";
  say();
  if (!isOn && state.file) showText(state.file); // as it is now
}

function frame() {
  if (!state.running) return;
  const end = performance.now() + 9;
  let isEnd = false;
  do isEnd = trainBatch();
  while (settings.speed !== "step" && performance.now() < end && !(settings.speed === "epoch" && isEnd));
  if (settings.run !== "0" && state.epoch >= Number(settings.run)) {
    draw();
    settings.run = "0";
    run(false);
    document.body.dataset.finished = "true";
    return;
  }
  draw();
  requestAnimationFrame(frame);
}

// --- the texts

function showText(file) {
  const net = network(), weights = weightsOf(net), save = byId("save");
  state.file = file;
  URL.revokeObjectURL(save.href);
  const text = { "program.py": () => `${programLines(net.form, weights).lines.join("\n")}\n`,
    "net.c": () => cText(net.program, weights), "net.h": () => headerText(net.program) }[file]();
  Object.assign(byId("text"), { value: text, hidden: false });
  Object.assign(save, { hidden: false, download: file, href: URL.createObjectURL(new Blob([text])), textContent: `Save ${file}` });
  byId("copy").hidden = false;
}

function useTable() {
  try {
    state.table = makeTable(byId("rows").value);
    byId("fault").textContent = "";
    rebuild();
  } catch (error) {
    byId("fault").textContent = error.message;
  }
}

// --- the start

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  colors = themeColors();
  table = colorTable(colors);
}

function connect() {
  for (const [name, options] of Object.entries(CHOICES)) {
    byId(name).append(...options.map(([value, text]) => element("option", { value, textContent: text })));
    byId(name).onchange = (event) => set(name, event.target.value);
  }
  for (const name of Object.keys(SLIDERS)) byId(name).oninput = (event) => set(name, event.target.value);
  byId("play").onclick = () => run(!state.running);
  byId("step").onclick = () => { trainBatch(); draw(); run(false); };
  byId("reset").onclick = () => { state.network = null; set("seed", Number(settings.seed) + 1); };
  byId("again").onclick = byId("reset").onclick;
  byId("fewer").onclick = () => set("hidden", hiddenOf(settings.hidden).slice(0, -1).join(","));
  byId("more").onclick = () => set("hidden", [...hiddenOf(settings.hidden), 2].join(","));
  byId("use").onclick = useTable;
  byId("show-test").onchange = byId("discrete").onchange = draw;
  byId("theme").onclick = () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    buildDiagram();
    showUnit();
    draw();
  };
  document.querySelectorAll("[data-text]").forEach((button) => { button.onclick = () => showText(button.dataset.text); });
  byId("copy").onclick = () => { byId("text").select(); document.execCommand("copy"); };
  window.onhashchange = () => { // of the reader; writeAddress causes none
    Object.assign(settings, START);
    readAddress();
    showSettings();
    state.network = null;
    rebuild();
    run(settings.run !== "0");
  };
  window.onresize = () => { if (!state.running) draw(); };
  byId("back").onclick = leaveUnit;
  document.onkeydown = (event) => {
    if (event.key === "Escape" && state.selected) leaveUnit();
    if (event.key !== " " || /INPUT|SELECT|TEXTAREA|BUTTON|A/.test(event.target.tagName)) return;
    event.preventDefault();
    run(!state.running);
  };
}

async function begin() {
  const bytes = Uint8Array.from(atob(KERNELS.wasm), (c) => c.charCodeAt(0));
  machine = new Machine(await WebAssembly.compile(bytes));
  state.buffer = document.createElement("canvas");
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  connect();
  readAddress();
  showSettings();
  rebuild();
  if (settings.run !== "0") run(true);
}

begin();
