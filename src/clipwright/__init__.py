"""clipwright."""
