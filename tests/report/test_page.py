"""report.html, driven in a browser: it works from a file, without a network, on a phone, and strings do nothing."""

import copy
import json
import shutil

import pytest

from harness.__main__ import main
from harness.metrics.registry import BY_NAME
from harness.report.columns import format_value
from tests.report.studies import GRID, record, write_study

EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
BINARIES = [shutil.which("chromium"), shutil.which("chromedriver")]


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    if None in BINARIES:
        pytest.skip("no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = BINARIES[0]
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--disable-quic"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(BINARIES[1]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = tmp_path_factory.mktemp("page") / "results"
    entries = [copy.deepcopy(entry) for entry in GRID]
    entries += [{**record(EVIL, cost=0.03), "run_id": "evil"}, {**record("broken", status="oom"), "reason": EVIL}]
    for number, entry in enumerate(entries):
        entry["config"] = {"seed": number, "study": "s"}
        entry["environment"] = {"cpu": EVIL}
        entry["command"] = "joulebench run model=x"
    study = write_study(results, *entries)
    (study / "evil" / "run.log").write_text(f"the last line {EVIL}\n")
    assert main(["report", "s", "--results-dir", str(results)]) == 0
    return study / "report.html"


def opened(browser, page, width=1280):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())
    return browser


def rows(browser):
    script = "return [...document.querySelectorAll('#table tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    return browser.execute_script(script)


def column(browser, name):
    heads = browser.execute_script("return [...document.querySelectorAll('#table th')].map(h => h.textContent)")
    [index] = [number for number, head in enumerate(heads) if head.startswith(name)]
    return [row[index] for row in rows(browser)]


def click(browser, selector, text=""):
    script = """const found = [...document.querySelectorAll(arguments[0])].filter(e => e.textContent.startsWith(arguments[1]));
        found[0].click(); return found.length"""
    assert browser.execute_script(script, selector, text) >= 1


def type_filter(browser, text):
    script = """const box = document.getElementById('filter'); box.value = arguments[0];
        box.dispatchEvent(new Event('input'))"""
    browser.execute_script(script, text)


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_error_or_request_and_fits(browser, page, width):
    opened(browser, page, width)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert set(urls) <= {page.as_uri(), "data:,"}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.querySelectorAll('figure svg').length") >= 3
    assert len(rows(browser)) == 6


def test_numbers_are_printed_as_in_the_tables(browser, page):
    opened(browser, page)
    costs = sorted(filter(None, column(browser, "Energy per token")))
    metric = BY_NAME["joules_per_token"]
    assert costs == sorted(format_value(cost, metric) for cost in (0.02, 0.01, 0.012, 0.006, 0.03))
    script = "return arguments[0].map(([value, scale, digits]) => printed(value, {scale, digits}))"
    values = [0.00012345, 57.5029, 21128.4, 134_515_008, 8, 1e-9, -0.5]
    shown = browser.execute_script(script, [[value, 1, 4] for value in values])
    plain = BY_NAME["perplexity"]
    assert shown == [format_value(value, plain) for value in values]


def test_it_sorts_both_ways_with_what_is_missing_last(browser, page):
    opened(browser, page)
    click(browser, "#table th button", "Energy per token")
    assert column(browser, "Energy per token") == ["6", "10", "12", "20", "30", ""]
    click(browser, "#table th button", "Energy per token")
    assert column(browser, "Energy per token") == ["30", "20", "12", "10", "6", ""]
    assert browser.execute_script("return document.querySelector('#table th[aria-sort=descending]').textContent")


def test_it_filters_by_words_and_by_numbers(browser, page):
    opened(browser, page)
    type_filter(browser, "bf16")
    assert len(rows(browser)) == 2
    type_filter(browser, "joules_per_token<15 batch_size=8")
    assert sorted(column(browser, "Energy per token")) == ["10", "6"]
    assert browser.execute_script("return document.getElementById('count').textContent") == "2 of 6 runs"
    type_filter(browser, "status=oom")
    assert [row for row in rows(browser) if "broken" in row] == rows(browser)


def test_columns_are_hidden_and_shown(browser, page):
    opened(browser, page)
    before = len(rows(browser)[0])
    click(browser, "#choices input[value=status]")
    assert len(rows(browser)[0]) == before - 1
    click(browser, "#choices input[value=mean_power_w]")
    assert set(column(browser, "Mean power")) == {"10", ""}


def test_a_run_opens_with_its_configuration_log_and_reason(browser, page):
    opened(browser, page)
    type_filter(browser, "onerror joules_per_token>0")
    click(browser, "#table tbody tr")
    text = browser.execute_script("return document.getElementById('details').textContent")
    assert "evil" in text
    assert "the last line <script>" in text
    assert "joulebench run model=x" in text
    click(browser, "#run button")
    type_filter(browser, "oom")
    click(browser, "#table tbody tr")
    assert "Why it has no result" in browser.execute_script("return document.getElementById('details').textContent")


def test_a_hostile_name_does_nothing(browser, page):
    opened(browser, page)
    for row in range(6):
        browser.execute_script("open(arguments[0]); document.getElementById('run').close()", row)
    assert "owned" not in browser.execute_script("return document.title").split()
    assert browser.execute_script("return document.querySelectorAll('main img, dialog img').length") == 0
    assert not browser.execute_script("return document.title").startswith("owned")
    assert browser.get_log("browser") == []


def test_it_prints(browser, page):
    opened(browser, page)
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 20_000


@pytest.mark.parametrize(
    "records",
    [
        GRID[:1],
        [record(status="failed")],
        [record("a", status="oom"), record("b", status="unsupported")],
        [record(batch=b) for b in (1, 8)],
        [GRID[0], record(precision="bf16", method="measured_counter")],
    ],
    ids=["one run", "a failed run", "all failed", "one axis", "mixed methods"],
)
def test_every_kind_of_study_has_a_page(tmp_path, records):
    study = write_study(tmp_path / "results", *records)
    assert main(["report", "s", "--results-dir", str(tmp_path / "results")]) == 0
    text = (study / "report.html").read_text()
    assert f"{len(records)} runs" in text
    assert "http://" not in text.replace("http://www.w3.org/", "")


def test_a_record_that_lacks_almost_everything_has_a_page(tmp_path):
    bare = {"schema_version": 1, "status": "ok", "run_id": "bare", "study": "s", "cell": {}, "summary": {}}
    write_study(tmp_path / "results", bare)
    assert main(["report", "s", "--results-dir", str(tmp_path / "results")]) == 0
