"""One local image generator as a robot's whole perception stack (arXiv 2604.20329, opened)."""

__version__ = "0.1.0"
