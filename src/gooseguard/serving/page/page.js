// The page's only talk is with this server: GET page/policies and POST v1/score, relative to where the page is.
// Text is put into the document as text nodes, never as markup.

const EXAMPLE = "You are a moron. The weather is lovely today.";
const WORDS = { allow: "Allow", review: "Review", block: "Block" };
const SIGNS = { allow: "✓", review: "?", block: "✕" };

const at = (id) => document.getElementById(id);
let deployment = { policies: [] };

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  if (at("key").value) headers.authorization = `Bearer ${at("key").value.trim()}`;
  const request = body ? { method: "POST", body: JSON.stringify(body), headers } : { headers };
  let answer;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (answer.status === 401 || answer.status === 403) at("key-field").hidden = false;
  const type = answer.headers.get("content-type") ?? "";
  const value = type.includes("json") ? await answer.json() : null;
  if (!answer.ok) {
    const wait = answer.headers.get("retry-after");
    const message = value?.error?.message ?? `The server answered ${answer.status}.`;
    throw new Error(wait ? `${message} (in ${wait} s)` : message);
  }
  return value;
}

async function loadPolicies() {
  deployment = await ask("page/policies");
  at("deployment").textContent = deployment.model;
  const chosen = at("policy").value || deployment.default;
  at("policy").replaceChildren(
    ...deployment.policies.map(({ id, name }) => make("option", { value: id, textContent: name, selected: id === chosen })),
  );
}

const tag = (action) => make("span", { className: `tag ${action}`, textContent: `${SIGNS[action]} ${WORDS[action]}` });

// What the thresholds make of one score; the verdict itself is the server's.
function actionOf(score, threshold) {
  if (!threshold || score === null) return null;
  if (score >= threshold.block) return "block";
  return score >= threshold.review ? "review" : "allow";
}

function tick(kind, threshold) {
  const line = make("i", { className: `tick ${kind}`, title: `${kind} from ${threshold[kind]}` });
  line.style.left = `${threshold[kind] * 100}%`;
  return line;
}

function scoreRow([category, score], threshold) {
  const action = actionOf(score, threshold);
  const bar = make("div", { className: "bar", ariaHidden: "true" });
  const fill = make("b");
  fill.style.width = `${(score ?? 0) * 100}%`;
  bar.append(fill);
  if (threshold) bar.append(tick("review", threshold), tick("block", threshold));
  const row = make(
    "tr",
    { className: action && action !== "allow" ? "flagged" : "" },
    make("th", { scope: "row", textContent: category }),
    make("td", { textContent: score === null ? "–" : score.toFixed(3) }),
    make("td", { className: action && action !== "allow" ? action : "" }, bar),
    make("td", {}, action ? tag(action) : "no threshold"),
  );
  return row;
}

function showScores(result, thresholds) {
  const sorted = Object.entries(result.scores).sort(([, one], [, other]) => (other ?? -1) - (one ?? -1));
  at("scores").tBodies[0].replaceChildren(...sorted.map((entry) => scoreRow(entry, thresholds[entry[0]])));
}

// Spans are in code points; those of one place are shown as one mark with all its categories.
function showSpans(text, spans, thresholds) {
  const points = Array.from(text);
  const places = new Map();
  for (const { begin, end, category, score } of spans) {
    const place = places.get(begin) ?? { begin, end, found: [], counts: false };
    place.found.push(`${category} ${score.toFixed(2)}`);
    place.counts ||= score >= (thresholds[category]?.review ?? Infinity);
    places.set(begin, place);
  }
  const pieces = [];
  let position = 0;
  for (const { begin, end, found, counts } of [...places.values()].sort((one, other) => one.begin - other.begin)) {
    pieces.push(points.slice(position, begin).join(""));
    const label = make("small", { textContent: found.join(", ") });
    pieces.push(make("mark", { className: counts ? "" : "faint" }, points.slice(begin, end).join(""), label));
    position = end;
  }
  pieces.push(points.slice(position).join(""));
  at("where").replaceChildren(...pieces);
  at("where-note").textContent = spans.length
    ? "Marked: sentences that reach a review threshold when they stand alone; underlined: those that score at least 0.5."
    : "No sentence scores 0.5 or more when it stands alone.";
}

function policyRow(name, result) {
  return make(
    "tr",
    {},
    make("th", { scope: "row", textContent: name }),
    make("td", {}, tag(result.action)),
    make("td", { textContent: result.categories.join(", ") || "–" }),
  );
}

async function showPolicies(text, chosen) {
  const others = deployment.policies.filter(({ name }) => name !== chosen.policy);
  const answers = await Promise.all(
    others.map(({ id }) => ask("v1/score", { items: [{ text }], policy: id, store: false })),
  );
  const rows = new Map([chosen, ...answers].map((answer) => [answer.policy, answer.results[0]]));
  at("policies").tBodies[0].replaceChildren(
    ...deployment.policies.filter(({ name }) => rows.has(name)).map(({ name }) => policyRow(name, rows.get(name))),
  );
}

async function score() {
  const text = at("text").value;
  const policy = deployment.policies.find(({ id }) => id === at("policy").value);
  const answer = await ask("v1/score", { items: [{ text }], policy: policy?.id, spans: true, store: false });
  const [result] = answer.results;
  if (result.error) throw new Error(`${result.error.message} (action: ${result.action})`);
  at("verdict").replaceChildren(tag(result.action), ` by ${answer.policy}`);
  at("rationale").hidden = !result.rationale;
  at("rationale").textContent = result.rationale ?? "";
  const thresholds = policy?.thresholds ?? {};
  showScores(result, thresholds);
  showSpans(text, result.spans, thresholds);
  await showPolicies(text, answer);
  at("request").textContent = `${answer.model}, request ${answer.id}`;
  at("result").hidden = false;
  at("status").textContent = result.categories.length
    ? `${WORDS[result.action]}. Flagged: ${result.categories.join(", ")}.`
    : `${WORDS[result.action]}. Nothing flagged.`;
}

async function attempt(work) {
  at("error").hidden = true;
  at("score").disabled = true;
  try {
    await work();
  } catch (error) {
    at("result").hidden = true;
    at("status").textContent = "";
    at("error").textContent = error.message;
    at("error").hidden = false;
  } finally {
    at("score").disabled = false;
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    // With a key that was typed since, or a policy that came since.
    if (!deployment.policies.length) await loadPolicies();
    await score();
  });
});
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("policy").addEventListener("change", () => {
  if (!at("result").hidden) at("form").requestSubmit();
});
at("example").addEventListener("click", () => {
  at("text").value = EXAMPLE;
  at("text").focus();
});
attempt(loadPolicies);
