"use strict";

// Shows a searched space's picture (an svg element that nas_mer.view.svg_of made of nas_mer.view.architecture_figure) as
// it would be drawn with other weights. What moves is known by its id, `name-role|way;way;...|n` of the element's own
// name: see nas_mer.view.canvas.mark.
//
// weights: decision -> option -> 0..1.
// choices: decision -> option, the genotype to mark; by default the heaviest option of each decision. In a space with
//   constraints these may be no genotype.
function replay(svg, weights, choices = heaviest(weights)) {
  let scale;
  for (const group of svg.querySelectorAll("g[id]")) {
    const [role, text] = group.id.slice(svg.id.length + 1).split("|");
    if (text === undefined) continue;
    const ways = text.split(";").map((way) => [...new URLSearchParams(way)]);
    if (role === "scale") {
      scale = Object.fromEntries(ways[0].map(([name, value]) => [name, Number(value)]));
      continue;
    }
    const path = group.querySelector("path");
    const line = group.querySelector("text");
    const product = (way) => way.reduce((weight, [decision, option]) => weight * weights[decision][option], 1);
    const weigh = () => Math.min(ways.map(product).reduce((sum, weight) => sum + weight, 0), 1);
    const chosen = () => ways.some((way) => way.every(([decision, option]) => choices[decision] === option));
    const opacity = (weight) => (chosen() ? 1 : scale.pale + (1 - scale.pale) * weight);
    ({
      way() {
        path.style.opacity = opacity(weigh());
        path.style.strokeWidth = scale.thin + (scale.thick - scale.thin) * weigh();
      },
      wire() {
        path.style.opacity = opacity(0);
      },
      frame() {
        path.style.opacity = chosen() ? 1 : scale.unseen;
      },
      meter() {
        // A rectangle: from its left along one side and back along the other.
        const [left, y, , , , back] = path.getAttribute("d").match(/[\d.]+/g).map(Number);
        const right = left + scale.meter * weigh();
        path.setAttribute("d", `M ${left} ${y} L ${right} ${y} L ${right} ${back} L ${left} ${back} z`);
      },
      value() {
        line.textContent = line.textContent.replace(/\S+$/, weigh().toFixed(2).replace(/^0/, ""));
      },
      decided() {
        const [[decision]] = ways[0];
        line.textContent = `${Math.round(100 * decidedness(Object.values(weights[decision])))}% decided`;
      },
      joint() {
        // The ways are the options that do not count.
        const counts = ([decision, option]) => !ways.some(([item]) => item && item[0] === decision && item[1] === option);
        line.textContent = line.textContent.replace(/\S+$/, short(product(Object.entries(choices).filter(counts))));
      },
    })[role]();
  }

  // 1 - entropy / log(options), as nas_mer.view.decidedness.
  function decidedness(values) {
    const total = values.reduce((sum, value) => sum + value, 0);
    if (values.length < 2 || total <= 0) return 1;
    const parts = values.filter((value) => value > 0).map((value) => value / total);
    const entropy = -parts.reduce((sum, part) => sum + part * Math.log(part), 0);
    return Math.min(Math.max(1 - entropy / Math.log(values.length), 0), 1);
  }

  // Two digits, as Python's `.2g`.
  function short(value) {
    const rounded = Number(value.toPrecision(2));
    return rounded && rounded < 1e-4 ? rounded.toExponential().replace(/e-(\d)$/, "e-0$1") : String(rounded);
  }
}

function heaviest(weights) {
  const best = (options) => Object.entries(options).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return Object.fromEntries(Object.entries(weights).map(([decision, options]) => [decision, best(options)]));
}
