"""The engine of many machines: Ray Data hands batches to actors, each of which drives one worker as `local` does."""

import importlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from ..detector import bundled
from ..errors import MissingExtra, ScanError
from .local import Pool
from .source import Entry, absolute
from .worker import Settings, batch_of, line

_BATCHES = 16  # in a task of an actor


def judged(
    batches: Iterable[list[Entry]], settings: Settings, workers: int | None, address: str | None
) -> Iterator[pa.Table]:
    """The rows of all pictures, in their order.

    The list of pictures, not the pictures, lies in Ray's object store; each machine opens the paths by itself and
    needs realface. An actor that is lost is replaced by Ray, and its task done again; a picture that kills its worker
    is an error, as on one machine.

    Args:
        workers: actors, of one core each; None for as many as the cluster has cores.
        address: of the cluster; None for the one Ray knows of, or else one on this machine.

    Raises:
        MissingExtra: Ray is not installed.
        ScanError: there is no cluster at that address, or it has failed.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _join(ray, address)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        # Ray's processes have a folder of their own, in which a relative name would be another file
        lines = (line([replace(entry, file=absolute(entry.file)) for entry in batch]) for batch in batches)
        if settings.detector not in ("auto", *bundled()):
            settings = replace(settings, detector=absolute(settings.detector))
        tasks = []
        while some := list(islice(lines, _BATCHES)):
            tasks.append(pa.table({"batch": pa.array(some, pa.binary())}))
        if not tasks:
            return
        actors = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        found = ray.data.from_blocks(tasks).map_batches(
            _Actor,
            fn_constructor_args=(settings,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
            num_cpus=1,
        )
        try:
            yield from found.iter_batches(batch_size=None, batch_format="pyarrow")
        except ray.exceptions.RayTaskError as error:  # it tells all that the cause went through over there
            cause = error.cause or error
            cause.args = (str(cause).partition("\n")[0],)  # the rest is advice of Ray's
            raise cause from error
        except ray.exceptions.RayError as error:
            why = str(error).strip().rpartition("\n")[2]
            hint = "does every machine have this version of realface? then go on with --resume"
            raise ScanError(f"the cluster has failed: {why}; {hint}") from None
    finally:
        if ours:
            ray.shutdown()


class _Actor:
    """A process of Ray; the pool is its own, and of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._pool = Pool(settings, 1)

    def __call__(self, task: pa.Table) -> pa.Table:
        return pa.concat_tables(self._pool.run(map(batch_of, task["batch"].to_pylist())))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    os.environ.setdefault("RAY_worker_niceness", "0")  # else 15: on a busy machine the actors would hardly run
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtra('scanning on a cluster needs Ray: pip install "realface[scan,ray]"') from None


def _join(ray: Any, address: str | None) -> None:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is an error is raised too
    try:
        known = os.environ.get("RAY_ADDRESS", "") if address is None or address == "auto" else address
        where = urlsplit(known if "://" in known else f"//{known}")
        if where.port:  # where nobody answers, Ray itself would try for more than ten minutes
            socket.create_connection((where.hostname, where.port), timeout=10).close()
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray itself raises no better one where a cluster is not up in time
        raise ScanError(f"there is no Ray cluster to work on: {error}") from None
