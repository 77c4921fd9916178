"""The page: its files and headers; and, in a real Chromium, what a person meets."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import pytest
from serving_fakes import LiveServer

from gooseguard.serving.hooks import Hooks, LoopbackOnly
from gooseguard.serving.page.routes import FILES, page_routes


@pytest.fixture
def page_client(make_client):
    def make(client=("127.0.0.1", 5)):
        keys = LoopbackOnly()
        return make_client(Hooks(keys=keys, routes=tuple(page_routes(keys))), client=client)

    return make


@pytest.mark.parametrize("path", FILES)
def test_files_may_load_and_call_nothing_but_this_server(page_client, path):
    answer = page_client().get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == FILES[path][1]
    assert answer.headers["x-content-type-options"] == "nosniff"
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    for kind in ("script", "style", "img", "connect"):
        assert rules[f"{kind}-src"] == "'self'"


def test_files_name_no_other_host(page_client):
    client = page_client()
    for path in FILES:
        hosts = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", client.get(path).text)
        assert set(hosts) <= {"http://www.w3.org"}, path


def test_policies_of_the_server(page_client):
    facts = page_client().get("/page/policies").json()
    assert (facts["model"], facts["default"]) == ("fake@0123456789ab", "mine")
    (mine,) = [policy for policy in facts["policies"] if policy["id"] == "mine"]
    assert mine["name"] == "mine@1"
    assert mine["thresholds"]["threat"] == {"review": 0.5, "block": 0.9}


def test_policies_are_for_whoever_may_ask(page_client):
    client = page_client(client=("192.0.2.1", 5))
    answer = client.get("/page/policies")
    assert answer.status_code == 403
    assert "gooseguard keys create" in answer.json()["error"]["message"]
    assert client.get("/").status_code == 200


# --- In a browser. A file that is a page's own cannot be judged without one.

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TEXT = "You are a moron. Ducks \U0001f986 swim. <b>Nice</b> & calm today."
ROWS = "(table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent))"


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory(prefix="gooseguard-chromium-") as folder:
        profiles = iter(range(1000))

        def start(**options):
            return driver.chromium.launch_persistent_context(
                f"{folder}/{next(profiles)}", executable_path=path, headless=True, args=FLAGS, **options
            )

        yield start


@pytest.fixture
def visit(chromium):
    """Open a page; gives it with lists of what it asked for and complained about."""
    contexts = []

    def make(server, **options):
        context = chromium(**options)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(server.url)
        return page

    yield make
    for context in contexts:
        context.close()


def ask(server, policy, *, spans=False):
    body = {"items": [{"text": TEXT}], "policy": policy, "spans": spans}
    request = urllib.request.Request(
        f"{server.url}/v1/score", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for_result(page):
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#score:not([disabled])")


@pytest.mark.slow
def test_with_the_keyboard_alone_from_text_to_verdict(visit, live_server):
    page = visit(live_server)
    page.wait_for_selector("#policy option", state="attached")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["text", "policy", "example", "score"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.insert_text(TEXT)
    page.keyboard.press("Control+Enter")
    wait_for_result(page)

    expected = ask(live_server, "default", spans=True)
    (result,) = expected["results"]
    assert page.inner_text("#verdict").lower().endswith(f"{result['action']} by {expected['policy']}")
    shown = {row[0]: row[1] for row in page.eval_on_selector("#scores", ROWS)}
    assert shown == {category: f"{score:.3f}" for category, score in result["scores"].items()}
    assert result["action"].capitalize() in page.inner_text("#status")
    assert page.complaints == []


@pytest.mark.slow
def test_sentences_are_marked_where_they_are_and_markup_stays_text(visit, live_server):
    page = visit(live_server)
    page.fill("#text", TEXT)
    page.click("#score")
    wait_for_result(page)
    spans = ask(live_server, "default", spans=True)["results"][0]["spans"]
    assert spans
    # Python counts code points as the API does; the page's strings count UTF-16 units.
    expected = sorted({(span["begin"], TEXT[span["begin"] : span["end"]]) for span in spans})
    marks = page.eval_on_selector_all("#where mark", "(all) => all.map((one) => one.firstChild.data)")
    assert marks == [text for _, text in expected]
    assert page.eval_on_selector("#where", "(one) => one.querySelector('b')") is None
    assert (
        page.eval_on_selector(
            "#where",
            "(one) => { for (const s of one.querySelectorAll('small')) s.remove(); return one.textContent; }",
        )
        == TEXT
    )


@pytest.mark.slow
def test_every_policy_says_what_the_server_says(visit, live_server):
    page = visit(live_server)
    page.fill("#text", TEXT)
    page.click("#score")
    wait_for_result(page)
    expected = []
    for policy in ("default", "lenient", "strict"):
        answer = ask(live_server, policy)
        (result,) = answer["results"]
        expected.append([answer["policy"], result["action"], ", ".join(result["categories"]) or "–"])
    rows = page.eval_on_selector("#policies", ROWS)
    assert sorted([name, verdict.split()[-1].lower(), flagged] for name, verdict, flagged in rows) == sorted(
        expected
    )
    with page.expect_response("**/v1/score"):
        page.select_option("#policy", "strict")
    page.wait_for_selector("#verdict:has-text('strict@')")


@pytest.mark.slow
def test_nothing_is_asked_of_anybody_else_or_kept(visit, live_server):
    page = visit(live_server)
    page.click("#example")
    page.keyboard.press("Control+Enter")
    wait_for_result(page)
    assert page.asked
    assert [url for url in page.asked if not url.startswith(live_server.url + "/")] == []
    assert "moron" not in "".join(page.asked)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    # What the policy forbids is forbidden in fact.
    assert page.evaluate("fetch('http://[::1]:9/').then(() => 'went', () => 'refused')") == "refused"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


LEAST_CONTRAST = """
() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const channel = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const back = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
  };
  let least = [99, ""];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(".unseen, noscript")) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(back(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < least[0]) least = [ratio, element.outerHTML.slice(0, 80)];
  }
  return least;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(visit, live_server, scheme):
    """At least 4.5 : 1. Source: WCAG 2.2, success criterion 1.4.3 and its definition of contrast ratio."""
    page = visit(live_server, color_scheme=scheme)
    page.fill("#text", TEXT)
    page.click("#score")
    wait_for_result(page)
    ratio, where = page.evaluate(LEAST_CONTRAST)
    assert 4.5 <= ratio < 99, where


