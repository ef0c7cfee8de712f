"""What everyone needs and nobody owns: errors, random numbers, atomic files, journal, hashes, progress."""
