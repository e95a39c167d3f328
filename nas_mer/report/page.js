"use strict";

// Tables sort by what their cells hold in data-order; cells that hold nothing stay last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const numeric = heading.classList.contains("number");
      const order = (row) => row.cells[column].dataset.order;
      const rows = [...body.rows].sort((a, b) => {
        const [left, right] = [order(a), order(b)];
        if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
        const difference = numeric ? left - right : left.localeCompare(right, undefined, { numeric: true });
        return ascending ? difference : -difference;
      });
      body.append(...rows);
    });
  });
}

// A search is replayed by its slider or by itself.
for (const part of document.querySelectorAll(".replay")) {
  const { weights, choices } = JSON.parse(part.querySelector("script").textContent);
  const svg = part.querySelector("svg");
  const slider = part.querySelector("input");
  const output = part.querySelector("output");
  const play = part.querySelector(".play");
  let timer = null;

  const show = () => {
    const at = slider.value - 1;
    const then = Object.fromEntries(
      Object.entries(weights).map(([decision, options]) => [
        decision,
        Object.fromEntries(Object.entries(options).map(([option, values]) => [option, values[at]])),
      ]),
    );
    replay(svg, then, choices[at]);
    output.textContent = `${slider.value} of ${slider.max}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (slider.value === slider.max) slider.value = slider.min;
    show();
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      slider.stepUp();
      show();
      if (slider.value === slider.max) stop();
    }, 200);
  });
}

// Figures are saved as they look now.
function download(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure");
    const svg = figure.querySelector("svg");
    const text = new XMLSerializer().serializeToString(svg);
    const url = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    const name = `${figure.dataset.name}.${button.dataset.save}`;
    if (button.dataset.save === "svg") return download(url, name);
    const picture = new Image();
    picture.addEventListener("load", () => {
      const scale = 3;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [svg.viewBox.baseVal.width * scale, svg.viewBox.baseVal.height * scale];
      const context = canvas.getContext("2d");
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      download(canvas.toDataURL("image/png"), name);
    });
    picture.src = url;
  });
}

// What is folded is printed, too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));
