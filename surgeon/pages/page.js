"use strict";
// The page reads without this; with it sites can be ticked off, and modules be looked for.
const all = (what, where = document) => [...where.querySelectorAll(what)];
const one = (name) => document.getElementById(name);
const stages = all(".stage"), units = all(".unit"), boxes = all("input[data-n]");
const marks = new Map(all("svg [data-n]").map((mark) => [mark.dataset.n, mark]));
// As it came: some browsers keep what a field held before a reload.
const plan = one("plan") && JSON.parse(one("plan").defaultValue);

function compact(number) {
  for (const [unit, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (number >= size * 0.9995) return (number / size).toPrecision(3) + " " + unit;
  }
  return String(number);
}

// What is ticked, everywhere that the page tells of it.
function tell() {
  const on = boxes.filter((box) => box.checked).map((box) => Number(box.dataset.n)).sort((a, b) => a - b);
  const sites = on.map((number) => plan.sites[number]);
  const sum = (name) => sites.every((site) => site[name] !== null) && sites.reduce((total, site) => total + site[name], 0);
  const parameters = sum("parameters"), macs = sum("macs");
  one("plan").value = JSON.stringify({ ...plan, sites }, null, 2);
  one("sites").textContent = on.length.toLocaleString("en");
  one("parameters").textContent = parameters === false ? "?" : "+" + parameters.toLocaleString("en");
  one("macs").textContent = macs === false ? "?" : "+" + compact(macs);
  one("told").textContent = `${on.length.toLocaleString("en")} of ${boxes.length.toLocaleString("en")} sites`;
  one("save").disabled = !on.length;
  for (const box of boxes) {
    box.closest("li").classList.toggle("off", !box.checked);
    marks.get(box.dataset.n).classList.toggle("off", !box.checked);
  }
  for (const every of all("[data-every]")) {
    const states = all("input[data-n]", every.closest(".stage")).map((box) => box.checked);
    every.checked = states.every(Boolean);
    every.indeterminate = !every.checked && states.some(Boolean);
  }
}
function tick(every) {
  for (const box of all("input[data-n]", every.closest(".stage"))) box.checked = every.checked;
  tell();
}

// Hide what does not have the words in it, and open what does; forget it all when nothing is looked for.
let before = null;
function find(words) {
  if (!words) {
    units.forEach((unit) => (unit.hidden = false));
    stages.forEach((stage, number) => { stage.hidden = false; if (before) stage.open = before[number]; });
    before = null;
  } else {
    before = before || stages.map((stage) => stage.open);
    for (const stage of stages) {
      const named = has(stage.querySelector(".name b"), words), inside = all(".unit", stage);
      inside.forEach((unit) => (unit.hidden = !named && !has(unit, words)));
      stage.hidden = inside.every((unit) => unit.hidden);
      stage.open = !stage.hidden;
    }
  }
  const shown = units.filter((unit) => !unit.hidden).length;
  one("nothing").hidden = shown > 0;
  if (words) one("told").textContent = `${shown} of ${units.length} modules`;
  else if (plan) tell();
  else one("told").textContent = "";
}
const plain = (text) => text.toLowerCase().replace(/\s*×\s*/g, "x").replace(/\b(\d+) x (?=\d)/g, "$1x");
const has = (element, words) => plain(element.textContent).includes(words);

function toast(button, text) {
  const said = button.textContent;
  button.textContent = text;
  setTimeout(() => (button.textContent = said), 1200);
}
async function copy(button) {
  const source = one(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    toast(button, "Copied");
  } catch {
    getSelection().selectAllChildren(source);
    if (source.select) source.select();
    toast(button, "Selected");
  }
}
function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([one("plan").value + "\n"], { type: "application/json" }));
  link.download = "plan.json";
  link.click();
  URL.revokeObjectURL(link.href);
}

all(".tools").forEach((tools) => (tools.hidden = false));
one("find").addEventListener("input", (event) => find(plain(event.target.value.trim())));
one("unfold").addEventListener("click", () => {
  const open = stages.some((stage) => !stage.open);
  stages.forEach((stage) => (stage.open = open));
});
document.addEventListener("keydown", (event) => {
  const field = one("find");
  if (event.key === "/" && document.activeElement !== field) { event.preventDefault(); field.focus(); }
  if (event.key === "Escape" && document.activeElement === field) { field.value = ""; find(""); }
});
stages.forEach((stage) => stage.addEventListener("toggle", () => {
  one("unfold").textContent = stages.some((other) => !other.open) ? "Open all" : "Close all";
}));
if (plan) {
  boxes.forEach((box) => box.addEventListener("change", tell));
  all("[data-every]").forEach((every) => every.addEventListener("change", () => tick(every)));
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
  one("save").addEventListener("click", save);
  // A reload keeps ticks as they were.
  tell();
}
