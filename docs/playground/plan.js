// A network and its training step as the calls that rv.export.c writes, with the same places in memory.
//
// A form says what is built: sizes of the layers, activation, loss ("bce", "mse" or "ce"), optimizer ("SGD",
// "momentum" or "Adam"), rate, l1, l2, batch. A call is {helper, args, writes, replaced, comment}. An argument is a
// buffer, an integer, null, {float}, {ints} or {code, value}: C text and a function of the machine with its value.
// `lines` says in which lines of the program (text.js) the loss stands, for the comments of the C text.
"use strict";

const LOSSES = {
  bce: { helper: "loss_bce_with_logits", kind: "BceWithLogits", python: "F.binary_cross_entropy_with_logits" },
  mse: { helper: "loss_mse", kind: "Mse", python: "F.mse_loss" },
  ce: { helper: "cross_entropy", kind: "CrossEntropy", python: "F.cross_entropy" },
};
// slope: whether the gradient is computed from the result y or from the input x; shown: the layer in comments
const ACTIVATIONS = {
  Tanh: { helper: "map_tanh", slope: "y" },
  ReLU: { helper: "map_relu", slope: "y" },
  Sigmoid: { helper: "map_sigmoid", slope: "y" },
  SiLU: { helper: "map_silu", slope: "x" },
  GELU: { helper: "map_gelu", slope: "x", shown: "GELU(approximate='none')" },
  Linear: null,
};

const shownActivation = (form) => ACTIVATIONS[form.activation].shown || `${form.activation}()`;

function newBuffer(name, size, kind, shape, integer = false) {
  return { name, size, kind, shape, integer, offset: 0 };
}

class Routine {
  constructor() {
    this.calls = [];
    this.comment = "";
  }

  temporary(shape) {
    return newBuffer("", shape.reduce((a, b) => a * b, 1), "temporary", shape);
  }

  call(helper, args, writes, replaced = []) {
    this.calls.push({ helper, args, writes, replaced, comment: this.comment });
    this.comment = "";
    return writes[0];
  }

  // Gives the temporaries places in one block, of which it returns the size. Buffers that do not live at the same
  // time share memory; a result takes the place of an operand of its size that nothing reads afterwards.
  place(result = null) {
    const spans = new Map();
    this.calls.forEach((call, i) => {
      for (const b of [...call.args, ...call.writes])
        if (b && b.kind === "temporary") spans.set(b, [spans.has(b) ? spans.get(b)[0] : i, i]);
    });
    if (spans.has(result)) spans.get(result)[1] = this.calls.length;
    const owner = new Map();
    this.calls.forEach((call, i) => {
      for (const old of call.replaced) {
        const made = call.writes[0];
        if (old.size === made.size && spans.has(old) && spans.has(made) && old !== made &&
            spans.get(old)[1] === i && spans.get(made)[0] === i) {
          owner.set(made, owner.get(old) || old);
          break;
        }
      }
    });
    const blocks = new Map();
    for (const [buffer, [first, last]] of spans) {
      const key = owner.get(buffer) || buffer;
      const block = blocks.get(key) || { first, last, buffers: [] };
      block.first = Math.min(block.first, first);
      block.last = Math.max(block.last, last);
      block.buffers.push(buffer);
      blocks.set(key, block);
    }
    const placed = [];
    const largestFirst = [...blocks.values()].sort((a, b) => b.buffers[0].size - a.buffers[0].size || a.first - b.first);
    for (const { first, last, buffers } of largestFirst) {
      const size = Math.max(...buffers.map((b) => b.size));
      let offset = 0;
      placed.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);
      for (const [start, end, begin, until] of placed)
        if (begin <= last && first <= until && start < offset + size && offset < end) offset = end;
      placed.push([offset, offset + size, first, last]);
      for (const b of buffers) b.offset = offset;
    }
    return Math.max(0, ...placed.map((p) => p[1]));
  }
}

// The layers as buffers: {in, out, weight, bias, index}, where index is the place in nn.Sequential.
function makeLayers(form) {
  const stride = ACTIVATIONS[form.activation] ? 2 : 1;
  return form.sizes.slice(1).map((out, i) => {
    const inputs = form.sizes[i], index = i * stride;
    return {
      in: inputs, out, index,
      weight: newBuffer(`w_${index}_weight`, out * inputs, "state", [out, inputs]),
      bias: newBuffer(`w_${index}_bias`, out, "state", [out]),
    };
  });
}

function shapes(from, to) {
  return `${from.join(" x ")} -> ${to.join(" x ")}`;
}

