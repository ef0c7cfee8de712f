"""The one optimiser loop, its schedules and its batches."""
