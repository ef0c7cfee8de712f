"""Makes the stored glyphs that `digits-print` and `letters` are drawn with."""
