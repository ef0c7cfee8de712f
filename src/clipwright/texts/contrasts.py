"""How one-vs-one phrases are said: sentences that tell a class from a rival, for each data set that has its own.

Slots are ``{class}``, ``{rival}`` and ``{phrase}``, a noun phrase for what the class has and the rival lacks. CODER
uses the mean over all of them, in so many paraphrases as stand here; the wording is clipwright's own.
"""

from __future__ import annotations

PLAIN = (
    "a {class} can be told from a {rival} by {phrase}",
    "a {class} shows {phrase}, and a {rival} does not",
    "the way a {class} shows {phrase} sets it apart from a {rival}",
    "next to a {rival}, a {class} is known for {phrase}",
    "{phrase} is what makes a {class} unlike a {rival}",
    "with {phrase}, a {class} looks different from a {rival}",
    "{phrase} is seen in a {class} rather than in a {rival}",
)

SATELLITE = (
    "seen from a satellite, {class} can be told from {rival} by {phrase}",
    "in satellite photos, {class} shows {phrase}, and {rival} does not",
    "on satellite imagery, {phrase} sets {class} apart from {rival}",
    "next to {rival} in a satellite photo, {class} is known for {phrase}",
    "{phrase} is what makes {class} unlike {rival} in satellite imagery",
    "from above, {class} looks different from {rival}: it has {phrase}",
    "a satellite photo with {phrase} is one of {class} rather than of {rival}",
    "{phrase} in satellite photos speaks for {class} and against {rival}",
)

PETS = (
    "a {class}, a kind of pet, can be told from a {rival}, another kind of pet, by {phrase}",
    "a {class}, a species of pet, shows {phrase}, and a {rival}, a species of pet too, does not",
    "{phrase} sets a {class}, a type of pet, apart from a {rival}, a type of pet",
    "with {phrase}, a {class}, a type of pet, looks different from a {rival}, a type of pet",
)

FOOD = (
    "{class} and {rival} are both popular dishes, but {class} has {phrase}",
    "{class} and {rival} are both snacks, but {class} differs by {phrase}",
    "{class} and {rival} are both desserts, but only {class} has {phrase}",
    "a food photo of {class}, which has {phrase}, unlike {rival}",
)

PLACES = (
    "a {class}, a type of place, can be told from a {rival}, a type of place, by {phrase}",
    "{phrase} sets a {class}, a type of place, apart from a {rival}, a type of place",
)

BIRDS = (
    "a {class}, a type of bird, can be told from a {rival} by {phrase}",
    "a {class}, a type of bird, shows {phrase}, and a {rival} does not",
    "a {class}, a type of bird, is set apart from a {rival} by {phrase}",
    "next to a {rival}, a {class}, a type of bird, is known for {phrase}",
    "{phrase} is what makes a {class}, a type of bird, unlike a {rival}",
    "with {phrase}, a {class}, a type of bird, looks different from a {rival}",
    "{phrase} is seen in a {class}, a type of bird, rather than in a {rival}",
    "look for {phrase} to tell a {class}, a type of bird, from a {rival}",
    "a bird with {phrase} is a {class}, a type of bird, and no {rival}",
    "a {class}, a type of bird, has {phrase}, which a {rival} lacks",
    "unlike a {rival}, a {class}, a type of bird, has {phrase}",
)

TEXTURES = (
    "{class}, a type of texture, can be told from {rival} by {phrase}",
    "{class}, a type of texture, shows {phrase}, and {rival} does not",
    "{phrase} is what makes {class}, a type of texture, unlike {rival}",
    "with {phrase}, {class}, a type of texture, looks different from {rival}",
)
