"""Draws digits, capitals and shapes: the only source of images the embedded model is trained on.

Modules, from the bottom up: `counter` (random numbers that depend on a position, not on history), `outlines` (shapes
as inside/outside tests), `strokes` (digits and capitals as pen movements), `atlas` (all of them as small masks),
`scenes` (which attributes an image has), `compose` (scenes to pixels, batched in torch). Nothing here is imported by
`import clipwright`; `counter` and `outlines` need numpy alone and are what the embedded data sets are drawn with.
"""