// The forward pass of `rows` samples. Returns the values of each layer: before (z) and after (a) its activation.
function forward(routine, form, layers, rows, x) {
  const act = ACTIVATIONS[form.activation], values = [];
  let input = x;
  layers.forEach((layer, i) => {
    const text = `${layer.index}: Linear(in_features=${layer.in}, out_features=${layer.out}, bias=True)`;
    routine.comment = `${text}, ${shapes([rows, layer.in], [rows, layer.out])}`;
    const z = routine.temporary([rows, layer.out]);
    routine.call("linear", [input, layer.weight, layer.bias, z, rows, layer.in, layer.out], [z]);
    let a = z;
    if (act && i < layers.length - 1) {
      a = routine.temporary(z.shape);
      routine.comment = `${layer.index + 1}: ${shownActivation(form)}, ${shapes(z.shape, z.shape)}`;
      routine.call(act.helper, [z, a, z.size], [a], [z]);
    }
    values.push({ z, a });
    input = a;
  });
  return values;
}

// The loss of `output`; gradient: a buffer for the gradient of a loss of 1, or null.
function addLoss(routine, form, output, target, gradient) {
  const loss = routine.temporary([]), [rows, classes] = output.shape;
  const numbers = form.loss === "ce" ? [rows, classes, -100, 1] : [output.size, { float: 1 / output.size }];
  const written = gradient ? [loss, gradient] : [loss];
  routine.call(LOSSES[form.loss].helper, [output, target, loss, gradient, ...numbers], written);
  return loss;
}

// Adds l1 times the sum of |w| to the loss. Returns the new loss and `backward`, which adds the calls of its backward
// pass, fills `gradients` with those of the weights, and returns the gradient of the first loss.
function addPenalty(routine, form, layers, loss, lines) {
  const where = (i) => `${lines.file}:${lines.penalty + i}`, scalar = () => routine.temporary([]);
  const add = (a, b, line) => {
    const sum = scalar();
    routine.comment = `Add, ${line}, -> `;
    return routine.call("map_add", [a, b, sum, 1], [sum], [a, b]);
  };
  let penalty = null;
  layers.forEach(({ weight }, i) => {
    const abs = routine.temporary(weight.shape), sum = scalar();
    routine.comment = `Abs, ${where(i)}, ${shapes(weight.shape, weight.shape)}`;
    routine.call("map_abs", [weight, abs, weight.size], [abs], [weight]);
    routine.comment = `Sum, ${where(i)}, ${shapes(weight.shape, [])}`;
    routine.call("sum_axis", [abs, sum, 1, weight.size, 1, { float: 1 }], [sum]);
    penalty = penalty ? add(penalty, sum, where(i)) : sum;
  });
  const scaled = scalar(), last = where(layers.length);
  routine.comment = `MulNumber, ${last}, -> `;
  routine.call("map_mul_number", [penalty, scaled, 1, { float: form.l1 }], [scaled], [penalty]);
  const total = add(loss, scaled, last);

  function backward(gradients) {
    const one = scalar(), slope = scalar();
    routine.comment = "backward: Add";
    routine.call("fill", [one, 1, { float: 1 }], [one]);
    routine.comment = "backward: MulNumber";
    routine.call("map_mul_number_backward", [one, slope, 1, { float: form.l1 }], [slope], [one]);
    for (const { weight } of [...layers].reverse()) {
      const dw = routine.temporary(weight.shape), n = weight.size;
      let spread = slope; // of a single weight there is nothing to spread
      routine.comment = "backward: Sum";
      const steps = [{ ints: [1, 1, 1, n] }, { ints: [n, n, n, 1] }, { ints: [0, 0, 0, 0] }];
      if (n > 1) {
        spread = routine.temporary(weight.shape);
        routine.call("copy", [spread, slope, ...steps], [spread]);
      }
      routine.comment = "backward: Abs";
      gradients.set(weight, routine.call("map_abs_backward", [spread, weight, dw, n], [dw], [spread]));
    }
    return one;
  }
  return { total, backward };
}

// The backward pass from the gradient dy of the output; fills `gradients` by weight and bias.
function addBackward(routine, form, layers, values, x, dy, gradients) {
  const act = ACTIVATIONS[form.activation];
  for (let i = layers.length - 1; i >= 0; i--) {
    const { in: inputs, out, index, weight, bias } = layers[i], rows = dy.shape[0], sizes = [rows, inputs, out];
    const input = i ? values[i - 1].a : x;
    const dx = i ? routine.temporary([rows, inputs]) : null;
    const dw = routine.temporary(weight.shape), db = routine.temporary(bias.shape);
    routine.comment = `backward: ${index}: Linear(in_features=${inputs}, out_features=${out}, bias=True)`;
    if (dx) routine.call("linear_dx", [dy, weight, dx, ...sizes], [dx]);
    routine.call("linear_dw", [dy, input, dw, ...sizes], [dw]);
    routine.call("sum_axis", [dy, db, 1, rows, out, { float: 1 }], [db]);
    gradients.set(bias, db);
    const old = gradients.get(weight), sum = old && routine.temporary(weight.shape);
    gradients.set(weight, old ? routine.call("map_add", [old, dw, sum, weight.size], [sum], [old, dw]) : dw);
    if (!i) return;
    dy = dx;
    if (act) {
      const { z, a } = values[i - 1], slope = routine.temporary(z.shape);
      routine.comment = `backward: ${index - 1}: ${shownActivation(form)}`;
      dy = routine.call(`${act.helper}_backward`, [dx, act.slope === "y" ? a : z, slope, z.size], [slope], [dx]);
    }
  }
}

