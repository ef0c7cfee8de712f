"""Makes the embedded model: `python -m training.tiny --out FOLDER` (README.md beside this file)."""
