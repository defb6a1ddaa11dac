"""Measurements in a lab: rounds alternated, median and min, each beside a reference of the same run."""
