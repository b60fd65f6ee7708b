"use strict";
// Galleries: a slider and a button through the steps, a choice of views, and class and label of the image pointed at.

const PAUSE = 500; // milliseconds between frames
const SHOWN_DIGITS = 2;

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text; // never as HTML: class names come from the data set
  if (kind) made.className = kind;
  return made;
}

function steps(gallery) {
  const frames = JSON.parse(gallery.dataset.frames);
  const [start, end] = [".start", ".end"].map((part) => gallery.querySelector(part));
  const [slider, button, at] = [".step", ".play", ".at"].map((part) => gallery.querySelector(part));
  let view = Object.keys(frames)[0];
  let timer = null;

  function show() {
    const all = frames[view];
    const index = slider ? Math.min(Number(slider.value), all.length - 1) : 0;
    const [step, key] = all[index];
    end.dataset.sheet = key;
    if (start) start.dataset.sheet = all[0][1];
    if (!slider) return;
    const text = `step ${step.toLocaleString("en")}`;
    at.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    const which = index === 0 ? "Start" : index === all.length - 1 ? "End" : "In between";
    end.querySelector("figcaption").textContent = `${which}: after ${step.toLocaleString("en")} steps`;
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }
  function advance() {
    slider.value = Number(slider.value) + 1;
    show();
    if (slider.value === slider.max) stop();
  }

  if (slider) {
    slider.addEventListener("input", () => { stop(); show(); });
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (slider.value === slider.max) slider.value = 0;
      show();
      button.textContent = "Pause";
      timer = setInterval(advance, PAUSE);
    });
  }
  for (const radio of gallery.querySelectorAll("[type=radio]")) {
    radio.addEventListener("change", () => {
      view = radio.value;
      if (slider) slider.max = frames[view].length - 1;
      show();
    });
  }
  const controls = gallery.querySelector(".controls");
  if (controls) {
    controls.hidden = false;
    show();
  }
}

function labels(gallery) {
  const names = JSON.parse(gallery.dataset.names);
  const readout = gallery.querySelector(".readout");
  readout.hidden = false;

  function describe(tile) {
    const row = [...tile.closest(".tiles").children].indexOf(tile.closest(".class"));
    const column = [...tile.parentElement.children].indexOf(tile);
    const label = JSON.parse(tile.dataset.label || "[]");
    const most = Math.max(...label.map(([, value]) => Math.abs(value)), 1e-9);
    readout.replaceChildren(element("strong", `${names[row]}, image ${column + 1}`));
    if (label.length) readout.append(element("span", "label:", "quiet"));
    for (const [index, value] of label) {
      const entry = element("span", `${names[index] ?? index} ${value.toFixed(SHOWN_DIGITS)}`);
      const amount = element("span", "", "amount");
      amount.style.width = `${(60 * Math.max(value, 0)) / most}px`;
      entry.append(amount);
      readout.append(entry);
    }
  }
  for (const kind of ["pointerover", "focusin"]) {
    gallery.addEventListener(kind, (event) => {
      const tile = event.target.closest(".tile");
      if (tile) describe(tile);
    });
  }
}

function arrows(tiles) {
  const all = [...tiles.querySelectorAll(".tile")];
  const columns = Number(tiles.style.getPropertyValue("--columns"));
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };

  function focus(tile) {
    for (const other of all) other.tabIndex = other === tile ? 0 : -1;
    tile.focus();
  }
  tiles.addEventListener("keydown", (event) => {
    const from = all.indexOf(event.target);
    const ends = { Home: 0, End: all.length - 1 };
    const to = event.key in ends ? ends[event.key] : from + moves[event.key];
    if (!(to in all)) return;
    event.preventDefault();
    focus(all[to]);
  });
  tiles.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) focus(tile);
  });
}

for (const gallery of document.querySelectorAll(".gallery")) {
  steps(gallery);
  labels(gallery);
}
document.querySelectorAll(".tiles").forEach(arrows);
