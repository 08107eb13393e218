// Pictures on canvases: values over the plane, weights, points, curves.
"use strict";

const GRID = 64, REACH = 6; // places along each axis of the plane, which goes from -REACH to REACH
const HUES = ["#2a6fb5", "#d9722c", "#3a9e5c", "#b8405e", "#8461c9", "#94793a", "#2e9aa6", "#c858a8", "#6c7680", "#a3b031"];

function themeColors() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1), full = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
    return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16));
  };
  const names = ["negative", "positive", "middle", "front", "soft", "line", "back"];
  return Object.fromEntries(names.map((name) => [name, rgb(`--${name}`)]));
}

// 256 colors from -1 to 1, as words of RGBA in memory.
function colorTable(colors) {
  const table = new Uint32Array(256), bytes = new Uint8Array(table.buffer);
  for (let i = 0; i < 256; i++) {
    const v = i / 127.5 - 1, end = v < 0 ? colors.negative : colors.positive;
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = colors.middle[c] + (end[c] - colors.middle[c]) * Math.abs(v);
    bytes[4 * i + 3] = 255;
  }
  return table;
}

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

// The places of the grid as points, the first row at the top.
function gridPoints() {
  const at = (i) => REACH * ((2 * i + 1) / GRID - 1);
  return Array.from({ length: GRID * GRID }, (_, k) => [at(k % GRID), -at(Math.floor(k / GRID))]);
}

// values(i): a number of -1 to 1 for each of width x height pixels.
function paintImage(canvas, width, height, values, table) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = table[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, values(i)))))];
  context.putImageData(image, 0, 0);
}

// Every second place of a grid, for the small picture of a unit.
function paintUnit(canvas, values, unit, units, table) {
  const half = GRID / 2;
  paintImage(canvas, half, half, (i) => values[(2 * Math.floor(i / half) * GRID + 2 * (i % half)) * units + unit], table);
}

// Weights of a unit as an image of that width or, without a width, as bars.
function paintWeights(canvas, weights, width, table, colors, size = 36) {
  const most = Math.max(1e-6, ...weights.map(Math.abs));
  if (width) return paintImage(canvas, width, weights.length / width, (i) => weights[i] / most, table);
  Object.assign(canvas, { width: size, height: size });
  const context = canvas.getContext("2d"), step = size / weights.length;
  context.fillStyle = css(colors.middle);
  context.fillRect(0, 0, size, size);
  weights.forEach((w, i) => {
    context.fillStyle = css(w < 0 ? colors.negative : colors.positive);
    const height = (0.47 * size * w) / most;
    context.fillRect(i * step, size / 2 - Math.max(0, height), Math.max(1, step - size / 72), Math.abs(height));
  });
  return undefined;
}

// The output over the plane with points on it. sets: [[points, labels, rows, filled]].
function paintMap(canvas, values, sets, colors, table, buffer) {
  const size = 330 * (window.devicePixelRatio || 1), context = canvas.getContext("2d");
  paintImage(buffer, GRID, GRID, (i) => values[i], table);
  if (canvas.width !== Math.round(size) || canvas.height !== canvas.width) Object.assign(canvas, { width: Math.round(size), height: Math.round(size) });
  context.imageSmoothingEnabled = true;
  context.drawImage(buffer, 0, 0, canvas.width, canvas.height);
  const at = (v) => ((v / REACH + 1) / 2) * canvas.width, radius = canvas.width / 95;
  for (const [points, labels, rows, isTest] of sets) {
    rows.forEach((row, i) => {
      const [x1, x2] = points[row], level = Math.max(-1, Math.min(1, labels[i]));
      const end = level < 0 ? colors.negative : colors.positive;
      context.beginPath();
      context.arc(at(x1), at(-x2), radius, 0, 2 * Math.PI);
      context.fillStyle = css(end.map((c, k) => colors.middle[k] + (c - colors.middle[k]) * (0.25 + 0.75 * Math.abs(level))));
      context.fill();
      context.lineWidth = radius / 3;
      context.strokeStyle = css(isTest ? colors.front : colors.back);
      context.stroke();
    });
  }
}

