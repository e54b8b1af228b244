"""The service as its callers meet it: answers, forms, reports, keys, records, and how it says no."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey
from service_helpers import Client, refusal, served

from realface import Detector, DetectorError
from realface.errors import ConfigError, TrailError
from realface.trail import Trail
from realface.web import service_keys
from realface.web.service import Settings, make_app
from realface.web.service_run import server

REAL, FAKE = encoded(grey(0), "JPEG"), encoded(grey(255))
NAMED = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def judge() -> Detector:
    return Detector(brightness_detector(explains=True), threads=1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('trail') / 'trail.db'}"


@pytest.fixture(scope="module")
def client(judge: Detector, url: str) -> Iterator[Client]:
    with served(make_app(judge, Settings(workers=2, pictures=3), trail=Trail(url))) as client:
        yield client


def records(url: str, request: str) -> list[dict[str, object]]:
    with Trail(url).records() as (_, rows):
        return [row for row in map(dict, rows) if row["request"] == request]


def test_bytes_get_the_object_that_the_command_line_prints(client: Client, judge: Detector) -> None:
    for picture in (REAL, FAKE, encoded(grey(128), "WEBP")):
        response = client.post("/v1/check", data=picture)
        assert response.status_code == 200
        assert response.text == judge.check(picture).to_json()


def test_a_form_gets_a_list_in_order_and_one_bad_picture_stops_nothing(client: Client) -> None:
    response = client.post("/v1/check", files=[("file", ("b.png", FAKE)), ("file", ("x", b"x")), ("file", ("a", REAL))])
    assert response.status_code == 200
    rows = response.json()
    assert [(row["path"], row["verdict"]) for row in rows] == [("b.png", "fake"), ("x", None), ("a", "real")]
    assert rows[1]["error"]["code"] == "not_an_image"
    assert client.post("/v1/check", files={"file": ("a.png", FAKE)}).json()[0]["verdict"] == "fake"


def test_heatmaps_and_stability_where_asked(client: Client) -> None:
    (face,) = client.post("/v1/check?heatmap=true&stability=true", data=FAKE).json()["faces"]
    assert np.array(face["heatmap"]).shape == (4, 4)
    assert [trial["verdict"] for trial in face["stability"]] == ["fake"] * 3


def test_a_report_is_a_page_in_which_names_are_only_text(client: Client) -> None:
    name = "<script>alert(1)</script>.png"
    response = client.post("/v1/check?report=html", files=[("file", (name, FAKE)), ("file", ("../../etc/x", REAL))])
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == "sandbox"
    assert "2 pictures: 1 fake, 1 real." in response.text
    assert "&lt;script&gt;alert(1)" in response.text
    assert "<script" not in response.text
    assert response.text.count('class="heat"') == 2


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/dev/stdin", "con", "a\\b.png", "-", "\u202egnp.exe", "é\u0000"]
)
def test_a_name_is_repeated_and_never_opened(client: Client, name: str) -> None:
    (row,) = client.post("/v1/check", files={"file": (name.encode(), FAKE)}).json()
    assert (row["verdict"], row["path"]) == ("fake", name.replace("\0", "\0"))


@pytest.mark.parametrize(
    ("data", "kind", "expected"),
    [
        (b"", None, (422, "empty")),
        (b"hello", "image/png", (415, "not_an_image")),
        (FAKE[:-30], None, (422, "truncated")),
        (encoded(grey(0, 8, 8)), None, (422, "too_small")),
        (b'{"image": "aGVsbG8="}', "application/json", (415, "media_type")),
        (FAKE, "multipart/form-data", (422, "request")),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", (422, "request")),
        (b"--x--\r\n", "multipart/form-data; boundary=x", (422, "request")),
        (b"garbage" * 100, "multipart/form-data; boundary=x", (422, "request")),
        (NAMED + b"--x--\r\n", "multipart/form-data; boundary=x; charset=undefined", (422, "request")),
    ],
)
def test_what_is_no_picture_is_refused(client: Client, data: bytes, kind: str, expected: tuple[int, str]) -> None:
    response = client.post("/v1/check", data=data, headers={"Content-Type": kind} if kind else {})
    assert refusal(response) == expected


def test_forms_of_something_else_are_refused(client: Client) -> None:
    part = NAMED + FAKE
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert refusal(client.post("/v1/check", data=part, headers=kind)) == (422, "request")  # cut off
    assert refusal(client.post("/v1/check", files={"picture": FAKE})) == (422, "request")
    response = client.post("/v1/check", files={"file": FAKE}, data={"heatmap": "true"})
    assert refusal(response) == (422, "request")
    assert "options in the address" in response.json()["error"]["message"]
    assert refusal(client.post("/v1/check", files=[("file", FAKE)] * 4)) == (422, "too_many_pictures")
    assert refusal(client.post("/v1/check", files=[("file", FAKE)] * 400)) == (422, "too_many_pictures")


def test_wrong_places_methods_and_parameters(client: Client, detector: Detector) -> None:
    assert refusal(client.get("/")) == (404, "not_found")
    assert refusal(client.get("/healthz/", allow_redirects=False)) == (404, "not_found")
    assert refusal(client.post("/v1/check/", data=FAKE, allow_redirects=False)) == (404, "not_found")
    assert refusal(client.get("/v1/check")) == (405, "method")
    assert client.get("/v1/check").headers["allow"] == "POST"
    assert refusal(client.post("/v1/check?report=pdf", data=FAKE)) == (422, "request")
    assert refusal(client.post("/v1/check?heatmap=maybe", data=FAKE)) == (422, "request")
    unknown = client.post("/v1/check?stabilty=true", data=FAKE)
    assert refusal(unknown) == (422, "request")
    assert unknown.json()["error"]["message"].startswith("stabilty: ")
    with served(make_app(detector)) as plain:
        assert refusal(plain.post("/v1/check?heatmap=true", data=FAKE)) == (422, "request")
        assert refusal(plain.post("/v1/check?report=html&heatmap=true", data=FAKE)) == (422, "request")
        assert "Stability: the verdict holds" in plain.post("/v1/check?report=html", data=FAKE).text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_may_ask_for_the_head_alone(client: Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))


def test_every_answer_is_in_the_trail_under_its_number(client: Client, url: str, judge: Detector) -> None:
    response = client.post("/v1/check", files=[("file", ("a", FAKE)), ("file", ("b", b"x"))])
    one, other = records(url, response.headers["x-request-id"])
    fake = response.json()[0]["faces"][0]["probability"]["fake"]
    assert (one["who"], one["status"], one["verdict"]) == ("127.0.0.1", "ok", "fake")
    assert (one["sha256"], one["detector"]) == (response.json()[0]["sha256"], judge.id.sha256)
    assert json.loads(str(one["probabilities"])) == [fake]
    assert json.loads(str(one["policy"]))["fake_from"] == 0.8
    assert (other["status"], other["verdict"], other["probabilities"]) == ("error", None, "[]")
    response = client.post("/v1/check", data=b"x")
    assert [row["status"] for row in records(url, response.headers["x-request-id"])] == ["error"]


def test_without_a_record_there_is_no_answer(judge: Detector, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Full(Trail):
        fails = True

        def append(self, entries: object) -> None:
            if self.fails:
                raise TrailError("the disk is full")

    trail = Full(url)
    with served(make_app(judge, trail=trail)) as client:
        assert client.get("/readyz").status_code == 200
        response = client.post("/v1/check", data=FAKE)
        assert refusal(response) == (503, "trail")
        assert "verdict" not in response.json()
        assert "disk" not in response.text
        assert "the disk is full" in capsys.readouterr().err
        assert response.headers["retry-after"] == "2"
        assert refusal(client.get("/readyz")) == (503, "trail")
        assert client.get("/healthz").json() == {"status": "ok"}
        trail.fails = False
        assert client.post("/v1/check", data=FAKE).json()["verdict"] == "fake"
        assert client.get("/readyz").json() == {"status": "ok"}


def test_without_the_file_of_the_trail_there_is_no_answer(judge: Detector, tmp_path: Path) -> None:
    file = tmp_path / "trail.db"
    with served(make_app(judge, trail=Trail(str(file)))) as client:
        assert client.post("/v1/check", data=FAKE).status_code == 200
        file.rename(tmp_path / "old.db")
        assert refusal(client.get("/readyz")) == (503, "trail")
        assert refusal(client.post("/v1/check", data=FAKE)) == (503, "trail")
        (tmp_path / "old.db").rename(file)
        assert client.post("/v1/check", data=FAKE).status_code == 200


def test_at_the_end_all_records_are_in_the_file_itself(judge: Detector, tmp_path: Path) -> None:
    trail = Trail(str(tmp_path / "trail.db"))
    with served(make_app(judge, trail=trail)) as client:
        assert client.post("/v1/check", data=FAKE).status_code == 200
    assert [file.name for file in tmp_path.iterdir()] == ["trail.db"]
    assert trail.verify().n == 1


def test_a_defect_is_one_sentence(judge: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    with served(make_app(judge)) as client:
        monkeypatch.setattr(judge, "check_many", broken)
        response = client.post("/v1/check", data=FAKE)
        assert refusal(response) == (500, "internal")
        assert "secret" not in response.text
        assert 'realface_requests_total{status="500"} 1.0' in client.get("/metrics").text


def test_a_detector_that_fails_is_no_defect(judge: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, form = judge.judge, [("file", FAKE), ("file", REAL)]

    def broken(crops: list[np.ndarray], **options: bool) -> object:
        if crops[0].mean() > 128:
            raise DetectorError("the detector brightness fails on these pictures")
        return whole(crops, **options)

    with served(make_app(judge)) as client:
        monkeypatch.setattr(judge, "judge", broken)
        response = client.post("/v1/check", data=FAKE)
        assert refusal(response) == (500, "detector")
        assert "brightness fails" in response.text
        failed, judged = client.post("/v1/check", files=form).json()
        assert (failed["error"]["code"], failed["verdict"], judged["verdict"]) == ("detector", None, "real")
        assert "brightness fails" in client.post("/v1/check?report=html", files=form).text


def test_keys_name_who_asks_and_keep_others_out(judge: Detector, tmp_path: Path, url: str) -> None:
    file = tmp_path / "keys"
    ann, bob = service_keys.add(file, "ann"), service_keys.add(file, "bob")
    assert ann not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    with served(make_app(judge, keys=service_keys.load(file), trail=Trail(url))) as client:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {ann}"}, {"X-API-Key": ann}):
            response = client.post("/v1/check", data=FAKE, headers=headers)
            assert refusal(response) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        for name, key in {"ann": ann, "bob": bob}.items():
            response = client.post("/v1/check", data=FAKE, headers={"Authorization": f"Bearer {key}"})
            assert [row["who"] for row in records(url, response.headers["x-request-id"])] == [name]
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "text", ["", "# none\n", "ann:abc", "ann:" + "0" * 64 + "\nann:" + "1" * 64, "a b:" + "0" * 64]
)
def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError):
        service_keys.load(tmp_path / "keys")
    with pytest.raises(ConfigError):
        service_keys.add(tmp_path / "keys", "no such name!")


def test_a_file_of_keys_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    service_keys.add(tmp_path / "keys", "ann")
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "keys").read_bytes())
    assert list(service_keys.load(tmp_path / "keys")) == ["ann"]


def test_without_a_file_of_keys_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not there; make one with: realface serve --keys .* --add-key NAME"):
        service_keys.load(tmp_path / "keys")


def test_metrics_count_what_was_answered(client: Client) -> None:
    def count(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (.+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    name = 'realface_pictures_total{status="ok",verdict="fake"}'
    before, answers = count(name), count('realface_requests_total{status="200"}')
    wrong = count('realface_requests_total{status="422"}')
    assert client.post("/v1/check?heatmap=maybe", data=FAKE).status_code == 422
    assert count('realface_requests_total{status="422"}') == wrong + 1
    client.post("/v1/check", files=[("file", FAKE), ("file", FAKE)])
    assert count(name) == before + 2
    assert count('realface_requests_total{status="200"}') == answers + 1
    assert count("realface_bytes_kept") == 0
    assert count("process_resident_memory_bytes") > 0


def test_no_page_of_the_service_fetches_anything(client: Client) -> None:
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["paths"].keys() == {"/v1/check", "/healthz", "/readyz", "/metrics"}


def test_the_command_makes_keys(run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    status, out, _ = run("serve", "--keys", file, "--add-key", "ann")
    assert status == 0
    assert service_keys.owner(service_keys.load(file), out.strip()) == "ann"
    for wrong in (
        ("--keys", file, "--add-key", "ann"),
        ("--add-key", "bob"),
        ("--keys", tmp_path),
        ("--keys", tmp_path / ("x" * 300), "--add-key", "bob"),  # Path.exists() raises here, as in a closed folder
        ("--port", "1e9"),
    ):
        status, _, err = run("serve", *wrong)
        assert (status, "Traceback" in err) == (2, False)


@pytest.mark.parametrize("edited", ["# keys of the border office\n", f"ann:{'0' * 64}", ""])
def test_a_key_goes_into_a_file_that_somebody_edited(tmp_path: Path, edited: str) -> None:
    file = tmp_path / "keys"
    file.write_text(edited)
    key = service_keys.add(file, "bob")
    assert service_keys.owner(service_keys.load(file), key) == "bob"


def test_what_cannot_start_says_what_to_do(
    run, monkeypatch: pytest.MonkeyPatch, client: Client, detector_file: Path
) -> None:
    status, _, err = run("serve", "--port", client.port, "--detector", detector_file)
    silent, said = err.splitlines()
    assert (status, silent) == (2, "realface: without --trail, no answer is recorded")
    assert said.startswith(f"realface: cannot listen at 127.0.0.1, port {client.port}")
    status, _, err = run("serve", "--host", "ü" * 80, "--detector", detector_file)
    assert (status, "cannot listen at ü" in err) == (2, True)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    status, _, err = run("serve")
    assert (status, 'pip install "realface[serve]"' in err) == (2, True)


def test_the_command_bounds_faces(run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def load(*_: object, max_faces: int, **__: object) -> None:
        asked.append(max_faces)
        raise DetectorError("none")

    monkeypatch.setattr(Detector, "load", load)
    assert [run("serve", *more)[0] for more in ((), ("--max-faces", 199), ("--max-faces", 200))] == [2, 2, 2]
    assert asked == [32, 199]


@pytest.mark.parametrize(
    ("proxy", "good"),
    [("*", True), ("10.0.0.5, ::1,10.0.0.0/24", True)]
    + [(wrong, False) for wrong in ("nginx", "10.0.0.5/24", "10.0.0.5,", "*,10.0.0.5")],
)
def test_a_proxy_is_an_address(run, monkeypatch: pytest.MonkeyPatch, proxy: str, good: bool) -> None:
    def load(*_: object, **__: object) -> None:
        raise DetectorError("no further")

    monkeypatch.setattr(Detector, "load", load)
    status, _, err = run("serve", "--proxy", proxy)
    assert status == 2
    assert ("no further" if good else f"--proxy {proxy}: give the proxy's address") in err


def test_a_second_ctrl_c_keeps_nothing_from_being_closed() -> None:
    told = server(make_app(Detector(brightness_detector())))
    for _ in range(2):
        told.handle_exit(signal.SIGINT, None)
    assert (told.should_exit, told.force_exit) == (True, False)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path, detector_file: Path, told: signal.Signals) -> None:
    code = "from realface.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--detector", str(detector_file)]
    environment = {"REALFACE_PORT": "0", "REALFACE_TRAIL": f"sqlite:///{tmp_path / 'trail.db'}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = process.stderr.readline()
            port = re.search(r"http://127\.0\.0\.1:(\d+),", said)
            assert port, said
            with Client(int(port[1])) as client:
                assert client.post("/v1/check", data=FAKE).json()["verdict"] == "fake"
            process.send_signal(told)
            assert process.wait(300) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert Trail(environment["REALFACE_TRAIL"]).verify().n == 1
