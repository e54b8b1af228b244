"""The command line: the web service, thin as the rest."""

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..cores import cores
from ..detector import Detector
from ..errors import ConfigError
from ..images import Limits
from .options import DetectorOption, need

LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    detector: DetectorOption = "best",
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    keys: Annotated[Path | None, typer.Option(metavar="FILE", help="API keys; without, everybody is let in.")] = None,
    add_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a key, add its hash to --keys, print it once, and end.")
    ] = None,
    trail: Annotated[
        str | None, typer.Option(metavar="URL", help="Record every answer before it is given: sqlite:///trail.db, …")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=1024, help="Pictures judged at a time; 0 is one for each core.")
    ] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that are judged in one go.")] = 1,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more are refused (503).")] = 128,
    per_client: Annotated[
        int, typer.Option(min=1, help="Requests of one client at a time; more are refused (429).")
    ] = 16,
    max_pictures: Annotated[int, typer.Option(min=1, help="Pictures in one request.")] = 16,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are refused.")] = Limits().max_bytes // 2**20,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=178, help="Larger pictures are refused.")
    ] = Limits().max_pixels // 10**6,
    max_faces: Annotated[
        int, typer.Option(min=1, max=199, help="Pictures with more faces are refused; each takes time.")
    ] = 32,
    room: Annotated[int, typer.Option(min=1, help="Megabytes of pictures in memory at a time.")] = 512,
    timeout: Annotated[int, typer.Option(min=1, max=86400, help="Seconds from a request to its answer.")] = 60,
    proxy: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Whose X-Forwarded-For header is believed.")
    ] = None,
) -> None:
    """Judge pictures over HTTP: POST /v1/check. Each option can be an environment variable, such as REALFACE_PORT.

    It listens at this computer only, until told otherwise. No picture is kept, and nothing is sent away.
    """
    need("serve")
    from ..web import service_keys

    if add_key is not None:
        if keys is None:
            raise ConfigError("--add-key needs --keys FILE, where the key's hash is added")
        print(service_keys.add(keys, add_key))
        return
    _check_addresses(proxy)
    from ..trail import Trail
    from ..web.service import Settings, make_app
    from ..web.service_run import run

    limits = Limits(max_megabytes * 2**20, max_megapixels * 1_000_000)
    settings = Settings(limits, workers or cores(), batch, queue, per_client, max_pictures, room * 2**20, timeout)
    known = service_keys.load(keys) if keys else None
    judge = Detector.load(detector, threads=1, limits=limits, max_faces=max_faces)
    if known is None and host not in LOCAL:
        print("realface: without --keys, everybody who reaches this address is answered", file=sys.stderr)
    if not trail:
        print("realface: without --trail, no answer is recorded", file=sys.stderr)
    app = make_app(judge, settings, keys=known, trail=Trail(trail) if trail else None)
    run(app, host, port, timeout=timeout, proxy=proxy)


def _check_addresses(proxy: str | None) -> None:
    """ConfigError where uvicorn would believe nobody, and say nothing."""
    if proxy is None or proxy == "*":
        return
    for part in proxy.split(","):
        try:
            ipaddress.ip_network(part.strip())
        except ValueError:
            hint = "give the proxy's address, as 10.0.0.5, or its network, as 10.0.0.0/24, not its name"
            raise ConfigError(f"--proxy {proxy}: {hint}") from None
