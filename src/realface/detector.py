"""One detector file, from pictures to verdicts."""

import hashlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from . import degrade, faces, finder, graph, images, provenance
from .card import KEY, Card
from .errors import DetectorError, ImageError, RealfaceError, TooManyFaces
from .faces import Candidate
from .images import Limits
from .results import Answer, Claim, DetectorId, Face, Probability, Trial, Verdict, failed, overall
from .runtime import ort

Picture = str | os.PathLike[str] | bytes | np.ndarray
Claims = tuple[Claim, ...]
FACES_AT_ONCE = 16
MAX_FACES = 100  # in a picture, if not told otherwise
MAX_THREADS = 512  # each takes time to start: so many take seconds, a million would take hours
MAX_GRID = 256  # cells a side of a heatmap
RANKS = {"logit": 1, "evidence": 3, "novelty": 1}  # of what a graph gives

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG 70": lambda crop: degrade.jpeg(crop, 70),
    "half size": lambda crop: degrade.resize(crop, 0.5),
    "slight blur": lambda crop: degrade.blur(crop, 1.0),
}
"""What the stability check does to the crop of a face, in its native pixels."""

# What a graph may take, since nothing else bounds it; `best` takes 0.3 s and 0.1 GB for a face on one core.
MAX_BYTES = 2**30  # of the file
MAX_SECONDS = 60  # for each face; looked at after each operator
MAX_FOLDED = 2**24  # bytes of a constant that is worked out as the file is loaded


