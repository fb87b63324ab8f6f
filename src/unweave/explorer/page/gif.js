// An animated GIF of frames: a palette of at most 256 colours, and the compression of Welch (1984).

const MOST_COLOURS = 256;

// The palette of frames, [r, g, b] each: all colours if they are few, else the means of boxes that are cut at medians.
function paletteOf(frames) {
  const counts = new Map();
  for (const { data } of frames) {
    for (let i = 0; i < data.length; i += 4) {
      const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
      counts.set(colour, (counts.get(colour) ?? 0) + 1);
    }
  }
  const colours = [...counts].map(([colour, count]) => ({ rgb: [colour >> 16, (colour >> 8) & 255, colour & 255], count }));
  if (colours.length <= MOST_COLOURS) return colours.map(({ rgb }) => rgb);
  return boxes(colours).map(mean);
}

const range = (box, c) => {
  const values = box.map(({ rgb }) => rgb[c]);
  return values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b));
};

// Cut the box that is widest, where half of its pixels are below, until there are as many boxes as colours.
function boxes(colours) {
  const made = (box) => {
    const ranges = [0, 1, 2].map((c) => range(box, c));
    const widest = ranges.indexOf(Math.max(...ranges));
    return { box, widest, size: ranges[widest] * Math.log2(1 + box.length) };
  };
  const found = [made(colours)];
  while (found.length < MOST_COLOURS) {
    found.sort((a, b) => a.size - b.size);
    const { box, widest } = found.pop();
    box.sort((a, b) => a.rgb[widest] - b.rgb[widest]);
    const half = box.reduce((sum, { count }) => sum + count, 0) / 2;
    let [below, at] = [box[0].count, 1];
    while (below < half && at < box.length - 1) below += box[at++].count;
    found.push(made(box.slice(0, at)), made(box.slice(at)));
  }
  return found.map(({ box }) => box);
}

function mean(box) {
  const total = box.reduce((sum, { count }) => sum + count, 0);
  return [0, 1, 2].map((c) => Math.round(box.reduce((sum, { rgb, count }) => sum + rgb[c] * count, 0) / total));
}

// A function from a colour to the number of the nearest one of the palette.
function nearest(palette) {
  const known = new Map();
  return (r, g, b) => {
    const key = (r << 16) | (g << 8) | b;
    if (known.has(key)) return known.get(key);
    let [found, least] = [0, Infinity];
    palette.forEach((colour, k) => {
      const apart = (colour[0] - r) ** 2 + (colour[1] - g) ** 2 + (colour[2] - b) ** 2;
      if (apart < least) [found, least] = [k, apart];
    });
    known.set(key, found);
    return found;
  };
}

// The bytes of numbers below 256: codes of growing length for strings that were seen before.
function compressed(numbers) {
  const [clear, end] = [256, 257];
  const bytes = [];
  let [held, bits] = [0, 0];
  const write = (code, length) => {
    held |= code << bits;
    bits += length;
    for (; bits >= 8; bits -= 8, held >>>= 8) bytes.push(held & 255);
  };
  let [known, next, length] = [new Map(), end + 1, 9];
  write(clear, length);
  let string = numbers[0];
  for (const number of numbers.subarray(1)) {
    const longer = (string << 8) | number;
    if (known.has(longer)) {
      string = known.get(longer);
      continue;
    }
    write(string, length);
    if (next < 4096) {
      if (next === 1 << length) length++;
      known.set(longer, next++);
    } else {
      write(clear, length);
      [known, next, length] = [new Map(), end + 1, 9];
    }
    string = number;
  }
  write(string, length);
  if (next === 1 << length && length < 12) length++;
  write(end, length);
  if (bits) bytes.push(held & 255);
  return bytes;
}

const two = (number) => [number & 255, number >> 8];

// Frames, ImageData of one size, as the bytes of a GIF that begins again at its end; `pause` in hundredths of a second.
export function gif(frames, pause) {
  const [{ width, height }] = frames;
  const palette = paletteOf(frames);
  const number = nearest(palette);
  const parts = [];
  const add = (...bytes) => parts.push(Uint8Array.from(bytes));
  const text = (letters) => [...letters].map((letter) => letter.charCodeAt(0));
  add(...text("GIF89a"), ...two(width), ...two(height), 0xf7, 0, 0);
  const table = new Uint8Array(3 * 256);
  palette.forEach((colour, k) => table.set(colour, 3 * k));
  parts.push(table);
  add(0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0);
  for (const { data } of frames) {
    add(0x21, 0xf9, 4, 4, ...two(pause), 0, 0, 0x2c, 0, 0, 0, 0, ...two(width), ...two(height), 0, 8);
    const numbers = new Uint8Array(width * height);
    for (let i = 0; i < numbers.length; i++) numbers[i] = number(data[4 * i], data[4 * i + 1], data[4 * i + 2]);
    const packed = compressed(numbers);
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.slice(at, at + 255);
      add(block.length, ...block);
    }
    add(0);
  }
  add(0x3b);
  return new Blob(parts, { type: "image/gif" });
}
