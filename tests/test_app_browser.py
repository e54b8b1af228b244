"""The web app as a person meets it: served by `launch`, used in headless Chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import brightness_detector, encoded, grey
from PIL import Image

from realface.card import Calibration, Preprocessing
from realface.web.examples import PORTRAIT

pytest.importorskip("streamlit")
pytest.importorskip("selenium")
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from test_detector_faces import pair

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(CHROMEDRIVER is None, reason="chromedriver is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="the server is stopped with SIGINT"),
]
ELSEWHERE = "faces.example"
NOTHING = "No note of origin was found in the file, which means nothing: most sites remove such notes."
BESIDE = "The probability does not rest on this."
FLAGS = [
    f"--host-resolver-rules=MAP {ELSEWHERE} localhost",
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
]
# what starts the tests may ignore SIGINT, as a shell does for work in the background, and then so would the server
SERVE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from realface.web.launch import launch; sys.exit(launch({!r}, {}, open_browser=False))"
)
SPY = """
import os, sys
def note(event, address):
    with open(os.environ["SPY_LOG"], "a") as log:
        print(event, address, file=log)
def spy(event, args):
    if event in ("socket.connect", "socket.sendto"):
        note(event, args[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        note(event, args[0])
sys.addaudithook(spy)
note("watching", sys.argv)
"""


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's process notes each connection it makes and each name it looks up."""
    return tmp_path_factory.mktemp("spy") / "log"


@pytest.fixture(scope="module")
def url(spied: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The running app, in an empty folder and with an empty home."""
    spied.with_name("sitecustomize.py").write_text(SPY)
    spied.touch()
    folder = str(tmp_path_factory.mktemp("home"))
    detector = tmp_path_factory.mktemp("detector") / "finding.onnx"
    sure = Calibration(scale=8)
    detector.write_bytes(brightness_detector(explains=True, preprocessing=Preprocessing(32, "face"), calibration=sure))
    path = os.pathsep.join([str(spied.parent), *sys.path])  # or a copy of the repository would try another one's app
    environment = os.environ | {"HOME": folder, "PYTHONPATH": path, "SPY_LOG": str(spied)}
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("localhost", 0))
        port = held.getsockname()[1]
        if sys.platform != "linux":  # there the server may have it beside us, and until we close it nobody else
            held.close()
        command = [sys.executable, "-c", SERVE.format(str(detector), port)]
        server = subprocess.Popen(command, cwd=folder, env=environment, process_group=0)
        try:
            wait_until_healthy(server, f"http://localhost:{port}/_stcore/health")
            yield f"http://localhost:{port}"
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=300) == 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("localhost", port))
        finally:
            with suppress(ProcessLookupError):  # mostly all has ended
                os.killpg(server.pid, signal.SIGKILL)  # what it started too
            server.wait()


def wait_until_healthy(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        with suppress(OSError), urllib.request.urlopen(address, timeout=60):  # it may also be too slow
            return
        threading.Event().wait(0.1)
    pytest.fail("the server did not answer within 300 s")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


def head(darkest: int) -> Image.Image:
    """The head of the example portrait with half its contrast: a `darkest` of 0 is real for the detector, 127 fake."""
    return Image.open(PORTRAIT).crop((90, 0, 390, 300)).point(lambda v: darkest + v // 2)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    real = grey(128, 400, 300)
    real.paste(head(0), (50, 0))
    notes = grey(255).getexif()
    notes[0x0131] = "NovelAI"
    made = {
        "real.png": encoded(real),
        "fake.jpg": encoded(head(127), "JPEG", exif=notes),
        "a text with <b>quite a long name that " + "goes_on_" * 12 + ".jpg": b"this is a text",
        "=pair.png": encoded(Image.fromarray(pair())),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in made]


def open_page(driver: WebDriver, url: str, theme: str = "light", size: tuple[int, int] = (1280, 1000)) -> None:
    feature = {"name": "prefers-color-scheme", "value": theme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(url)


def patience(driver: WebDriver) -> WebDriverWait[WebDriver]:
    """Waits up to 300 s; where the page replaces an element between finding and reading it, it is looked for anew."""
    return WebDriverWait(driver, 300, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException])


def predict(driver: WebDriver, files: list[Path]) -> list[WebElement]:
    """Upload, press Predict, and wait for the summary: the cards."""
    wait = patience(driver)
    chooser = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "input[type=file]"))
    chooser.send_keys("\n".join(map(str, files)))
    button(driver, "Predict").click()
    summary = f"{len(files)} picture"
    wait.until(lambda d: any(summary in e.text for e in d.find_elements(By.CSS_SELECTOR, "[role=status]")))
    settle(driver)
    cards = driver.find_elements(By.CSS_SELECTOR, ".rf-card")
    assert len(cards) == len(files)
    return cards


def settle(driver: WebDriver) -> None:
    """Wait until the page is whole: what a test waits for comes before what is below it."""
    patience(driver).until(lambda d: d.find_element(By.CSS_SELECTOR, "[data-test-script-state=notRunning]"))


def button(driver: WebDriver, label: str) -> WebElement:
    path = f"//button[normalize-space()='{label}' and not(@disabled)]"
    return patience(driver).until(lambda d: d.find_element(By.XPATH, path))


def screenshot(driver: WebDriver, path: Path) -> None:
    assert driver.save_screenshot(str(path))
    assert path.stat().st_size > 10_000


def assert_no_trace(driver: WebDriver) -> None:
    page = driver.find_element(By.TAG_NAME, "body").text
    assert "Traceback" not in page
    assert not driver.find_elements(By.CSS_SELECTOR, ".stException")


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of two sRGB colours, after WCAG 2."""
    linear = [[c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb] for rgb in (one, other)]
    dark, bright = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (bright + 0.05) / (dark + 0.05)


def assert_readable(driver: WebDriver, theme: str) -> None:
    for words, ink, paper in driver.execute_script(COLOURS):
        assert contrast(ink, paper) >= 4.5, f"{words!r} is hard to read in the {theme} theme: {ink} on {paper}"


def assert_fits(driver: WebDriver) -> None:
    assert max(excess := driver.execute_script(WIDE)) <= 0, f"page, main part and pieces are too wide by {excess}"


WIDE = """
const main = document.querySelector("[data-testid=stMain]"), root = document.documentElement;
const parts = [...document.querySelectorAll(".rf, .rf *")].map(e => e.getBoundingClientRect().right);
return [root.scrollWidth - root.clientWidth, main.scrollWidth - main.clientWidth, Math.max(0, ...parts) - innerWidth];
"""
PARTED = """
return [...document.querySelectorAll(".rf-numbers b")].filter(e => e.getClientRects().length > 1).map(e => e.innerText);
"""
COLOURS = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
const layers = element => element ? [...layers(element.parentElement), getComputedStyle(element).backgroundColor] : [];
const painted = colours => {
  canvas.fillStyle = "#fff"; canvas.fillRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1) }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const texts = [...document.querySelectorAll(".rf *")].filter(e => [...e.childNodes].some(n => n.nodeValue?.trim()));
return texts.map(e => {
  const behind = layers(e);
  return [e.textContent, painted([...behind, getComputedStyle(e).color]), painted(behind)];
});
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_three_files_get_their_answers(
    chromium: WebDriver, url: str, files: list[Path], tmp_path: Path, theme: str
) -> None:
    open_page(chromium, url, theme)
    real, fake, text = predict(chromium, files[:3])
    screenshot(chromium, tmp_path / f"{theme}.png")
    answer = [
        "REAL",
        "a photograph of a person",
        "What was judged",
        "Probability of real >99.9 %",
        "of fake <0.1 %",
        f"{NOTHING} {BESIDE}",
    ]
    assert real.text.splitlines() == ["real.png", *answer]
    says = "The file says: generator NovelAI; such notes can be forged or copied."
    figures = ["Probability of real <0.1 %", "of fake >99.9 %"]
    answer = ["FAKE", "made by a machine", "What was judged", *figures, f"{says} {BESIDE}"]
    assert fake.text.splitlines() == ["fake.jpg", *answer]
    assert text.text.splitlines()[0] == files[2].name
    assert "NO ANSWER" in text.text
    assert "This is not a picture realface can read" in text.text
    assert_no_trace(chromium)
    icons = [card.find_element(By.CSS_SELECTOR, ".rf-verdict .rf-icon") for card in (real, fake, text)]
    shapes = {icon.value_of_css_property("mask-image") for icon in icons}
    assert len(shapes) == 3
    assert all(shape.startswith('url("data:image/svg+xml') for shape in shapes)
    assert_readable(chromium, theme)


def test_a_phone_shows_everything_without_scrolling_sideways(
    chromium: WebDriver, url: str, files: list[Path], tmp_path: Path
) -> None:
    open_page(chromium, url, size=(390, 844))
    predict(chromium, files)
    screenshot(chromium, tmp_path / "phone.png")
    assert_no_trace(chromium)
    assert_fits(chromium)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_works_from_the_keyboard(
    chromium: WebDriver, url: str, files: list[Path], tmp_path: Path, theme: str
) -> None:
    open_page(chromium, url, theme)
    wait = patience(chromium)
    chooser = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "input[type=file]"))
    chooser.send_keys(str(files[3]))
    button(chromium, "Predict").send_keys("\n")
    wait.until(lambda d: d.find_element(By.CSS_SELECTOR, ".rf-face"))
    settle(chromium)
    assert tab(chromium).accessible_name == "Show where the evidence lies"
    chromium.switch_to.active_element.send_keys(" ")
    overlays = ".rf-crop img[src^='data:image/png']"
    wait.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, overlays)) == 2)
    settle(chromium)
    assert tab(chromium).accessible_name == "Check stability"
    chromium.switch_to.active_element.send_keys(" ")
    wait.until(lambda d: len(d.find_elements(By.TAG_NAME, "caption")) == 2)
    settle(chromium)
    captions = [e.text for e in chromium.find_elements(By.TAG_NAME, "caption")]
    assert captions == ["Stability: the verdict holds"] * 2
    assert tab(chromium).accessible_name == "Prepare a case report"
    assert tab(chromium).accessible_name == "Model card of the bundled detector"
    screenshot(chromium, tmp_path / f"{theme}.png")
    assert_readable(chromium, theme)
    for crop in chromium.find_elements(By.CSS_SELECTOR, ".rf-crop"):
        judged, overlay = (image.rect for image in crop.find_elements(By.TAG_NAME, "img"))
        assert judged == overlay
    frame = chromium.find_element(By.CSS_SELECTOR, ".rf-picture img").rect
    numbers = chromium.find_elements(By.CSS_SELECTOR, ".rf-picture b")
    assert [number.text for number in numbers] == ["1", "2"]
    for number in numbers:
        assert frame["x"] <= number.rect["x"] <= frame["x"] + frame["width"]
        assert frame["y"] <= number.rect["y"] <= frame["y"] + frame["height"]


