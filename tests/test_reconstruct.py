"""Aligned fakes: the autoencoders, and real faces and their reconstructions written as pairs."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import encoded, grey
from helpers import FACES
from PIL import Image
from safetensors.torch import save_file
from skimage.data import astronaut

from realface import images
from realface.data import autoencoders, read_data, reconstruct
from realface.data.autoencoders import LATENT, Autoencoder, load
from realface.data.crops import read_face
from realface.errors import DataError, WeightsError
from realface.training.twins import Twins

PUBLISHED = Path(os.environ.get("REALFACE_AUTOENCODERS", FACES.parent / "autoencoders"))
"""The five published autoencoders, which are not in the repository."""


def write_weights(folder: Path) -> Path:
    """Weights by chance for all five autoencoders."""
    folder.mkdir()
    torch.manual_seed(0)
    for name in LATENT:
        model = Autoencoder(name)
        for part in ("encoder", "decoder"):
            weights = getattr(model, part).state_dict()
            save_file({key: value.bfloat16() for key, value in weights.items()}, folder / f"{name}_{part}.safetensors")
    return folder


@pytest.fixture
def weights(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of five autoencoders of the right shape, four channels wide; what is cached is cached in the test."""
    monkeypatch.setattr(autoencoders, "WIDTH", 4)
    return write_weights(tmp_path / "weights")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two real faces in training, one in the test split, a fake, a picture without a face."""
    folder = tmp_path / "data"
    folder.mkdir()
    head = Image.fromarray(astronaut()[:300, 90:390])
    faces = {"a": head.resize((121, 121)), "b": head.resize((150, 150)), "test": head.resize((131, 131))}
    pictures = faces | {"fake": head.resize((140, 140)), "empty": grey(90)}
    rows = ["path,label,source,split"]
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(encoded(picture))
        label, split = "fake" if name == "fake" else "real", "test" if name == "test" else "train"
        rows.append(f"{name}.png,{label},camera,{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def manifest(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def chosen(picture: Path, each: int) -> list[str]:
    """The autoencoders that a picture gets, by its content."""
    names, first = list(LATENT), int(hashlib.sha256(picture.read_bytes()).hexdigest()[:8], 16)
    return [names[(first + i) % 5] for i in range(each)]


class TestAutoencoders:
    @pytest.mark.parametrize("name", LATENT)
    def test_shapes_are_those_of_the_published_weights(self, name: str) -> None:
        model = Autoencoder(name)
        encoder, decoder = model.encoder.state_dict(), model.decoder.state_dict()
        tensors = 79 if name == "taef2" else 67
        assert (len(encoder), len(decoder)) == (tensors, tensors)
        assert encoder["14.weight"].shape == (LATENT[name], 64, 3, 3)
        assert decoder["1.weight"].shape == (64, LATENT[name], 3, 3)
        assert decoder["18.conv.0.weight"].shape == (64, 64, 3, 3)
        assert decoder["19.weight"].shape == (3, 64, 3, 3)
        assert ("11.pool.0.weight" in encoder) == ("3.pool.3.weight" in decoder) == (name == "taef2")

    @pytest.mark.parametrize("name", ["taesd", "taef2"])
    def test_latents_are_an_eighth_and_pictures_come_back_whole(self, name: str, weights: Path) -> None:
        model = load(weights)[name]
        pixels = torch.rand(2, 3, 40, 24, generator=torch.Generator().manual_seed(0))
        assert model.encoder(pixels).shape == (2, LATENT[name], 5, 3)
        decoded = model(pixels)
        assert decoded.shape == pixels.shape
        assert decoded.min() >= 0
        assert decoded.max() <= 1
        assert not any(parameter.requires_grad for parameter in model.parameters())

    def test_large_latents_are_squashed(self) -> None:
        squashed = autoencoders.Squash()(torch.tensor([0.0, 0.1, 100.0, -100.0]))
        torch.testing.assert_close(squashed, torch.tensor([0.0, 0.1, 3.0, -3.0]), atol=1e-4, rtol=0)

    def test_missing_weights_say_where_they_are_missed(self, weights: Path) -> None:
        (weights / "taef1_decoder.safetensors").unlink()
        with pytest.raises(WeightsError, match=r"taef1_decoder\.safetensors is missing; docs/data\.md"):
            load(weights)

    @pytest.mark.parametrize("content", ["another", "damaged"])
    def test_other_weights_are_refused(self, content: str, weights: Path) -> None:
        other = (weights / "taesd_encoder.safetensors").read_bytes()
        (weights / "taesd3_encoder.safetensors").write_bytes(other if content == "another" else b"nothing")
        with pytest.raises(WeightsError, match="does not hold the encoder of taesd3"):
            load(weights)

    @pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published autoencoders")
    @pytest.mark.parametrize("name", ["taesd", "taef2"])
    def test_published_weights_reconstruct_a_face(self, name: str) -> None:
        face = astronaut()[40:168, 160:288]
        made = reconstruct.reconstructed(face, load(PUBLISHED)[name])
        error = ((made.astype(float) - face) ** 2).mean()
        assert 10 * np.log10(255**2 / error) > 20
        assert (made != face).mean() > 0.5


class TestReconstruct:
    def test_pairs_are_written_and_read_back(self, data: Path, weights: Path, tmp_path: Path) -> None:
        out = tmp_path / "pairs"
        assert reconstruct.reconstruct(data, weights, out, each=2) == 4
        rows = manifest(out)
        given = [chosen(data / name, 2) for name in ("a.png", "b.png")]
        assert [row["generator"] for row in rows] == ["", *given[0], "", *given[1]]
        assert [row["label"] for row in rows] == ["real", "fake", "fake"] * 2
        assert rows[0]["source"] == "camera"
        assert rows[1]["source"] == f"camera by {given[0][0]}"
        assert {row["split"] for row in rows} == {"train"}, "the picture in test is left alone"
        assert len({row["pair"] for row in rows}) == 2
        pictures = [images.load(out / row["path"]) for row in rows]
        assert [picture.shape for picture in pictures] == [pictures[0].shape] * 3 + [pictures[3].shape] * 3
        crop = read_face(data / "a.png", "face").pixels
        side = len(crop) // 8 * 8
        start = (len(crop) - side) // 2
        native = crop[start : start + side, start : start + side]
        assert np.array_equal(pictures[0], native), "not a pixel of the real face is made anew"
        model = load(weights)[given[0][0]]
        assert np.array_equal(pictures[1], reconstruct.reconstructed(pictures[0], model))
        twins = Twins([], read_data(out), 96, "face")
        real, fake = twins._draw(np.random.default_rng(0))
        assert (twins.samples[real].label, twins.samples[fake].label) == (0, 1)
        assert twins.samples[fake].path.name.startswith(twins.samples[real].path.stem)

    def test_a_large_face_gives_its_middle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconstruct, "LARGEST", 16)
        crop = np.arange(21 * 21 * 3, dtype=np.uint16).astype(np.uint8).reshape(21, 21, 3)
        assert np.array_equal(reconstruct._middle(crop), crop[2:18, 2:18])

    def test_a_stopped_run_goes_on(
        self, data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, made = tmp_path / "pairs", []
        reconstruct.reconstruct(data, weights, out)
        before = {path.name: path.read_bytes() for path in (out / "pictures").iterdir()}
        lost = next(path for path in (out / "pictures").iterdir() if ".tae" in path.name)
        lost.unlink()
        (out / "manifest.csv").rename(out / ".0a1b2c3d4e5f6a7b.part")  # ended while it wrote
        (out / ".DS_Store").write_bytes(b"what a system leaves in a folder that was looked at")
        plain = reconstruct.reconstructed
        monkeypatch.setattr(
            reconstruct, "reconstructed", lambda face, model: made.append(face.shape) or plain(face, model)
        )
        assert reconstruct.reconstruct(data, weights, out) == 2
        assert len(made) == 1, "only what was lost is made again"
        assert {path.name: path.read_bytes() for path in (out / "pictures").iterdir()} == before
        assert {path.name for path in out.iterdir()} == {"manifest.csv", "pictures", ".DS_Store"}

    def test_a_face_too_small_to_be_read_again_is_left_out(self, data: Path, weights: Path, tmp_path: Path) -> None:
        tiny = grey(90, 200, 200)
        tiny.paste(Image.fromarray(astronaut()[:300, 90:390]).resize((56, 56)), (70, 70))
        (data / "b.png").write_bytes(encoded(tiny))
        assert reconstruct.reconstruct(data, weights, tmp_path / "out") == 1
        for row in manifest(tmp_path / "out"):
            images.load(tmp_path / "out" / row["path"])

    def test_a_copy_is_told_once(self, data: Path, weights: Path, tmp_path: Path) -> None:
        (data / "copy.png").write_bytes((data / "a.png").read_bytes())
        with (data / "manifest.csv").open("a") as file:
            file.write("\ncopy.png,real,elsewhere,valid")
        assert reconstruct.reconstruct(data, weights, tmp_path / "pairs") == 2
        assert len(read_data(tmp_path / "pairs")) == 4

    def test_one_picture_more_makes_only_its_own(self, data: Path, weights: Path, tmp_path: Path) -> None:
        out = tmp_path / "pairs"
        reconstruct.reconstruct(data, weights, out)
        before = manifest(out)
        new = data / "0.png"  # comes first
        new.write_bytes(encoded(Image.fromarray(astronaut()[:300, 90:390]).resize((160, 160))))
        (data / "1.png").write_bytes((data / "b.png").read_bytes())
        with (data / "manifest.csv").open("a") as file:
            file.write("\n0.png,real,,train\n1.png,real,camera,train")
        assert reconstruct.reconstruct(data, weights, out) == 3
        rows = manifest(out)
        assert sorted(row["path"] for row in rows[2:]) == sorted(row["path"] for row in before)
        assert rows[1]["source"] == rows[1]["generator"] == chosen(new, 1)[0], "there is no source to name"
        assert {row["path"] for row in rows} == {f"pictures/{path.name}" for path in (out / "pictures").iterdir()}

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_is_left_out(
        self, data: Path, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (data / "a.png").unlink()
        os.mkfifo(data / "a.png")
        assert reconstruct.reconstruct(data, weights, tmp_path / "pairs") == 1
        assert "a.png (this is a pipe or a device" in caplog.text

    def test_another_folder_is_not_written_to(self, data: Path, weights: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "a.png").touch()
        with pytest.raises(DataError, match=r"holds something else \(a\.png\)"):
            reconstruct.reconstruct(data, weights, other)

    def test_the_manifest_that_is_read_stays(self, data: Path, weights: Path) -> None:
        (data / "pictures").mkdir()
        for path in data.glob("*.png"):
            path.rename(data / "pictures" / path.name)
        text = (data / "manifest.csv").read_text().replace("\n", "\npictures/")
        (data / "manifest.csv").write_text(text)
        with pytest.raises(DataError, match="is what is read"):
            reconstruct.reconstruct(data, weights, data)
        assert (data / "manifest.csv").read_text() == text

    def test_no_face_no_pairs(self, weights: Path, tmp_path: Path) -> None:
        (tmp_path / "empty/train/real").mkdir(parents=True)
        (tmp_path / "empty/train/real/1.png").write_bytes(encoded(grey(90)))
        with pytest.raises(DataError, match="no real picture shows a face"):
            reconstruct.reconstruct(tmp_path / "empty", weights, tmp_path / "pairs")