class Detector:
    """Judges pictures with one `.onnx` file; get one from `Detector.load`.

    Attributes:
        card: what the file says of itself (preprocessing, calibration, thresholds, policy, metrics, …).
        id: name, version and SHA-256 of the file, repeated in every verdict.
    """

    def __init__(
        self, data: bytes, *, threads: int | None = None, limits: Limits = Limits(), max_faces: int = MAX_FACES
    ) -> None:
        """Make a detector of the bytes of a detector file; see `load`."""
        if not isinstance(data, bytes):
            raise TypeError("Detector takes the bytes of a detector file; Detector.load takes a name or a path")
        if not 1 <= max_faces < finder.MAX_FACES:  # the finder stops there: more could go unseen
            raise ValueError(f"max_faces must be 1 to {finder.MAX_FACES - 1}")
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads must be 1 to {MAX_THREADS}, or None for one on each core")
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(MAX_FOLDED))
        sha256 = hashlib.sha256()

        def rest() -> None:
            sha256.update(data)
            finder.find(np.zeros((64, 64, 3), np.uint8))  # so that the first picture takes no longer than the others

        beside = threading.Thread(target=rest)  # the loading takes one core
        beside.start()
        graph.check(data)
        _bound_memory()
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception:  # ONNX Runtime has no common base of the errors it raises
            raise DetectorError("this is not a detector file that ONNX Runtime can load") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        if KEY not in metadata:
            raise DetectorError("this ONNX file is not a realface detector: it has no description of itself")
        self.card = Card.from_json(metadata[KEY])
        beside.join()
        self.id = DetectorId(self.card.name, self.card.version, sha256.hexdigest())
        self._limits, self._max_faces = limits, max_faces
        self._check_graph()

    @classmethod
    def load(
        cls,
        detector: str | Path = "best",
        *,
        threads: int | None = None,
        limits: Limits = Limits(),
        max_faces: int = MAX_FACES,
    ) -> "Detector":
        """Load a detector.

        Args:
            detector: the name of a bundled detector (`bundled()` lists them) or the path of a detector file.
            threads: processor threads for one picture, 1 to 512; None lets ONNX Runtime take all cores.
            limits: largest files and pictures that are read.
            max_faces: of a picture with more, 1 to 199, none is judged (`TooManyFaces`).

        Raises:
            DetectorError: there is no such detector, or the file is not one.
            ValueError: `threads` or `max_faces` is out of range.
        """
        path = bundled().get(str(detector), Path(detector))
        try:
            facts = path.stat()
            if stat.S_ISREG(facts.st_mode) and facts.st_size > MAX_BYTES:
                raise DetectorError(f"{path} has {facts.st_size:,} bytes, more than any detector")
            data = path.read_bytes() if stat.S_ISREG(facts.st_mode) else None  # a pipe or device might never end
        except (OSError, ValueError):
            data = None
        if data is None:
            names = ", ".join(bundled())
            raise DetectorError(f"no detector {str(detector)!r}: give a .onnx file that is there or one of: {names}")
        try:
            return cls(data, threads=threads, limits=limits, max_faces=max_faces)
        except DetectorError as error:
            raise DetectorError(f"{path}: {error}") from None

    def check(self, picture: Picture, *, heatmap: bool = False, stability: bool = False) -> Verdict:
        """Judge one picture.

        Args:
            picture: the path of an image file, the bytes of one, or a (height, width, 3) uint8 RGB array.
            heatmap: say for each face where the evidence lies, see `Face.heatmap`.
            stability: judge changed versions of each face too (`CHANGES`), see `Face.stability`.

        Raises:
            ImageError: the picture cannot be read or judged; the subclass and its `code` say why.
            DetectorError: a heatmap was asked of a detector that gives none, or the detector fails.
        """
        self._need_heatmaps(heatmap)
        path, sha256, claims, found = self._open(picture)
        if isinstance(found, ImageError):
            raise found
        return self._verdict(path, sha256, claims, self._judge([found], heatmap, stability)[0])

    def check_many(
        self, pictures: Iterable[Picture], *, batch_size: int = 1, heatmap: bool = False, stability: bool = False
    ) -> Iterator[Verdict]:
        """Judge pictures in order, `batch_size` at a time; for one that cannot be, the status is "error".

        Raises:
            DetectorError: a heatmap was asked of a detector that gives none.
        """
        if isinstance(pictures, str | bytes | Path) or (isinstance(pictures, np.ndarray) and pictures.ndim in (2, 3)):
            raise TypeError("check_many takes several pictures, such as a list of paths; check takes one")
        if batch_size < 1:
            raise ValueError("batch_size must be 1 or more")
        self._need_heatmaps(heatmap)  # also where no picture shows a face
        rest = iter(pictures)
        while batch := list(islice(rest, min(batch_size, sys.maxsize))):
            yield from self._check_batch(batch, heatmap, stability)
            del batch  # or these pictures would be in memory while the next are made

    def logits(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Uncalibrated scores, positive for fake.

        Args:
            crops: one or more (N) of (S, S, 3) uint8 RGB in native pixels, each of its own side, as `faces.candidates`
                cuts them. All are in memory at once: 16 take `best` a gigabyte.

        Returns:
            (N,) float32.
        """
        return self._run(["logit"], crops)["logit"]

    def explain(self, crops: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `logits` and, from the same pass, what each cell of a grid over the crop adds to them: (N, G, G) float32.

        Raises:
            DetectorError: this detector gives no heatmaps.
        """
        logits, _, evidence = self.judge(crops, heatmap=True)
        assert evidence is not None
        return logits, evidence

    def judge(
        self, crops: Sequence[np.ndarray] | np.ndarray, *, heatmap: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The `logits`, the novelty of the faces and, if asked for, the heatmaps of `explain`, from one pass.

        Novelty, (N,) float32, says how unlike the training pictures a face is; NaN of detectors that do not measure it.
        From `card.thresholds.novel_from` on, a face is not judged.
        """
        self._need_heatmaps(heatmap)
        asked = ["logit"] + ["evidence"] * heatmap + [name for name in self._outputs if name == "novelty"]
        said = self._run(asked, crops)
        return said["logit"], said.get("novelty", np.full(len(crops), np.nan, np.float32)), said.get("evidence")

    def unfamiliar(self, novelty: np.ndarray) -> np.ndarray:
        """Which faces, by their novelty, the detector knows too little of to judge: (N,) bool."""
        limit = self.card.thresholds.novel_from
        return np.zeros(len(novelty), bool) if limit is None else np.asarray(novelty >= limit)

    @property
    def explains(self) -> bool:
        """Whether this detector gives heatmaps."""
        return "evidence" in self._outputs

    def _need_heatmaps(self, asked: bool) -> None:
        if asked and not self.explains:
            raise DetectorError(f"the detector {self.id.name} gives no heatmaps")

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probability of fake, in float64, for each of (N,) logits."""
        scores = self.card.calibration.scale * logits.astype(np.float64) + self.card.calibration.offset
        return np.asarray(1 / (1 + np.exp(-scores.clip(-500, 500))))

    def _run(self, names: list[str], crops: Sequence[np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """What the graph says of native crops; a file can hold any graph, so what it says is checked."""
        given: dict[str, np.ndarray] = {}
        if size := self.card.preprocessing.size:
            given["pixels"] = np.stack([faces.resample(crop, size) for crop in crops])
        if window := self.card.preprocessing.window:
            given["windows"] = np.stack([faces.windows(crop, window) for crop in crops])
        options = ort.RunOptions()
        options.log_severity_level = 4
        limit = threading.Timer(MAX_SECONDS * len(crops), setattr, (options, "terminate", True))
        limit.daemon = True
        limit.start()
        try:
            outputs = self._session.run(names, given, options)
        except Exception:  # as on loading, there is no common base
            why = "takes too long" if options.terminate else "fails"
            fewer = f"; give {FACES_AT_ONCE} or fewer at a time" if len(crops) > FACES_AT_ONCE else ""  # it is memory
            raise DetectorError(f"the detector {self.id.name} {why} on these pictures{fewer}") from None
        finally:
            limit.cancel()
        said = {name: np.asarray(output) for name, output in zip(names, outputs, strict=True)}
        fits = all(output.ndim == RANKS[name] and len(output) == len(crops) for name, output in said.items())
        fits = fits and all(np.isfinite(output).all() for output in said.values())
        sides = said["evidence"].shape[1:] if fits and "evidence" in said else ()
        if not fits or (sides and not (len(set(sides)) == 1 and 1 <= sides[0] <= MAX_GRID)):
            raise DetectorError(f"the detector {self.id.name} gives scores that make no sense")
        return said

    def _check_batch(self, batch: list[Picture], heatmap: bool, stability: bool) -> Iterator[Verdict]:
        opened = [self._open(picture) for picture in batch]
        readable = [found for *_, found in opened if not isinstance(found, ImageError)]
        judged = iter(self._judge_each(readable, heatmap, stability))
        for path, sha256, claims, found in opened:
            answer = found if isinstance(found, ImageError) else next(judged)
            if isinstance(answer, RealfaceError):
                yield failed(path, sha256, answer, self.id)
            else:
                yield self._verdict(path, sha256, claims, answer)

    def _open(self, picture: Picture) -> tuple[str | None, str | None, Claims, list[Candidate] | ImageError]:
        """Path, SHA-256, claims and faces of a picture; instead of the faces the error, where they cannot be had."""
        try:
            path = None if isinstance(picture, bytes | np.ndarray) else os.fspath(picture)
        except TypeError:
            wanted = "a path, the bytes of an image file or a (height, width, 3) uint8 array"
            raise TypeError(f"a picture is {wanted}, not {type(picture).__name__}") from None
        sha256 = None
        try:
            if isinstance(picture, np.ndarray):
                return path, sha256, (), self._find(images.from_array(picture))
            data = picture if isinstance(picture, bytes) else images.read_bytes(picture, self._limits)
            sha256 = hashlib.sha256(data).hexdigest()
            pixels = images.decode(data, self._limits)
            return path, sha256, provenance.read(data), self._find(pixels)
        except ImageError as error:
            return path, sha256, (), error

    def _find(self, picture: np.ndarray) -> list[Candidate]:
        found = faces.candidates(picture, self.card.preprocessing.crop)
        if len(found) > self._max_faces:
            raise TooManyFaces(
                f"the picture shows more than {self._max_faces} faces, so none was judged; cut it into smaller pictures"
            )
        return found

    def _judge_each(
        self, found: Sequence[list[Candidate]], heatmap: bool, stability: bool
    ) -> Sequence[tuple[Face, ...] | DetectorError]:
        """As `_judge`, or why a picture cannot be. What fails together is judged one by one: one may spoil it all."""
        try:
            return self._judge(found, heatmap, stability)
        except DetectorError as error:
            if len(found) == 1:
                return [error]
            return [answer for of_picture in found for answer in self._judge_each([of_picture], heatmap, stability)]

    def _judge(self, found: Sequence[list[Candidate]], heatmap: bool, stability: bool) -> list[tuple[Face, ...]]:
        """The judged faces of each picture."""
        everyone = [candidate for of_picture in found for candidate in of_picture]
        judged: list[Face] = []
        for start in range(0, len(everyone), FACES_AT_ONCE):
            some = everyone[start : start + FACES_AT_ONCE]
            crops = [candidate.pixels for candidate in some]
            logits, novelty, maps = self.judge(crops, heatmap=heatmap)
            unfamiliar = self.unfamiliar(novelty)
            if maps is not None:  # in the log odds of the calibrated probability, as the verdict is
                calibration = self.card.calibration
                maps = calibration.scale * maps.astype(float) + calibration.offset / maps[0].size
            answers = self._answers(logits)
            trials = []
            for change, do in CHANGES.items() if stability else ():
                changed = self.logits([do(crop) for crop in crops])
                trials.append([Trial(change, *answer) for answer in self._answers(changed)])
            for i, (candidate, (answer, probability)) in enumerate(zip(some, answers, strict=True)):
                reason = candidate.reason or ("unfamiliar" if unfamiliar[i] else None)
                face = Face(
                    candidate.box,
                    "inconclusive" if reason else answer,
                    probability,
                    candidate.crop,
                    reason,
                    None if maps is None else tuple(tuple(row) for row in maps[i].round(4).tolist()),
                    tuple(of_change[i] for of_change in trials) if stability else None,
                )
                judged.append(face)
        rest = iter(judged)
        return [tuple(next(rest) for _ in of_picture) for of_picture in found]

    def _answers(self, logits: np.ndarray) -> list[tuple[Answer, Probability]]:
        fakes = self.probabilities(logits).tolist()
        return [(self.card.thresholds.answer(fake), Probability(real=1 - fake, fake=fake)) for fake in fakes]

    def _verdict(self, path: str | None, sha256: str | None, claims: Claims, judged: tuple[Face, ...]) -> Verdict:
        answer = overall(judged)
        return Verdict(path, sha256, "ok" if answer else "no_face", answer, judged, None, self.id, claims)

    def _check_graph(self) -> None:
        size, window = self.card.preprocessing.size, self.card.preprocessing.window
        promised = [("pixels", "tensor(uint8)", [size, size, 3])] if size else []
        if window:
            promised.append(("windows", "tensor(uint8)", [9, window, window, 3]))
        inputs = [(i.name, i.type, i.shape[1:]) for i in self._session.get_inputs()]
        one = any(isinstance(count, int) for i in self._session.get_inputs() for count in i.shape[:1])
        outputs = [(o.name, o.type, len(o.shape)) for o in self._session.get_outputs()]
        known = {name: ("tensor(float)", rank) for name, rank in RANKS.items()}
        self._outputs = [name for name, *_ in outputs]
        whole = "logit" in self._outputs and len(set(self._outputs)) == len(outputs)
        if one or inputs != promised or not whole or any(known.get(name) != tuple(kind) for name, *kind in outputs):
            raise DetectorError("the detector's inputs and outputs are not those its description promises")


@cache
def _bound_memory() -> None:
    """Let the graphs of all detectors of this process together have no more than half of the machine's memory."""
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError):  # Windows
        most = 2**32
    where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(where, ort.OrtArenaCfg(most, -1, -1, -1))
    except Exception:  # whoever runs ONNX Runtime beside us has set bounds of their own
        return


def bundled() -> dict[str, Path]:
    """The detectors that come with realface: name to file."""
    folder = Path(__file__).parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}
