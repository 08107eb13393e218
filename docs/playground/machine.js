// The helpers of rv.export.c as WebAssembly, and routines that run on its memory.
"use strict";

class Machine {
  // wasm: a WebAssembly.Module of the helpers (kernels.js)
  constructor(wasm) {
    this.exports = new WebAssembly.Instance(wasm, {}).exports;
    this.start = this.exports.__heap_base.value;
    this.reset();
  }

  reset() {
    this.next = this.start;
    this.places = new Map();
    this.steps = 0;
    this.rate = 0;
  }

  // The address of n elements of 4 bytes.
  allocate(n) {
    const address = (this.next = (this.next + 15) & ~15), memory = this.exports.memory;
    this.next += 4 * n;
    const missing = this.next - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    return address;
  }

  // The elements of a buffer that has a place. It is valid until the next allocation.
  view(buffer) {
    const kind = buffer.integer ? Int32Array : Float32Array;
    return new kind(this.exports.memory.buffer, this.places.get(buffer), buffer.size);
  }

  give(buffer) {
    this.places.set(buffer, this.allocate(buffer.size));
    return buffer;
  }

  // A function that runs the calls of a routine. ram: elements of the block of temporaries; null: a place for each.
  linked(routine, ram) {
    const block = ram === null ? 0 : this.allocate(ram);
    const place = (b) => {
      if (b.kind === "temporary" && ram !== null) this.places.set(b, block + 4 * b.offset);
      else if (!this.places.has(b)) this.give(b);
      return this.places.get(b);
    };
    const ints = (values) => {
      const address = this.allocate(values.length);
      new Int32Array(this.exports.memory.buffer, address, values.length).set(values);
      return address;
    };
    const calls = routine.calls.map(({ helper, args }) => {
      const numbers = args.map((a) => {
        if (a === null) return 0;
        if (typeof a === "number") return a;
        if ("float" in a) return a.float;
        if ("ints" in a) return ints(a.ints);
        return "value" in a ? 0 : place(a);
      });
      const changing = args.flatMap((a, i) => (a && a.value ? [[i, a.value]] : []));
      return [this.exports[helper], numbers, changing];
    });
    return () => {
      for (const [run, numbers, changing] of calls) {
        for (const [i, value] of changing) numbers[i] = value(this);
        run(...numbers);
      }
    };
  }
}

// A network that trains: the program of a form on a machine, with its weights.
class Network {
  // random: a function that gives numbers of [0, 1)
  constructor(machine, form, random) {
    machine.reset();
    this.machine = machine;
    this.form = form;
    this.program = makeProgram(form, linesOf(form));
    for (const buffer of [...this.program.state, this.program.x, this.program.y]) machine.view(machine.give(buffer)).fill(0);
    this.run = machine.linked(this.program.step, this.program.ram);
    machine.rate = form.rate;
    for (const { in: inputs, weight, bias } of this.program.layers) {
      const bound = 1 / Math.sqrt(inputs); // as nn.Linear
      for (const b of [weight, bias]) machine.view(b).set(Array.from({ length: b.size }, () => bound * (2 * random() - 1)));
    }
  }

  // One update by a batch; returns the loss. x: rows of inputs; y: numbers or classes.
  step(x, y) {
    const { machine, program } = this;
    machine.view(program.x).set(x);
    machine.view(program.y).set(y);
    if (this.form.optimizer === "Adam") machine.steps++;
    this.run();
    if (this.form.optimizer !== "Adam") machine.steps++;
    return machine.view(program.loss)[0];
  }

  // A function of the rows: all values of all units, and the loss of targets.
  evaluator(x, rows, target = null) {
    const { machine, program, form } = this, routine = new Routine(), inputs = form.sizes[0];
    const input = machine.give(newBuffer("x", rows * inputs, "argument", [rows, inputs]));
    machine.view(input).set(x);
    const values = forward(routine, form, program.layers, rows, input), output = values[values.length - 1].a;
    let loss = null;
    if (target) {
      const isClass = form.loss === "ce", shape = isClass ? [rows] : output.shape;
      const y = machine.give(newBuffer("y", target.length, "argument", shape, isClass));
      machine.view(y).set(target);
      loss = addLoss(routine, form, output, y, null);
    }
    const run = machine.linked(routine, null);
    return () => {
      run();
      return {
        layers: values.map(({ a }) => machine.view(a)),
        output: machine.view(output),
        loss: loss ? machine.view(loss)[0] : null,
      };
    };
  }
}
