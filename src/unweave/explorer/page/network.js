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

// x (batch, rows, inputs) times w (batch, inputs, outputs), on top of what is there; matrices are a batch of one.
function multiply(x, w, out) {
  const [rows, inputs] = x.shape.slice(-2);
  const outputs = w.shape.at(-1);
  const batch = size(x.shape.slice(0, -2));
  for (let row = 0; row < batch * rows; row++) {
    const matrix = Math.floor(row / rows) * inputs * outputs;
    for (let i = 0; i < inputs; i++) {
      const value = x.data[row * inputs + i];
      if (value === 0) continue;
      const weights = matrix + i * outputs;
      for (let o = 0; o < outputs; o++) out[row * outputs + o] += value * w.data[weights + o];
    }
  }
  return out;
}

// For each cell of a shape, the cell that it falls on as some dimensions are summed.
function summed(shape, dims) {
  const all = !dims || !dims.length;
  const isGone = shape.map((_, d) => all || dims.some((dim) => positive(dim, shape.length) === d));
  const kept = shape.map((length, d) => (isGone[d] ? 1 : length));
  const of = strides(kept);
  return walk(shape, shape.map((_, d) => (isGone[d] ? 0 : of[d])));
}

function sum(x, dims, shape) {
  const out = new Float32Array(size(shape));
  summed(x.shape, dims).forEach((cell, k) => (out[cell] += x.data[k]));
  return out;
}

function largest(x, dims, shape) {
  const out = new Float32Array(size(shape)).fill(-Infinity);
  summed(x.shape, dims).forEach((cell, k) => (out[cell] = Math.max(out[cell], x.data[k])));
  return out;
}

// log Σ exp over some dimensions, with the cell on which each of x falls.
function logSumExp(x, dims, shape) {
  const cells = summed(x.shape, dims);
  const most = largest(x, dims, shape);
  const out = new Float32Array(size(shape));
  cells.forEach((cell, k) => (out[cell] += Math.exp(x.data[k] - most[cell])));
  return [out.map((total, cell) => most[cell] + Math.log(total)), cells];
}

function logSoftmax(x, dim) {
  const kept = x.shape.map((length, d) => (d === positive(dim, x.shape.length) ? 1 : length));
  const [logs, cells] = logSumExp(x, [dim], kept);
  return x.data.map((value, k) => value - logs[cells[k]]);
}

