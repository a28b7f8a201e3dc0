"""The report in a real browser, opened from disk: filters, comparison, keyboard, themes, phone, hostile text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_run import HOSTILE, PROMPTS, STEPS, write_ablation, write_run

from adhere.evaluation.report.write import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[dev]')")
expect = sync_api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (apt-get install chromium)"),
]
ROLLOUTS = 2 * (STEPS * 16 + PROMPTS)
WAIT = 60_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("runs"))).page


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    points = {f"math1_checklist{weight}-gated": (34, 8 + round(24 * weight)) for weight in (0.0, 0.5, 1.0)}
    return write_report(write_ablation(tmp_path_factory.mktemp("grid"), points, seeds=2)).page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page that was opened, and all that it said and asked for since."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(WAIT)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")

    def count(self, expected: int) -> None:
        """Wait until so many rollouts are shown; by locator, because the page's policy forbids evaluated predicates."""
        expect(self.page.locator("#count")).to_have_text(re.compile(f"^{expected} of"), timeout=WAIT)


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    made = Opened(browser, report)
    yield made
    assert made.said == []
    assert [url for url in made.asked if not url.startswith("file:")] == [] and len(made.asked) == 1
    assert made.page.evaluate("window.hacked") is None
    made.page.context.close()


def test_every_chart_is_drawn_and_has_words_and_numbers(opened: Opened) -> None:
    page = opened.page
    for holder in page.locator("[data-chart]").all():
        holder.scroll_into_view_if_needed()
        holder.locator(".main-svg").first.wait_for()
        assert len(holder.get_attribute("aria-label")) > 20
    assert page.locator("figure details table caption").count() == page.locator("[data-chart]").count() == 10
    page.locator("#figure-rates .legend input").first.uncheck()
    assert page.locator("#figure-rates .panels .scatterlayer .trace").count() == 3


