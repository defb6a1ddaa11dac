"""OpenNebula as we see it: its XML as records, its API."""
