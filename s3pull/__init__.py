"""Download-only Amazon S3 client for data that belongs to somebody else."""

__version__ = "0.1.0"
