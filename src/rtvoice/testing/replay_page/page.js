"use strict";
const RATE = 24000;
const PEAKS_PER_S = 100;
const session = JSON.parse(document.getElementById("session").textContent);
const duration = Math.max(session.duration, 0.01);
const $ = (id) => document.getElementById(id);
const audio = new Audio();

// --- sound: mu-law pieces become two tracks, a stereo WAV file for the browser, and peaks to draw ---

function decodeTrack(pieces) {
  const track = new Int16Array(Math.ceil(duration * RATE) + 1);
  for (const piece of pieces) {
    const codes = atob(piece.audio);
    const first = Math.round(piece.start * RATE);
    for (let i = 0; i < codes.length && first + i < track.length; i++) {
      const code = ~codes.charCodeAt(i) & 0xff;
      const magnitude = ((((code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84;
      track[first + i] = code & 0x80 ? -magnitude : magnitude;
    }
  }
  return track;
}

function wavFile(left, right) {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); header.setUint32(4, 36 + left.length * 4, true); text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 2, true);
  header.setUint32(24, RATE, true); header.setUint32(28, RATE * 4, true); header.setUint16(32, 4, true);
  header.setUint16(34, 16, true); text(36, "data"); header.setUint32(40, left.length * 4, true);
  const both = new Int16Array(left.length * 2);
  for (let i = 0; i < left.length; i++) {
    const middle = (left[i] + right[i]) >> 2; // not hard left and right: easier on headphones
    both[2 * i] = (left[i] >> 1) + middle;
    both[2 * i + 1] = (right[i] >> 1) + middle;
  }
  return new Blob([header, both], { type: "audio/wav" });
}

function peaksOf(track) {
  const step = RATE / PEAKS_PER_S;
  const peaks = new Float32Array(Math.ceil(track.length / step));
  for (let i = 0; i < track.length; i++) {
    const level = Math.abs(track[i]) / 32768;
    const at = Math.floor(i / step);
    if (level > peaks[at]) peaks[at] = level;
  }
  return peaks;
}

const sound = session.sound ?? { user: [], assistant: [] };
const tracks = { user: decodeTrack(sound.user), assistant: decodeTrack(sound.assistant) };
const peaks = { user: peaksOf(tracks.user), assistant: peaksOf(tracks.assistant) };
const loudest = Math.max(0.02, ...["user", "assistant"].map((who) => peaks[who].reduce((a, b) => Math.max(a, b), 0)));
audio.src = URL.createObjectURL(wavFile(tracks.user, tracks.assistant));
audio.preload = "auto";

// --- the time line ---

const canvas = $("timeline");
const view = { from: 0, to: duration };
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  const x = (seconds) => ((seconds - view.from) / (view.to - view.from)) * width;
  const ruler = 16, toolLane = 26;
  const lane = (height - ruler - toolLane) / 2;
  const middles = { user: ruler + lane / 2, assistant: ruler + lane * 1.5 };
  drawRuler(pen, x, width, height);
  for (const row of session.rows) {
    if (row.kind in middles && !row.written) drawSpan(pen, x, row, middles[row.kind], lane);
  }
  for (const who of ["user", "assistant"]) drawWave(pen, width, peaks[who], middles[who], lane, color(who));
  for (const row of session.rows) drawMark(pen, x, row, { ruler, height, toolLane, middles, lane });
  pen.fillStyle = color("text");
  pen.fillRect(x(audio.currentTime) - 1, 0, 2, height);
}

function drawRuler(pen, x, width, height) {
  const wanted = ((view.to - view.from) / width) * 90;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800].find((s) => s >= wanted) ?? 3600;
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    pen.fillStyle = color("line");
    pen.fillRect(x(at), 0, 1, height);
    pen.fillStyle = color("soft");
    pen.fillText(clock(at, step < 1), x(at) + 4, 11);
  }
}

function drawSpan(pen, x, row, middle, lane) {
  pen.globalAlpha = 0.14;
  pen.fillStyle = color(row.kind);
  pen.beginPath();
  pen.roundRect(x(row.start), middle - lane / 2 + 3, Math.max(2, x(row.end) - x(row.start)), lane - 6, 6);
  pen.fill();
  pen.globalAlpha = 1;
}

function drawWave(pen, width, levels, middle, lane, fill) {
  pen.fillStyle = fill;
  const perPixel = ((view.to - view.from) * PEAKS_PER_S) / width;
  for (let pixel = 0; pixel < width; pixel++) {
    const first = Math.floor(view.from * PEAKS_PER_S + pixel * perPixel);
    const last = Math.max(first + 1, Math.floor(first + perPixel));
    let level = 0;
    for (let i = first; i < last && i < levels.length; i++) level = Math.max(level, levels[i]);
    const half = Math.max(level > 0 ? 0.5 : 0.25, Math.sqrt(level / loudest) * (lane / 2 - 6));
    pen.fillRect(pixel, middle - half, 1, 2 * half);
  }
}

