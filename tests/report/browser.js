// Opens pages in Chromium and says what is wrong with each, as JSON on standard output.
// Arguments: JSON {chromium, pages: [path], profile, pdf}. What is found is a list of sentences for each way of looking.
"use strict";
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const WAYS = [];
for (const width of [1280, 390]) {
  for (const scheme of ["light", "dark"]) WAYS.push({ width, scheme, scripts: true });
}
WAYS.push({ width: 390, scheme: "light", scripts: false }, { width: 800, scheme: "light", scripts: true, print: true });

// Runs inside the page: what a reader would trip over.
function look({ print }) {
  const wrong = [];
  const name = (e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ${(e.textContent || "").trim().slice(0, 40)}`;
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const out = [...document.querySelectorAll("main *")].filter(
      (e) => !e.closest(".scroll, svg") && e.getBoundingClientRect().right > root.clientWidth + 0.5);
    wrong.push(`wider than the screen by ${root.scrollWidth - root.clientWidth}: ${out.slice(-2).map(name).join(" | ")}`);
  }
  if (document.querySelectorAll("script, iframe, object, embed, form, link").length) wrong.push("holds what it must not");
  for (const image of document.images) {
    if (!image.complete || !image.naturalWidth) wrong.push(`an image did not load: ${image.alt}`);
  }
  for (const e of document.querySelectorAll("section, h1, h2, h3, .headline, footer, dl")) {
    if (print && e.closest("details:not([open])") && !CSS.supports("selector(::details-content)")) continue;
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height || !e.checkVisibility()) wrong.push(`can't be seen: ${name(e)}`);
  }
  for (const e of document.querySelectorAll("h2.section, h3.section")) {
    if (e.getBoundingClientRect().left < 0) wrong.push(`off the left edge: ${name(e)}`);
  }
  let charts = 0;
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue; // the one for the other width
    charts += 1;
    const boxes = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
    for (const [text, b] of boxes) {
      if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1) {
        wrong.push(`a chart cuts its lettering: ${text.slice(0, 40)}`);
      }
    }
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([two, b]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const along = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 2 && along > 5) wrong.push(`lettering of a chart overlaps: ${one.slice(0, 20)} and ${two.slice(0, 20)}`);
    }));
  }
  if (document.querySelector("svg.chart") && !charts) wrong.push("no chart can be seen");
  for (const href of [...document.querySelectorAll("a")].map((a) => a.getAttribute("href"))) {
    if (!href.startsWith("#") || !document.getElementById(href.slice(1))) wrong.push(`a link leads nowhere: ${href}`);
  }
  wrong.push(...contrasts());
  return [...new Set(wrong)].slice(0, 12);

  // Text against what lies behind it (WCAG 2.2, success criterion 1.4.3).
  function contrasts() {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => {
      if (!known.has(colour)) {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        known.set(colour, [r, g, b, a / 255]);
      }
      return known.get(colour);
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const light = (c) => {
      const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const poor = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const e = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || e.closest("style, .hidden") || !e.checkVisibility()) continue;
      let behind = [255, 255, 255];
      const layers = [];
      for (let up = e; up; up = up.parentElement) layers.unshift(rgba(getComputedStyle(up).backgroundColor));
      for (const layer of layers) behind = over(layer, behind);
      const style = getComputedStyle(e);
      const ink = over(rgba(e.closest("svg") ? style.fill : style.color), behind);
      const [bright, dim] = [light(ink), light(behind)].sort((a, b) => b - a);
      const ratio = (bright + 0.05) / (dim + 0.05);
      if (ratio < 4.5) poor.add(`hard to read at ${ratio.toFixed(2)} to 1: ${name(e)}`);
    }
    return [...poor].slice(0, 5);
  }
}

async function open(browser, path, way, profile, pdf) {
  const wrong = [];
  const page = await browser.newPage();
  page.on("request", (r) => { if (!/^(file|data):/.test(r.url())) wrong.push(`asked for ${r.url()}`); });
  page.on("requestfailed", (r) => wrong.push(`could not load ${r.url().slice(0, 80)}`));
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) wrong.push(`console: ${m.text()}`); });
  page.on("pageerror", (e) => wrong.push(`error: ${e}`));
  page.on("dialog", async (d) => { wrong.push(`a script ran: ${d.message()}`); await d.dismiss(); });
  page.on("popup", () => wrong.push("a window opened"));
  await page.goto(`file://${path}`, { waitUntil: "load" });
  if (way.print) {
    await page.emulateMedia({ media: "print" });
  } else {
    const folded = page.locator("details:not([open]) > summary");
    if (await folded.count()) await folded.first().click({ timeout: 5000 });
    await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  }
  wrong.push(...(await page.evaluate(look, way)));
  if (way.print && pdf) await page.pdf({ path: pdf, format: "A4" });
  await page.close();
  return wrong;
}

(async () => {
  const { chromium: executablePath, pages, profile, pdf } = JSON.parse(process.argv[2]);
  const found = {};
  for (const [i, way] of WAYS.entries()) {
    const browser = await chromium.launchPersistentContext(`${profile}/${i}`, {
      executablePath, headless: true, args: FLAGS, colorScheme: way.scheme, javaScriptEnabled: way.scripts,
      viewport: { width: way.width, height: 900 }, serviceWorkers: "block",
    });
    const label = way.print ? "print" : `${way.width} ${way.scheme}${way.scripts ? "" : " without scripts"}`;
    for (const path of pages) {
      const target = pdf && way.print ? `${pdf}/${path.split("/").pop()}.pdf` : null;
      found[`${path.split("/").pop()} ${label}`] = await open(browser, path, way, profile, target);
    }
    await browser.close();
  }
  process.stdout.write(JSON.stringify(found));
})().catch((error) => { console.error(error); process.exit(1); });