// x[…, numbers, …], for numbers along one dimension.
function indexed(x, indices, shape) {
  const at = indices.findIndex((one) => one !== null);
  const numbers = indices[at].data;
  const inner = size(x.shape.slice(at + 1));
  const length = x.shape[at];
  const out = new Float32Array(size(shape));
  const outer = size(x.shape.slice(0, at));
  for (let i = 0; i < outer; i++) {
    for (let k = 0; k < numbers.length; k++) {
      const begin = (i * length + positive(numbers[k], length)) * inner;
      out.set(x.data.slice(begin, begin + inner), (i * numbers.length + k) * inner);
    }
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

function stacked(parts, dim, shape) {
  const at = positive(dim, shape.length);
  const thin = shape.map((length, d) => (d === at ? 1 : length));
  return concatenated(parts.map(({ data }) => ({ data, shape: thin })), at, shape);
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

// The two cells of a line, and the share of the second, between which each cell of a longer or shorter line lies.
function between(from, to, aligned, scale) {
  const step = aligned ? (to > 1 ? (from - 1) / (to - 1) : 0) : scale ? 1 / scale : from / to;
  return [...Array(to).keys()].map((k) => {
    const at = aligned ? k * step : Math.max((k + 0.5) * step - 0.5, 0);
    const low = Math.min(Math.floor(at), from - 1);
    return [low, Math.min(low + 1, from - 1), at - low];
  });
}

// Images (1, c, h, w) in another size, each pixel between four.
function resized(x, aligned, scales, shape) {
  const [height, width] = x.shape.slice(2);
  const rows = between(height, shape[2], aligned, scales[0]);
  const columns = between(width, shape[3], aligned, scales[1]);
  const out = new Float32Array(size(shape));
  let cell = 0;
  for (let plane = 0; plane < shape[0] * shape[1]; plane++) {
    const line = (row, column) => x.data[(plane * height + row) * width + column];
    for (const [top, bottom, down] of rows) {
      for (const [left, right, across] of columns) {
        const above = (1 - across) * line(top, left) + across * line(top, right);
        const below = (1 - across) * line(bottom, left) + across * line(bottom, right);
        out[cell++] = (1 - down) * above + down * below;
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
  bmm: ([x, w], shape) => multiply(x, w, new Float32Array(size(shape))),
  sum: ([x, dims], shape) => sum(x, Array.isArray(dims) ? dims : null, shape),
  mean: ([x, dims], shape) => sum(x, Array.isArray(dims) ? dims : null, shape).map((total) => (total * size(shape)) / size(x.shape)),
  logsumexp: ([x, dims], shape) => logSumExp(x, dims, shape)[0],
  _softmax: ([x, dim]) => logSoftmax(x, dim).map(Math.exp),
  _log_softmax: ([x, dim]) => logSoftmax(x, dim),
  index: ([x, indices], shape) => indexed(x, indices, shape),
  cat: ([parts, dim], shape) => concatenated(parts, dim, shape),
  stack: ([parts, dim], shape) => stacked(parts, dim ?? 0, shape),
  permute: ([x, order], shape) => permuted(x, order, shape),
  t: ([x], shape) => swapped(x, 0, 1, shape),
  transpose: ([x, one, two], shape) => swapped(x, one, two, shape),
  convolution: ([x, w, bias, stride, padding, , transposed], shape) =>
    convolved(x, w, bias, stride, padding, transposed, shape),
  upsample_bilinear2d: ([x, , aligned, ...scales], shape) => resized(x, aligned, scales, shape),
  select: ([x, dim, index], shape) => selected(x, dim, index, shape),
  slice: ([x, dim, start, , step], shape) => sliced(x, dim ?? 0, start ?? 0, step ?? 1, shape),
  add: ([a, b], shape) => pairwise((x, y) => x + y)(a, b, shape),
  sub: ([a, b], shape) => pairwise((x, y) => x - y)(a, b, shape),
  mul: ([a, b], shape) => pairwise((x, y) => x * y)(a, b, shape),
  div: ([a, b], shape) => pairwise((x, y) => x / y)(a, b, shape),
  rsub: ([a, b, alpha], shape) => pairwise((x, y) => y - (alpha ?? 1) * x)(a, b, shape),
  pow: ([a, b], shape) => pairwise((x, y) => x ** y)(a, b, shape),
  lt: ([a, b], shape) => pairwise((x, y) => Number(x < y))(a, b, shape),
  gt: ([a, b], shape) => pairwise((x, y) => Number(x > y))(a, b, shape),
  abs: ([x]) => each(Math.abs)(x),
  expm1: ([x]) => each(Math.expm1)(x),
  log1p: ([x]) => each(Math.log1p)(x),
  clamp_min: ([x, low]) => each((value) => Math.max(value, low))(x),
  clamp_max: ([x, high]) => each((value) => Math.min(value, high))(x),
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

// Operations with several results: (arguments, shapes of the results) to the numbers of each.
const SEVERAL = {
  unbind: ([x, dim], shapes) => shapes.map((shape, k) => selected(x, dim ?? 0, k, shape)),
  split: ([x, length, dim], shapes) => shapes.map((shape, k) => sliced(x, dim ?? 0, k * length, 1, shape)),
  split_with_sizes: ([x, lengths, dim], shapes) => {
    const starts = lengths.map((_, k) => lengths.slice(0, k).reduce((a, b) => a + b, 0));
    return shapes.map((shape, k) => sliced(x, dim ?? 0, starts[k], 1, shape));
  },
};

// Whatever else there is keeps the numbers, and copies them to a larger shape.
const copied = ([x], shape) => (size(x.shape) === size(shape) ? x.data : pick(x.data, positions(x.shape, shape)));

export class Network {
  // `constants` are tensors by their numbers.
  constructor({ sites, steps, result }, constants) {
    Object.assign(this, { sites, steps, result, constants });
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
    for (const { operation, arguments: given, results, shapes } of this.steps) {
      const of = given.map(known);
      const made = SEVERAL[operation]?.(of, shapes) ?? [(OPERATIONS[operation] ?? copied)(of, shapes[0])];
      results.forEach((number, k) => (values[number] = { data: made[k], shape: shapes[k] }));
    }
    return values[this.result].data;
  }

  // A site's numbers: as they are, or one-hot classes.
  value(codes, classes) {
    if (!classes) return Float32Array.from(codes);
    const data = new Float32Array(codes.length * classes);
    codes.forEach((code, k) => (data[k * classes + Math.min(Math.max(Math.round(code), 0), classes - 1)] = 1));
    return data;
  }
}