def test_filters_and_search_narrow_the_list(opened: Opened) -> None:
    page = opened.page
    opened.count(ROLLOUTS)
    page.select_option("#f-arm", label="composite")
    opened.count(ROLLOUTS // 2)
    page.select_option("#f-phase", "1")
    opened.count(PROMPTS)
    page.select_option("#f-outcome", "only-correct")
    opened.count(0)
    page.select_option("#f-outcome", "only-followed")
    opened.count(6)
    page.click("#filters button[type=reset]")
    opened.count(ROLLOUTS)
    page.select_option("#f-outcome", label="judge and rules disagree")
    opened.count(2)
    page.click("#filters button[type=reset]")
    opened.count(ROLLOUTS)
    page.select_option("#f-status", label="timeout")
    opened.count(2)
    page.select_option("#f-component", label="checklist")
    opened.count(0)
    page.click("#filters button[type=reset]")
    opened.count(ROLLOUTS)
    page.fill("#f-from", "2")
    page.fill("#f-to", "3")
    opened.count(64)
    page.fill("#f-search", "STEP 3")
    opened.count(32)


def test_a_failed_requirement_is_named_marked_and_explained(opened: Opened) -> None:
    page = opened.page
    page.select_option("#f-requirement", label="punctuation:no_comma")
    page.select_option("#f-arm", label="math_only")
    page.select_option("#f-phase", "1")
    opened.count(30)
    page.locator("#detail .checks li").wait_for()
    assert "✗ failed" in page.inner_text("#detail .checks") and "Use no comma." in page.inner_text("#detail .checks")
    assert page.locator("#detail mark.failed").first.inner_text().startswith(",")


def test_model_text_stays_text(opened: Opened) -> None:
    page = opened.page
    page.fill("#f-search", "onerror")
    opened.count(2)
    expect(page.locator("#detail pre[aria-label=Response]")).to_contain_text("onerror", timeout=WAIT)
    assert page.evaluate("document.querySelector('#detail pre[aria-label=Response]').firstChild.nodeType") == 3
    whole = page.evaluate(
        "(() => { const copy = document.querySelector('#detail pre[aria-label=Response]').cloneNode(true);"
        " copy.querySelectorAll('sup').forEach((mark) => mark.remove()); return copy.textContent; })()"
    )
    assert whole == HOSTILE
    assert page.locator("img").count() == 0 and page.locator(".note b").all_text_contents() == [
        "math_only",
        "composite",
    ]


def test_two_arms_stand_side_by_side_on_one_prompt(opened: Opened) -> None:
    page = opened.page
    assert page.input_value("#c-left") != page.input_value("#c-right")
    page.locator("#c-one .checks").wait_for()
    assert "math_only · evaluation" in page.inner_text("#c-one")
    assert "composite · evaluation" in page.inner_text("#c-two")
    expect(page.locator("#c-one .differs")).to_contain_text("≠ differs from the other model", timeout=WAIT)
    expect(page.locator("#c-two .differs")).to_contain_text("✓ met", timeout=WAIT)
    first = page.inner_text("#c-prompt")
    page.click("#c-next")
    assert page.inner_text("#c-prompt") != first
    page.click("#detail button")
    expect(page.locator("#c-prompt")).to_have_text("What is 0 + 0? Use no comma.", timeout=WAIT)
    expect(page.locator("#c-one")).to_contain_text("math_only · step 0", timeout=WAIT)
    expect(page.locator("#c-one select option")).to_have_count(4)


def test_a_link_to_a_rollout_opens_the_page_at_it(browser: Any, report: Path) -> None:
    opened = Opened(browser, report)
    page = opened.page
    page.select_option("#f-phase", "1")
    page.select_option("#f-arm", label="composite")
    opened.count(PROMPTS)
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    link = page.locator("#detail .permalink")
    expect(link).to_have_attribute("href", "#rollout-composite-evaluation-1", timeout=WAIT)
    link.click()
    assert page.url.endswith("#rollout-composite-evaluation-1")
    # In the same page, from under other filters, and in a new one.
    page.select_option("#f-arm", label="math_only")
    opened.count(PROMPTS)
    page.evaluate("location.hash = '#rollout-composite-3-5'")
    opened.count(ROLLOUTS)
    for there in (page, browser.new_context().new_page()):
        there.set_default_timeout(WAIT)
        if there is not page:
            there.goto(f"{report.as_uri()}#rollout-composite-3-5")
        expect(there.locator("#detail header b")).to_have_text("composite · step 3", timeout=WAIT)
        expect(there.locator("#detail")).to_contain_text("t3-1 · 25 tokens", timeout=WAIT)
        expect(there.locator(".row[aria-selected=true]")).to_be_visible(timeout=WAIT)
        expect(there.locator("#detail")).to_be_in_viewport(timeout=WAIT)
    for gone in ("composite-3-16", "composite-9-0", "nobody-3-5", "%E0%A4%A-3-5", "composite"):
        page.evaluate(f"location.hash = '#rollout-{gone}'")
        expect(page.locator("#count")).to_have_text(
            "The address names a rollout that this page does not have.", timeout=WAIT
        )
        page.evaluate("location.hash = '#rollout-composite-3-5'")
        expect(page.locator("#detail header b")).to_have_text("composite · step 3", timeout=WAIT)
        page.click("#filters button[type=reset]")
        opened.count(ROLLOUTS)
    assert opened.said == []


def test_the_list_goes_by_keyboard(opened: Opened) -> None:
    page = opened.page
    opened.count(ROLLOUTS)
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#list", "aria-activedescendant") == "row-1"
    page.keyboard.press("End")
    assert page.get_attribute("#list", "aria-activedescendant") == f"row-{ROLLOUTS - 1}"
    assert page.locator(f"#row-{ROLLOUTS - 1}[aria-selected=true]").is_visible()
    assert page.locator(".row").count() < 60
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Compare models on this prompt"


def test_the_theme_follows_the_system_and_the_button(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(ground) == "rgb(20, 23, 27)"
    opened.page.click("#theme")
    assert opened.page.evaluate(ground) == "rgb(251, 251, 250)"
    assert opened.page.get_attribute("#theme", "aria-pressed") == "false"
    assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser: Any, report: Path, scheme: str) -> None:
    page = Opened(browser, report, color_scheme=scheme).page
    page.locator("#detail .checks").wait_for()
    assert page.evaluate(CONTRAST) == []


def test_a_phone_needs_no_sideways_scroll(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    for holder in opened.page.locator("[data-chart]").all():
        holder.scroll_into_view_if_needed()
        holder.locator(".main-svg").first.wait_for()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.page.locator(".results").evaluate("(table) => table.scrollWidth") <= 390
    assert opened.said == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_seeds_of_a_point_open_below_it(browser: Any, ablation: Path, width: int) -> None:
    opened = Opened(browser, ablation, viewport={"width": width, "height": 844})
    page = opened.page
    button = page.locator(".expand").first
    assert button.get_attribute("aria-label") == "2 seeds of math1_checklist0.0-gated"
    assert not page.locator(".seed").first.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert page.locator(".seed:visible").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".results").evaluate("(table) => table.scrollWidth") <= width
    assert "ended at step 3 of 6" in page.inner_text(".results")
    assert page.locator("#c-left option:checked").inner_text() == "math1_checklist0.0-gated · seed 0"
    assert page.locator("#c-right option:checked").inner_text() == "math1_checklist0.5-gated · seed 0"
    assert opened.said == []
    page.context.close()


CONTRAST = """() => {
  const parse = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const linear = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (colour) => colour.slice(0, 3).map(linear)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => { for (; node; node = node.parentElement) {
    const colour = parse(getComputedStyle(node).backgroundColor); if (colour[3] === 1) return colour;
  } return [255, 255, 255, 1]; };
  const found = new Set();
  const kinds = "p, th, td, small, a, h1, h2, h3, h4, li, label, caption, figcaption, button, select, pre, mark";
  for (const node of document.querySelectorAll(kinds + ", summary, .badge, .reasoning")) {
    if (!node.textContent.trim() || !node.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.add(`${node.tagName} ${node.className}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""
"""Names every kind of text whose contrast with the ground below it is under 4.5, the AA limit for text."""
