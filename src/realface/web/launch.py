"""Start the web app on this computer."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from ..errors import MissingExtra
from ..images import Limits

APP = Path(__file__).with_name("app.py")
ACCENT = "#2f6fd0"


def launch(detector: str = "best", port: int = 8501, host: str = "localhost", open_browser: bool = True) -> int:
    """Serve the web app until it is stopped, with Ctrl-C or SIGTERM for one; in the main thread only.

    Args:
        detector: the name of a bundled detector or the path of a detector file.
        port: where to listen.
        host: the address to listen at; "localhost" can be reached from this computer only.
        open_browser: show the page in the default browser.

    Returns:
        The server's exit code; 0 after Ctrl-C or SIGTERM.

    Raises:
        MissingExtra: Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise MissingExtra('the web app needs Streamlit; install it with: pip install "realface[app]"')
    # -P: a file called streamlit.py in the current folder must not be taken for Streamlit
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(APP)]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would live on
    server = subprocess.Popen(command, env=os.environ | settings(detector, port, host, open_browser))
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


def settings(detector: str, port: int, host: str, open_browser: bool) -> dict[str, str]:
    """The server's environment variables. They outrank any Streamlit configuration file of the user."""
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    options = {
        "BROWSER_GATHER_USAGE_STATS": False,
        "BROWSER_SERVER_ADDRESS": shown,  # without it Streamlit asks a server on the internet for our address
        "CLIENT_SHOW_ERROR_DETAILS": "none",
        "CLIENT_SHOW_ERROR_LINKS": False,
        "CLIENT_TOOLBAR_MODE": "minimal",
        "RUNNER_MAGIC_ENABLED": False,
        "SERVER_ADDRESS": host,
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
