"""Serving over HTTP: a backbone as a black box (``serve`` extra). docs/black-box.md describes routes and formats."""
