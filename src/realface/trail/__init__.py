"""The audit trail: what was answered to whom, by which detector, in a chain of hashes (docs/audit-trail.md)."""

from .chain import Entry
from .trail import Trail

__all__ = ["Entry", "Trail"]
