"""The README can be believed: its commands run, its Python runs, its figures are measured ones."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import inline_figures
import numpy as np
import pytest
import typer
from fastapi import FastAPI
from PIL import Image
from service_helpers import served
from skimage.data import astronaut

from realface import Detector, __version__, cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
PROGRAMMER = (ROOT / "docs" / "guides" / "programmer.md").read_text(encoding="utf-8")
SMALLEST = "--network notebook-small --set epochs=1 --set workers=0 --set batch_size=8"


def blocks(text: str, language: str = "sh") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block, without comments and empty lines."""
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line) for line in block.splitlines()) if line]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything the README names, in which the test now is."""
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(astronaut())
    head = photo.crop((140, 0, 300, 160))
    for name in ("folder", "archive"):
        Path(name).mkdir()
        head.save(f"{name}/head.jpg")
    photo.save("photo.jpg")
    head.save("head.png")
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label, level in {"real": 60, "fake": 160}.items():
            (folder := Path("DATA", split, label)).mkdir(parents=True)
            for i in range(4):
                Image.fromarray(rng.integers(level, level + 30, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    return tmp_path


@pytest.fixture
def run(
    place: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Runs a command as it stands, but what installs, trains for hours, opens a browser or fetches.

    Those are changed as little as can be; a command that nothing here knows fails.
    """

    def outside(*words: str) -> None:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def realface(*words: str, stdin: bytes = b"") -> None:
        status, _, err = run(*words, stdin=stdin)
        assert status == 0, f"{words}: {err}"

    def fetch(name: str) -> str:
        from realface.networks import pretrained

        return f"{pretrained.WHEELS[name]} would be fetched"

    def serve_once(app: FastAPI, host: str, port: int, **_: object) -> None:
        with served(app) as client:
            assert client.post("/v1/check", data=Path("photo.jpg").read_bytes()).json()["verdict"] == "real"

    def open_app(detector: str, port: int, open_browser: bool) -> int:
        Detector.load(detector)
        return 0

    def call(command: str) -> None:
        match shlex.split(command):
            case ["make", target]:
                outside("make", "-n", target)
            case ["pip", "install", "."]:
                as_little = ("--dry-run", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
                outside(sys.executable, "-m", "pip", "install", *as_little, ".")
            case ["pip", "install", what]:  # the same with extras: pip takes seconds, and passes over unknown ones
                assert set(re.fullmatch(r"\.\[(.+)\]", what)[1].split(",")) <= EXTRAS.keys()
            case ["cat", path, "|", "realface", *words]:
                realface(*words, stdin=Path(path).read_bytes())
            case ["realface", "app", *words]:
                monkeypatch.setattr("realface.web.launch.launch", open_app)
                realface("app", *words)
            case ["realface", "serve", *words]:
                monkeypatch.setattr("realface.web.service_run.run", serve_once)
                realface("serve", *words)
            case ["realface", "networks", "--fetch", name]:
                monkeypatch.setattr("realface.networks.pretrained.fetch", fetch)
                realface("networks", "--fetch", name)
            case ["realface", "train", *words]:
                realface("train", *words, *SMALLEST.split())
            case ["realface", *words]:
                realface(*words)
            case _:
                pytest.fail(f"no test knows how to run: {command}")

    return call


@pytest.mark.parametrize("block", blocks(README), ids=lambda block: commands(block)[0])
def test_every_command_runs(block: str, run: Callable[[str], None]) -> None:
    for command in commands(block):
        run(command)
        if report := re.search(r"--report (\S+)|--out (\S+)", command):
            assert Path(report[1] or report[2]).exists(), command


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("block", [b for text in (README, QUICKSTART, PROGRAMMER) for b in blocks(text, "python")])
def test_the_python_runs(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "README.md", "exec"), {})
    assert " real " in capsys.readouterr().out.replace("\n", " ").join("  ")


@pytest.mark.usefixtures("place")
def test_the_json_shown_has_the_form_of_an_answer() -> None:
    def form(value: object) -> object:
        return {key: form(item) for key, item in value.items()} if isinstance(value, dict) else ...

    (shown,) = map(json.loads, blocks(QUICKSTART, "json"))
    verdict = Detector.load().check("photo.jpg").to_dict()
    assert form(shown) == form(verdict)
    assert form(shown["faces"][0]) == form(verdict["faces"][0])


DOCUMENTED = [
    (path.relative_to(ROOT).as_posix(), command)
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for block in blocks(path.read_text(encoding="utf-8").replace("\\\n", " "))
    for line in commands(block)
    for command in re.findall(r"(?:^|&& |\| )(realface [^|&>]*)", line)
]


def test_commands_in_all_documents_exist_with_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda *_: None, raising=False)  # read, but not carried out
    command, wrong = typer.main.get_command(cli.app), []
    for document, line in DOCUMENTED:
        try:
            command.main(shlex.split(line)[1:], "realface", standalone_mode=False)
        except Exception as error:
            wrong.append(f"{document}: {line}: {error}")
    assert len(DOCUMENTED) > 20
    assert not wrong


def test_it_fits_two_screens_and_its_picture_is_small() -> None:
    assert len(README.splitlines()) <= 100
    ((picture, width),) = re.findall(r'<img src="(\S+)" width="(\d+)" alt="[^"]+">', README)
    assert (ROOT / picture).stat().st_size < 150_000
    with Image.open(ROOT / picture) as image:
        assert image.format == "PNG"
        assert image.height * int(width) / image.width <= 600, "of the pixels that a screen has"


@pytest.mark.parametrize("document", ["README.md", "MODEL_CARD.md"])
def test_no_share_is_typed_by_hand(document: str) -> None:
    """All shares stand between marks, but those that are aims or arithmetic."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert not re.search(r"^\s*<!-- figure", text, re.MULTILINE), "a line that begins with a mark ends its paragraph"
    text = re.sub(r"<!-- (table|figure): .*?<!-- end -->", "", text, flags=re.DOTALL)
    typed = set(re.findall(r"\d[\d.,]* ?%", text))
    assert typed <= {"1 %", "11 %", "95 %"}


def test_figures_in_sentences_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": {"one two": {"r": 0.25, "n": 4}, "b": {"r": 0.5}}, "t": "text"}')
    mark = "<!-- figure: {} as {} -->old<!-- end -->".format

    def shown(*marked: str) -> str:
        return re.sub("<!--.*?-->", "", inline_figures.rendered(mark(*marked), tmp_path))

    assert shown("a/x/one two/r", ".1%") == "25.0 %"
    assert shown("a/x/one two/n", "d") == "4"
    assert shown("a/x/*/r", ".2f") == "0.50"
    assert shown("a/x/b/r over a/x/one two/r", ".0f") == "2"
    assert inline_figures.rendered(mark("a/x/b/r", ".0%"), tmp_path) == mark("a/x/b/r", ".0%").replace("old", "50 %")
    for nowhere in ("b/x", "a/y", "a/x/b/r/s", "a/x/*/m"):
        with pytest.raises(ValueError, match="there is no figure"):
            inline_figures.rendered(mark(nowhere, "d"), tmp_path)


def test_the_citation_names_this_version() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
