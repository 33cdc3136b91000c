"use strict";
// Whatever comes from the data is set as text, never as markup.

const at = (id) => document.getElementById(id);
const number = (value, digits = 4) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
let facts = null;

async function ask(path, parameters) {
  const answer = await fetch(`/api/${path}?${new URLSearchParams(parameters)}`);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

/** An id that leads to its entity, and its label where it has one. */
function link(type, { id, label }) {
  const made = element("span"), to = element("a", id);
  to.href = `#${new URLSearchParams({ type, id })}`;
  made.append(to);
  if (label) made.append(" ", element("bdi", label, "soft"));
  return made;
}

/** Who was asked for, in a caption. */
function called(one) { return one.label ? `${one.id} (${one.label})` : one.id; }

function show(place, ...children) { at(place).replaceChildren(...children); }

function ofHowMany(shown, count, counted) { return `${shown.length} of ${counted ? "" : "at least "}${count.toLocaleString("en")}`; }

function table(caption, columns, rows) {
  const made = element("table");
  made.append(element("caption", caption));
  const head = made.createTHead().insertRow();
  for (const [name, kind] of columns) { const cell = element("th", name, kind); cell.scope = "col"; head.append(cell); }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, place) => {
      const cell = element("td", undefined, columns[place][1]);
      cell.append(value);
      line.append(cell);
    });
  }
  return made;
}

function options(select, names) { select.replaceChildren(...names.map((name) => new Option(name, name))); }

function offerIds() {
  const type = at("entity").type.value;
  at("ids").replaceChildren(...facts.types[type].examples.map((id) => new Option(id, id)));
}

function nameSides() {
  const relation = facts.relations.find((one) => one.name === at("pair").relation.value);
  at("head").textContent = relation ? relation.lhs : "User";
  at("tail").textContent = relation ? relation.rhs : "Ad";
}

async function lookUp() {
  const form = at("entity"), asked = { type: form.type.value, id: form.id.value, k: form.k.value };
  at("entity-error").textContent = "";
  document.documentElement.dataset.entity = "asking";
  try {
    const [near, edges] = await Promise.all([ask("neighbors", { ...asked, to: form.to.value }), ask("edges", asked)]);
    show("neighbors", table(`of ${asked.type} ${called(near.asked)}`, [["similarity", "number"], [near.type, ""]],
      near.neighbors.map((one) => [number(one.similarity), link(near.type, one)])));
    show("edges", table(ofHowMany(edges.edges, edges.count, edges.counted), [["relation", ""], ["side", ""], ["type", ""], ["id", ""]],
      edges.edges.map((one) => [one.relation, one.side, one.type, link(one.type, one)])));
    history.replaceState(null, "", `#${new URLSearchParams({ type: asked.type, id: asked.id })}`);
  } catch (error) { at("entity-error").textContent = error.message; }
  document.documentElement.dataset.entity = "shown";
}

async function explain() {
  const form = at("pair"), asked = { relation: form.relation.value, user: form.user.value, ad: form.ad.value };
  at("pair-error").textContent = "";
  document.documentElement.dataset.pair = "asking";
  show("ranker", element("p", "Searching the ranker's log.", "soft"));
  try {
    const found = await ask("explain", asked);
    const scored = [["near in the anchor space", found.similarity], ...found.scores.map((one) => [`score by ${one.name}`, one])];
    show("scores", table(`${called(found.user)} and ${called(found.ad)}`, [["", ""], ["value", "number"], ["rank", "number"]],
      scored.map(([name, one]) => [name, number(one.value), `${one.rank.toLocaleString("en")} of ${one.among.toLocaleString("en")}`])));
    show("supporting", table(ofHowMany(found.supporting, found.edges, found.edges_counted),
      [["similarity", "number"], ["relation", ""], ["type", ""], ["id", ""]],
      found.supporting.map((one) => [number(one.similarity), one.relation, one.type, link(one.type, one)])));
    showRanker(await ask("ranker", asked));
  } catch (error) {
    at("pair-error").textContent = error.message;
    show("ranker");
  }
  document.documentElement.dataset.pair = "shown";
}

function showRanker(found) {
  if (found.missing) { show("ranker", element("p", found.missing, "soft")); return; }
  const predictions = table(`${found.arm}: ${found.row}`, [["", ""], ["with graph", "number"], ["without", "number"]],
    Object.entries(found.predictions).map(([task, one]) => [task, number(one.graph, 5), number(one.no_graph, 5)]));
  const attention = Object.entries(found.attention).map(([name, weights]) => table(`attention in ${name}`,
    [["", ""], ["weight", "number"]], weights.map((one) => [one.name, number(one.weight, 3)])));
  show("ranker", predictions, ...attention);
}

function followAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)), form = at("entity");
  if (!asked.get("id") || !(asked.get("type") in facts.types)) return;
  if (form.type.value !== asked.get("type")) { form.type.value = asked.get("type"); form.to.value = form.type.value; offerIds(); }
  form.id.value = asked.get("id");
  lookUp();
}

async function begin() {
  try {
    facts = await ask("run", {});
  } catch (error) { at("run").textContent = error.message; return; }
  const types = Object.keys(facts.types), form = at("entity");
  at("run").textContent = `${facts.config}, run ${facts.run}: ` + types.map((name) => `${facts.types[name].count.toLocaleString("en")} ${name}`).join(", ");
  options(form.type, types);
  options(form.to, types);
  options(at("pair").relation, facts.relations.map((one) => one.name));
  offerIds();
  nameSides();
  form.type.addEventListener("change", () => { form.to.value = form.type.value; offerIds(); });
  at("pair").relation.addEventListener("change", nameSides);
  form.addEventListener("submit", (event) => { event.preventDefault(); lookUp(); });
  at("pair").addEventListener("submit", (event) => { event.preventDefault(); explain(); });
  addEventListener("hashchange", followAddress);
  document.documentElement.dataset.ready = "yes";
  followAddress();
}

begin();
