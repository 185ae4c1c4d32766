"""What a server counts, for Prometheus. Labels take values of a fixed set, so that no client can make their number grow."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of its own."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        """
        Args:
            paths: those that are counted by name; all others are ``other``.
        """
        self._paths = paths
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        prefix = "ordinate_"
        self._requests = Counter(f"{prefix}requests", "Requests answered", ("method", "path", "status"), registry=self.registry)
        self._seconds = Histogram(
            f"{prefix}request_seconds",
            "Seconds from a request's head to the end of its answer",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._rows = Histogram(
            f"{prefix}batch_rows", "Rows computed together", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self.registry
        )
        self._batch_seconds = Histogram(f"{prefix}batch_seconds", "Seconds of a batch", buckets=_SECONDS, registry=self.registry)
        self.inside = Gauge(f"{prefix}requests_inside", "Requests being read, waiting or computed", registry=self.registry)
        self.waiting = Gauge(f"{prefix}queue_length", "Jobs waiting for a batch", registry=self.registry)
        self.gallery = Gauge(f"{prefix}index_rows", "Rows of the index", registry=self.registry)
        self.swaps = Counter(f"{prefix}model_swaps", "Times that another model or index was taken up while serving", registry=self.registry)
        self.failed_swaps = Counter(
            f"{prefix}model_swaps_failed", "Times that a recorded replacement or index could not be taken up", registry=self.registry
        )

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        path = path if path in self._paths else "other"
        self._requests.labels(method if method in _METHODS else "other", path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, rows: int, seconds: float) -> None:
        """Count a batch that was computed."""
        self._rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
