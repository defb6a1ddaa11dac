"""vafnebula: virtual clusters in seconds on OpenNebula (see CONTRIBUTING.md for the map)."""

__version__ = "0.1.0"
