"""Tell photographs of real faces from faces a machine made.

from realface import Detector
verdict = Detector.load().check("photo.jpg")
print(verdict.verdict, verdict.faces[0].probability.fake)
"""

from .detector import Detector, bundled
from .errors import DetectorError, ImageError, RealfaceError
from .images import Limits
from .results import Claim, Crop, DetectorId, Face, Probability, Problem, Trial, Verdict

__all__ = [
    "Claim",
    "Crop",
    "Detector",
    "DetectorError",
    "DetectorId",
    "Face",
    "ImageError",
    "Limits",
    "Probability",
    "Problem",
    "RealfaceError",
    "Trial",
    "Verdict",
    "__version__",
    "bundled",
]
__version__ = "0.1.0"
