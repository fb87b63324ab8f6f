// A run inside the page: its arrays, and its decoder as operations or on a grid. No server, no network.

import { Grid } from "./grid.js";
import { measured } from "./information.js";
import { Network } from "./network.js";

const text = (id) => document.getElementById(id).textContent;

async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

export class Embedded {
  static isHere = () => document.getElementById("embedded") !== null;

  static async open() {
    const content = JSON.parse(text("embedded"));
    return new Embedded(content, await unpacked(text("arrays")));
  }

  constructor({ run, decoders, arrays }, buffer) {
    this.described = run;
    this.bytes = (name) => buffer.slice(...arrays[name]);
    this.has = (name) => name in arrays;
    this.pictures = this.bytes("pictures");
    this.isBytes = ["image", "film"].includes(run.pictures.kind);
    this.decoders = decoders.map((decoder, number) => this.decoder(decoder, number));
    const reasons = decoders.map(({ reason }) => reason).filter(Boolean);
    this.note = reasons.length ? `pictures are interpolated on a grid, as ${reasons[0]}` : "";
  }

  decoder(content, number) {
    if (content.grid) {
      const pictures = this.bytes(`grid/${number}`);
      return new Grid(content, this.isBytes ? new Uint8Array(pictures) : new Float32Array(pictures));
    }
    const constants = Object.entries(content.constants).map(([k, shape]) => {
      return [k, { data: new Float32Array(this.bytes(`constant/${number}/${k}`)), shape }];
    });
    return new Network(content, Object.fromEntries(constants));
  }

  async run() {
    return this.described;
  }

  async numbers(name) {
    if (!this.has(name)) throw new Error(`${name} is not in this file: unweave explore shows it`);
    return new Float32Array(this.bytes(name));
  }

  async item(number) {
    const length = this.pictures.byteLength / this.described.items;
    return this.pictures.slice(number * length, (number + 1) * length);
  }

  // Pictures one after another: bytes of images, else numbers.
  async decode(rows, channel, run = 0) {
    const decoder = this.decoders[run];
    const items = rows.map((codes) => decoder.decode(codes));
    const length = items[0].length;
    const joined = this.isBytes ? new Uint8ClampedArray(rows.length * length) : new Float32Array(rows.length * length);
    const scale = this.isBytes && decoder instanceof Network ? 255 : 1; // a grid has bytes
    items.forEach((item, k) => joined.set(item.map((value) => value * scale), k * length));
    return joined.buffer;
  }

  async select(items) {
    return measured(this.described, items, (name) => (this.has(name) ? new Float32Array(this.bytes(name)) : null));
  }

  async name() {
    throw new Error(`names are kept in the run's folder: unweave explore ${this.described.folder}`);
  }
}
