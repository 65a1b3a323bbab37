"use strict";

// The threshold: counts of the test images, and what they would be in 1,000 products.
for (const box of document.querySelectorAll(".explorer")) {
  const { steps, exact, test, val, chosen } = JSON.parse(box.dataset.curves);
  const slider = box.querySelector("[type=range]");
  const now = box.parentElement.querySelector("line.now");
  const out = (name, text) => { box.querySelector(`[data-out=${name}]`).textContent = text; };
  const given = name => Math.max(0, Number(box.querySelector(`[data-in=${name}]`).value) || 0);
  const rate = () => Math.min(100, given("rate")) / 100;
  const note = box.querySelector("[data-out=note]").textContent;
  const perThousand = (counts, at) => ({
    misses: 1000 * rate() * (counts.defective - counts.found[at]) / counts.defective,
    stops: 1000 * (1 - rate()) * counts.false[at] / counts.good,
  });
  // A miss or an alarm that can't happen costs nothing; one that wasn't measured isn't defined.
  const worth = ({ misses, stops }) => given("cost") * misses + stops;
  const say = value => Number.isFinite(value) ? value.toFixed(1) : "not defined";
  const show = () => {
    const at = Number(slider.value);
    const missed = test.defective - test.found[at];
    out("threshold", steps[at]);
    out("note", at === chosen ? note : "");
    const set = "-S evaluate.operating_point";
    out("command", ["dvc exp run", `${set}.rule=threshold`, `${set}.value=${exact[at]}`,
      `${set}.review=null`].join(" \\\n    "));
    out("once", `twinhead predict photos/ --threshold ${exact[at]}`);
    for (const [name, count, all] of [
      ["found", test.found[at], test.defective], ["missed", missed, test.defective],
      ["false", test.false[at], test.good], ["passed", test.good - test.false[at], test.good],
    ]) out(name, `${count} of ${all}`);
    const expected = perThousand(test, at);
    out("misses", say(expected.misses));
    out("stops", say(expected.stops));
    out("cost", say(worth(expected)));
    const x = 1000 * at / (steps.length - 1);
    now.setAttribute("x1", x);
    now.setAttribute("x2", x);
  };
  const cheapest = () => {
    const costs = steps.map((_, at) => worth(perThousand(val, at)));
    // Of equally cheap ones, the middle of the first run.
    const first = costs.indexOf(Math.min(...costs));
    let last = first;
    while (last + 1 < costs.length && costs[last + 1] === costs[first]) last += 1;
    return Math.floor((first + last) / 2);
  };
  const button = box.querySelector("[data-do=cheapest]");
  if (button && !(val.defective && val.good)) button.hidden = true; // what it costs isn't known
  box.addEventListener("input", show);
  box.addEventListener("click", event => {
    const wanted = event.target.dataset.do;
    if (!wanted) return;
    slider.value = wanted === "chosen" ? chosen : cheapest();
    show();
  });
  box.parentElement.classList.add("live");
  box.hidden = false;
  show();
}

// The map: what the nearest point is, with its photograph out of the sheet.
for (const map of document.querySelectorAll(".map")) {
  const svg = map.querySelector("svg"), about = map.querySelector(".about");
  const sheet = map.querySelector(".sheet"), canvas = about.querySelector("canvas");
  const points = [...svg.querySelectorAll("circle")].map((dot, place) => {
    const title = dot.querySelector("title");
    const text = title.textContent;
    title.remove();
    return { dot, place, text, x: dot.cx.baseVal.value, y: dot.cy.baseVal.value };
  });
  const whole = svg.getAttribute("viewBox").split(" ").map(Number);
  const radius = points.length ? points[0].dot.r.baseVal.value : 0;
  const look = ([left, top, width, height]) => {
    svg.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
    // Enlarged points would cover each other as before.
    const shown = radius * Math.min(1, 1.6 * width / whole[2]);
    for (const { dot } of points) dot.setAttribute("r", shown);
  };
  const around = some => {
    const xs = some.map(({ x }) => x), ys = some.map(({ y }) => y);
    const middle = values => (Math.min(...values) + Math.max(...values)) / 2;
    const span = values => Math.max(...values) - Math.min(...values);
    const zoom = Math.max(span(xs) / whole[2], span(ys) / whole[3], 0.02) * 1.3;
    const size = [whole[2] * zoom, whole[3] * zoom];
    return [middle(xs) - size[0] / 2, middle(ys) - size[1] / 2, ...size];
  };
  let current = null;
  const draw = place => {
    const side = Number(sheet.dataset.side), columns = Number(sheet.dataset.columns);
    canvas.width = canvas.height = side;
    const left = side * (place % columns), top = side * Math.floor(place / columns);
    canvas.getContext("2d").drawImage(sheet, left, top, side, side, 0, 0, side, side);
  };
  const leave = () => {
    if (current) current.dot.classList.remove("now");
    current = null;
    about.hidden = true;
  };
  const point = event => {
    const frame = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    const scale = view.width / frame.width;
    const x = view.x + (event.clientX - frame.left) * scale;
    const y = view.y + (event.clientY - frame.top) * scale;
    let nearest = null, best = (22 * scale) ** 2;
    for (const candidate of points) {
      const away = (candidate.x - x) ** 2 + (candidate.y - y) ** 2;
      if (away < best && !candidate.dot.classList.contains("faint")) {
        [nearest, best] = [candidate, away];
      }
    }
    if (nearest === current) return;
    leave();
    if (!nearest) return;
    current = nearest;
    nearest.dot.classList.add("now");
    about.querySelector("p").textContent = nearest.text;
    draw(nearest.place);
    about.hidden = false;
    const right = (nearest.x - view.x) / scale;
    const down = frame.top - map.getBoundingClientRect().top + (nearest.y - view.y) / scale;
    const fits = right + 16 + about.offsetWidth <= frame.width;
    const beside = fits ? right + 16 : right - 16 - about.offsetWidth;
    about.style.left = `${Math.max(0, Math.min(beside, frame.width - about.offsetWidth))}px`;
    about.style.top = `${Math.max(0, down - about.offsetHeight / 2)}px`;
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") leave(); });
  map.addEventListener("click", event => {
    const pressed = event.target.closest("[data-category]");
    if (!pressed) return;
    const off = pressed.getAttribute("aria-pressed") === "true";
    for (const button of map.querySelectorAll("[data-category]")) {
      button.setAttribute("aria-pressed", String(!off && button === pressed));
    }
    const own = ({ dot }) => dot.classList.contains(`c${pressed.dataset.category}`);
    for (const each of points) each.dot.classList.toggle("faint", !off && !own(each));
    leave();
    look(off ? whole : around(points.filter(own)));
  });
}

// A drawing is wider than a phone: a tap shows it at its own size, and gives it back.
for (const drawing of document.querySelectorAll(".overlays img")) {
  drawing.addEventListener("click", () => drawing.classList.toggle("large"));
}
