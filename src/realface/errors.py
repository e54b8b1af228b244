"""Every error realface raises on purpose. Each has a stable `code` and a message that says what to do.

RealfaceError
├── ImageError            one picture cannot be answered; the others still can
│   ├── NotFound              not_found
│   ├── Unreadable            unreadable        permissions, a folder where a file belongs, an I/O error
│   │   └── Unreachable       unreachable       a picture elsewhere did not come; a scan that goes on asks again
│   ├── EmptyFile             empty
│   ├── TooManyBytes          too_many_bytes
│   ├── TooManyPixels         too_many_pixels
│   ├── TooSmall              too_small
│   ├── NotAnImage            not_an_image
│   ├── Truncated             truncated
│   ├── TooManyFaces          too_many_faces    none of them is judged: half of an answer would mislead
│   ├── NoFace                no_face           where labelled pictures need one; a check answers with that status
│   └── Crashed               crashed           the process that judged it in a scan died, twice
├── DetectorError         detector          a detector file is missing, damaged or not ours, or fails on a picture
├── DataError             data              a data set cannot be trained or measured on
├── ConfigError           config            a training setting is unknown or out of range
├── ScanError             scan              a scan cannot begin, or not go on with what is there
├── WeightsError          weights           published weights are missing or wrong
├── TrailError            trail             the audit trail cannot be opened, read or written
└── MissingExtra          missing_extra     an optional part of realface is not installed
"""

from typing import ClassVar


class RealfaceError(Exception):
    """Base of all errors raised on purpose; `code` is stable, the message is for a person."""

    code: ClassVar[str] = "realface"


class ImageError(RealfaceError):
    code = "image"


class NotFound(ImageError):
    code = "not_found"


class Unreadable(ImageError):
    code = "unreadable"


class Unreachable(Unreadable):
    code = "unreachable"


class EmptyFile(ImageError):
    code = "empty"


class TooManyBytes(ImageError):
    code = "too_many_bytes"


class TooManyPixels(ImageError):
    code = "too_many_pixels"


class TooSmall(ImageError):
    code = "too_small"


class NotAnImage(ImageError):
    code = "not_an_image"


class Truncated(ImageError):
    code = "truncated"


class TooManyFaces(ImageError):
    code = "too_many_faces"


class NoFace(ImageError):
    code = "no_face"


class Crashed(ImageError):
    code = "crashed"


class DetectorError(RealfaceError):
    code = "detector"


class DataError(RealfaceError):
    code = "data"


class ConfigError(RealfaceError):
    code = "config"


class ScanError(RealfaceError):
    code = "scan"


class WeightsError(RealfaceError):
    code = "weights"


class TrailError(RealfaceError):
    code = "trail"


class MissingExtra(RealfaceError):
    code = "missing_extra"
