"""Start the web app on this computer."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NoReturn

from ..detector import Detector
from ..errors import DetectorError, MissingExtra
from ..images import Limits

APP = Path(__file__).with_name("app.py")
ACCENT = "#2f6fd0"


def launch(detector: str = "best", port: int = 8501, open_browser: bool = True) -> int:
    """Serve the web app to this computer until it is stopped, as with Ctrl-C or SIGTERM; in the main thread only.

    Args:
        detector: the name of a bundled detector or the path of a detector file.
        port: where to listen.
        open_browser: show the page in the default browser.

    Returns:
        The server's exit code; 0 after Ctrl-C or SIGTERM, 2 where the detector cannot be used, which is printed.

    Raises:
        MissingExtra: Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise MissingExtra('the web app needs Streamlit; install it with: pip install "realface[app]"')
    # -P: a file called streamlit.py in the current folder must not be taken for Streamlit
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would live on
    server = subprocess.Popen(command, env=os.environ | settings(detector, port, open_browser))
    try:
        return server.wait()
    except KeyboardInterrupt:  # the terminal sends it to the server too; a program may send it to us alone
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=10)
        return 0
    finally:
        server.kill()  # nothing where it has ended
        server.wait()
        signal.signal(signal.SIGTERM, before)


def serve() -> None:
    """What the server's process does: load the detector, so that one that cannot be used is told in the terminal."""
    try:
        load(os.environ["REALFACE_DETECTOR"])
    except DetectorError as error:
        _fail(str(error))
    port = os.environ["STREAMLIT_SERVER_PORT"]
    try:
        socket.create_server(("localhost", int(port))).close()  # else another's page would be called ours
    except OSError as error:
        _fail(f"port {port} cannot be listened on ({error.strerror}); name another with --port")
    print(f"The app is at http://localhost:{port}; Ctrl-C ends it.", flush=True)
    from streamlit.web.cli import main

    main(["run", str(APP)], prog_name="streamlit")


def _fail(said: str) -> NoReturn:
    from ..cli.options import fail  # half a second

    fail(said, 2)


@cache
def load(detector: str) -> Detector:
    """The detector, once for all pages of the process."""
    return Detector.load(detector)


def settings(detector: str, port: int, open_browser: bool) -> dict[str, str]:
    """The server's environment variables. They outrank any Streamlit configuration file of the user."""
    options = {
        "BROWSER_GATHER_USAGE_STATS": False,
        "BROWSER_SERVER_ADDRESS": "localhost",  # without it Streamlit asks a server on the internet for our address
        "CLIENT_SHOW_ERROR_DETAILS": "none",
        "CLIENT_SHOW_ERROR_LINKS": False,
        "CLIENT_TOOLBAR_MODE": "minimal",
        "LOGGER_HIDE_WELCOME_MESSAGE": True,  # with it, in the page too, goes advice to those who write apps
        "RUNNER_MAGIC_ENABLED": False,
        "SERVER_ADDRESS": "localhost",
        "SERVER_FILE_WATCHER_TYPE": "none",
        "SERVER_HEADLESS": not open_browser,
        "SERVER_MAX_UPLOAD_SIZE": Limits().max_bytes // 2**20,
        "SERVER_PORT": port,
        "SERVER_SHOW_EMAIL_PROMPT": False,
        "THEME_LIGHT_PRIMARY_COLOR": ACCENT,
        "THEME_DARK_PRIMARY_COLOR": ACCENT,
    }
    texts = {f"STREAMLIT_{name}": str(value).lower() for name, value in options.items()}
    return texts | {"REALFACE_DETECTOR": detector}
