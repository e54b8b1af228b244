"""The same scan on a real Ray cluster of two worker processes on this machine, one of which is killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, grey
from pyarrow import parquet

from realface.errors import ScanError
from realface.results import DetectorId
from realface.scan import cluster
from realface.scan.parts import Parts
from realface.scan.run import scan
from realface.scan.source import Entry
from realface.scan.worker import Settings

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "realface[ray]"')
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    # Ray would report to its makers; and its workers, 15 nicer than others, would hardly start on a busy machine
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(256):
        (folder / f"{number:03}.png").write_bytes(encoded(grey(number)))
    (folder / "007.png").write_bytes(b"not a picture")
    (folder / os.fsdecode(b"1\xff.png")).write_bytes(encoded(grey(0)))
    return str(folder)


def test_rows_are_those_of_one_machine_though_a_worker_is_killed(
    two_workers: None, pictures: str, detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, killed = (tmp_path / name for name in ("one.parquet", "other.parquet", "killed"))
    monkeypatch.chdir(Path(pictures).parent)  # the workers have another folder
    pictures, file = Path(pictures).name, os.path.relpath(detector_file)
    scan([pictures], one, detector=file, workers=1)

    class Killed(cluster._Actor):
        """Dies with the rows of the first task of all, before anybody has them."""

        def __call__(self, task: Any) -> Any:
            rows = cluster._Actor.__call__(self, task)
            try:
                killed.touch(exist_ok=False)
            except FileExistsError:
                return rows
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(cluster, "_Actor", Killed)
    scan([pictures], other, detector=file, engine="ray", workers=2)
    assert killed.exists()
    assert len(parquet.read_table(other)) == 257
    assert parquet.read_table(other).equals(parquet.read_table(one))


def test_a_cluster_goes_on_with_what_one_machine_began(
    two_workers: None, pictures: str, detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    add = Parts.add

    def stop(parts: Parts, rows: Any) -> None:
        add(parts, rows)
        if parts.done >= 200:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            scan([pictures], out, detector=str(detector_file), workers=1)
    scan([pictures], out, detector=str(detector_file), engine="ray", workers=1, resume=True)
    names = [Path(path).name for path in parquet.read_table(out)["path"].to_pylist()]
    assert len(names) == len(set(names)) == 257
    assert names == sorted(names)


def judge_one(detector_file: Path) -> None:
    """A picture, by a detector that is another than it was."""
    settings = Settings(str(detector_file), DetectorId("brightness", "1", "of another file"))
    list(cluster.judged([[Entry("a", "a")]], settings, 1, None))


def test_a_worker_that_cannot_start_is_one_sentence(two_workers: None, detector_file: Path) -> None:
    with pytest.raises(ScanError, match=r"^a worker could not be started.*was the detector changed\?$"):
        judge_one(detector_file)


def test_a_machine_without_realface_is_one_sentence(
    two_workers: None, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing(cluster._Actor):
        def __init__(self, _: Settings) -> None:
            raise ModuleNotFoundError("No module named 'realface'")

    monkeypatch.setattr(cluster, "_Actor", Missing)
    with pytest.raises(ScanError, match=r"^the cluster has failed: .*'realface'; does every machine have"):
        judge_one(detector_file)


def test_a_defect_on_a_worker_is_told_as_one_here(
    two_workers: None, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(cluster._Actor):
        def __call__(self, _: Any) -> Any:
            raise ZeroDivisionError("of ours")

    monkeypatch.setattr(cluster, "_Actor", Broken)
    with pytest.raises(ZeroDivisionError, match=r"^of ours$"):
        judge_one(detector_file)


@pytest.mark.parametrize("error", [ConnectionError("nobody answers"), Exception("The current node timed out")])
def test_no_cluster_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ScanError, match="no Ray cluster"):
        cluster._join(ray, "auto")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"])
def test_where_nobody_answers_ray_is_not_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """It would try for more than ten minutes."""
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("asked"))
    with pytest.raises(ScanError, match="no Ray cluster"):
        cluster._join(ray, address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    for unnamed in (None, "auto"):
        with pytest.raises(ScanError, match="no Ray cluster"):
            cluster._join(ray, unnamed)
