// A decoder as a list of tensor operations, each of one item: {data, shape}, the numbers row by row.

const size = (shape) => shape.reduce((a, b) => a * b, 1);

// Positions in a tensor, broadcast to a shape, of each of the shape's cells in turn.
function positions(from, to) {
  const lead = to.length - from.length;
  const strides = to.map((_, d) => (d < lead || from[d - lead] === 1 ? 0 : size(from.slice(d - lead + 1))));
  return walk(to, strides);
}

// The sums of index × stride over all cells of a shape, the last dimension fastest.
function walk(shape, strides, start = 0) {
  let found = [start];
  shape.forEach((length, d) => {
    const longer = new Array(found.length * length);
    for (let i = 0; i < found.length; i++) {
      for (let k = 0; k < length; k++) longer[i * length + k] = found[i] + k * strides[d];
    }
    found = longer;
  });
  return found;
}

const strides = (shape) => shape.map((_, d) => size(shape.slice(d + 1)));
const pick = (data, places) => Float32Array.from(places, (place) => data[place]);
const tensor = (value) => (typeof value === "number" ? { data: [value], shape: [] } : value);
const each = (f) => (x) => x.data.map(f);
const positive = (dim, dims) => (dim < 0 ? dim + dims : dim);

const pairwise = (f) => (one, two, shape) => {
  const [a, b] = [tensor(one), tensor(two)];
  const [i, j] = [positions(a.shape, shape), positions(b.shape, shape)];
  return Float32Array.from(i, (place, k) => f(a.data[place], b.data[j[k]]));
};

// x (1, inputs) times w (inputs, outputs), on top of what is there.
function multiply(x, w, out) {
  const [inputs, outputs] = w.shape;
  for (let i = 0; i < inputs; i++) {
    const value = x.data[i];
    if (value === 0) continue;
    const row = i * outputs;
    for (let o = 0; o < outputs; o++) out[o] += value * w.data[row + o];
  }
  return out;
}

function permuted(x, order, shape) {
  const of = strides(x.shape);
  return pick(x.data, walk(shape, order.map((d) => of[positive(d, x.shape.length)])));
}

function swapped(x, one, two, shape) {
  const order = x.shape.map((_, d) => d);
  const [a, b] = [positive(one, order.length), positive(two, order.length)];
  [order[a], order[b]] = [order[b], order[a]];
  return permuted(x, order, shape);
}

function concatenated(parts, dim, shape) {
  const at = positive(dim ?? 0, shape.length);
  const outer = size(shape.slice(0, at));
  const out = new Float32Array(size(shape));
  let begin = 0;
  for (const { data, shape: own } of parts) {
    const length = size(own.slice(at));
    const whole = size(shape.slice(at));
    for (let i = 0; i < outer; i++) out.set(data.slice(i * length, (i + 1) * length), i * whole + begin);
    begin += length;
  }
  return out;
}

// Each pair of a cell and a pixel that a kernel's cell joins, by rows or by columns.
const joined = (small, large, kernel, stride, padding) => {
  const pairs = [];
  for (let i = 0; i < small; i++) {
    for (let k = 0; k < kernel; k++) {
      const at = i * stride - padding + k;
      if (at >= 0 && at < large) pairs.push([i, at, k]);
    }
  }
  return pairs;
};

// A convolution of x (1, c, h, w), or its transpose, which goes from small images to large ones.
function convolved(x, w, bias, stride, padding, transposed, shape) {
  const [, inputs, height, width] = x.shape;
  const [, outputs, high, wide] = shape;
  const [kernelHeight, kernelWidth] = w.shape.slice(2);
  const out = new Float32Array(size(shape));
  if (bias) for (let o = 0; o < outputs; o++) out.fill(bias.data[o], o * high * wide, (o + 1) * high * wide);
  const [small, large] = transposed ? [x.shape, shape] : [shape, x.shape];
  const rows = joined(small[2], large[2], kernelHeight, stride[0], padding[0]);
  const columns = joined(small[3], large[3], kernelWidth, stride.at(-1), padding.at(-1));
  const [from, to] = transposed ? [0, 1] : [1, 0];
  for (let c = 0; c < inputs; c++) {
    for (let o = 0; o < outputs; o++) {
      const cells = (transposed ? c * outputs + o : o * inputs + c) * kernelHeight * kernelWidth;
      for (const row of rows) {
        const source = (c * height + row[from]) * width;
        const target = (o * high + row[to]) * wide;
        const weights = cells + row[2] * kernelWidth;
        for (const column of columns) out[target + column[to]] += x.data[source + column[from]] * w.data[weights + column[2]];
      }
    }
  }
  return out;
}