def tab(driver: WebDriver) -> WebElement:
    """Press the tabulator key: what has the focus then, which must be seen."""
    before = driver.get_screenshot_as_png()
    driver.switch_to.active_element.send_keys(Keys.TAB)
    patience(driver).until(lambda d: d.get_screenshot_as_png() != before)
    return driver.switch_to.active_element


def test_table_and_report_can_be_downloaded(chromium: WebDriver, url: str, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    open_page(chromium, url)
    predict(chromium, files)
    assert chromium.execute_script(PARTED) == [], "a figure and its % are on two lines"
    button(chromium, "Download the table as CSV").click()
    table = downloaded(chromium, folder / "realface.csv")
    assert [line.split(",")[0] for line in table.splitlines()] == ["file", *(f.name for f in files[:3]), "'=pair.png"]
    button(chromium, "Prepare a case report").click()
    button(chromium, "Download the case report").click()
    report = downloaded(chromium, folder / "report.html")
    assert report.startswith("<!DOCTYPE html>")
    assert report.rstrip().endswith("</html>")
    assert all(word in report for word in ("real.png", "fake.jpg", "=pair.png", "JPEG 70", "Where the evidence lies"))
    assert_no_trace(chromium)


def downloaded(driver: WebDriver, path: Path) -> str:
    """The text of a file, once the browser has it whole: until then it has another name."""
    patience(driver).until(lambda _: path.exists() and path.stat().st_size)
    return path.read_text(encoding="utf-8-sig")


def test_on_a_phone_an_example_and_the_model_card_can_be_read(chromium: WebDriver, url: str, tmp_path: Path) -> None:
    open_page(chromium, url, "dark", size=(390, 844))
    button(chromium, "A sharp and a blurred face").click()
    wait = patience(chromium)
    reason = "the face is too blurred to judge"
    wait.until(lambda d: any(reason in e.text for e in d.find_elements(By.CSS_SELECTOR, ".rf-face")))
    settle(chromium)
    assert_fits(chromium)
    page, link = chromium.current_window_handle, chromium.find_element(By.PARTIAL_LINK_TEXT, "Model card")
    link.send_keys(Keys.ENTER)
    wait.until(lambda d: len(d.window_handles) == 2)
    chromium.switch_to.window(next(handle for handle in chromium.window_handles if handle != page))
    try:
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        heading = wait.until(lambda d: d.find_element(By.TAG_NAME, "h1").text)
        assert heading.startswith("Model card")
        wait.until(lambda d: d.title == "realface: model card")
        settle(chromium)
        screenshot(chromium, tmp_path / "card.png")
        assert_fits(chromium)
        assert_no_trace(chromium)
    finally:
        chromium.close()
        chromium.switch_to.window(page)
    assert chromium.find_elements(By.CSS_SELECTOR, ".rf-face"), "the answers are still there"


def test_nothing_leaves_this_computer(chromium: WebDriver, url: str, files: list[Path], spied: Path) -> None:
    chromium.get_log("performance")
    open_page(chromium, url)
    predict(chromium, files)
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    sockets = [m["params"]["url"] for m in messages if m["method"] == "Network.webSocketCreated"]
    assert len(asked) > 3
    assert sockets
    assert [u for u in asked + sockets if not u.startswith((url, url.replace("http", "ws", 1), "data:", "blob:"))] == []
    notes = spied.read_text().splitlines()
    assert sum(line.startswith("watching") for line in notes) == 2, "launch and the server are both watched"
    here = ("localhost", "127.0.0.1", "::1")
    assert [n for n in notes if not n.startswith("watching") and not any(host in n for host in here)] == []


def test_from_another_computer_the_page_says_where_the_picture_goes(chromium: WebDriver, url: str) -> None:
    open_page(chromium, url.replace("localhost", ELSEWHERE))
    line = patience(chromium).until(lambda d: d.find_element(By.CSS_SELECTOR, ".rf-private").text)
    assert line == f"The picture goes to {ELSEWHERE}, where realface runs, and nowhere else."
