"""What a person looks at: pictures of one frame, and one HTML page about many."""

from vbanana_ros.report.files import write_pngs
from vbanana_ros.report.page import Report

__all__ = ["Report", "write_pngs"]
