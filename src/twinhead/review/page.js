"use strict";
const state = JSON.parse(document.getElementById("state").dataset.state);
const at = (id) => document.getElementById(id);
const queue = state.items;
let answered = state.answered, types = state.types, category = "", busy = false;
let seen = false; // whether the photograph that is asked about is on the screen
const lastTypes = {}; // by category
let choose = null; // what a name that is chosen does; null while none is asked for
// On a phone the heat map takes the photograph's place, so that both are large.
let heated = !matchMedia("(max-width: 44rem)").matches;

function current() { return queue[0]; }

function see(now) {
  seen = now;
  at("subject").setAttribute("aria-busy", !now);
}

function heat() {
  at("toggle").setAttribute("aria-pressed", heated);
  picture("heat", heated ? `heat/${current().number}` : "", "heat map");
}

function show() {
  closeChoice();
  const item = current();
  at("progress").textContent = `${answered} answered, ${queue.length} left`;
  document.querySelector("main").hidden = !item;
  at("end").hidden = !!item;
  at("ended").textContent = `${answered} photographs answered.`;
  if (!item) return;
  category = item.category;
  see(false);
  picture("photograph", `photograph/${item.number}`, item.path);
  heat();
  at("reason").textContent = `Why this one: ${item.reason}`;
  compare();
  const next = queue[1];
  if (next) {
    new Image().src = `photograph/${next.number}`;
    if (heated) new Image().src = `heat/${next.number}`;
  }
}

function compare() {
  const item = current(), place = state.categories.indexOf(category);
  for (const kind of ["nearest", "best", "worst"])
    picture(kind, place < 0 || !state.compares ? "" : `${kind}/${item.number}/${place}`, kind);
  const label = item.label ? `labelled ${item.label}` : "no label yet";
  const moved = category === item.category ? "" : " (as you said)";
  at("about").textContent = `${category}${moved}, ${label}; defect probability ` +
    `${(100 * item.probability).toFixed(1)}% (threshold ${(100 * item.threshold).toFixed(1)}%) · ${item.path}`;
}

function picture(id, source, about) {
  const image = at(id);
  const box = image.parentElement;
  const missing = (gone) => {
    image.hidden = gone;
    if (id === "heat") box.classList.toggle("alone", gone);
    else if (id !== "photograph") box.hidden = gone;
  };
  image.alt = about;
  image.style.visibility = "hidden"; // else the last one stays until this one is there
  if (id === "heat") box.classList.remove("mapped");
  image.onload = () => {
    image.style.visibility = "";
    if (id === "heat") box.classList.add("mapped");
    if (id === "photograph") see(true);
  };
  image.onerror = () => {
    missing(true);
    if (id !== "photograph") return;
    trouble(`${about}: can't be shown; it may have changed`);
    see(true);
  };
  missing(!source);
  if (source) image.src = source; else image.removeAttribute("src");
}

async function send(what, body) {
  if (busy) return null;
  busy = true;
  trouble("");
  try {
    const said = await fetch(what, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const found = await said.json();
    if (!said.ok) { trouble(found.error); return null; }
    return found;
  } catch (error) {
    trouble("The review has ended or can't be reached: this answer was not kept.");
    return null;
  } finally { busy = false; }
}

function trouble(text) { at("trouble").hidden = !text; at("trouble").textContent = text; }

async function answer(label, kind) {
  const item = current(), said = category;
  const done = await send("answer", { number: item.number, label, defect_type: kind, category });
  if (!done) return;
  if (label === "defective") lastTypes[said] = kind;
  ({ answered, types } = done);
  const place = queue.indexOf(item);
  if (place >= 0) queue.splice(place, 1);
  show();
}

async function undo() {
  const back = await send("undo", {});
  if (!back) return;
  answered = back.answered;
  if (back.warning) trouble(back.warning);
  queue.unshift(back.item);
  show();
}

function ask(question, names, chosen, own) {
  choose = chosen;
  at("question").textContent = question;
  const options = names.map((name, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    if (place < 9) {
      const key = document.createElement("kbd");
      key.textContent = place + 1;
      button.append(key);
    }
    button.onclick = () => take(name);
    return button;
  });
  at("options").replaceChildren(...options);
  at("name").value = "";
  at("name").placeholder = own;
  at("choice").hidden = false;
  (options[0] || at("name")).focus();
}

function take(name) {
  const chosen = choose;
  closeChoice();
  if (chosen && name) chosen(name);
}

function closeChoice() {
  choose = null;
  at("choice").hidden = true;
  if (document.activeElement) document.activeElement.blur();
}

function askType() {
  const last = lastTypes[category];
  const known = (types[category] || []).filter((name) => name !== last);
  if (last) known.unshift(last);
  ask("Which kind of defect?", known, (name) => answer("defective", name), "or a new kind");
}

function askCategory() {
  const known = state.categories.filter((name) => name !== category);
  ask("Which category is it?", known, (name) => { category = name; compare(); },
    "or a new category");
}

const KEYS = {
  g: () => answer("good", ""), d: askType, c: askCategory, x: () => answer("unusable", ""),
  s: () => { queue.push(queue.shift()); show(); },
  u: undo,
  h: () => { heated = !heated; heat(); },
  q: async () => { if (await send("stop", {})) { queue.length = 0; show(); } },
  Escape: closeChoice,
};

function press(key) {
  if (busy && key !== "Escape") return; // what is shown is being answered
  if (!current() && key !== "u" && key !== "q") return;
  if (!seen && "gdcx".includes(key)) return; // nobody has seen what would be answered
  if (KEYS[key]) KEYS[key]();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-key]");
  if (button) press(button.dataset.key);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === at("name");
  if (event.key === "Escape") { press("Escape"); return; }
  if (choose) {
    const options = [...at("options").children];
    if (!typing && /^[1-9]$/.test(event.key) && options[event.key - 1]) {
      event.preventDefault();
      options[event.key - 1].click();
    } else if (!typing && event.key.length === 1 && event.key !== " ") at("name").focus();
    return;
  }
  const key = event.key === "ArrowRight" ? "s" : event.key.toLowerCase();
  if (key !== "escape" && KEYS[key]) { event.preventDefault(); press(key); }
});
at("own").addEventListener("submit", (event) => {
  event.preventDefault();
  take(at("name").value.trim());
});
show();
