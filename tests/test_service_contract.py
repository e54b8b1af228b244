"""The service keeps to its own description, whatever it is asked; and its container is made of what there is."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from conftest import brightness_detector, encoded, grey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from service_helpers import Client, served
from typer.main import get_command

from realface import Detector, cli
from realface.web import service_keys
from realface.web.service import Settings, make_app

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = ("POST /v1/check", "GET /healthz", "GET /readyz", "GET /metrics")
PICTURES = st.sampled_from([encoded(grey(level), kind) for level, kind in ((0, "JPEG"), (255, "PNG"), (128, "WEBP"))])


@pytest.fixture(scope="module", params=["open", "with keys"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    file, keys = tmp_path_factory.mktemp("keys") / "keys", None
    if request.param == "with keys":
        key = service_keys.add(file, "ann")
        keys = service_keys.load(file)
    with served(make_app(Detector(brightness_detector(explains=True), threads=1), keys=keys)) as client:
        if keys:
            client.headers["Authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture(scope="module")
def described(client: Client) -> Any:
    for kind in ("application/octet-stream", "image/*"):
        schemathesis.openapi.media_type(kind, PICTURES)
    schemathesis.openapi.format("binary", PICTURES)
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")


@pytest.mark.parametrize(
    ("label", "mode"),
    [*((label, GenerationMode.POSITIVE) for label in OPERATIONS), (OPERATIONS[0], GenerationMode.NEGATIVE)],
)
def test_every_operation_does_what_the_description_says(
    client: Client, described: Any, label: str, mode: GenerationMode
) -> None:
    operations = {operation.label: operation for operation in (found.ok() for found in described.get_all_operations())}
    assert tuple(operations) == OPERATIONS

    @given(case=operations[label].as_strategy(generation_mode=mode))
    @settings(max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={k: v for k, v in client.headers.items() if k == "Authorization"})

    holds()


def test_the_examples_are_of_the_form_that_is_promised(client: Client) -> None:
    answer = client.get("/openapi.json").json()["paths"]["/v1/check"]["post"]["responses"]["200"]
    examples = answer["content"]["application/json"]["examples"]
    told = client.post("/v1/check", data=encoded(grey(255))).json()
    assert list(examples["one"]["value"]) == list(told)
    assert list(examples["one"]["value"]["faces"][0]) == list(told["faces"][0])


def container() -> dict[str, list[str]]:
    """The instructions of the Dockerfile, each with what follows it."""
    told: dict[str, list[str]] = {}
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            told.setdefault(name, []).append(rest)
    return told


def options() -> set[str]:
    """The environment variables that `realface serve` reads."""
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    return {f"REALFACE_{parameter.name.upper()}" for parameter in commands["serve"].params}


def test_the_container_is_made_of_files_that_are_there() -> None:
    told = container()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for rest in told["COPY"]:
        *sources, _ = rest.split()
        for source in sources if not rest.startswith("--from=build") else []:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    assert '".[serve,postgres]"' in told["RUN"][0]
    assert project["optional-dependencies"].keys() >= {"serve", "postgres"}
    assert json.loads(told["ENTRYPOINT"][0]) == ["realface"]
    assert "realface" in project["scripts"]
    assert json.loads(told["CMD"][0]) == ["serve"]
    assert told["USER"] == ["10001"]
    assert "--uid 10001" in told["RUN"][1]


def test_the_container_is_healthy_where_the_service_is(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, command = container()["HEALTHCHECK"][0].partition(" CMD ")
    python, flag, code = json.loads(command)
    assert (python, flag) == ("python", "-c")
    monkeypatch.setenv("REALFACE_PORT", str(client.port))
    exec(code, {})


def test_the_container_is_set_by_options_that_there_are() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["realface"]
    told = [word.partition("=")[0] for word in shlex.split(container()["ENV"][0])]
    names = {*service["environment"], *(name for name in told if name.startswith("REALFACE_"))}
    assert names <= options()
    assert service["environment"]["REALFACE_TRAIL"].startswith("sqlite:////data/")
    assert service["volumes"] == ["trail:/data"]
    assert container()["VOLUME"] == ["/data"]


def test_the_container_has_room_for_the_largest_pictures() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["realface"]
    assert service["read_only"]
    (scratch,) = service["tmpfs"]
    megabytes = int(re.fullmatch(r"/tmp:size=(\d+)m", scratch)[1])  # type: ignore[index]
    megabytes += 512 * service["environment"]["REALFACE_WORKERS"] + 2 * Settings().room // 2**20 + 512
    assert megabytes <= 1024 * int(service["mem_limit"].removesuffix("g"))


def test_every_option_is_documented() -> None:
    text = (ROOT / "docs" / "service.md").read_text()
    told = set(re.findall(r"`--([a-z-]+)", text))
    assert {name.removeprefix("REALFACE_").lower().replace("_", "-") for name in options() - {"REALFACE_HELP"}} <= told
