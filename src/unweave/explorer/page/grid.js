// A decoder's pictures with one unit moved at a time, added up: an interpolation, not the decoder.

export class Grid {
  // `pictures` holds the bases, then for each base the pictures of each unit's values.
  constructor({ grid, bases, column }, pictures) {
    this.moved = grid;
    this.bases = bases;
    this.column = column; // of the class, null if there is none
    const each = grid.reduce((total, { values }) => total + values.length, 0);
    this.length = pictures.length / (bases.length * (1 + each));
    this.each = each;
    this.picture = (k) => pictures.subarray(k * this.length, (k + 1) * this.length);
  }

  decode(codes) {
    const last = this.bases.length - 1;
    const at = this.column === null ? 0 : Math.min(Math.max(Math.round(codes[this.column]), 0), last);
    const base = this.picture(at);
    const sum = Float32Array.from(base);
    let first = this.bases.length + at * this.each;
    for (const { column, values } of this.moved) {
      if (column !== this.column) this.add(sum, base, first, values, codes[column]);
      first += values.length;
    }
    return sum;
  }

  // Add what a unit's value changes, between its two neighbours on the grid.
  add(sum, base, first, values, value) {
    const last = values.length - 1;
    const within = Math.min(Math.max(value, values[0]), values[last]);
    const below = Math.max(values.findLastIndex((one) => one <= within), 0);
    const above = Math.min(below + 1, last);
    const share = above > below ? (within - values[below]) / (values[above] - values[below]) : 0;
    const [low, high] = [this.picture(first + below), this.picture(first + above)];
    for (let i = 0; i < sum.length; i++) sum[i] += low[i] + share * (high[i] - low[i]) - base[i];
  }
}
