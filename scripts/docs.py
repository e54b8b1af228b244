"""Make what the documents show.

    python scripts/docs.py cli          docs/cli.md: the reference of the command line, from the code
    python scripts/docs.py site         site/: the documentation as pages that need no server and load nothing
    python scripts/docs.py screenshot   docs/images/app.png: the app with the bundled detector and its example portrait;
                                        needs Chromium

A test fails where docs/cli.md is not what the code says, and where the site cannot be built without a warning.
"""

import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLI, SCREENSHOT, SITE = ROOT / "docs" / "cli.md", ROOT / "docs" / "images" / "app.png", ROOT / "site"


def cli_reference() -> str:
    """Every command with its arguments and options, as Typer writes it down."""
    command = [sys.executable, "-m", "typer", "realface.cli", "utils", "docs", "--name", "realface"]
    written = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    _, _, body = written.partition("\n")
    # `scan SOURCE` has a name inside, for there is `scan summary` too; nobody types it
    names = {"scan pictures`": "scan SOURCE`", "scan pictures ": "scan ", "* `pictures`": "* `SOURCE`"}
    for inside, typed in names.items():
        body = body.replace(inside, typed)
    body = re.sub(r"\{([A-Z]\S*?)\}", r"\1", body)  # "{PATH...}" is "PATH..."
    return f"# Command line\n\nWritten by `python scripts/docs.py cli` from the code.\n{body.rstrip()}\n"


def build(out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-d", f"{out}/.doctrees"]
    return subprocess.run([*command, str(ROOT / "docs"), str(out)], capture_output=True, text=True)


def screenshot() -> bytes:
    """The page of the app once its example portrait (NASA, public domain) was judged, as PNG of 256 colours."""
    from PIL import Image
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    from realface.web.examples import PORTRAIT

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    realface = Path(sys.executable).with_name("realface")
    server = subprocess.Popen([realface, "app", "--port", str(port), "--no-browser"])
    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))  # given one, Selenium looks for none elsewhere
    driver = webdriver.Chrome(options=options, service=service)
    try:
        wait = WebDriverWait(driver, 120)
        wait.until(lambda _: answers(f"http://localhost:{port}/_stcore/health"))
        size = {"width": 840, "height": 1032, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(f"http://localhost:{port}")
        chooser = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "input[type=file]"))[0]
        chooser.send_keys(str(PORTRAIT))
        for label in ("Predict", "Show where the evidence lies"):
            press = f"//*[(self::button and not(@disabled)) or self::label][normalize-space()='{label}']"
            wait.until(partial(webdriver.Chrome.find_elements, by=By.XPATH, value=press))[0].click()
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".rf-hot"))
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "[data-test-script-state=notRunning]"))
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()
        server.send_signal(signal.SIGINT)
        server.wait(20)
    small = io.BytesIO()
    shot.quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def main() -> None:
    match sys.argv[1:]:
        case ["cli"]:
            CLI.write_text(cli_reference(), encoding="utf-8")
        case ["site"]:
            built = build(SITE)
            print(built.stdout + built.stderr, end="")
            sys.exit(built.returncode or print(f"Open {SITE / 'index.html'}"))
        case ["screenshot"]:
            SCREENSHOT.write_bytes(screenshot())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
