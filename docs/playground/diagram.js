// The diagram of the network: a button with a picture for each unit, a line for each weight, the numbers of a unit.
"use strict";

function drawDiagram() {
  const { layers } = network().program;
  if (state.plane) state.shown = state.plane();
  state.units.forEach((units, l) => units.forEach(({ canvas }, j) => {
    const { in: inputs, out, weight } = layers[l];
    if (state.plane) paintUnit(canvas, state.shown.layers[l], j, out, table);
    else paintWeights(canvas, Array.from(machine.view(weight).subarray(j * inputs, (j + 1) * inputs)), l ? 0 : state.data.image, table, colors);
  }));
  paintLinks(byId("links"), currentLinks(), colors);
}

// A line for each weight; where the inputs stand together, one for the length of a unit's weights.
function currentLinks() {
  const links = [];
  network().program.layers.forEach(({ in: inputs, out, weight }, l) => {
    const values = machine.view(weight), sources = l ? state.units[l - 1] : state.sources;
    for (let j = 0; j < out; j++) {
      const row = values.subarray(j * inputs, (j + 1) * inputs), to = state.units[l][j].button;
      if (sources.length === inputs) row.forEach((w, i) => links.push({ from: sources[i].button, to, weight: w }));
      else links.push({ from: sources[0].button, to, weight: Math.sqrt(row.reduce((sum, w) => sum + w * w, 0)) });
    }
  });
  return links;
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function unitButton(label, name, onclick) {
  const canvas = element("canvas", { width: 1, height: 1 });
  const button = element("button", { type: "button", className: "unit", onclick }, ...(name ? [element("span", { className: "name", textContent: name })] : []), canvas);
  button.setAttribute("aria-label", label);
  return { button, canvas };
}

function inputColumn() {
  const column = element("div", { className: "column" }, element("div", { className: "title", textContent: "inputs" }));
  if (!state.data.points) {
    const text = state.data.image ? "8 × 8 pixels" : `${state.data.columns} columns`;
    const button = element("div", { className: "name", textContent: text });
    column.append(button);
    state.sources = [{ button }];
    return column;
  }
  const chosen = settings.features.split(","), points = gridPoints();
  const units = Object.entries(FEATURES).map(([key, feature]) => {
    const unit = unitButton(`input ${feature.label}`, feature.label, () => {
      const others = Object.keys(FEATURES).filter((k) => (k === key ? !chosen.includes(k) : chosen.includes(k)));
      if (others.length) set("features", others.join(","));
    });
    unit.button.setAttribute("aria-pressed", chosen.includes(key));
    unit.button.classList.toggle("off", !chosen.includes(key));
    paintUnit(unit.canvas, points.map(([a, b]) => feature.value(a, b) / 6), 0, 1, table);
    column.append(unit.button);
    return [key, unit];
  });
  state.sources = units.filter(([key]) => chosen.includes(key)).map(([, unit]) => unit);
  return column;
}

function layerColumn(layer, l, count) {
  const isOutput = l === count - 1, title = element("div", { className: "title" });
  const change = (step) => {
    const hidden = hiddenOf(settings.hidden);
    hidden[l] += step;
    set("hidden", hidden.join(","));
  };
  if (isOutput) title.textContent = "output";
  else {
    const less = element("button", { type: "button", textContent: "−", disabled: layer.out === 1, onclick: () => change(-1) });
    const more = element("button", { type: "button", textContent: "+", disabled: layer.out === LARGEST.units, onclick: () => change(1) });
    less.setAttribute("aria-label", `a unit less in layer ${l + 1}`);
    more.setAttribute("aria-label", `a unit more in layer ${l + 1}`);
    title.append(less, `${layer.out}`, more);
  }
  const names = isOutput && state.data.names;
  state.units[l] = Array.from({ length: layer.out }, (_, j) => {
    const label = isOutput ? `output ${names ? names[j] : ""}` : `unit ${j + 1} of layer ${l + 1}`;
    return unitButton(label, names ? names[j].slice(0, 8) : "", () => select(l, j));
  });
  return element("div", { className: "column" }, title, ...state.units[l].map((unit) => unit.button));
}

function buildDiagram() {
  const { layers } = network().program, { activeElement } = document, columns = byId("columns");
  const focused = columns.contains(activeElement) && activeElement.getAttribute("aria-label");
  state.units = [];
  columns.replaceChildren(inputColumn(), ...layers.map((layer, l) => layerColumn(layer, l, layers.length)));
  byId("links").replaceChildren();
  const again = focused && [...columns.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused);
  if (again) again.focus({ preventScroll: true });
}

function select(l, j) {
  const isSame = state.selected && state.selected[0] === l && state.selected[1] === j;
  state.selected = isSame ? null : [l, j];
  showUnit();
  draw();
  if (!isSame) byId("scale").scrollIntoView({ block: "nearest" });
}

// Back to the output, with the focus where the unit was selected.
function leaveUnit() {
  const [l, j] = state.selected;
  select(l, j);
  state.units[l][j].button.focus();
}

// The selected unit, which the picture of the result shows: its layer and {l, j}; null: the output.
function largeUnit() {
  const { layers } = network().program, [l, j] = state.selected || [layers.length, 0];
  return l === layers.length || (state.data.points && l === layers.length - 1) ? null : { ...layers[l], l, j };
}

// The numbers of the selected unit, to be read and changed.
function showUnit() {
  const panel = byId("unit");
  state.units.flat().forEach(({ button }) => { button.classList.remove("selected"); button.setAttribute("aria-pressed", false); });
  panel.hidden = !state.selected;
  state.fields = [];
  showTitle();
  if (!state.selected) return;
  const [l, j] = state.selected, { in: inputs, weight, bias } = network().program.layers[l];
  const { button } = state.units[l][j];
  button.classList.add("selected");
  button.setAttribute("aria-pressed", true);
  const labels = l ? null : state.data.points ? settings.features.split(",").map((f) => FEATURES[f].label) : state.data.labels;
  const field = (name, buffer, at) => {
    const input = element("input", { type: "number", step: "0.1" });
    state.fields.push({ input, buffer, at });
    input.onchange = () => {
      if (Number.isFinite(input.valueAsNumber)) machine.view(buffer)[at] = input.valueAsNumber;
      draw();
    };
    return element("label", {}, `${name} `, input);
  };
  const weights = Array.from({ length: inputs }, (_, i) => field(labels ? `w of ${labels[i]}` : `w${i + 1}`, weight, j * inputs + i));
  panel.replaceChildren(
    element("h3", { textContent: button.getAttribute("aria-label") }),
    element("div", { className: "numbers" }, field("bias", bias, j), ...weights),
  );
  refreshFields();
}

// What the picture of the result shows.
function showTitle() {
  const unit = largeUnit(), { points, image } = state.data, { loss } = network().form;
  const kinds = { bce: "Output: probability of blue", ce: "Classes (down), predictions (across)", mse: "Targets (across), predictions (up)" };
  const output = image ? "Test digits; framed: wrong" : points && loss === "mse" ? "Output" : kinds[loss];
  const name = unit && state.units[unit.l][unit.j].button.getAttribute("aria-label");
  byId("shown").textContent = unit ? `${points ? "Values" : "Weights"} of ${name}` : output;
  byId("map").setAttribute("aria-label", byId("shown").textContent);
  byId("map").classList.toggle("pixels", Boolean(unit && image));
  byId("back").hidden = !unit;
  byId("discrete-label").hidden = !points || Boolean(unit);
}

// The numbers as they are now; not in the field that the reader is changing.
function refreshFields() {
  for (const { input, buffer, at } of state.fields) {
    const value = machine.view(buffer)[at];
    if (input !== document.activeElement) input.value = Number.isFinite(value) ? value.toFixed(4) : "";
  }
}
