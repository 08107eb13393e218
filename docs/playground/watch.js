// What the page says of a training that does not learn.
"use strict";

// Where a unit of an activation hardly changes any more: its gradient is about 0 there.
const FLAT = {
  Tanh: (a) => Math.abs(a) > 0.99,
  Sigmoid: (a) => a < 0.01 || a > 0.99,
  ReLU: (a) => a === 0,
  SiLU: (a) => Math.abs(a) < 1e-3,
  GELU: (a) => Math.abs(a) < 1e-3,
};

// The loss of the best constant prediction.
function lossOfGuessing(kind, y) {
  if (kind === "mse") {
    const mean = y.reduce((sum, v) => sum + v, 0) / y.length;
    return y.reduce((sum, v) => sum + (v - mean) ** 2, 0) / y.length;
  }
  const counts = new Map();
  y.forEach((v) => counts.set(v, (counts.get(v) || 0) + 1));
  return [...counts.values()].reduce((sum, n) => sum - (n / y.length) * Math.log(n / y.length), 0);
}

// How many hidden units are flat for nearly all rows. layers: the values of each layer, as an evaluator gives them.
function countFlat({ sizes, activation }, layers, rows) {
  const isFlat = FLAT[activation];
  let count = 0;
  sizes.slice(1, -1).forEach((units, l) => {
    for (let j = 0; isFlat && j < units; j++) {
      let flat = 0;
      for (let i = 0; i < rows; i++) flat += isFlat(layers[l][i * units + j]);
      count += flat > 0.95 * rows;
    }
  });
  return count;
}

// Looks at a training after each frame; `hint` is a sentence, once there is a reason.
class Watch {
  constructor(form, y) {
    this.form = form;
    this.rows = y.length;
    this.guessing = lossOfGuessing(form.loss, y);
    this.restart();
  }

  restart() {
    Object.assign(this, { hint: "", first: null, looks: 0, mean: 1, best: 1 });
  }

  see(loss, layers, epoch) {
    if (this.first === null) this.first = epoch;
    const epochs = epoch - this.first;
    if (this.hint || !epochs || !(this.guessing > 0)) return;
    this.mean += 0.05 * (loss / this.guessing - this.mean); // of the last frames, over that of guessing
    this.best = Math.min(this.best, this.mean);
    if (++this.looks < 50 || epochs < 50 || this.mean < 0.5) return;
    const { sizes } = this.form, units = sizes.slice(1, -1).reduce((sum, n) => sum + n, 0);
    const flat = countFlat(this.form, layers, this.rows), advice = "Take a lower learning rate and new weights.";
    const many = `${flat} of ${units} hidden units are at an end of their range for nearly all data, and hardly learn there.`;
    if (units && flat >= units / (this.mean > 0.8 ? 4 : 2)) this.hint = `The training has collapsed: ${many} ${advice}`;
    else if (this.mean > this.best + 0.2) this.hint = `The loss has risen again after it was lower. ${advice}`;
    else if (epochs >= 200 && this.mean > 0.95)
      this.hint = "The loss is still that of guessing. Take a higher learning rate or Adam, more units or inputs, " +
        "or another activation.";
  }
}
