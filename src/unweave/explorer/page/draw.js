// Elements, colours, and the curves behind sliders.

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

const CLASSES = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0], [204, 121, 167],
  [86, 180, 233], [150, 130, 20], [120, 90, 200], [120, 120, 120], [170, 60, 60],
];

export const classColour = (k) => (k < 0 ? [190, 190, 190] : CLASSES[k % CLASSES.length]);

// From blue over grey to orange.
export function ramp(t) {
  const ends = [[33, 102, 172], [190, 190, 185], [200, 90, 20]];
  const at = Math.min(Math.max(t, 0), 1) * 2;
  const [low, high] = at < 1 ? [ends[0], ends[1]] : [ends[1], ends[2]];
  const share = at < 1 ? at : at - 1;
  return low.map((value, c) => Math.round(value + share * (high[c] - value)));
}

// Draw how the data and the prior use a unit's values between two ends.
export function curves(canvas, unit) {
  const ratio = devicePixelRatio || 1;
  const width = (canvas.width = canvas.clientWidth * ratio);
  const height = (canvas.height = canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  const top = Math.max(...unit.histogram, ...unit.prior);
  const x = (value) => (width * (value - unit.ends[0])) / (unit.ends[1] - unit.ends[0]);
  const cell = width / unit.histogram.length;
  context.fillStyle = css("--rule");
  const stripes = (from, to) => {
    for (let at = from; at < to; at += 4 * ratio) context.fillRect(at, 0, 2 * ratio, height);
  };
  stripes(0, x(unit.used[0]));
  stripes(x(unit.used[1]), width);
  context.globalAlpha = 0.55;
  context.fillStyle = css("--accent");
  unit.histogram.forEach((share, k) => {
    const high = (height * share) / top;
    context.fillRect(k * cell, height - high, cell + 0.5, high);
  });
  context.globalAlpha = 1;
  context.strokeStyle = css("--soft");
  context.lineWidth = 1.2 * ratio;
  context.beginPath();
  unit.prior.forEach((share, k) => context.lineTo((k + 0.5) * cell, height - (height - 1) * (share / top)));
  context.stroke();
}