const RATE = { code: "state.learning_rate", value: (machine) => machine.rate };
const fix = (beta) => (machine) => Math.fround(-Math.expm1(Math.fround(machine.steps * Math.fround(Math.log(beta)))));
const FIX1 = { code: "state.learning_rate / fix1_1", value: (machine) => Math.fround(machine.rate / fix(0.9)(machine)) };
const FIX2 = { code: "fix2_1", value: fix(0.999) };
const FIRST = { code: "state.steps == 0", value: (machine) => Number(machine.steps === 0) };

// Adds each update behind the last use of its parameter and gradient. Returns the moments, in the order of the struct.
function addUpdates(routine, form, layers, gradients) {
  const used = new Map(), moments = [], updates = new Map();
  routine.calls.forEach((call, i) => [...call.args, ...call.writes].forEach((b) => used.set(b, i)));
  const isAdam = form.optimizer === "Adam", floats = (...numbers) => numbers.map((x) => ({ float: x }));
  const names = { Adam: ["exp_avg", "exp_avg_sq"], momentum: ["momentum_buffer"], SGD: [] }[form.optimizer];
  const settings = isAdam
    ? [FIX1, FIX2, ...floats(form.l2, 1, 1 - 0.9, 0.999, 1 - 0.999, 1e-8)]
    : [RATE, ...floats(form.l2, form.optimizer === "momentum" ? 0.9 : 0, 0), 0, FIRST];
  for (const p of layers.flatMap((layer) => [layer.weight, layer.bias])) {
    const own = names.map((name) => newBuffer(`${p.name}_${name}`, p.size, "state", p.shape));
    moments.push(...own);
    const states = own.length ? own : [null], gradient = gradients.get(p);
    const call = { helper: isAdam ? "adam" : "sgd", args: [p, gradient, ...states, p.size, ...settings] };
    const at = Math.max(used.get(p), used.get(gradient));
    updates.set(at, [...(updates.get(at) || []), { ...call, writes: [p, ...own], replaced: [], comment: "" }]);
  }
  routine.calls = routine.calls.flatMap((call, i) => [call, ...(updates.get(i) || [])]);
  return moments;
}

// The training step and a prediction of one row: {step, predict, layers, state, x, y, loss, ram}.
function makeProgram(form, lines) {
  const layers = makeLayers(form), step = new Routine(), predict = new Routine();
  const inputs = form.sizes[0], outputs = form.sizes[form.sizes.length - 1], rows = form.batch;
  const x = newBuffer("x", rows * inputs, "argument", [rows, inputs]), isClass = form.loss === "ce";
  const y = newBuffer("y", rows * (isClass ? 1 : outputs), "argument", isClass ? [rows] : [rows, outputs], isClass);
  const values = forward(step, form, layers, rows, x), output = values[values.length - 1].a;
  const where = `${lines.file}:${lines.loss}`, gradients = new Map(), dx = step.temporary(output.shape);
  step.comment = `${LOSSES[form.loss].kind}, ${where}, ${shapes(output.shape, [])}`;
  let loss = addLoss(step, form, output, y, dx), dy = dx;
  if (form.l1) {
    const penalty = addPenalty(step, form, layers, loss, lines);
    loss = penalty.total;
    const one = penalty.backward(gradients);
    dy = step.temporary(output.shape);
    step.comment = `backward: ${LOSSES[form.loss].kind}`;
    step.call("times", [dx, one, dy, dx.size], [dy], [dx]);
  }
  addBackward(step, form, layers, values, x, dy, gradients);
  const moments = addUpdates(step, form, layers, gradients);
  const row = newBuffer("x", inputs, "argument", [1, inputs]), last = forward(predict, form, layers, 1, row).pop().a;
  Object.assign(last, { name: "y", kind: "argument" });
  const ram = Math.max(step.place(loss), predict.place());
  const state = [...layers.flatMap((layer) => [layer.weight, layer.bias]), ...moments];
  return { form, step, predict, layers, state, x, y, loss, row, last, ram };
}
