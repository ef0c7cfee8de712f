"""Honest numbers: support draws, who may see what, the runner, intervals and ties, out-of-fold calibration."""