function sliced(x, dim = 0, start = 0, step = 1, shape) {
  const of = strides(x.shape);
  const at = positive(dim, x.shape.length);
  const begin = Math.max(start < 0 ? start + x.shape[at] : start, 0) * of[at];
  of[at] *= step;
  return pick(x.data, walk(shape, of, begin));
}

function selected(x, dim, index, shape) {
  const of = strides(x.shape);
  const at = positive(dim, x.shape.length);
  const begin = positive(index, x.shape[at]) * of[at];
  of.splice(at, 1);
  return pick(x.data, walk(shape, of, begin));
}

const softplus = (x, beta = 1, threshold = 20) =>
  x.data.map((value) => (value * beta > threshold ? value : Math.log1p(Math.exp(value * beta)) / beta));

// Operations by torch's names: (arguments, shape of the result) to the result's numbers.
const OPERATIONS = {
  addmm: ([bias, x, w], shape) => multiply(x, w, pick(bias.data, positions(bias.shape, shape))),
  mm: ([x, w], shape) => multiply(x, w, new Float32Array(size(shape))),
  cat: ([parts, dim], shape) => concatenated(parts, dim, shape),
  permute: ([x, order], shape) => permuted(x, order, shape),
  t: ([x], shape) => swapped(x, 0, 1, shape),
  transpose: ([x, one, two], shape) => swapped(x, one, two, shape),
  convolution: ([x, w, bias, stride, padding, , transposed], shape) =>
    convolved(x, w, bias, stride, padding, transposed, shape),
  select: ([x, dim, index], shape) => selected(x, dim, index, shape),
  slice: ([x, dim, start, , step], shape) => sliced(x, dim ?? 0, start ?? 0, step ?? 1, shape),
  add: ([a, b], shape) => pairwise((x, y) => x + y)(a, b, shape),
  sub: ([a, b], shape) => pairwise((x, y) => x - y)(a, b, shape),
  mul: ([a, b], shape) => pairwise((x, y) => x * y)(a, b, shape),
  div: ([a, b], shape) => pairwise((x, y) => x / y)(a, b, shape),
  relu: ([x]) => each((value) => Math.max(value, 0))(x),
  sigmoid: ([x]) => each((value) => 1 / (1 + Math.exp(-value)))(x),
  tanh: ([x]) => each(Math.tanh)(x),
  exp: ([x]) => each(Math.exp)(x),
  log: ([x]) => each(Math.log)(x),
  sqrt: ([x]) => each(Math.sqrt)(x),
  neg: ([x]) => each((value) => -value)(x),
  softplus: ([x, beta, threshold]) => softplus(x, beta ?? 1, threshold ?? 20),
  clamp: ([x, low, high]) => each((value) => Math.min(Math.max(value, low ?? -Infinity), high ?? Infinity))(x),
};

// Whatever else there is keeps the numbers, and copies them to a larger shape.
const copied = ([x], shape) => (size(x.shape) === size(shape) ? x.data : pick(x.data, positions(x.shape, shape)));

export class Network {
  // `constants` are tensors by their numbers.
  constructor({ sites, steps }, constants) {
    this.sites = sites;
    this.steps = steps;
    this.constants = constants;
  }

  // The item, as numbers, at codes.
  decode(codes) {
    const values = { ...this.constants };
    let column = 0;
    this.sites.forEach(({ classes, shape }, k) => {
      const units = size(shape) / (classes || 1);
      values[k] = { data: this.value(codes.slice(column, column + units), classes), shape };
      column += units;
    });
    const known = (argument) => {
      if (Array.isArray(argument)) return argument.map(known);
      return argument?.value === undefined ? argument : values[argument.value];
    };
    for (const { operation, arguments: given, result, shape } of this.steps) {
      const run = OPERATIONS[operation] ?? copied;
      values[result] = { data: run(given.map(known), shape), shape };
    }
    return values[this.steps.at(-1).result].data;
  }

  // A site's numbers: as they are, or one-hot classes.
  value(codes, classes) {
    if (!classes) return Float32Array.from(codes);
    const data = new Float32Array(codes.length * classes);
    codes.forEach((code, k) => (data[k * classes + Math.min(Math.max(Math.round(code), 0), classes - 1)] = 1));
    return data;
  }
}
