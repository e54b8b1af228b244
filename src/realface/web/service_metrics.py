"""What the service counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from ..results import Verdict
from .service_body import Room
from .service_queue import Queue

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self, queue: Queue, room: Room) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter("realface_requests", "Checks asked for", ["status"], registry=self._registry)
        self._seconds = Histogram(
            "realface_request_seconds", "From the headers to the answer", buckets=_SECONDS, registry=self._registry
        )
        self._pictures = Counter(
            "realface_pictures", "Pictures answered", ["status", "verdict"], registry=self._registry
        )
        requests = Gauge("realface_requests_waiting", "Requests that wait or are judged", registry=self._registry)
        requests.set_function(lambda: queue.places)
        kept = Gauge("realface_bytes_kept", "Bytes of pictures in memory", registry=self._registry)
        kept.set_function(lambda: room.taken)

    def request(self, status: int, seconds: float) -> None:
        """Count a request that was answered with this HTTP status."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def picture(self, verdict: Verdict) -> None:
        """Count a picture whose answer was recorded."""
        self._pictures.labels(verdict.status, verdict.verdict or "none").inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
