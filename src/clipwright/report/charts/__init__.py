"""Charts as inline SVG: readable in light and dark, at two widths, without a script."""