@pytest.mark.slow
def test_on_a_phone_nothing_lies_outside(visit, live_server):
    page = visit(live_server, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    page.fill("#text", TEXT + " " + "x" * 200)
    page.tap("#score")
    wait_for_result(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.slow
def test_every_field_has_a_name(visit, live_server):
    page = visit(live_server)
    unnamed = page.eval_on_selector_all(
        "input, select, textarea", "(all) => all.filter((one) => !one.labels.length).map((one) => one.id)"
    )
    assert unnamed == []
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.slow
def test_a_server_with_keys_and_a_server_that_is_gone(visit, tmp_path, monkeypatch):
    database = str(tmp_path / "keys.db")
    monkeypatch.setenv("GOOSEGUARD_DATABASE", database)
    made = subprocess.run(
        [sys.executable, "-m", "gooseguard", "keys", "create", "me"],
        capture_output=True,
        text=True,
        check=True,
    )
    server = LiveServer()
    try:
        page = visit(server)
        page.wait_for_selector("#error:not([hidden])")
        assert page.get_attribute("#error", "role") == "alert"
        page.fill("#key", "wrong")
        page.fill("#text", TEXT)
        page.click("#score")
        page.wait_for_selector("#error:has-text('unknown API key')")
        page.fill("#key", made.stdout.strip())
        page.click("#score")
        wait_for_result(page)
        assert page.is_hidden("#error")
    finally:
        server.stop()
    page.click("#score")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "The server cannot be reached."
    assert page.is_hidden("#result")