function paintCurve(canvas, history, colors) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth * ratio, height = canvas.clientHeight * ratio;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), most = Math.max(1e-9, ...history.flat().filter(Number.isFinite));
  for (const [k, color] of [[0, colors.soft], [1, colors.front]]) {
    context.beginPath();
    history.forEach((pair, i) => {
      const x = (i / Math.max(1, history.length - 1)) * width, y = height - 2 - (pair[k] / most) * (height - 6);
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.strokeStyle = css(color);
    context.lineWidth = 1.6 * ratio;
    context.stroke();
  }
}

// Samples of the test part with what the network says of each; a wrong one has a frame.
function paintDigits(canvas, set, part, predicted, colors) {
  const across = 8, cell = 41, context = canvas.getContext("2d"), count = Math.min(64, part.rows);
  Object.assign(canvas, { width: across * cell, height: Math.ceil(count / across) * cell });
  context.font = "600 12px system-ui";
  for (let i = 0; i < count; i++) {
    const left = (i % across) * cell, top = Math.floor(i / across) * cell;
    for (let p = 0; p < 64; p++) {
      const level = Math.round(255 * (1 - (part.x[64 * i + p] + 1) / 2));
      context.fillStyle = `rgb(${level} ${level} ${level})`;
      context.fillRect(left + 2 + (p % 8) * 4, top + 2 + Math.floor(p / 8) * 4, 4, 4);
    }
    const isRight = predicted[i] === part.y[i];
    context.fillStyle = css(isRight ? colors.positive : colors.negative);
    context.fillText(set.names[predicted[i]], left + 33, top + 38);
    context.strokeStyle = context.fillStyle;
    context.lineWidth = 2;
    if (!isRight) context.strokeRect(left + 1, top + 1, cell - 3, cell - 3);
  }
}

// Classes of a table: how many rows of each class (down) were taken for each (across).
function paintConfusion(canvas, names, labels, predicted, colors) {
  const n = names.length, cell = Math.max(14, Math.min(60, 300 / n)), edge = 70, context = canvas.getContext("2d");
  Object.assign(canvas, { width: edge + n * cell, height: edge / 2 + n * cell });
  const counts = new Int32Array(n * n);
  labels.forEach((label, i) => counts[label * n + predicted[i]]++);
  const most = Math.max(1, ...counts);
  context.font = "12px system-ui";
  names.forEach((name, i) => {
    context.fillStyle = css(colors.front);
    context.fillText(name.slice(0, 9), 2, edge / 2 + (i + 0.6) * cell);
    context.fillText(name.slice(0, Math.max(1, Math.floor(cell / 7))), edge + i * cell + 2, edge / 2 - 6);
  });
  counts.forEach((count, k) => {
    const i = Math.floor(k / n), j = k % n, end = i === j ? colors.positive : colors.negative, share = Math.sqrt(count / most);
    context.fillStyle = css(end.map((c, m) => colors.middle[m] + (c - colors.middle[m]) * share));
    context.fillRect(edge + j * cell, edge / 2 + i * cell, cell - 1, cell - 1);
    context.fillStyle = css(share > 0.5 ? colors.back : colors.front);
    if (count && cell > 20) context.fillText(String(count), edge + (j + 0.3) * cell, edge / 2 + (i + 0.6) * cell);
  });
}

// Predictions (up) against targets (across) of a table's numbers.
function paintScatter(canvas, targets, values, colors) {
  const size = 330, context = canvas.getContext("2d"), at = (v) => size / 2 + Math.max(-3, Math.min(3, v)) * (size / 6.2);
  Object.assign(canvas, { width: size, height: size });
  context.strokeStyle = css(colors.line);
  context.strokeRect(at(-3), at(-3), at(3) - at(-3), at(3) - at(-3));
  context.beginPath();
  context.moveTo(at(-3), at(3));
  context.lineTo(at(3), at(-3));
  context.stroke();
  context.fillStyle = css(colors.positive);
  targets.forEach((t, i) => context.fillRect(at(t) - 2, at(-values[i]) - 2, 4, 4));
}

// A line for each weight: [{from, to, weight}] with elements; links: the SVG over the diagram.
function paintLinks(svg, links, colors) {
  const frame = svg.getBoundingClientRect();
  while (svg.childNodes.length > links.length) svg.lastChild.remove();
  links.forEach(({ from, to, weight }, i) => {
    let line = svg.childNodes[i];
    if (!line) line = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "line"));
    const a = from.getBoundingClientRect(), b = to.getBoundingClientRect();
    const numbers = { x1: a.right - frame.left, y1: a.top + a.height / 2 - frame.top, x2: b.left - frame.left, y2: b.top + b.height / 2 - frame.top };
    for (const [name, value] of Object.entries(numbers)) line.setAttribute(name, value.toFixed(1));
    line.setAttribute("stroke", css(weight < 0 ? colors.negative : colors.positive));
    line.setAttribute("stroke-width", Math.min(7, 0.4 + 2.4 * Math.abs(weight)).toFixed(2));
    line.setAttribute("stroke-opacity", Math.min(0.9, 0.15 + Math.abs(weight) / 1.5).toFixed(2));
  });
}
