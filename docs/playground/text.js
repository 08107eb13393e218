// What is on the screen as a program of ranvier, and as the C file that rv.export.c writes for it.
"use strict";

const FILE = "program.py", WIDTH = 110;

// A float32 with the fewest digits that give it back, as NumPy writes it.
function shortest(x) {
  const value = Math.fround(x);
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").replace("NaN", "nan");
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  let digits = 1;
  while (Math.fround(Number(value.toPrecision(digits))) !== value) digits++;
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e"), power = Number(exponent);
  if (power < 16 && Math.abs(value) >= 1e-4)
    return Number(value.toPrecision(digits)).toFixed(Math.max(1, digits - 1 - power));
  return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

const C_NAMES = { nan: "NAN", inf: "INFINITY", "-inf": "-INFINITY" };
const literal = (x) => C_NAMES[shortest(x)] || `${shortest(x)}f`;
const pythonFloat = (x) => (Number.isFinite(x) ? shortest(x) : `float("${shortest(x)}")`);

// A number of a setting, as Python's repr writes it.
function pythonNumber(x) {
  const text = String(x);
  return text.includes("e") ? text.replace(/e([+-])(\d)$/, "e$10$2") : Number.isInteger(x) ? `${text}.0` : text;
}

const DATA = {
  circle: ["radius = rng.uniform(0, 5, n)", "radius[n // 2 :] = rng.uniform(3.5, 5, n - n // 2)",
    "radius[: n // 2] = rng.uniform(0, 2.5, n // 2)", "angle = rng.uniform(0, 2 * np.pi, n)",
    "points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)", "label = radius < 2.5"],
  xor: ["points = rng.uniform(-5, 5, (n, 2))", "points += np.where(points > 0, 0.3, -0.3)",
    "label = points[:, 0] * points[:, 1] >= 0"],
  gauss: ["label = np.arange(n) % 2 == 0", "points = rng.normal(0, 1, (n, 2)) + np.where(label, 2, -2)[:, None]"],
  spiral: ["label, t = np.arange(n) % 2 == 0, np.arange(n) // 2 / (n // 2)", "angle = 1.75 * t * 2 * np.pi + np.where(label, 0, np.pi)",
    "points = 5 * t[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)"],
  moons: ["label, angle = np.arange(n) % 2 == 0, rng.uniform(0, np.pi, n)", "points = 3 * np.stack([np.cos(angle), np.sin(angle)], 1)",
    "points = np.where(label[:, None], points + [-1.5, -0.75], [1.5, 0.75] - points)"],
  plane: ["points = rng.uniform(-6, 6, (n, 2))", "label = points.sum(1) / 12"],
  bumps: ["points = rng.uniform(-6, 6, (n, 2))", "label = np.zeros(n)",
    "for x1, x2, sign in (-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1):",
    "    label += sign * np.maximum(1 - np.hypot(points[:, 0] - x1, points[:, 1] - x2) / 2, 0)"],
};

function dataLines(form) {
  if (form.data === "digits")
    return ["x, y = rv.data.datasets.load_digits()", "x, y = 2 * x.reshape(-1, 64) - 1, y  # pixels of -1 to 1"];
  if (form.data === "table") {
    const target = form.loss === "ce" ? "_, y = np.unique(table[:, -1], return_inverse=True)" : "y = scaled(table[:, -1:].astype(float))";
    const [delimiter, skipped] = [JSON.stringify(form.delimiter), form.skipped];
    return [`form = {"delimiter": ${delimiter}, "skiprows": ${skipped}, "quotechar": '"', "comments": None}`,
      'table = np.char.strip(np.loadtxt("table.csv", dtype=str, **form))', "",
      "", "def scaled(values):", "    return ((values - values.mean(0)) / (values.std(0) + 1e-12)).astype(np.float32)", "", "",
      "x = scaled(table[:, :-1].astype(float))", target];
  }
  const noise = form.noise ? [`points += rng.uniform(${-form.noise}, ${form.noise}, (n, 2))`] : [];
  const columns = form.features.map((f) => FEATURES[f].python).join(", ");
  return ["rng = np.random.default_rng()", "n = 500", ...DATA[form.data], ...noise, "x1, x2 = points.T",
    `x = np.stack([${columns}], 1).astype(np.float32)`, "y = label.astype(np.float32)[:, None]"];
}

// The program as lines. weights: the values of the parameters, in order.
function programLines(form, weights) {
  const hasActivation = ACTIVATIONS[form.activation];
  const stack = form.sizes.slice(1).flatMap((out, i) => {
    const line = [`    nn.Linear(${form.sizes[i]}, ${out}),`];
    return hasActivation && i < form.sizes.length - 2 ? [...line, `    nn.${form.activation}(),`] : line;
  });
  const kind = form.optimizer === "Adam" ? "Adam" : "SGD", stride = hasActivation ? 2 : 1;
  const settings = [`lr=${pythonNumber(form.rate)}`];
  if (form.optimizer === "momentum") settings.push("momentum=0.9");
  if (form.l2) settings.push(`weight_decay=${pythonNumber(form.l2)}`);
  const values = weights.map((w) => `    [${Array.from(w, pythonFloat).join(", ")}],`);
  const lines = [
    `"""${form.sizes.join("-")}, ${form.activation}: made with the playground of ranvier."""`, "",
    "import numpy as np", "", "import ranvier as rv", "from ranvier import nn", "from ranvier.nn import functional as F", "",
    "model = nn.Sequential(", ...stack, ")",
    `optimizer = rv.optim.${kind}(model.parameters(), ${settings.join(", ")})`,
    "values = [  # of the weights and biases, as they were on the screen", ...values, "]",
    "with rv.no_grad():", "    for parameter, numbers in zip(model.parameters(), values):",
    "        parameter.copy_(rv.tensor(numbers).reshape(parameter.shape))", "", "", "def step(x, y):", "    optimizer.zero_grad()",
  ];
  const place = { loss: lines.length + 1, penalty: lines.length + 2 };
  lines.push(`    loss = ${LOSSES[form.loss].python}(model(x), y)`);
  if (form.l1) {
    form.sizes.slice(1).forEach((_, i) => {
      lines.push(`    penalty = ${i ? "penalty + " : ""}model[${i * stride}].weight.abs().sum()`);
    });
    lines.push(`    loss = loss + ${pythonNumber(form.l1)} * penalty`);
  }
  lines.push("    loss.backward()", "    optimizer.step()", "    return loss", "", "");
  lines.push(...dataLines(form), `train, batch = rv.compile(step), ${form.batch}`,
    "for epoch in range(100):", "    order = np.random.permutation(len(x))",
    "    batches = [order[i : i + batch] for i in range(0, len(x) - batch + 1, batch)]",
    "    loss = np.mean([float(train(x[rows], y[rows])) for rows in batches])",
    '    print(f"epoch {epoch + 1}: loss {loss:.4f}")',
    'rv.export.c(step, "net.c", (rv.tensor(x[:batch]), rv.tensor(y[:batch])), predict=(model, rv.tensor(x[:1])))');
  return { lines, place: { file: FILE, ...place } };
}

function linesOf(form) {
  const sizes = form.sizes.slice(1).flatMap((out, i) => [form.sizes[i] * out, out]);
  return programLines(form, sizes.map((n) => new Float32Array(n))).place;
}

// --- C

function wrapped(text) {
  const lines = [];
  let line = "   ";
  for (const word of text.split(" ")) {
    if (line.trim() && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = "       ";
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function argument(a) {
  if (a === null) return "NULL";
  if (typeof a === "number") return String(a);
  if ("float" in a) return literal(a.float);
  if ("ints" in a) return `(const int[]){${a.ints.join(", ")}}`;
  if ("code" in a) return a.code.replace(/state\./g, "net_state.");
  return { temporary: `ram + ${a.offset}`, state: `net_state.${a.name}`, argument: a.name }[a.kind];
}

function bodyLines(routine) {
  return routine.calls.flatMap(({ helper, args, comment }) => {
    const text = comment.replace(/\s+/g, " ");
    return [...(text ? [`    /* ${text} */`] : []), ...wrapped(`${helper}(${args.map(argument).join(", ")});`)];
  });
}

function neededHelpers(routines) {
  let more = new Set(routines.flatMap((r) => r.calls.map((c) => c.helper)));
  const needed = new Set();
  while (more.size) {
    more.forEach((name) => needed.add(name));
    const code = [...more].map((name) => KERNELS.helpers[name].replace(/\/\*[^]*?\*\//g, "")).join(" ");
    more = new Set((code.match(/\w+/g) || []).filter((w) => w in KERNELS.helpers && !needed.has(w)));
  }
  return Object.keys(KERNELS.helpers).filter((name) => needed.has(name));
}

// net.c. values: of each buffer of the state as numbers; those of the moments are written as zeros.
function cText(program, values) {
  const { form, step, predict, state, ram } = program, isAdam = form.optimizer === "Adam";
  const fields = state.map((b, i) => {
    const numbers = values[i] ? Array.from(values[i], literal) : [];
    if (numbers.every((n) => parseFloat(n) === 0)) return `    .${b.name} = {0.0f},\n`;
    const rows = [];
    for (let k = 0; k < numbers.length; k += 8) rows.push(`    ${numbers.slice(k, k + 8).join(", ")}`);
    return `    .${b.name} = {\n${rows.join(",\n")}\n    },\n`;
  });
  const scalars = `    .learning_rate = ${literal(form.rate)},\n    .steps = 0,\n`;
  const kind = program.y.integer ? "int32_t" : "float";
  const fixes = [0.9, 0.999].map((b, i) => `fix${i + 1}_1 = -expm1f((float)net_state.steps * ${literal(Math.log(b))})`);
  const prologue = isAdam
    ? ["    net_state.steps++;", ...wrapped(`const float ${fixes.join(", ")}; /* 1 - beta^steps */`)] : [];
  const parts = [
    '/* net.h says what the functions do. Written by ranvier. */\n#include "net.h"\n#include <math.h>\n#include <stddef.h>\n',
    `struct net_state net_state = {\n${fields.join("")}${scalars}};\n`,
    ...neededHelpers([step, predict]).map((name) => KERNELS.helpers[name]),
    "/* intermediate values; two that do not live at the same time share memory */\n" + `static float ram[${ram}];\n`,
    [`float net_step(const float *x, const ${kind} *y)`, "{", ...prologue, ...bodyLines(step),
      ...(isAdam ? [] : ["    net_state.steps++;"]), `    return ram[${program.loss.offset}];`, "}"].join("\n") + "\n",
    ["void net_predict(const float *x, float *y)", "{", ...bodyLines(predict), "}"].join("\n") + "\n",
  ];
  return parts.join("\n");
}

// net.h
function headerText(program) {
  const { state, x, y, row, last } = program, sizes = (b) => `[${b.shape.join(", ")}]`;
  const kind = y.integer ? "int32_t" : "float";
  return [
    "/* Written by ranvier: net_step, net_predict. C99; needs libm only. All memory is",
    "   static: two calls must not run at the same time. A result may be the array of an input of the",
    "   same size, such as a state that each call renews; arrays must not overlap otherwise. */",
    "#ifndef NET_H", "#define NET_H", "", "#include <stdint.h>", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
    "/* What net learns: copy it as a whole to keep it, and back to go on from there. */", "struct net_state {",
    ...state.map((b) => `    float ${b.name}[${b.size}];`), "    float learning_rate;", "    int32_t steps;", "};",
    "extern struct net_state net_state;", "",
    `/* One update; returns the loss. x ${sizes(x)}, y ${sizes(y)}, in C order. */`,
    `float net_step(const float *x, const ${kind} *y);`, "", `/* Sizes: x ${sizes(row)}, y ${sizes(last)}, in C order. */`,
    "void net_predict(const float *x, float *y);", "", "#ifdef __cplusplus", "}", "#endif", "", "#endif /* NET_H */",
  ].join("\n") + "\n";
}