function drawMark(pen, x, row, { ruler, height, toolLane, middles, lane }) {
  if (row.kind === "tool") {
    const left = x(row.start), right = Math.max(left + 3, x(row.end ?? duration)), top = height - toolLane + 5;
    pen.fillStyle = color(row.success === false ? "stop" : "tool");
    pen.beginPath();
    pen.roundRect(left, top, right - left, 5, 2.5);
    pen.fill();
    pen.fillText(row.name, left, top + 17);
  } else if (row.kind === "assistant" && row.latency_ms !== null) {
    const left = x(row.start - row.latency_ms / 1000), right = x(row.start);
    pen.fillStyle = color("wait");
    pen.fillRect(left, middles.assistant, right - left, 1.5);
    const label = milliseconds(row.latency_ms);
    if (pen.measureText(label).width + 6 < right - left) pen.fillText(label, left + 3, middles.assistant - 5);
  } else if (["interruption", "error", "connection"].includes(row.kind)) {
    const at = x(row.start);
    pen.strokeStyle = pen.fillStyle = color(row.kind === "connection" ? "soft" : "stop");
    pen.lineWidth = 1.5;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(at, ruler);
    pen.lineTo(at, height - toolLane);
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    pen.moveTo(at - 5, ruler);
    pen.lineTo(at + 5, ruler);
    pen.lineTo(at, ruler + 8);
    pen.fill();
  }
}

function zoom(factor) {
  const length = Math.min(duration, Math.max(0.5, (view.to - view.from) * factor));
  const from = Math.min(Math.max(0, audio.currentTime - length / 2), duration - length);
  view.from = factor === Infinity ? 0 : from;
  view.to = factor === Infinity ? duration : from + length;
  draw();
}

// --- the conversation ---

function clock(seconds, tenths = true) {
  const minutes = Math.floor(seconds / 60), rest = seconds - 60 * minutes;
  return `${minutes}:${(tenths ? rest.toFixed(1) : Math.round(rest).toString()).padStart(tenths ? 4 : 2, "0")}`;
}

function milliseconds(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function wordsOf(row) {
  const words = element("div", "words");
  if (row.kind === "tool") {
    words.append(element("code", "", `${row.name}(${row.arguments})`));
    const took = row.end === null ? "did not return" : `returned after ${milliseconds((row.end - row.start) * 1000)}`;
    const outcome = row.success === false ? ", failed" : "";
    words.append(element("span", "note", `${took}${outcome}${row.output === null ? "" : `: ${row.output}`}`));
    return words;
  }
  if (row.kind === "assistant" && row.text.startsWith(row.heard) && row.heard !== row.text) {
    words.append(element("span", "", row.heard), element("span", "unheard", row.text.slice(row.heard.length)));
  } else {
    words.append(element("span", "", row.text || "(no words known)"));
  }
  const notes = [];
  if (row.written) notes.push("in writing");
  if (row.kind === "assistant" && row.latency_ms !== null) notes.push(`first sound after ${milliseconds(row.latency_ms)}`);
  if (row.kind === "assistant" && row.played_ms !== null) notes.push(`interrupted: ${milliseconds(row.played_ms)} were heard`);
  if (notes.length) words.append(element("span", "note", notes.join("; ")));
  return words;
}

const items = session.rows.map((row) => {
  const item = element("li", row.kind);
  const time = element("button", "time", clock(row.start));
  time.type = "button";
  time.setAttribute("aria-label", `Go to ${clock(row.start)}, ${row.kind}`);
  time.addEventListener("click", () => goTo(row.start));
  item.append(time, element("span", "who", row.kind), wordsOf(row));
  $("rows").append(item);
  return item;
});

// --- playback ---

function goTo(seconds) {
  audio.currentTime = Math.min(Math.max(0, seconds), duration);
  show();
}

function toggle() {
  if (!audio.paused) audio.pause();
  else audio.play();
}

function show() {
  const now = audio.currentTime;
  const length = view.to - view.from;
  if (now < view.from || now > view.to) {
    view.from = Math.min(Math.max(0, now - length * 0.1), duration - length);
    view.to = view.from + length;
  }
  $("seek").value = now;
  $("seek").setAttribute("aria-valuetext", clock(now));
  $("clock").textContent = `${clock(now)} / ${clock(duration)}`;
  let current = -1;
  session.rows.forEach((row, i) => { if (row.start <= now + 0.01) current = i; });
  items.forEach((item, i) => {
    if (i === current) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  });
  draw();
}

function follow() {
  show();
  if (!audio.paused) requestAnimationFrame(follow);
}

function showState() {
  $("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  $("icon").setAttribute("d", audio.paused ? "M7 4v16l13-8z" : "M6 4h4v16H6zM14 4h4v16h-4z");
  follow();
}

$("seek").max = duration;
$("seek").addEventListener("input", () => goTo(Number($("seek").value)));
$("play").addEventListener("click", toggle);
$("speed").addEventListener("change", () => { audio.playbackRate = Number($("speed").value); });
$("in").addEventListener("click", () => zoom(0.5));
$("out").addEventListener("click", () => zoom(2));
$("fit").addEventListener("click", () => zoom(Infinity));
canvas.addEventListener("click", (event) => {
  goTo(view.from + (event.offsetX / canvas.clientWidth) * (view.to - view.from));
});
for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, showState);
audio.addEventListener("seeked", show);
document.addEventListener("keydown", (event) => {
  const onControl = event.target.closest("button, select, input");
  const step = event.shiftKey ? 5 : 1;
  if (event.key === " " && (!onControl || event.target.id === "seek")) toggle();
  else if (event.key === "ArrowLeft" && event.target.tagName !== "SELECT") goTo(audio.currentTime - step);
  else if (event.key === "ArrowRight" && event.target.tagName !== "SELECT") goTo(audio.currentTime + step);
  else return;
  event.preventDefault();
});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
show();
