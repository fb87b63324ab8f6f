// The time line of sequences: it plays films, and chooses the step whose units are shown.

import { element } from "./draw.js";

const RATE = 8; // frames a second

export class TimeLine {
  // `films` are pictures with frames, or null; `steps` how many steps of sites there are; `show` is told the time.
  constructor(place, films, steps, show) {
    this.length = Math.max(films?.frames ?? 0, steps);
    this.films = films;
    this.show = show;
    this.time = 0;
    place.hidden = this.length < 2;
    if (place.hidden) return;
    const name = films ? "frame" : "step";
    this.input = element("input", { type: "range", min: 0, max: this.length - 1, step: 1, value: 0, ariaLabel: name });
    this.said = element("span", { className: "soft" });
    this.name = name;
    this.input.addEventListener("input", () => {
      this.pause();
      this.to(Number(this.input.value));
    });
    place.append(this.input, this.said);
    if (films) {
      this.button = element("button", { id: "play", textContent: "Play" });
      this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
      place.prepend(this.button);
    }
    this.to(0);
  }

  to(time) {
    this.time = Math.min(Math.max(time, 0), this.length - 1);
    this.input.value = this.time;
    this.said.textContent = `${this.name} ${this.time + 1} of ${this.length}`;
    this.films?.show(this.time);
    if (!this.playing) this.show(this.time);
  }

  play() {
    this.playing = setInterval(() => this.to((this.time + 1) % this.length), 1000 / RATE);
    this.button.textContent = "Pause";
  }

  pause() {
    if (!this.playing) return;
    clearInterval(this.playing);
    this.playing = null;
    this.button.textContent = "Play";
    this.show(this.time);
  }
}
